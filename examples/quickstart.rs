//! Two devices, a key server and an eavesdropping broker in one process: `cargo run --example quickstart`.
//!
//! Every line that is printed is checked as well; the program fails if one does not come out as it says.

use core::error::Error;
use e4::{
    C2SecretKey, Client, ClientId, ClientKey, Command, Identity, KeyRole, MemoryStore, OpenError, Opened, Refusal,
    SigningKey, Timestamp, Topic, TopicKey,
    controller::{HardRotation, Lane, Recipient},
};

type Result<T> = core::result::Result<T, Box<dyn Error>>;

const TOPIC: &str = "plant/7/pump/pressure";

/// What the key server keeps of a device.
struct Kept {
    recipient: Recipient,
    lane: Lane,
}

impl From<Recipient> for Kept {
    fn from(recipient: Recipient) -> Self {
        Self { recipient, lane: Lane::new() }
    }
}

fn main() -> Result<()> {
    symmetric()?;
    signed()
}

fn symmetric() -> Result<()> {
    println!("Symmetric mode: every device shares a key with the key server\n");

    // The key server knows each device by its id and its key.
    let (pump_key, panel_key) = (ClientKey::generate()?, ClientKey::generate()?);
    let (pump_id, panel_id) = (ClientId::from_name("pump-7")?, ClientId::from_name("panel-1")?);
    let mut to_pump = Kept::from(Recipient::symmetric(pump_id, &pump_key));
    let mut to_panel = Kept::from(Recipient::symmetric(panel_id, &panel_key));

    // A real device keeps its state in a `FileStore`.
    let mut pump = Client::builder(Identity::symmetric(pump_id, pump_key)).create(MemoryStore::new())?;
    let mut panel = Client::builder(Identity::symmetric(panel_id, panel_key)).create(MemoryStore::new())?;

    let topic = Topic::new(TOPIC)?;
    let first_key = TopicKey::generate()?;
    for (device, kept) in [(&mut pump, &mut to_pump), (&mut panel, &mut to_panel)] {
        command(device, kept, &Command::set_topic_key(&topic, first_key.clone()))?;
    }

    let sealed = pump.seal(&topic, b"4.2 bar")?;
    show("pump-7 seals `4.2 bar`; the broker sees", &hex(&sealed));
    show("panel-1 opens", &message(&mut panel, &sealed)?);

    let replayed = panel.open(&topic, &sealed);
    show("the broker sends it again; panel-1 says", &refused(replayed, |r| r == Refusal::Repeated)?);

    println!("\n  The key is rotated. pump-7 is offline and still seals under the old one.");
    let second_key = TopicKey::generate()?;
    command(&mut panel, &mut to_panel, &Command::set_topic_key(&topic, second_key.clone()))?;
    let sealed = pump.seal(&topic, b"4.3 bar")?;
    show("panel-1 opens, for an hour", &message(&mut panel, &sealed)?);
    command(&mut pump, &mut to_pump, &Command::set_topic_key(&topic, second_key))?;
    let sealed = pump.seal(&topic, b"4.4 bar")?;
    show("pump-7 is back; panel-1 opens", &message(&mut panel, &sealed)?);

    println!("\n  panel-1 is stolen. The key server rotates hard, and leaves it out.");
    // pump-7 knows ReplaceTopicKey; older devices need two commands for it.
    let replace = HardRotation::for_client(true, false).commands(*topic.hash(), TopicKey::generate()?)?;
    for sealed in to_pump.recipient.seal(&replace, &mut to_pump.lane, Timestamp::now())? {
        let applied = pump.open(to_pump.recipient.control_topic(), sealed.as_bytes())?;
        show("pump-7 applies", &format!("{applied:?}"));
    }
    let sealed = pump.seal(&topic, b"4.5 bar")?;
    let stolen = panel.open(&topic, &sealed);
    show("panel-1 says", &refused(stolen, |r| r == Refusal::NotAuthentic)?);
    Ok(())
}

fn signed() -> Result<()> {
    println!("\nPublic-key mode: messages are signed as well\n");

    let c2 = C2SecretKey::generate()?;
    let (pump_id, panel_id) = (ClientId::from_name("pump-7")?, ClientId::from_name("panel-1")?);
    let client = |id| -> Result<(Client, Kept)> {
        let signing_key = SigningKey::generate()?;
        let recipient = Recipient::public_key(id, &c2, &signing_key.verifying_key())?;
        let identity = Identity::public_key(id, signing_key, c2.public_key())?;
        Ok((Client::builder(identity).create(MemoryStore::new())?, recipient.into()))
    };
    let (mut pump, mut to_pump) = client(pump_id)?;
    let (mut panel, mut to_panel) = client(panel_id)?;

    let topic = Topic::new(TOPIC)?;
    let topic_key = TopicKey::generate()?;
    for (device, kept) in [(&mut pump, &mut to_pump), (&mut panel, &mut to_panel)] {
        command(device, kept, &Command::set_topic_key(&topic, topic_key.clone()))?;
    }

    let sealed = pump.seal(&topic, b"4.2 bar")?;
    show("pump-7 seals and signs; the broker sees", &format!("{} bytes", sealed.len()));
    let unknown = panel.open(&topic, &sealed);
    show("panel-1 says", &refused(unknown, |r| r == Refusal::UnknownSigner(pump_id))?);

    let key = pump.verifying_key().ok_or("a public-key client has a public key")?;
    command(&mut panel, &mut to_panel, &Command::SetPubKey { client: pump_id, key })?;
    show("the key server sends it pump-7's public key; panel-1 opens", &message(&mut panel, &sealed)?);
    Ok(())
}

/// Seals a command as the key server does, and delivers it as the broker does.
fn command(device: &mut Client, kept: &mut Kept, command: &Command) -> Result<()> {
    for sealed in kept.recipient.seal(core::slice::from_ref(command), &mut kept.lane, Timestamp::now())? {
        if let Opened::Message(_) = device.open(kept.recipient.control_topic(), sealed.as_bytes())? {
            return Err("a command was taken for a message".into());
        }
    }
    Ok(())
}

/// Delivers a message, and returns its payload as text with what the client says about it.
fn message(device: &mut Client, sealed: &[u8]) -> Result<String> {
    let Opened::Message(message) = device.open(TOPIC, sealed)? else {
        return Err("a message was taken for a command".into());
    };
    let mut text = format!("`{}`", String::from_utf8(message.payload)?);
    if let Some(signer) = message.signer {
        text += &format!(", signed by {signer}");
    }
    if message.key == KeyRole::Previous {
        text += ", under the previous key";
    }
    Ok(text)
}

/// The reason of a refusal, which must be the expected one.
fn refused<T>(opened: core::result::Result<T, OpenError>, expected: impl Fn(Refusal) -> bool) -> Result<String> {
    match opened {
        Err(OpenError::Refused(refusal)) if expected(refusal) => Ok(refusal.to_string()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("what should have been refused was opened".into()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn show(what: &str, result: &str) {
    println!("  {what}:\n      {result}");
}
