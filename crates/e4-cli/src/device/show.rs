use super::state::{UnlockArgs, mode_name};
use crate::{
    names::KeyName,
    output::{Failure, Output, iso_time},
};
use anyhow::Context;
use e4::{Client, MaxAge, TopicFingerprints};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Show what a device's state holds, without its secrets
///
/// Two devices with the same key for a topic show the same fingerprint. A state knows topics by their hashes only: name
/// them with --topic, and they are shown by name. Nothing is changed, so this also works while the device runs, and on a
/// read-only disk. Keys that were replaced more than an hour ago open nothing any more, and are shown until a use of the
/// state erases them.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  e4 device show --state pump-7.state --topic plant/7/pump --topic 'plant/7/#'")]
pub(crate) struct Args {
    /// The state file
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    #[command(flatten)]
    unlock: UnlockArgs,
    /// A topic or subtree to be shown by name
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    topic: Vec<KeyName>,
    /// A file with topics and subtrees to be shown by name, one a line
    #[arg(long, value_name = "FILE")]
    topics_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Shown {
    mode: &'static str,
    id: String,
    control_topic: String,
    /// Of the device; public-key mode.
    public_key: Option<String>,
    /// Of the key server; public-key mode.
    c2_public_key: Option<String>,
    /// The time before which commands are refused: that of the newest one, or that of the device's making.
    newest_command: Option<u64>,
    /// `null` for any age, here and below.
    max_age: Option<u64>,
    max_ages: Vec<Rule>,
    topics: Vec<Topic>,
    /// Names that were asked about and have no key of their own.
    without_own_key: Vec<Without>,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Rule {
    filter: String,
    max_age: Option<u64>,
}

#[derive(Serialize)]
struct Topic {
    hash: String,
    name: Option<String>,
    fingerprint: String,
    previous: Option<Previous>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Previous {
    fingerprint: String,
    replaced: u64,
}

#[derive(Serialize)]
struct Without {
    name: String,
    /// Whether the key of a subtree around it serves it.
    key_of_subtree: bool,
}

#[derive(Serialize)]
struct Peer {
    id: String,
    public_key: String,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let mut names = args.topic.clone();
    if let Some(path) = &args.topics_file {
        names.extend(read_names(path)?);
    }
    let client = args.unlock.look(&args.state)?;
    let shown = Shown::new(&client, &names);
    output.print(&shown, || shown.to_text())
}

fn read_names(path: &Path) -> anyhow::Result<Vec<KeyName>> {
    let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(at, line)| line.parse().with_context(|| format!("{}, line {}", path.display(), at + 1))).collect()
}

impl Shown {
    fn new(client: &Client, names: &[KeyName]) -> Self {
        let mut topics: Vec<_> = client.key_fingerprints().map(|entry| Topic::new(&entry, names)).collect();
        topics.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
        let mut peers: Vec<_> = client
            .peers()
            .map(|(id, key)| Peer { id: id.to_string(), public_key: hex::encode(key.as_bytes()) })
            .collect();
        peers.sort_by(|a, b| a.id.cmp(&b.id));
        let mut without_own_key: Vec<_> = names.iter().filter_map(|name| Without::new(client, name)).collect();
        without_own_key.dedup_by(|a, b| a.name == b.name);
        Self {
            mode: mode_name(client.mode()),
            id: client.id().to_string(),
            control_topic: client.control_topic().to_string(),
            public_key: client.verifying_key().map(|key| hex::encode(key.as_bytes())),
            c2_public_key: client.c2_key().map(|key| hex::encode(key.as_bytes())),
            newest_command: client.newest_command().map(e4::Timestamp::as_unix),
            max_age: seconds(client.options().max_age),
            max_ages: client
                .max_ages()
                .map(|(filter, age)| Rule { filter: filter.to_owned(), max_age: seconds(age) })
                .collect(),
            topics,
            without_own_key,
            peers,
        }
    }

    fn to_text(&self) -> String {
        let mut lines = vec![
            format!("mode            {}", self.mode),
            format!("id              {}", self.id),
            format!("control topic   {}", self.control_topic),
        ];
        lines.extend(self.public_key.iter().map(|key| format!("public key      {key}")));
        lines.extend(self.c2_public_key.iter().map(|key| format!("C2 public key   {key}")));
        let newest = self.newest_command.map(|time| iso_time(e4::Timestamp::from_unix(time)));
        lines.push(format!("commands from   {}", newest.as_deref().unwrap_or("any time")));
        lines.push(format!("maximum age     {}", age_text(self.max_age)));
        lines.extend(self.max_ages.iter().map(|rule| format!("  {}  {}", rule.filter, age_text(rule.max_age))));
        lines.push(format!("topics          {}", self.topics.len()));
        for topic in &self.topics {
            let name = topic.name.as_deref().unwrap_or("(name not known)");
            lines.push(format!("  {}  key {}  {name}", topic.hash, topic.fingerprint));
            if let Some(previous) = &topic.previous {
                let replaced = iso_time(e4::Timestamp::from_unix(previous.replaced));
                lines.push(format!("    previous key {}, replaced {replaced}", previous.fingerprint));
            }
            lines.extend(topic.next.iter().map(|next| format!("    next key {next}")));
        }
        for Without { name, key_of_subtree } in &self.without_own_key {
            let why = if *key_of_subtree { "opens with the key of a subtree around it" } else { "no key" };
            lines.push(format!("  {name}: {why}"));
        }
        lines.push(format!("peers           {}", self.peers.len()));
        lines.extend(self.peers.iter().map(|peer| format!("  {}  public key {}", peer.id, peer.public_key)));
        lines.join("\n")
    }
}

impl Topic {
    fn new(entry: &TopicFingerprints, names: &[KeyName]) -> Self {
        let name = names.iter().find(|name| *name.hash() == entry.topic);
        Self {
            hash: entry.topic.to_string(),
            name: name.map(|name| name.as_str().to_owned()),
            fingerprint: entry.key.to_string(),
            previous: entry.previous.map(|(fingerprint, replaced)| Previous {
                fingerprint: fingerprint.to_string(),
                replaced: replaced.as_unix(),
            }),
            next: entry.next.map(|fingerprint| fingerprint.to_string()),
        }
    }
}

impl Without {
    fn new(client: &Client, name: &KeyName) -> Option<Self> {
        if client.topics().any(|(hash, _)| hash == name.hash()) {
            return None;
        }
        let key_of_subtree = match name {
            KeyName::Topic(topic) => client.has_key_for(topic),
            KeyName::Subtree(_) => false,
        };
        Some(Self { name: name.as_str().to_owned(), key_of_subtree })
    }
}

fn seconds(age: MaxAge) -> Option<u64> {
    match age {
        MaxAge::Seconds(seconds) => Some(seconds),
        MaxAge::Any => None,
    }
}

fn age_text(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "any".to_owned(), |seconds| format!("{seconds} s"))
}
