//! `e4 fleet`: a fleet that a key server looks after, over its HTTP API.

mod access;
mod address;
mod answer;
mod audit;
mod bundle;
mod devices;
mod groups;
mod holds;
mod import;
mod import_fleet;
mod list;
mod names;
mod orders;
mod problem;
mod rotate;
mod server;
mod server_key;
mod status;
mod table;
mod tokens;
mod topics;
mod watch;
mod withdraw;

use crate::output::{Failure, Output};
use server::{Server, ServerArgs};

/// Look after a fleet with a key server: devices, groups, topics, access, rotations
///
/// The key server makes what you say true on every device, and shows how far it is. What it shows as confirmed is so on the
/// device, by the device's own report.
///
/// Devices, groups and topics are given by their names, and devices by their ids as well.
#[derive(clap::Args)]
#[command(after_help = "\
The token comes from --token-file or from the environment variable E4_TOKEN, and is never given on the command line. E4_SERVER is \
the address of the key server, unless --server says it.

Examples:
  e4 fleet devices add pump-7 --label site=basel
  e4 fleet topics add plant/7/pump
  e4 fleet access grant plant/7/pump --device pump-7 --write
  e4 fleet access grant plant/7/pump --group panels --read
  e4 fleet rotate plant/7/pump --lossless --wait
  e4 fleet devices withdraw pump-7 --dry-run
  e4 fleet status

Exit codes: 1 it could not be done; 3 the key server refused it; 27 what was waited for is not confirmed.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Subcommand)]
enum Action {
    #[command(subcommand)]
    Devices(devices::Action),
    #[command(subcommand)]
    Groups(groups::Action),
    #[command(subcommand)]
    Topics(topics::Action),
    #[command(subcommand)]
    Access(access::Action),
    Rotate(rotate::Args),
    #[command(subcommand)]
    Orders(orders::Action),
    #[command(subcommand)]
    ServerKey(server_key::Action),
    Status(status::StatusArgs),
    Exposure(status::ExposureArgs),
    #[command(subcommand)]
    Audit(audit::Action),
    #[command(subcommand)]
    Tokens(tokens::Action),
    Release(status::ReleaseArgs),
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let server = Server::new(&args.server)?;
    match &args.action {
        Action::Devices(action) => devices::run(action, &server, output),
        Action::Groups(action) => groups::run(action, &server, output),
        Action::Topics(action) => topics::run(action, &server, output),
        Action::Access(action) => access::run(action, &server, output),
        Action::Rotate(args) => rotate::run(args, &server, output),
        Action::Orders(action) => orders::run(action, &server, output),
        Action::ServerKey(action) => server_key::run(action, &server, output),
        Action::Status(_) => status::status(&server, output),
        Action::Exposure(args) => status::exposure(args, &server, output),
        Action::Audit(action) => audit::run(action, &server, output),
        Action::Tokens(action) => tokens::run(action, &server, output),
        Action::Release(_) => status::release(&server, output),
    }
}
