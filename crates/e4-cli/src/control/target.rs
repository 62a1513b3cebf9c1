//! The arguments that all commands of the key server have.

use crate::{broker::BrokerArgs, fleet::Whom};
use std::path::PathBuf;

/// Seconds that reports are waited for, unless it is said.
pub(super) const DEFAULT_WAIT: u64 = 10;

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
    /// Wait so many seconds, 10 unless given, for what the devices report: whether they have carried it out, or refused it and
    /// why. Exit code 3 if one has refused it, 27 if one has not confirmed it, as devices of older versions never do
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", conflicts_with = "print_hex",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) wait: Option<u64>,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
}
