//! `backup`: all of a server in one file.

use super::{
    config::Config,
    open::{open_beside, open_for_upkeep, somebody_here, with_vault},
    unlock::read_file,
};
use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use e4_keyserver::{
    fleet::{Clock, SystemClock},
    store::Store,
    upkeep::{create_backup, restore_backup, verify_backup},
};
use std::{
    fs,
    io::Seek,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// All of a server in one file, encrypted to recipients of age
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a backup; the server may be running
    Create {
        /// The file, which is not there yet
        file: PathBuf,
        /// Whose identity opens it (age1…); can be given more than once
        #[arg(long, short, value_name = "RECIPIENT", required = true)]
        recipient: Vec<String>,
    },
    /// Examine a backup without restoring it: every row, the audit, and that this kind of server wrote it. What opens the vault in
    /// it is taken from the configuration
    Verify {
        /// The backup
        file: PathBuf,
        /// A file with the identity of a recipient (AGE-SECRET-KEY-1…)
        #[arg(long, short, value_name = "FILE")]
        identity: PathBuf,
    },
    /// Restore a backup into the new database that the configuration names. The server then starts held: it sends nothing until
    /// it is told to go on
    Restore {
        /// The backup
        file: PathBuf,
        /// A file with the identity of a recipient (AGE-SECRET-KEY-1…)
        #[arg(long, short, value_name = "FILE")]
        identity: PathBuf,
    },
}

impl Command {
    pub(crate) async fn run(self, config: &Path) -> anyhow::Result<()> {
        let config = Config::read(config)?;
        match self {
            Self::Create { file, recipient } => create(&config, &file, &recipient).await,
            Self::Verify { file, identity } => verify(&config, &open_file(&file)?, &identity_of(&identity)?).map(drop),
            Self::Restore { file, identity } => {
                let (mut input, identity) = (open_file(&file)?, identity_of(&identity)?);
                let vault = verify(&config, &input, &identity)?;
                input.rewind()?;
                let store = Store::open(&config.database.url).await?;
                let restored = restore_backup(&store, &vault, &input, &identity, SystemClock.now()).await?;
                let fleet = with_vault(&config, store, vault);
                fleet.hold(&somebody_here(), "restored from a backup").await?;
                println!(
                    "{} rows were restored. The server starts held: it sends nothing until it is told to go on.",
                    restored.rows
                );
                Ok(())
            }
        }
    }
}

async fn create(config: &Config, file: &Path, recipients: &[String]) -> anyhow::Result<()> {
    ensure!(fs::symlink_metadata(file).is_err(), "{} exists, and nothing was changed", file.display());
    let fleet = open_beside(config).await?;
    let folder = super::config::folder_of(file);
    let mut temporary = tempfile::Builder::new().prefix(".e4-").tempfile_in(folder)?;
    let rows = create_backup(fleet.store(), fleet.vault(), recipients, fleet.now(), temporary.as_file_mut()).await?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(file).map_err(|error| error.error)?;
    println!("{} holds {rows} rows. `backup verify` says whether it can be restored.", file.display());
    Ok(())
}

fn verify(config: &Config, input: &fs::File, identity: &str) -> anyhow::Result<e4_keyserver::vault::Vault> {
    let (vault, findings) = verify_backup(input, identity, open_for_upkeep(&config.vault.unlock))?;
    println!("Root key {}: {findings}", vault.root_fingerprint());
    if !findings.is_good() {
        bail!("{} things in the backup are not as a key server leaves them", findings.wrong);
    }
    Ok(vault)
}

fn open_file(path: &Path) -> anyhow::Result<fs::File> {
    fs::File::open(path).with_context(|| format!("could not read {}", path.display()))
}

fn identity_of(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let bytes = read_file(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(Zeroizing::new(str::from_utf8(&bytes).context("the identity is no text")?.to_owned()))
}
