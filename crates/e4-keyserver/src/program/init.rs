//! `init`: a new server.

use super::{
    config::{Config, TEMPLATE},
    slots::warn_if_few,
    unlock::Source,
};
use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use e4_keyserver::{
    fleet::{Clock, SystemClock},
    store::Store,
    upkeep::found,
    vault::{SystemChance, Unlock, Vault, Work},
};
use std::{fs, io::Write, path::Path};
use zeroize::Zeroizing;

/// Make a new server: configuration, database and vault
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What is to open the vault: key-file:PATH (made if it is not there), env:NAME, passphrase-file:PATH or passphrase. Can
    /// be given more than once, and should
    #[arg(long, value_name = "SOURCE", default_value = "passphrase")]
    unlock: Vec<Source>,
    /// The database, if it is not a file next to the configuration: `postgresql://user@host/name`
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, path: &Path) -> anyhow::Result<()> {
        ensure!(fs::symlink_metadata(path).is_err(), "{} exists, and nothing was changed", path.display());
        let text = self.configuration();
        let config = Config::from_template(&text, path)?;
        for source in &config.vault.unlock {
            make_key_file(source)?;
        }
        let unlocks = config.vault.unlock.iter().map(Source::read_new).collect::<anyhow::Result<Vec<_>>>()?;
        let now = SystemClock.now();
        let vault = Vault::create(Box::new(SystemChance), &besides(&unlocks))?;
        let mut slots = Vec::new();
        for (number, unlock) in (1..).zip(&unlocks) {
            slots.push(vault.new_slot(&format!("slot-{number}"), unlock, Work::DEFAULT, now)?);
        }
        let store = Store::open(&config.database.url).await?;
        found(&store, &vault, &slots, now).await?;
        write_new(path, text.as_bytes()).with_context(|| format!("could not write {}", path.display()))?;
        println!("{} is the configuration: set the broker there, then `e4-keyserver run`.", path.display());
        warn_if_few(slots.len());
        Ok(())
    }

    fn configuration(&self) -> String {
        let sources: Vec<_> = self.unlock.iter().map(|source| toml::Value::from(source.to_string())).collect();
        let mut text =
            TEMPLATE.replace("unlock = [\"passphrase\"]", &format!("unlock = {}", toml::Value::from(sources)));
        if let Some(url) = &self.database {
            text = text.replace("\"sqlite:e4-keyserver.db\"", &toml::Value::from(url.as_str()).to_string());
        }
        text
    }
}

/// A key file that is not there yet is made.
fn make_key_file(source: &Source) -> anyhow::Result<()> {
    let Source::KeyFile(path) = source else { return Ok(()) };
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let mut key = Zeroizing::new([0; 32]);
    e4_keyserver::vault::Chance::fill(&SystemChance, &mut *key)?;
    let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(*key))));
    write_new(path, text.as_bytes()).with_context(|| format!("could not write {}", path.display()))
}

/// What others do not know, for the first keys.
fn besides(unlocks: &[Unlock]) -> Zeroizing<Vec<u8>> {
    let mut all = Zeroizing::new(Vec::with_capacity(64 * unlocks.len()));
    for unlock in unlocks {
        match unlock {
            Unlock::Passphrase(passphrase) => all.extend_from_slice(passphrase.as_bytes()),
            Unlock::KeyFile(key) | Unlock::Environment(key) => all.extend_from_slice(&**key),
        }
    }
    all
}

/// A file for its owner alone, which was not there.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
