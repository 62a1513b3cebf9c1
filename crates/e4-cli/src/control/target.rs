//! The arguments that all commands of the key server have.

use crate::{broker::BrokerArgs, fleet::Whom};
use std::path::PathBuf;

/// Whom a command is for, and how it gets there.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct TargetArgs {
    /// The fleet file
    #[arg(long, value_name = "FILE", default_value = "fleet.toml")]
    pub(super) fleet: PathBuf,
    #[command(flatten)]
    pub(super) whom: Whom,
    /// Publish nothing: print the sealed commands for another way of sending them, as lines `CONTROL-TOPIC HEX`. Send them in
    /// this order, and before any later ones
    #[arg(long)]
    pub(super) print_hex: bool,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
}
