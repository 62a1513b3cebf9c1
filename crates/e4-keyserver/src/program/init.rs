//! `init`: a new server.

use super::{
    config::{Config, TEMPLATE},
    open::with_vault,
    slots::warn_if_few,
    unlock::Source,
};
use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use e4_keyserver::{
    fleet::{Clock, SystemClock},
    store::Store,
    upkeep::found,
    vault::{Chance, SystemChance, Unlock, Vault, Work},
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Make a new server: configuration, database, vault, and a token of an administrator, which is shown once
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What is to open the vault: key-file:PATH (made if it is not there), env:NAME, passphrase-file:PATH or passphrase. Can
    /// be given more than once, and should
    #[arg(long, value_name = "SOURCE", default_value = "passphrase")]
    unlock: Vec<Source>,
    /// The database, if it is not a file next to the configuration: `postgresql://user@host/name`
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The name of the first administrator
    #[arg(long, value_name = "NAME", default_value = "first administrator")]
    administrator: String,
}

impl Args {
    pub(crate) async fn run(self, path: &Path) -> anyhow::Result<()> {
        ensure!(fs::symlink_metadata(path).is_err(), "{} exists, and nothing was changed", path.display());
        let text = self.configuration();
        let config = Config::from_template(&text, path)?;
        let mut made = Made::default();
        for source in &config.vault.unlock {
            made.key_file(source)?;
        }
        let unlocks = config.vault.unlock.iter().map(Source::read_new).collect::<anyhow::Result<Vec<_>>>()?;
        made.file(path, text.as_bytes())?;
        made.database(&config.database.url);
        let vault = Vault::create(Box::new(SystemChance), &besides(&unlocks))?;
        let mut slots = Vec::new();
        for (number, unlock) in (1..).zip(&unlocks) {
            slots.push(vault.new_slot(&format!("slot-{number}"), unlock, Work::DEFAULT, SystemClock.now())?);
        }
        let store = Store::open(&config.database.url).await?;
        found(&store, &vault, &slots).await?;
        let token = with_vault(&config, store, vault).begin_fleet(&self.administrator).await?;
        made.stays();
        println!("{} is the configuration: set the broker there, then `e4-keyserver run`.", path.display());
        warn_if_few(slots.len());
        if let Some(secret) = token.secret {
            println!("The token of `{}`, which is not shown again:", self.administrator);
            println!("{}", *secret);
        }
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

/// Files that were made, and go again if it comes to nothing.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn file(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        write_new(path, content).with_context(|| format!("could not write {}", path.display()))?;
        self.0.push(path.to_owned());
        Ok(())
    }

    /// A key file that is not there yet is made.
    fn key_file(&mut self, source: &Source) -> anyhow::Result<()> {
        let Source::KeyFile(path) = source else { return Ok(()) };
        if fs::symlink_metadata(path).is_ok() {
            return Ok(());
        }
        let mut key = Zeroizing::new([0; 32]);
        SystemChance.fill(&mut *key)?;
        let digits = Zeroizing::new(hex::encode(*key));
        let line = Zeroizing::new([digits.as_bytes(), b"\n"].concat());
        self.file(path, &line)
    }

    /// The file of a database that is about to be made.
    fn database(&mut self, url: &str) {
        let path = url.strip_prefix("sqlite:").map(PathBuf::from).filter(|path| fs::symlink_metadata(path).is_err());
        for end in path.iter().flat_map(|_| ["", "-wal", "-shm", ".lock"]) {
            self.0.extend(path.as_ref().map(|path| PathBuf::from(format!("{}{end}", path.display()))));
        }
    }

    fn stays(&mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            let _not_there = fs::remove_file(path);
        }
    }
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
fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
