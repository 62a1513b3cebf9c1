//! The command line of the program: each command is a module of its own with its `Args` and a `run`.

mod backup;
mod check;
mod config;
mod copy;
mod demo;
mod init;
mod open;
mod rekey;
mod run;
mod server;
mod slots;
mod unlock;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The key server of E4: says who may read and write which MQTT topics, and makes it true on every device.
#[derive(Parser)]
#[command(
    name = "e4-keyserver",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Begin with `e4-keyserver init`, which writes a configuration with comments. Each setting of it can be given by the environment \
as well: E4_KEYSERVER_DATABASE__URL is `url` of the section `database`. E4_KEYSERVER_LOG=debug logs more."
)]
pub(crate) struct Program {
    /// The configuration
    #[arg(
        long,
        short,
        global = true,
        env = "E4_KEYSERVER_CONFIG",
        default_value = "e4-keyserver.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Run(run::Args),
    Demo(demo::Args),
    #[command(subcommand)]
    Slots(slots::Command),
    Rekey(rekey::Args),
    Check(check::Args),
    #[command(subcommand)]
    Backup(backup::Command),
    Copy(copy::Args),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
}

impl Program {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(args) => args.run(&self.config).await,
            Command::Run(args) => args.run(&self.config).await,
            Command::Demo(args) => args.run().await,
            Command::Slots(command) => command.run(&self.config).await,
            Command::Rekey(args) => args.run(&self.config).await,
            Command::Check(args) => args.run(&self.config).await,
            Command::Backup(command) => command.run(&self.config).await,
            Command::Copy(args) => args.run(&self.config).await,
            Command::Config(command) => command.run(&self.config),
        }
    }
}
