//! `e4 seal` and `e4 open`: one message from standard input to standard output.

use crate::{
    device::state::UnlockArgs,
    names::ensure_no_control_character,
    output::{Failure, Output, Payload, iso_time},
    source::Source,
    terminal::{self, note},
};
use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4::{
    AppliedCommand, Client, ClientId, ClientKey, Identity, KeyRole, MaxAge, MemoryStore, Message, NameError, OpenError,
    Opened, Options, Topic, TopicKey,
};
use serde::Serialize;
use std::{
    io::{Read, Write},
    path::PathBuf,
};

/// Seal a message, from standard input to standard output
///
/// With --topic-key-file the message is sealed as devices in symmetric mode do. With --state it is sealed, and in
/// public-key mode signed, by that device.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  echo -n '4.2 bar' | e4 seal --topic-key-file pressure.key > sealed
  echo -n '4.2 bar' | e4 seal --state pump-7.state --topic plant/7/pressure --base64")]
pub(crate) struct SealArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    text: TextArgs,
}

/// Open a sealed message, from standard input to standard output
///
/// With --topic-key-file the message is opened as devices in symmetric mode do, whatever its age. With --state it is
/// opened by that device and its rules; on the device's own control topic it is a command, which is applied to the state.
/// Each call is a new start of the device, which does not know what was opened before: only commands are recognized when
/// they come again.
///
/// Exit code 3 means that the message was refused, for the reason on standard error.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 open --topic-key-file pressure.key < sealed
  e4 open --state panel-1.state --topic plant/7/pressure --base64 --json < sealed.txt")]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Refuse messages that are older
    #[arg(long, value_name = "SECONDS", conflicts_with = "state")]
    max_age: Option<u64>,
    /// Print the payload as it is on a terminal too, and not without the characters that would steer it
    #[arg(long)]
    raw: bool,
    /// Say on standard error when and by whom the message was sealed
    #[arg(short, long)]
    verbose: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct KeyArgs {
    /// The key of the topic; or `env:NAME` for an environment variable
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "state",
        conflicts_with_all = ["state", "topic", "storage_key_file", "client"]
    )]
    topic_key_file: Option<Source>,
    /// The state file of a device
    #[arg(long, value_name = "FILE", requires = "topic")]
    state: Option<PathBuf>,
    /// The topic that the message is for
    #[arg(long, short, value_name = "TOPIC", requires = "state", value_parser = topic, allow_hyphen_values = true)]
    topic: Option<Topic<'static>>,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// For clap: a topic, also one with control characters, on which others may have published.
fn topic(text: &str) -> Result<Topic<'static>, NameError> {
    Topic::new(text).map(Topic::into_owned)
}

/// How the sealed message is written.
#[derive(clap::Args)]
#[group(id = "encoding", multiple = false)]
pub(crate) struct TextArgs {
    /// The sealed message is text in hexadecimal
    #[arg(long)]
    hex: bool,
    /// The sealed message is text in base64
    #[arg(long)]
    base64: bool,
}

pub(crate) fn seal(args: &SealArgs, _: Output) -> Result<(), Failure> {
    let (client, topic) = args.key.client(Options::default())?;
    ensure_no_control_character(topic.as_str()).context("the topic")?;
    let sealed = client.seal(&topic, &read_stdin()?)?;
    write_stdout(&args.text.encode(sealed))
}

pub(crate) fn open(args: &OpenArgs, output: Output) -> Result<(), Failure> {
    let mut options = Options::default();
    options.max_age = args.max_age.map_or(MaxAge::Any, MaxAge::Seconds);
    let (mut client, topic) = args.key.client(options)?;
    let sealed = args.text.decode(read_stdin()?).context("standard input")?;
    let opened = client.open(&topic, &sealed).map_err(|error| match error {
        OpenError::Refused(refusal) => Failure::Refused(refusal.to_string()),
        error => error.into(),
    })?;
    match opened {
        Opened::Message(message) if output.json => output.print(&OpenedMessage::new(&message), String::new),
        Opened::Message(message) => {
            if args.verbose {
                let by = message.signer.map(|signer| format!(", signed by {signer}")).unwrap_or_default();
                let under = match message.key {
                    KeyRole::Current => "",
                    KeyRole::Previous => ", under the previous key",
                    KeyRole::Next => ", under the next key",
                };
                note(format!("sealed at {}{by}{under}", iso_time(message.sent)));
            }
            write_stdout(&terminal::payload(&message.payload, args.raw))
        }
        Opened::Command(command) => {
            let applied = Applied::new(&command);
            if output.json {
                return output.print(&applied, String::new);
            }
            // Standard output is for payloads.
            note(format!("Applied the command {}", applied.to_text()));
            Ok(())
        }
    }
}

