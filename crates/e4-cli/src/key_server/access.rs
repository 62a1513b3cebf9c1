//! `e4 fleet access`.

use super::{
    address::Path,
    groups::changed,
    list::{self, ListArgs},
    names,
    server::Server,
};
use crate::{
    output::{Failure, Output},
    terminal::printable,
};
use e4_keyserver_api::{Access, AccessEntry};

/// Who may read and write a topic
#[derive(clap::Subcommand)]
pub(super) enum Action {
    List(ListAccess),
    Grant(Grant),
    Revoke(Revoke),
}

/// List who has access to a topic
#[derive(clap::Args)]
pub(super) struct ListAccess {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
    #[command(flatten)]
    list: ListArgs,
}

/// Let a device or a group read or write a topic, or both
///
/// What is given replaces the access that it had.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet access grant plant/7/pump --device pump-7 --write
  e4 fleet access grant 'plant/7/#' --group panels --read --write")]
pub(super) struct Grant {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
    #[command(flatten)]
    whom: Whom,
    /// May read
    #[arg(long, required_unless_present = "write")]
    read: bool,
    /// May write
    #[arg(long)]
    write: bool,
}

/// Take the access to a topic from a device or a group
///
/// The topic gets a new key, as its policy says.
#[derive(clap::Args)]
pub(super) struct Revoke {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
    #[command(flatten)]
    whom: Whom,
}

#[derive(clap::Args)]
#[group(id = "whom", required = true, multiple = false)]
struct Whom {
    /// The device, by its name or its id
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

impl Whom {
    fn path(&self, server: &Server, topic: &str) -> Result<Path, Failure> {
        let topic = names::topic(server, topic)?.id.to_string();
        Ok(match (&self.device, &self.group) {
            (Some(device), _) => Path::new(&["topics", &topic, "access", "devices", &names::device(server, device)?]),
            (None, group) => Path::new(&["topics", &topic, "access", "groups", group.as_deref().unwrap_or_default()]),
        })
    }

    fn shown(&self) -> String {
        match (&self.device, &self.group) {
            (Some(device), _) => printable(device),
            (None, group) => format!("the group {}", printable(group.as_deref().unwrap_or_default())),
        }
    }
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    match action {
        Action::List(args) => {
            let topic = names::topic(server, &args.topic)?.id.to_string();
            let path = Path::new(&["topics", &topic, "access"]);
            list::print(server, &path, &args.list, output, &["who", "may"], |entry: &AccessEntry| {
                let device = entry.device.as_ref().map(names::shown);
                let group = entry.group.as_ref().map(|group| format!("group {group}"));
                vec![device.or(group).unwrap_or_default(), words(entry.access).to_owned()]
            })
        }
        Action::Grant(args) => {
            let access = Access { read: args.read, write: args.write };
            let answer = server.put(&args.whom.path(server, &args.topic)?, &access)?;
            let (who, topic) = (args.whom.shown(), printable(&args.topic));
            changed(&answer, &format!("{who} may {} {topic}", words(access)), output)
        }
        Action::Revoke(args) => {
            let answer = server.delete(&args.whom.path(server, &args.topic)?)?;
            let (who, topic) = (args.whom.shown(), printable(&args.topic));
            changed(&answer, &format!("{who} has no access of its own to {topic} any more"), output)
        }
    }
}

/// In words.
pub(super) fn words(access: Access) -> &'static str {
    match (access.read, access.write) {
        (true, true) => "read and write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "nothing",
    }
}
