//! What the programs have in common, and what is not about MQTT: the devices and their keys, and what is expected.

use core::error::Error;
use e4::{
    Client, ClientId, ClientKey, Command, Identity, MemoryStore, OpenError, Opened, Refusal, Snapshot, Store,
    StoreError, Timestamp, Topic, TopicKey,
    controller::{Lane, Recipient},
};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

/// Any error will do: it is printed, and the program fails.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = core::result::Result<T, E>;

/// What came of something that arrived.
pub type Taken = Result<Opened<Vec<u8>>, OpenError>;

/// How long a program waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// One run of a program: a broker, and names that no other run uses there.
#[derive(Debug)]
pub struct Run {
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The topic of the messages.
    pub topic: Topic<'static>,
    name: String,
}

impl Run {
    /// Takes the broker from the command line.
    ///
    /// # Errors
    ///
    /// When it is not there as `host:port`.
    pub fn from_arguments() -> Result<Self> {
        let argument = std::env::args().nth(1).unwrap_or_default();
        let (host, port) = argument
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .filter(|(host, port)| !host.is_empty() && *port != 0)
            .ok_or("name the broker as host:port, such as `localhost:1883`")?;
        let name = format!("{:x}-{:x}", std::process::id(), UNIX_EPOCH.elapsed()?.as_nanos());
        let topic = Topic::new(&format!("e4-example/{name}/pump/pressure"))?.into_owned();
        Ok(Self { host: host.to_owned(), port, topic, name })
    }

    /// The MQTT client id of one who takes part.
    #[must_use]
    pub fn mqtt_id(&self, who: &str) -> String {
        format!("{who}-{}", self.name)
    }

    /// Makes a device that keeps its state on a disk, and makes it known to the key server. This does not go over MQTT.
    ///
    /// # Errors
    ///
    /// When the operating system has no random bytes.
    pub fn enrol(&self, device: &str, disk: &Disk) -> Result<(Client, Kept)> {
        let (id, key) = (ClientId::from_name(&self.mqtt_id(device))?, ClientKey::generate()?);
        let kept = Kept { recipient: Recipient::symmetric(id, &key), lane: Lane::new() };
        Ok((Client::builder(Identity::symmetric(id, key)).create(disk.clone())?, kept))
    }

    /// The key server's command that gives a device the key of the topic: where to publish it, and what.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn topic_key(&self, to: &mut Kept, key: &TopicKey) -> Result<(String, Vec<u8>)> {
        let command = [Command::set_topic_key(&self.topic, key.clone())];
        let sealed = to.recipient.seal(&command, &mut to.lane, Timestamp::now())?;
        let sealed = sealed.first().ok_or("nothing was sealed")?;
        Ok((to.recipient.control_topic().as_str().to_owned(), sealed.as_bytes().to_vec()))
    }
}

/// What the key server keeps of a device.
#[derive(Debug)]
pub struct Kept {
    recipient: Recipient,
    lane: Lane,
}

/// The disk of a device, which is full now and then. A real device keeps its state in a [`FileStore`](e4::FileStore).
#[derive(Debug, Clone, Default)]
pub struct Disk {
    is_full: Arc<AtomicBool>,
    store: MemoryStore,
}

impl Disk {
    /// Fills the disk, or makes room.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }
}

impl Store for Disk {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.store.load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(StoreError::Other("the disk is full"));
        }
        self.store.save(state)
    }
}

/// A command, applied and stored.
#[must_use]
pub fn is_command(taken: &Taken) -> bool {
    matches!(taken, Ok(Opened::Command(_)))
}

/// A message with this payload.
pub fn is_message(payload: &str) -> impl Fn(&Taken) -> bool {
    let payload = payload.as_bytes();
    move |taken| matches!(taken, Ok(Opened::Message(it)) if it.payload == payload)
}

/// A message that was opened before.
#[must_use]
pub fn is_replay(taken: &Taken) -> bool {
    matches!(taken, Err(OpenError::Refused(Refusal::Repeated)))
}

/// A command that could not be stored.
#[must_use]
pub fn is_full_disk(taken: &Taken) -> bool {
    matches!(taken, Err(OpenError::Store(_)))
}

/// Prints what came of something.
///
/// # Errors
///
/// When it is not what was expected.
pub fn show(line: &str, taken: &Taken, expected: impl Fn(&Taken) -> bool) -> Result<()> {
    let result = match taken {
        Ok(Opened::Command(command)) => format!("{command:?}"),
        Ok(Opened::Message(it)) => format!("`{}`", String::from_utf8_lossy(&it.payload)),
        Err(error) => error.to_string(),
    };
    println!("{line}:\n    {result}");
    if expected(taken) { Ok(()) } else { Err("the last line did not come out as it says".into()) }
}

/// Succeeds if everything came out as expected.
pub fn exit(told: Result<()>) -> ExitCode {
    told.inspect_err(|error| eprintln!("Error: {error}")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
