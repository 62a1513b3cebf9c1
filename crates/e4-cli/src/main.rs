//! `e4`: keys, devices, key rotation, and sealed publish and subscribe over MQTT, from the shell.
//!
//! Each subcommand is a module of its own with its `Args` and a `run`; what several of them need stands beside them.

mod completions;
mod demo;
mod device;
mod id;
mod inspect;
mod key;
mod keygen;
mod output;
mod password;
mod seal;
mod secret_file;

use clap::{Parser, Subcommand};
use output::{Failure, Output};
use std::process::ExitCode;

/// End-to-end encryption and key management for MQTT.
#[derive(Parser)]
#[command(name = "e4", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    /// Print results as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Keygen(keygen::Args),
    Id(id::Args),
    Key(key::Args),
    Device(device::Args),
    Seal(seal::SealArgs),
    Open(seal::OpenArgs),
    Inspect(inspect::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.json };
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Keygen(args) => keygen::run(&args, output),
        Command::Id(args) => id::run(&args, output),
        Command::Key(args) => key::run(&args, output),
        Command::Device(args) => device::run(&args, output),
        Command::Seal(args) => seal::seal(&args, output),
        Command::Open(args) => seal::open(&args, output),
        Command::Inspect(args) => inspect::run(&args, output),
        Command::Completions(args) => completions::run(&args, output),
    };
    result.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}
