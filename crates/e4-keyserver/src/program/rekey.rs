//! `rekey`: a new root key.

use super::{
    config::Config,
    open::{open, open_vault, somebody_here, with_vault},
    slots::warn_if_few,
    unlock::Source,
};
use anyhow::ensure;
use clap::Args as ClapArgs;
use e4_keyserver::{
    upkeep::{Progress, begin_rekey, continue_rekey, load_slots, load_stored},
    vault::{Slot, Stored, SystemChance, Unlock, Vault, Work},
};
use std::path::Path;

/// Make a new root key and seal everything under it; the server must not run. Interrupted, it goes on where it was when it is
/// run again
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What else opens a slot, besides what the configuration names: each slot that is to stay must be opened
    #[arg(long, value_name = "SOURCE")]
    unlock: Vec<Source>,
    /// A slot that is to go, such as one whose passphrase nobody knows any more
    #[arg(long, value_name = "NAME")]
    drop: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, config: &Path) -> anyhow::Result<()> {
        let config = Config::read(config)?;
        let mut fleet = open(&config).await?;
        let actor = somebody_here();
        if fleet.vault().has_previous() {
            println!("Going on with root key {}.", fleet.vault().root_fingerprint());
        } else {
            let mut tx = fleet.store().read().await?;
            let (slots, stored) = (load_slots(&mut tx).await?, load_stored(&mut tx).await?);
            drop(tx);
            let kept = self.kept(&config, &slots, &stored)?;
            // The same vault once more, which is to be another one.
            let vault = open_vault(&config.vault.unlock, &slots, &stored)?.with_new_root()?;
            let new = kept
                .iter()
                .map(|(slot, unlock)| vault.new_slot(&slot.name, unlock, Work::DEFAULT, fleet.now()))
                .collect::<Result<Vec<_>, _>>()?;
            fleet = with_vault(&config, fleet.store().clone(), vault);
            begin_rekey(&fleet, &actor, &new).await?;
            println!("{} is the new root key, in {} slots.", fleet.vault().root_fingerprint(), new.len());
            warn_if_few(new.len());
        }
        let Progress { rows, resealed } = continue_rekey(&fleet, &actor, |_| ()).await?;
        println!("{resealed} of {rows} rows were sealed anew, and nothing is under an older root key any more.");
        println!("Backups from before open with the old slots only.");
        Ok(())
    }

    /// The slots that stay, with what opens each.
    fn kept<'a>(&self, config: &Config, slots: &'a [Slot], stored: &Stored) -> anyhow::Result<Vec<(&'a Slot, Unlock)>> {
        for name in &self.drop {
            ensure!(slots.iter().any(|it| it.name == *name), "there is no slot `{name}`");
        }
        let mut unlocks: Vec<Unlock> =
            config.vault.unlock.iter().chain(&self.unlock).filter_map(|source| source.read().ok()).collect();
        let mut kept = Vec::new();
        for slot in slots.iter().filter(|it| !self.drop.contains(&it.name)) {
            let opens = |unlock: &Unlock| {
                Vault::open(std::slice::from_ref(slot), None, unlock, stored, Box::new(SystemChance)).is_ok()
            };
            let at = unlocks.iter().position(opens);
            let unlock = at.map(|at| unlocks.remove(at));
            let unlock = unlock.ok_or_else(|| {
                anyhow::anyhow!(
                    "slot `{0}` cannot be made anew, since nothing that was named opens it: name what does with --unlock, or let it \
                     go with --drop {0}",
                    slot.name
                )
            })?;
            kept.push((slot, unlock));
        }
        Ok(kept)
    }
}
