//! `check`: whether everything in the database is as the server left it.

use super::{config::Config, open::open_beside};
use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use e4_keyserver::fleet::verify_export;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Open every sealed value, and verify the audit; nothing is changed, and the server may be running
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Verify this export of the audit instead, which needs neither configuration nor database
    #[arg(long, value_name = "FILE", requires = "key")]
    export: Option<PathBuf>,
    /// The public key of checkpoints, as `check` shows it on the server
    #[arg(long, value_name = "HEX", requires = "export")]
    key: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, config: &Path) -> anyhow::Result<()> {
        if let (Some(export), Some(key)) = (&self.export, &self.key) {
            return check_export(export, key);
        }
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

fn check_export(path: &Path, key: &str) -> anyhow::Result<()> {
    let mut public_key = [0; 32];
    hex::decode_to_slice(key, &mut public_key).context("a public key of checkpoints is 64 hexadecimal digits")?;
    let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let found = verify_export(text.lines(), &public_key).with_context(|| path.display().to_string())?;
    println!(
        "{} entries, of which {} are as they were signed, by {} checkpoints",
        found.entries, found.signed, found.checkpoints
    );
    Ok(())
}
