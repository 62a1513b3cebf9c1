//! Opens the database and the vault that the configuration names.

use super::{config::Config, unlock::Source};
use anyhow::{Context, anyhow};
use e4_keyserver::{
    fleet::{Actor, Fleet, SystemClock},
    model::Role,
    store::Store,
    upkeep::{UpkeepError, load_slots, load_stored},
    vault::{Slot, Stored, SystemChance, Vault},
};
use std::{fmt::Write, sync::Arc};

/// The fleet of the configuration, which nobody else works on.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Fleet> {
    fleet(config, Store::open(&config.database.url).await?).await
}

/// The same, for something short beside a server that may run.
pub(crate) async fn open_beside(config: &Config) -> anyhow::Result<Fleet> {
    fleet(config, Store::open_beside(&config.database.url).await?).await
}

async fn fleet(config: &Config, store: Store) -> anyhow::Result<Fleet> {
    let mut tx = store.read().await?;
    let stored = load_stored(&mut tx).await.context("run `e4-keyserver init` first")?;
    let slots = load_slots(&mut tx).await?;
    drop(tx);
    if slots.len() < 2 {
        tracing::warn!(
            "the vault has one slot only: if what opens it is lost, so are all keys; `slots add` makes another one"
        );
    }
    let vault = open_vault(&config.vault.unlock, &slots, &stored)?;
    Ok(with_vault(config, store, vault))
}

pub(crate) fn with_vault(config: &Config, store: Store, vault: Vault) -> Fleet {
    Fleet::new(store, Arc::new(vault), Arc::new(SystemClock), config.policy.clone())
}

/// Who works on this machine, as the audit names it.
pub(crate) fn somebody_here() -> Actor {
    Actor::new("command line", Role::Administrator, "server")
}

/// Opens a vault by the first source that does.
pub(crate) fn open_vault(sources: &[Source], slots: &[Slot], stored: &Stored) -> anyhow::Result<Vault> {
    let mut reasons = String::new();
    for source in sources {
        let opened =
            source.read().and_then(|unlock| Ok(Vault::open(slots, None, &unlock, stored, Box::new(SystemChance))?));
        match opened {
            Ok(vault) => return Ok(vault),
            Err(error) => {
                let _infallible = write!(reasons, "\n- {source}: {}", error.root_cause());
            }
        }
    }
    Err(anyhow!("nothing that the configuration names opens the vault with root key {}:{reasons}", stored.root))
}

/// The same, for what is done to data as a whole.
pub(crate) fn open_for_upkeep(sources: &[Source]) -> impl FnOnce(&[Slot], &Stored) -> Result<Vault, UpkeepError> {
    move |slots, stored| open_vault(sources, slots, stored).map_err(|error| UpkeepError::State(format!("{error:#}")))
}
