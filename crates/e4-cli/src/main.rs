//! `e4`: keys, devices, key rotation, and sealed publish and subscribe over MQTT, from the shell.
//!
//! Each subcommand is a module of its own with its `Args` and a `run`; what several of them need stands beside them.

mod age_rule;
mod broker;
mod completions;
mod connect;
mod control;
mod demo;
mod device;
mod fleet;
mod id;
mod inspect;
mod key;
mod key_file;
mod key_server;
mod keygen;
mod last_second;
mod losses;
mod names;
mod output;
mod password;
mod publish;
mod seal;
mod source;
mod subscribe;
mod terminal;
mod whole_file;

use clap::{Parser, Subcommand};
use output::Output;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// End-to-end encryption and key management for MQTT.
#[derive(Parser)]
#[command(
    name = "e4",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Begin with `e4 demo`. Files with keys are given as a path, `-` for standard input or `env:NAME` for an environment variable. \
E4_LOG=debug logs what happens.

Exit codes: 0 done; 1 it could not be done; 2 the command line is wrong; 3 a message (open), a command \
(pub --only-connect, control --wait) or a request (fleet) was refused; 27 the time is over (sub -W) or a device has not \
confirmed (control --wait, fleet --wait)."
)]
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
    Pub(publish::Args),
    Sub(subscribe::Args),
    Control(control::Args),
    Fleet(key_server::Args),
    Seal(seal::SealArgs),
    Open(seal::OpenArgs),
    Inspect(inspect::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_arguments(&error),
    };
    if let Ok(filter) = EnvFilter::try_from_env("E4_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let output = Output { json: cli.json };
    let told_whole = matches!(cli.command, Command::Demo(_) | Command::Control(_) | Command::Fleet(_));
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Keygen(args) => keygen::run(&args, output),
        Command::Id(args) => id::run(&args, output),
        Command::Key(args) => key::run(&args, output),
        Command::Device(args) => device::run(&args, output),
        Command::Pub(args) => publish::run(&args, output),
        Command::Sub(args) => subscribe::run(&args, output),
        Command::Control(args) => control::run(&args, output),
        Command::Fleet(args) => key_server::run(&args, output),
        Command::Seal(args) => seal::seal(&args, output),
        Command::Open(args) => seal::open(&args, output),
        Command::Inspect(args) => inspect::run(&args, output),
        Command::Completions(args) => completions::run(&args, output),
    };
    result.map_or_else(|failure| failure.report(told_whole), |()| ExitCode::SUCCESS)
}

/// What clap has to say: help, or what is wrong with the command line, where there may be a key in the wrong place.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let is_harmless = terminal::without_keys(&text) == text && terminal::clean(&text) == text;
    if !error.use_stderr() || is_harmless {
        error.exit();
    }
    terminal::note(text.trim_end());
    ExitCode::from(2)
}
