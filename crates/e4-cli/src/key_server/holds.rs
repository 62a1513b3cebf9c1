//! `e4 fleet devices holds`.

use super::{
    address::Path,
    names,
    server::Server,
    table::{count, or_dash, table},
};
use crate::output::{Failure, Output};
use e4_keyserver_api::{HeldTopic, Holds};

/// Show which keys a device holds as far as is known, which it should hold, and which commands it has not confirmed
#[derive(clap::Args)]
pub(super) struct Args {
    /// The device, by its name or its id
    device: String,
}

pub(super) fn run(args: &Args, server: &Server, output: Output) -> Result<(), Failure> {
    let id = names::device(server, &args.device)?;
    let answer = server.get(&Path::new(&["devices", &id, "holds"]))?;
    if output.json {
        return output.print(&answer.value()?, String::new);
    }
    let holds: Holds = answer.read()?;
    output.print(&(), || text(&holds))
}

fn text(holds: &Holds) -> String {
    let mut parts = Vec::new();
    if !holds.known {
        parts.push("What it holds is not known: no report of it fits yet".to_owned());
    }
    if !holds.topics.is_empty() {
        parts.push(table(&["topic", "has", "should have"], holds.topics.iter().map(topic)));
    }
    if !holds.peers.is_empty() {
        let row = |peer: &e4_keyserver_api::HeldPeer| {
            vec![names::shown(&peer.device), or_dash(peer.version), or_dash(peer.wanted)]
        };
        parts.push(table(&["peer", "has", "should have"], holds.peers.iter().map(row)));
    }
    if let Some(version) = holds.server_key {
        parts.push(format!("Key of the server: version {version}"));
    }
    if holds.outstanding.is_empty() {
        parts.push("No command is unconfirmed".to_owned());
    } else {
        let number = u64::try_from(holds.outstanding.len()).unwrap_or(u64::MAX);
        parts.push(format!("{} not confirmed:", count(number, "command", "commands")));
        let row = |command: &e4_keyserver_api::Outstanding| {
            let (handed, answer) = (or_dash(command.handed.as_ref()), or_dash(command.answer.as_ref()));
            vec![command.command.clone(), command.sealed.clone(), handed, answer]
        };
        parts.push(table(&["command", "sealed for", "to the broker", "it said"], holds.outstanding.iter().map(row)));
    }
    parts.join("\n\n")
}

fn topic(topic: &HeldTopic) -> Vec<String> {
    let name = topic.topic.as_ref().map_or_else(|| format!("(hash {})", topic.hash), Clone::clone);
    vec![name, versions(topic.current, topic.next), versions(topic.wanted, topic.wanted_next)]
}

fn versions(current: Option<u64>, next: Option<u64>) -> String {
    match (current, next) {
        (current, None) => or_dash(current),
        (current, Some(next)) => format!("{}, next {next}", or_dash(current)),
    }
}
