//! `slots`: the ways to open the vault.

use super::{
    config::Config,
    open::{open_beside, somebody_here},
    unlock::Source,
};
use anyhow::Context;
use clap::Subcommand;
use e4_keyserver::{
    upkeep::{add_slot, load_slots, remove_slot},
    vault::{Slot, Work},
};
use std::path::Path;

/// The ways to open the vault
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the slots
    List,
    /// Add a way to open the vault; the server may be running
    Add {
        /// The name of the slot
        name: String,
        /// What is to open it: key-file:PATH, credential:NAME, env:NAME, passphrase-file:PATH or passphrase
        #[arg(long, default_value = "passphrase")]
        with: Source,
    },
    /// Remove a way to open the vault, unless it is the last one; the server may be running
    Remove {
        /// The name of the slot
        name: String,
    },
}

impl Command {
    pub(crate) async fn run(self, config: &Path) -> anyhow::Result<()> {
        let fleet = open_beside(&Config::read(config)?).await?;
        match self {
            Self::List => {
                for Slot { name, kind, .. } in load_slots(&mut fleet.store().read().await?).await? {
                    println!("{name}: {}", kind.word());
                }
            }
            Self::Add { name, with } => {
                let slot = fleet.vault().new_slot(&name, &with.read_new()?, Work::DEFAULT, fleet.now())?;
                add_slot(&fleet, &somebody_here(), &slot).await?;
                println!(
                    "Slot `{name}` opens the vault. So that it is tried at start, name {with} in `vault.unlock` of the configuration."
                );
            }
            Self::Remove { name } => {
                remove_slot(&fleet, &somebody_here(), &name).await?;
                println!(
                    "Slot `{name}` is gone. Who knew what opened it and has an old copy of the database opens that copy still: \
                     `rekey` makes a new root key."
                );
            }
        }
        let slots = load_slots(&mut fleet.store().read().await?).await.context("the slots could not be counted")?;
        warn_if_few(slots.len());
        Ok(())
    }
}

pub(crate) fn warn_if_few(slots: usize) {
    if slots < 2 {
        eprintln!(
            "Warning: one slot only. If what opens it is lost, so are all keys: add another one with `e4-keyserver slots add`."
        );
    }
}
