//! `demo`: a key server with its fleet in one process, in half a minute.

mod broker;
mod device;
mod listener;
mod look;
mod narrator;
mod scenes;
mod stage;
mod traffic;

use super::run::asked_to_end;
use anyhow::anyhow;
use clap::Args as ClapArgs;
use narrator::Narrator;
use stage::Stage;
use std::time::Duration;

/// Watch a key server bring keys to sixty devices, in half a minute
///
/// A broker, a key server with its database and sixty devices, all in this process, on the loopback interface and in a temporary
/// folder. What is shown is checked: the exit code is 0 only if everything came out as it says.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Keep the server running afterwards, for a look at its interface
    #[arg(long)]
    stay: bool,
}

/// No run takes so long.
const DEADLINE: Duration = Duration::from_secs(180);

impl Args {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut narrator = Narrator::new();
        let mut stage = Stage::new().await?;
        tokio::select! {
            told = scenes::play(&mut stage, &mut narrator) => told?,
            () = tokio::time::sleep(DEADLINE) => {
                return Err(anyhow!("the demo was not over after {} s and was stopped", DEADLINE.as_secs()));
            }
            () = asked_to_end() => return Err(anyhow!("interrupted")),
        }
        narrator.summary();
        if self.stay {
            let (address, token) = (stage.server()?.address, &stage.token);
            println!("\nThe server runs on, at http://{address}, until you press Ctrl-C. Look at it with");
            println!("  E4_TOKEN={} e4 fleet --server http://{address} status", **token);
            asked_to_end().await;
        }
        stage.strike().await;
        Ok(())
    }
}
