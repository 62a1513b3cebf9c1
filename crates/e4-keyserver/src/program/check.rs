//! `check`: whether everything in the database is as the server left it.

use super::{config::Config, open::open_beside};
use anyhow::bail;
use clap::Args as ClapArgs;
use std::path::Path;

/// Open every sealed value, and verify the audit; nothing is changed, and the server may be running
#[derive(ClapArgs)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, config: &Path) -> anyhow::Result<()> {
        let fleet = open_beside(&Config::read(config)?).await?;
        let vault = fleet.vault();
        let findings = e4_keyserver::upkeep::check(fleet.store(), vault).await?;
        println!("Root key {}: {findings}", vault.root_fingerprint());
        println!("The public key of checkpoints is {}", hex::encode(vault.checkpoint_key()));
        if !findings.is_good() {
            bail!("{} things are not as the key server left them", findings.wrong);
        }
        Ok(())
    }
}
