//! `e4 fleet devices withdraw`.

use super::{
    access::words,
    address::Path,
    names,
    server::Server,
    table::{count, table},
    watch::{self, WaitArgs},
};
use crate::{
    output::{Failure, Output},
    terminal::printable,
};
use e4_keyserver_api::{Reach, Through, Withdraw, Withdrawal};

/// Withdraw a device for ever: everything that it could read gets a new key
///
/// Its id is never used again. --dry-run says what it could read and what would happen, and does nothing. What others still accept
/// under a key that it has is shown by `e4 fleet exposure`, until that is zero.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet devices withdraw pump-7 --dry-run
  e4 fleet devices withdraw pump-7 --wait")]
pub(super) struct Args {
    /// The device, by its name or its id
    device: String,
    /// Say what it could read, and do nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(super) fn run(args: &Args, server: &Server, output: Output) -> Result<(), Failure> {
    let id = names::device(server, &args.device)?;
    let path = Path::new(&["devices", &id, "withdraw"]);
    let answer = server.post(&path, &Withdraw { dry_run: args.dry_run })?;
    let withdrawal: Withdrawal = answer.read()?;
    output.print(&withdrawal, || text(&args.device, &withdrawal))?;
    match &withdrawal.order {
        Some(order) => watch::made(server, order, &args.wait, output),
        None => Ok(()),
    }
}

fn text(device: &str, withdrawal: &Withdrawal) -> String {
    let (device, is_done) = (printable(device), withdrawal.order.is_some());
    let mut parts = Vec::new();
    if withdrawal.could_read.is_empty() {
        parts.push(format!("{device} has no topic key"));
    } else {
        let has = if is_done { "had" } else { "has" };
        let columns = [&format!("{device} {has} the key of"), "may", "through", "other members"];
        let row = |reach: &Reach| {
            let through: Vec<_> = reach.through.iter().map(way).collect();
            vec![
                reach.topic.name.clone(),
                words(reach.access).to_owned(),
                through.join("; "),
                reach.members.to_string(),
            ]
        };
        parts.push(table(&columns.map(|it| it), withdrawal.could_read.iter().map(row)));
    }
    let topics = count(u64::try_from(withdrawal.could_read.len()).unwrap_or(u64::MAX), "topic", "topics");
    let (devices, peers) = (count(withdrawal.affected, "device", "devices"), withdrawal.peers);
    parts.push(if is_done {
        format!("{device} is withdrawn. {devices} of {topics} get new keys; {peers} forget its public key")
    } else {
        format!("{devices} of {topics} would get new keys; {peers} would forget its public key. Nothing was done")
    });
    parts.join("\n\n")
}

fn way(way: &Through) -> String {
    let who = way.group.as_ref().map_or_else(|| "itself".to_owned(), |group| format!("group {group}"));
    way.subtree.as_ref().map_or(who.clone(), |subtree| format!("{who} by {subtree}"))
}
