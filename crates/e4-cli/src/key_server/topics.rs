//! `e4 fleet topics`.

use super::{
    address::Path,
    answer::Answer,
    devices::hex_secret,
    groups::changed,
    list::{self, ListArgs},
    names,
    server::{Seen, Server},
    table::{fields, or_dash},
};
use crate::{
    names::KeyName,
    output::{Failure, Output},
    source::Source,
    terminal::{note, printable},
};
use clap::ValueEnum;
use e4::TopicKey;
use e4_keyserver_api::{KeyVersion, Leave, NewTopic, Topic, TopicChange, TopicPolicy};

/// Topics and subtrees that have keys
#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// List topics
    List(ListArgs),
    Add(Add),
    /// Show a topic
    Show(Named),
    /// Show the keys that a topic has and had, by their fingerprints
    Keys(Keys),
    Edit(Edit),
    /// Remove a topic: its members lose its key
    Remove(Named),
}

/// Add a topic, or a subtree such as plant/7/#
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet topics add plant/7/pump
  e4 fleet topics add 'plant/7/#' --on-leave lossless
  e4 fleet topics add plant/8/pump --topic-key-file pump.key")]
pub(super) struct Add {
    /// Its name
    topic: KeyName,
    /// The key that its members have already; without this the key server makes one
    #[arg(long, value_name = "FILE")]
    topic_key_file: Option<Source>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// What there is to say about it
    #[arg(long, value_name = "TEXT", default_value = "")]
    notes: String,
}

/// A topic
#[derive(clap::Args)]
pub(super) struct Named {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
}

#[derive(clap::Args)]
pub(super) struct Keys {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
    #[command(flatten)]
    list: ListArgs,
}

/// Change the policy or the notes of a topic
#[derive(clap::Args)]
pub(super) struct Edit {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Other notes
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

#[derive(clap::Args)]
#[group(skip)]
struct PolicyArgs {
    /// What happens when somebody loses it; hard, unless the fleet's policy says otherwise
    #[arg(long, value_enum, value_name = "HOW")]
    on_leave: Option<OnLeave>,
    /// How many seconds a lossless rotation waits for those that were seen lately
    #[arg(long, value_name = "SECONDS")]
    lossless_wait: Option<u32>,
    /// Whether it gets a new key when somebody joins, who then does not read what came before
    #[arg(long, value_name = "true|false")]
    rotate_on_join: Option<bool>,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnLeave {
    /// A new key at once, and the one before opens nothing any more
    Hard,
    /// A new key at once; the one before opens for an hour more
    Soft,
    /// A new key in two phases: who left reads on until the second
    Lossless,
    /// Who left keeps reading until somebody rotates
    Nothing,
}

impl PolicyArgs {
    fn over(&self, policy: TopicPolicy) -> TopicPolicy {
        let on_leave = self.on_leave.map(|leave| match leave {
            OnLeave::Hard => Leave::Hard,
            OnLeave::Soft => Leave::Soft,
            OnLeave::Lossless => Leave::Lossless,
            OnLeave::Nothing => Leave::Nothing,
        });
        TopicPolicy {
            on_leave: on_leave.or(policy.on_leave),
            lossless_wait: self.lossless_wait.or(policy.lossless_wait),
            rotate_on_join: self.rotate_on_join.unwrap_or(policy.rotate_on_join),
            rotate_every: policy.rotate_every,
        }
    }
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    match action {
        Action::List(args) => {
            let columns = ["topic", "members", "key", "next"];
            list::print(server, &Path::new(&["topics"]), args, output, &columns, |topic: &Topic| {
                vec![topic.name.clone(), topic.members.to_string(), topic.current.to_string(), or_dash(topic.next)]
            })
        }
        Action::Add(args) => {
            args.topic.ensure_not_control()?;
            let key = args.topic_key_file.as_ref().map(Source::key::<TopicKey>).transpose()?;
            let topic = NewTopic {
                name: args.topic.as_str().to_owned(),
                key: key.map(|key| hex_secret(key.as_bytes())),
                policy: args.policy.over(TopicPolicy::default()),
                notes: args.notes.clone(),
            };
            print(&server.post(&Path::new(&["topics"]), &topic)?, output)
        }
        Action::Show(args) => {
            let id = names::topic(server, &args.topic)?.id.to_string();
            print(&server.get(&Path::new(&["topics", &id]))?, output)
        }
        Action::Keys(args) => {
            let id = names::topic(server, &args.topic)?.id.to_string();
            let columns = ["version", "role", "since", "reason", "made", "fingerprint"];
            let path = Path::new(&["topics", &id, "keys"]);
            list::print(server, &path, &args.list, output, &columns, |key: &KeyVersion| {
                let (role, reason) = (key.role.to_string(), key.reason.to_string());
                let (since, made) = (key.role_since.clone(), key.created.clone());
                vec![key.version.to_string(), role, since, reason, made, key.fingerprint.clone()]
            })
        }
        Action::Edit(args) => {
            let topic = names::topic(server, &args.topic)?;
            let policy = Some(args.policy.over(topic.policy));
            let change = TopicChange { policy, notes: args.notes.clone() };
            let path = Path::new(&["topics", &topic.id.to_string()]);
            print(&server.patch(&path, &change, Seen::Revision(topic.revision))?, output)
        }
        Action::Remove(args) => {
            let id = names::topic(server, &args.topic)?.id.to_string();
            let answer = server.delete(&Path::new(&["topics", &id]))?;
            changed(&answer, &format!("The topic {} is removed", printable(&args.topic)), output)
        }
    }
}

fn print(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.print(&answer.value()?, String::new);
    }
    let topic: Topic = answer.read()?;
    for warning in &topic.warnings {
        note(format!("Note: {}", printable(warning)));
    }
    let wait = topic.policy.lossless_wait.map(|wait| format!("{wait} s")).unwrap_or_default();
    output.print(&(), || {
        fields(&[
            ("topic", topic.name.clone()),
            ("hash", topic.hash.clone()),
            ("members", topic.members.to_string()),
            ("key version", topic.current.to_string()),
            ("next version", topic.next.map(|next| next.to_string()).unwrap_or_default()),
            ("on leave", topic.policy.on_leave.map(|leave| leave.to_string()).unwrap_or_default()),
            ("on join", if topic.policy.rotate_on_join { "a new key".to_owned() } else { String::new() }),
            ("lossless wait", wait),
            ("notes", topic.notes.clone()),
            ("added", topic.created.clone()),
        ])
    })
}
