//! `e4 fleet orders`.

use super::{
    address::Path,
    list::{self, ListArgs},
    names,
    server::Server,
    table::{count, fields, or_dash},
    watch,
};
use crate::output::{Failure, Output};
use e4_keyserver_api::{Order, OrderState, Progress};
use std::time::Duration;

/// Orders: what takes time, such as rotations and withdrawals
#[derive(clap::Subcommand)]
pub(super) enum Action {
    List(ListOrders),
    Show(Numbered),
    Watch(Watch),
    Cancel(Cancel),
}

/// List orders, newest first
#[derive(clap::Args)]
pub(super) struct ListOrders {
    /// Those that are not over
    #[arg(long)]
    open: bool,
    /// Those on this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Show an order: where it stands, and for whom it waits
#[derive(clap::Args)]
pub(super) struct Numbered {
    /// Its number
    order: u64,
}

/// Show how far an order is until it is over
///
/// Exit code 0 if all devices that are waited for have confirmed it, 27 if it was given up or the time is over, and 3 if it was
/// cancelled or overtaken by a later one.
#[derive(clap::Args)]
pub(super) struct Watch {
    /// Its number
    order: u64,
    /// For so many seconds at most
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// Cancel an order, as far as nothing was sent yet that cannot be taken back
#[derive(clap::Args)]
pub(super) struct Cancel {
    /// Its number
    order: u64,
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    match action {
        Action::List(args) => {
            let topic = args.topic.as_ref().map(|topic| names::topic(server, topic)).transpose()?;
            let path = Path::new(&["orders"])
                .with("open", args.open.then_some("true"))
                .with("topic", topic.map(|topic| topic.id.to_string()));
            let columns = ["order", "what", "of", "state", "since", "confirmed", "by"];
            list::print(server, &path, &args.list, output, &columns, |order: &Order| {
                vec![
                    order.id.to_string(),
                    what(order),
                    subject(order),
                    order.state.to_string(),
                    order.phase_since.clone(),
                    format!("{} of {}", order.progress.confirmed, order.progress.devices),
                    order.asked_by.clone(),
                ]
            })
        }
        Action::Show(args) => print(&get(server, args.order)?, output),
        Action::Watch(args) => {
            let limit = args.wait.map(Duration::from_secs);
            let order = watch::until_over(server, get(server, args.order)?, limit)?;
            print(&order, output)?;
            watch::end(&order)
        }
        Action::Cancel(args) => {
            let path = Path::new(&["orders", &args.order.to_string(), "cancel"]);
            print(&server.post(&path, &serde_json::json!({}))?.read()?, output)
        }
    }
}

/// An order as it is now.
pub(super) fn get(server: &Server, number: u64) -> Result<Order, Failure> {
    Ok(server.get(&Path::new(&["orders", &number.to_string()]))?.read()?)
}

/// Prints an order.
pub(super) fn print(order: &Order, output: Output) -> Result<(), Failure> {
    output.print(order, || {
        let waits_for: Vec<_> = order.waits_for.iter().map(names::shown).collect();
        let is_over = order.state.is_over();
        fields(&[
            ("order", order.id.to_string()),
            ("what", format!("{} {}", what(order), subject(order)).trim_end().to_owned()),
            ("why", format!("{}, by {}", order.reason, order.asked_by)),
            ("since", order.created.clone()),
            ("state", format!("{} since {}", order.state, order.phase_since)),
            ("key version", order.version.map(|version| version.to_string()).unwrap_or_default()),
            ("devices", progress(&order.progress)),
            (if is_over { "without" } else { "waits for" }, some(&waits_for, &order.progress)),
        ])
    })
}

fn some(waits_for: &[String], progress: &Progress) -> String {
    let shown = u64::try_from(waits_for.len()).unwrap_or(u64::MAX);
    let more = progress.devices.saturating_sub(progress.confirmed).saturating_sub(shown);
    match (shown, more) {
        (0, _) => String::new(),
        (_, 0) => waits_for.join(", "),
        (_, more) => format!("{} and {more} more", waits_for.join(", ")),
    }
}

/// What it does.
pub(super) fn what(order: &Order) -> String {
    match order.rotation {
        Some(rotation) => format!("{} ({rotation})", order.kind),
        None => order.kind.to_string(),
    }
}

fn subject(order: &Order) -> String {
    let topic = order.topic.as_ref().map(|topic| topic.name.clone());
    or_dash(topic.or_else(|| order.device.as_ref().map(names::shown)))
}

/// How far it is, in words.
pub(super) fn progress(progress: &Progress) -> String {
    let mut parts = vec![format!("{} of {} confirmed", progress.confirmed, progress.devices)];
    if progress.waiting > 0 {
        parts.push(format!("{} waited for", progress.waiting));
    }
    if progress.silent > 0 {
        parts.push(format!("{} silent for too long to wait for", progress.silent));
    }
    if progress.unconfirmed > 0 {
        parts.push(format!("{} that never confirm", count(progress.unconfirmed, "device", "devices")));
    }
    parts.join(", ")
}

/// Why an order that is over did not come to its end.
pub(super) fn other_end(order: &Order) -> Option<&'static str> {
    match order.state {
        OrderState::Cancelled => Some("it was cancelled"),
        OrderState::Overtaken => Some("a later order does its work: see `e4 fleet orders list`"),
        _ => None,
    }
}
