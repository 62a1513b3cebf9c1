//! `e4 fleet rotate`.

use super::{
    address::Path,
    names,
    server::Server,
    watch::{self, WaitArgs},
};
use crate::output::{Failure, Output};
use e4_keyserver_api::{Order, Rotate, RotationKind};

/// Give a topic a new key
///
/// Without loss, all members get the new key first, and then all of them seal under it: it takes until those that were seen lately
/// have reported, and the policy's time at most. Soft is at once, and the old key opens for an hour more. Hard is at once, and the
/// old key opens nothing any more: for a key that somebody has who should not.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet rotate plant/7/pump --lossless --wait
  e4 fleet rotate 'plant/7/#' --hard")]
pub(super) struct Args {
    /// The topic, or a subtree such as plant/7/#
    topic: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(clap::Args)]
#[group(id = "how", required = true, multiple = false)]
struct How {
    /// In two phases: nobody misses a message
    #[arg(long)]
    lossless: bool,
    /// At once; the old key opens for an hour more
    #[arg(long)]
    soft: bool,
    /// At once; the old key opens nothing any more
    #[arg(long)]
    hard: bool,
}

impl How {
    fn kind(&self) -> RotationKind {
        match (self.hard, self.soft) {
            (true, _) => RotationKind::Hard,
            (false, true) => RotationKind::Soft,
            (false, false) => RotationKind::Lossless,
        }
    }
}

pub(super) fn run(args: &Args, server: &Server, output: Output) -> Result<(), Failure> {
    let topic = names::topic(server, &args.topic)?.id.to_string();
    let answer = server.post(&Path::new(&["topics", &topic, "rotate"]), &Rotate { kind: args.how.kind() })?;
    let order: Order = answer.read()?;
    watch::made(server, &order, &args.wait, output)
}