impl KeyArgs {
    /// The client that seals or opens, and the topic.
    fn client(&self, options: Options) -> Result<(Client, Topic<'static>), Failure> {
        for source in [&self.topic_key_file, &self.unlock.storage_key_file].into_iter().flatten() {
            ensure_not_stdin(source)?;
        }
        if let (Some(state), Some(topic)) = (&self.state, &self.topic) {
            return Ok((self.unlock.open(state)?, topic.clone()));
        }
        let key = self.topic_key_file.as_ref().context("give --topic-key-file, or --state and --topic")?;
        let key = key.key::<TopicKey>()?;
        // A message is bound to its key and not to the name of its topic, nor in symmetric mode to a client.
        let topic = Topic::new("any")?;
        let identity = Identity::symmetric(ClientId::from_bytes([0; 16]), ClientKey::generate()?);
        let builder = Client::builder(identity).options(options).topic_key(topic.hash(), key)?;
        Ok((builder.create(MemoryStore::new())?, topic))
    }
}

fn ensure_not_stdin(source: &Source) -> anyhow::Result<()> {
    ensure!(!source.is_stdin(), "standard input is the message: give the key as a file, or as env:NAME");
    Ok(())
}

impl TextArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.hex || self.base64
    }

    fn encode(&self, sealed: Vec<u8>) -> Vec<u8> {
        if self.hex {
            format!("{}\n", hex::encode(sealed)).into_bytes()
        } else if self.base64 {
            format!("{}\n", BASE64_STANDARD.encode(sealed)).into_bytes()
        } else {
            sealed
        }
    }

    /// Spaces and line ends in text mean nothing.
    pub(crate) fn decode(&self, mut sealed: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        if !self.is_given() {
            return Ok(sealed);
        }
        sealed.retain(|byte| !byte.is_ascii_whitespace());
        if self.hex {
            hex::decode(sealed).context("not text in hexadecimal")
        } else {
            BASE64_STANDARD.decode(sealed).context("not text in base64")
        }
    }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("could not read standard input")?;
    Ok(bytes)
}

fn write_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

#[derive(Serialize)]
struct OpenedMessage {
    #[serde(flatten)]
    payload: Payload,
    sent: u64,
    age: Option<u64>,
    signer: Option<String>,
    previous_key: bool,
    next_key: bool,
}

impl OpenedMessage {
    fn new(message: &Message<Vec<u8>>) -> Self {
        Self {
            payload: Payload::new(&message.payload),
            sent: message.sent.as_unix(),
            age: message.age,
            signer: message.signer.map(|signer| signer.to_string()),
            previous_key: message.key == KeyRole::Previous,
            next_key: message.key == KeyRole::Next,
        }
    }
}

/// A command that was applied, as it is reported.
#[derive(Serialize)]
pub(crate) struct Applied {
    command: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

impl Applied {
    pub(crate) fn new(command: &AppliedCommand) -> Self {
        let (command, topic, client) = match command {
            AppliedCommand::RemoveTopic(topic) => ("remove-topic", Some(topic), None),
            AppliedCommand::ResetTopics => ("reset-topics", None, None),
            AppliedCommand::SetIdKey => ("set-id-key", None, None),
            AppliedCommand::SetTopicKey(topic) => ("set-topic-key", Some(topic), None),
            AppliedCommand::RemovePubKey(client) => ("remove-pub-key", None, Some(client)),
            AppliedCommand::ResetPubKeys => ("reset-pub-keys", None, None),
            AppliedCommand::SetPubKey(client) => ("set-pub-key", None, Some(client)),
            AppliedCommand::SetC2Key => ("set-c2-key", None, None),
            AppliedCommand::SetNextTopicKey(topic) => ("set-next-topic-key", Some(topic), None),
            AppliedCommand::ReplaceTopicKey(topic) => ("replace-topic-key", Some(topic), None),
            AppliedCommand::SetTime(_) => ("set-time", None, None),
            _ => ("unknown to this version", None, None),
        };
        Self { command, topic: topic.map(ToString::to_string), client: client.map(ToString::to_string) }
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = self.command.to_owned();
        if let Some(topic) = &self.topic {
            text += &format!(", topic {topic}");
        }
        if let Some(client) = &self.client {
            text += &format!(", client {client}");
        }
        text
    }
}
