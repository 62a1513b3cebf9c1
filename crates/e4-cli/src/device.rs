//! `e4 device`: the state file of a device.

mod import_e4go;
mod init;
mod show;
pub(crate) mod state;

use crate::output::{Failure, Output};

/// Create and show the state file of a device
///
/// The state file holds all that a device knows: its keys, the keys of its topics, and which commands it has accepted.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Init(init::Args),
    Show(show::Args),
    ImportE4go(import_e4go::Args),
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.action {
        Action::Init(args) => init::run(args, output),
        Action::Show(args) => show::run(args, output),
        Action::ImportE4go(args) => import_e4go::run(args, output),
    }
}
