//! `e4 fleet server-key`.

use super::{
    address::Path,
    list::{self, ListArgs},
    server::Server,
    watch::{self, WaitArgs},
};
use crate::{
    key_file::{Kind, write_key},
    output::{Failure, Output},
};
use anyhow::{Context, anyhow};
use e4_keyserver_api::{KeyRole, Order, ServerKey};
use std::path::PathBuf;

/// The key server's own key, which devices in public-key mode know
#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// Show its public keys, and how many devices have which
    List(ListArgs),
    Export(Export),
    Rotate(Rotate),
}

/// Write the public key to a file, for `e4 device init` and `e4 control set-c2-key`
#[derive(clap::Args)]
pub(super) struct Export {
    /// Where it goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

/// Give the key server a new key, to which each device moves on its own
#[derive(clap::Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    wait: WaitArgs,
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    let path = Path::new(&["server-key"]);
    match action {
        Action::List(args) => {
            let columns = ["version", "role", "devices", "made", "public key"];
            list::print(server, &path, args, output, &columns, |key: &ServerKey| {
                let (version, role) = (key.version.to_string(), key.role.to_string());
                vec![version, role, key.devices.to_string(), key.created.clone(), key.public_key.clone()]
            })
        }
        Action::Export(args) => {
            let keys: Vec<ServerKey> = list::all(server, &path, None)?;
            let current = keys.iter().find(|key| key.role == KeyRole::Current);
            let current = current.context("the key server has no current key of its own")?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(&current.public_key, &mut bytes).map_err(|_| anyhow!("the key server sent no key"))?;
            write_key(&args.out, Kind::X25519Public, &bytes, args.force)?;
            output.print(current, || format!("The public key of the key server is in {}", args.out.display()))
        }
        Action::Rotate(args) => {
            let answer = server.post(&Path::new(&["server-key", "rotate"]), &serde_json::json!({}))?;
            let order: Order = answer.read()?;
            watch::made(server, &order, &args.wait, output)
        }
    }
}
