//! `e4 fleet status`, `exposure` and `release`.

use super::{
    address::Path,
    answer::Answer,
    list::{self, ListArgs},
    names,
    server::Server,
    table::{count, fields, or_dash, table},
};
use crate::{
    output::{Failure, Output},
    terminal::printable,
};
use e4_keyserver_api::{Exposure, ServerStatus, Silent};

/// Show how the key server and the fleet are: who does not hold what it should, and with what consequence
#[derive(clap::Args)]
pub(super) struct StatusArgs {}

/// Show what withdrawn devices can still read: who still uses a key that one of them has
#[derive(clap::Args)]
pub(super) struct ExposureArgs {
    #[command(flatten)]
    list: ListArgs,
}

/// Let a key server go on that holds, as after a restore
///
/// `e4 fleet status` shows why it holds, and to how many devices it would send.
#[derive(clap::Args)]
pub(super) struct ReleaseArgs {}

pub(super) fn status(server: &Server, output: Output) -> Result<(), Failure> {
    print(&server.get(&Path::new(&["status"]))?, output)
}

pub(super) fn release(server: &Server, output: Output) -> Result<(), Failure> {
    print(&server.post(&Path::new(&["release"]), &serde_json::json!({}))?, output)
}

pub(super) fn exposure(args: &ExposureArgs, server: &Server, output: Output) -> Result<(), Failure> {
    let path = Path::new(&["exposure"]);
    let columns = ["topic", "key version", "withdrawn", "since", "still used by", "never confirm", "such as"];
    list::print(server, &path, &args.list, output, &columns, |it: &Exposure| {
        let members: Vec<_> = it.members.iter().map(names::shown).collect();
        vec![
            it.topic.name.clone(),
            it.version.to_string(),
            names::shown(&it.withdrawn),
            it.since.clone(),
            it.still.to_string(),
            it.unconfirmed.to_string(),
            members.join(", "),
        ]
    })
}

fn print(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.print(&answer.value()?, String::new);
    }
    let status: ServerStatus = answer.read()?;
    output.print(&(), || text(&status))
}

fn text(status: &ServerStatus) -> String {
    let mut parts = Vec::new();
    if let Some(hold) = &status.hold {
        let (reason, since) = (printable(&hold.reason), printable(&hold.since));
        let devices = count(hold.would_send_to, "device", "devices");
        let ahead = match hold.ahead {
            0 => String::new(),
            ahead => format!("\n  {} took commands that it does not know of", count(ahead, "device", "devices")),
        };
        parts.push(format!(
            "The key server holds since {since}: {reason}\n  released (`e4 fleet release`), it would send to {devices}{ahead}"
        ));
    }
    let warnings = status.warnings.iter().map(|warning| format!("Warning: {}", printable(warning)));
    parts.extend(warnings.reduce(|all, warning| all + "\n" + &warning));
    let brokers = status.brokers.iter().map(|broker| {
        let yes = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
        let (connected, hears) = (yes(broker.connected), yes(broker.hears_devices));
        vec![broker.address.clone(), connected, hears, broker.detail.clone(), broker.since.clone()]
    });
    parts.push(table(&["broker", "connected", "hears devices", "", "since"], brokers));
    let standing = status.devices.by_standing.iter().filter(|(_, number)| **number > 0);
    let standing: Vec<_> = standing.map(|(word, number)| format!("{number} {word}")).collect();
    parts.push(fields(&[
        (
            "devices",
            format!(
                "{} active, {} never heard, {} withdrawn",
                status.devices.active, status.devices.enrolled, status.devices.withdrawn
            ),
        ),
        ("of these", standing.join(", ")),
        ("topics", status.topics.to_string()),
        ("orders", format!("{} not over", status.open_orders)),
        ("commands", format!("{} not confirmed", status.outstanding)),
        (
            "exposure",
            match status.exposed {
                0 => "none: no member is known to use a key that a withdrawn device has".to_owned(),
                members => {
                    format!("{} still use a key that a withdrawn device has", count(members, "member", "members"))
                }
            },
        ),
        ("key server", format!("{}, its time is {}", status.version, status.time)),
    ]));
    if !status.silent.is_empty() {
        parts.push(table(&["device", "standing", "since", "heard", "consequence"], status.silent.iter().map(silent)));
    }
    parts.join("\n\n")
}

fn silent(silent: &Silent) -> Vec<String> {
    vec![
        names::shown(&silent.device),
        silent.standing.to_string(),
        silent.since.clone(),
        or_dash(silent.reported.as_ref()),
        silent.consequence.clone(),
    ]
}
