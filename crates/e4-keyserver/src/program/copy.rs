//! `copy`: to another database.

use super::{config::Config, open::open};
use clap::Args as ClapArgs;
use e4_keyserver::store::Store;
use std::path::Path;

/// Copy everything into another database, such as from a file to PostgreSQL, and verify every row there; the server must not run
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The database to copy to, which is empty: `postgresql://user@host/name`, or `sqlite:PATH`
    to: String,
}

impl Args {
    pub(crate) async fn run(self, config: &Path) -> anyhow::Result<()> {
        let from = open(&Config::read(config)?).await?;
        let to = Store::open(&self.to).await?;
        let rows = e4_keyserver::upkeep::copy(from.store(), &to, from.now()).await?;
        let findings = e4_keyserver::upkeep::check(&to, from.vault()).await?;
        println!("{rows} rows were copied, and each is the same there. {findings}");
        println!(
            "Set database.url to it in the configuration. The old database is held from now on: two servers must not run on copies."
        );
        Ok(())
    }
}
