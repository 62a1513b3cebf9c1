//! What is lost when the key of a topic is changed while all of its members publish and read, at QoS 1.
//!
//! `cargo run --release -p e4-mqtt --example rotation` has 20 members publish 50 messages a second each through 20 rotations,
//! in two phases and in one, on the embedded broker and on a mosquitto if there is one to start. `-- --long` has two members
//! publish 120,000 messages in 20 minutes, while the key is changed every 4 seconds and mosquitto started anew every minute.
//! `-- --quick` only shows that it works.
//!
//! It fails if a rotation in two phases loses anything, or one in a single phase nothing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{
    Setup, Version,
    broker::{Broker, BrokerKind, Settings, Transport},
    proxy::Proxy,
    rotation::{Group, Outcome, Pace, Way},
};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

/// How much is tried.
#[derive(Debug, Clone, Copy)]
struct Plan {
    members: usize,
    pace: Pace,
    rotations: u32,
    /// Messages of each of the first half under the new key before the others have it.
    between: u32,
}

/// 50 a second.
const PAUSE: Duration = Duration::from_millis(20);
const FULL: Plan = Plan { members: 20, pace: Pace { pause: PAUSE, most: u32::MAX }, rotations: 20, between: 10 };
const QUICK: Plan = Plan { members: 4, rotations: 2, between: 5, ..FULL };

/// 120,000 messages in 20 minutes.
const LONG: Pace = Pace { pause: PAUSE, most: 60_000 };
const LONG_MEMBERS: usize = 2;
/// From one rotation to the next.
const ROTATES: Duration = Duration::from_secs(4);
const RESTARTS: Duration = Duration::from_secs(60);

fn main() -> std::io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    let as_it_should = match arguments[..] {
        [] => runtime.block_on(on_all_brokers(FULL)),
        ["--quick"] => runtime.block_on(on_all_brokers(QUICK)),
        ["--long"] => runtime.block_on(long()),
        _ => {
            eprintln!("usage: rotation [--quick | --long]");
            return Ok(ExitCode::from(2));
        }
    };
    runtime.shutdown_background();
    Ok(if as_it_should { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn on_all_brokers(plan: Plan) -> bool {
    head();
    let mut as_it_should = true;
    for kind in [BrokerKind::Embedded, BrokerKind::Mosquitto].into_iter().filter(|kind| kind.is_available()) {
        for way in [Way::Lossless, Way::Alone] {
            let setup = Setup { broker: Broker::start(kind, Transport::Plain).await, version: Version::V5 };
            let begun = Instant::now();
            let mut group = Group::begin(&setup, setup.broker.port(), plan.members, plan.pace).await;
            for _ in 0..plan.rotations {
                group.rotate(way, plan.between).await;
            }
            let outcome = group.end().await;
            row(&format!("{kind:?}"), way, plan.members, plan.rotations, &outcome, begun.elapsed());
            as_it_should &= if way == Way::Alone { outcome.lost > 0 } else { lossless(&outcome) };
        }
    }
    as_it_should
}

/// A broker that is started anew is ended in good order: it saves what it has, and goes on with it. Rotations do not wait for it.
async fn long() -> bool {
    let mut broker = Broker::start(BrokerKind::Mosquitto, Transport::Plain).await;
    broker.restart_with(Settings { persistent: true, ..Settings::default() }).await;
    let proxy = Proxy::to(broker.port()).await;
    let mut setup = Setup { broker, version: Version::V5 };
    let begun = Instant::now();
    let mut group = Group::begin(&setup, proxy.port, LONG_MEMBERS, LONG).await;
    let (mut rotations, mut restarts) = (0, 0);
    while !group.has_published(LONG.most) {
        let next = begun + ROTATES * (rotations + 1);
        if begun.elapsed() >= RESTARTS * (restarts + 1) {
            let restart = async {
                proxy.close();
                setup.broker.stop().await;
                setup.broker.resume().await;
                proxy.open(setup.broker.port());
            };
            tokio::join!(restart, group.rotate(Way::Lossless, 1));
            restarts += 1;
            println!("after {} s: {rotations} rotations", begun.elapsed().as_secs());
        } else {
            group.rotate(Way::Lossless, 1).await;
        }
        rotations += 1;
        tokio::time::sleep_until(next.into()).await;
    }
    let outcome = group.end().await;
    head();
    row("Mosquitto", Way::Lossless, LONG_MEMBERS, rotations, &outcome, begun.elapsed());
    println!("\nThe broker was started anew {restarts} times.");
    lossless(&outcome)
}

/// Every member has read every message once.
fn lossless(outcome: &Outcome) -> bool {
    outcome.sent > 0 && (outcome.lost, outcome.refusals(), outcome.twice) == (0, 0, 0)
}

fn head() {
    println!(
        "| broker | phases | members | rotations | sent | to be read | read | lost | refused | twice | out of order | \
         delivered again | connections lost | seconds | a second and member |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
}

fn row(broker: &str, way: Way, members: usize, rotations: u32, outcome: &Outcome, took: Duration) {
    let each = u32::try_from(outcome.sent / u64::try_from(members).unwrap_or(1)).unwrap_or(u32::MAX);
    let rate = f64::from(each) / took.as_secs_f64();
    let phases = if way == Way::Lossless { 2 } else { 1 };
    println!(
        "| {broker} | {phases} | {members} | {rotations} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} |",
        outcome.sent,
        outcome.read + outcome.lost,
        outcome.read,
        outcome.lost,
        outcome.refusals(),
        outcome.twice,
        outcome.out_of_order,
        outcome.delivered_again,
        outcome.connections_lost,
        took.as_secs(),
        rate,
    );
    for (reason, times) in &outcome.refused {
        println!("  refused {times} times: {reason}");
    }
}
