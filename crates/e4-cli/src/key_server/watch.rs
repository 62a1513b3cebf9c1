//! Waiting for an order.

use super::{
    orders::{get, other_end, print, progress, what},
    server::Server,
};
use crate::{
    output::{Failure, Output},
    terminal::printable,
};
use e4_keyserver_api::{Order, OrderState};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Whether an order is waited for.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct WaitArgs {
    /// Wait until the devices have confirmed it, or so many seconds at most. Exit code 27 if they have not
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    wait: Option<Option<u64>>,
}

/// Shows an order that was made, and waits for it if that is wanted.
pub(super) fn made(server: &Server, order: &Order, args: &WaitArgs, output: Output) -> Result<(), Failure> {
    let Some(limit) = args.wait else { return print(order, output) };
    let order = until_over(server, order.clone(), limit.map(Duration::from_secs))?;
    print(&order, output)?;
    end(&order)
}

/// Waits until an order is over, or for so long. How far it is, is shown on a terminal.
pub(super) fn until_over(server: &Server, mut order: Order, limit: Option<Duration>) -> Result<Order, Failure> {
    let begun = Instant::now();
    let bar = ProgressBar::new(order.progress.devices);
    if let Ok(style) = ProgressStyle::with_template("{prefix}  {wide_bar} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(printable(&what(&order)));
    while !order.state.is_over() {
        bar.set_length(order.progress.devices);
        bar.set_position(order.progress.confirmed);
        bar.set_message(order.state.word());
        let left = limit.map_or(EVERY, |limit| limit.saturating_sub(begun.elapsed()));
        if left.is_zero() {
            break;
        }
        thread::sleep(left.min(EVERY));
        order = get(server, order.id)?;
    }
    bar.finish_and_clear();
    Ok(order)
}

/// How the command ends with an order.
pub(super) fn end(order: &Order) -> Result<(), Failure> {
    let id = order.id;
    if let Some(why) = other_end(order) {
        return Err(Failure::Refused(format!("order {id} did not come to its end: {why}")));
    }
    match order.state {
        OrderState::Done => Ok(()),
        OrderState::GivenUp => {
            Err(Failure::TimedOut(format!("Order {id} was given up: {}", progress(&order.progress))))
        }
        _ => Err(Failure::TimedOut(format!(
            "Order {id} goes on, and is {} until now: {}",
            order.state,
            progress(&order.progress)
        ))),
    }
}
