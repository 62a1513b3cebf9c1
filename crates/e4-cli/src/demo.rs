//! The whole of E4 in half a minute, in one process: a broker, a key server, devices, and somebody who listens.

mod broker;
mod eavesdropper;
mod expect;
mod layout;
mod narrator;
mod player;
mod scenes;
mod stage;
mod traffic;

use crate::output::Failure;
use anyhow::{Context, anyhow};
use broker::{Address, Broker};
use narrator::Narrator;
use stage::Stage;
use std::time::Duration;

/// Watch end-to-end encryption work, in half a minute
///
/// A broker, a key server, four devices and an eavesdropper, all in this process and on the loopback interface. Every line
/// that is shown is also checked: the exit code is 0 only if everything came out as it says.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  e4 demo\n  e4 demo --broker localhost:1883")]
pub(crate) struct Args {
    /// Use this broker instead of one inside this process (plain TCP, MQTT 5). The demo sends on topics of its own, and
    /// leaves nothing behind
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<Address>,
    /// Without the pauses for reading along
    #[arg(long)]
    fast: bool,
}

/// No run takes so long, whatever the broker does.
const DEADLINE: Duration = Duration::from_secs(120);
/// To leave a broker as it was.
const STRIKE_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start the demo's threads")?;
    let shown = runtime.block_on(show(args));
    // The broker inside this process, whose tasks nobody waits for.
    runtime.shutdown_background();
    Ok(shown?)
}

async fn show(args: &Args) -> anyhow::Result<()> {
    let mut narrator = Narrator::new(args.fast);
    let broker = match &args.broker {
        Some(address) => Broker::real(address),
        None => Broker::embedded().await?,
    };
    let mut stage = Stage::new(broker)?;
    let told = tokio::select! {
        told = scenes::play(&mut stage, &mut narrator) => told,
        () = tokio::time::sleep(DEADLINE) => {
            Err(anyhow!("the demo was not over after {} s and was stopped: the broker is too slow", DEADLINE.as_secs()))
        }
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    let left = tokio::time::timeout(STRIKE_DEADLINE, stage.strike()).await;
    told?;
    left.map_err(|_elapsed| anyhow!("the broker did not answer"))
        .flatten()
        .context("could not take back what the demo left in the broker")?;
    narrator.summary(&stage)
}
