//! What a device begins with: `e4 fleet devices bundle`, `fetch`, `invite` and `register`.

use super::{
    address::Path,
    devices::pairs,
    names,
    server::{Server, read_token},
    table::fields,
};
use crate::{
    output::{Failure, Output},
    source::Source,
    terminal::note,
    whole_file::{NewFile, check_free, folder_of},
};
use anyhow::{Context, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4::VerifyingKey;
use e4_keyserver_api::{
    Bundle, BundleForm, Invitation, NewBundle, NewInvitation, Redeem, Register, Registered, Secret,
};
use qrcode::{QrCode, render::unicode::Dense1x2};
use std::{fs, path::PathBuf};
use zeroize::Zeroizing;

/// Give a device what it needs to begin with: its keys, once
///
/// It can be fetched once. With --invite it is not fetched now: a token is shown with which `e4 fleet devices fetch` gets it on
/// the device itself.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet devices bundle pump-7 --out pump-7.state
  e4 fleet devices bundle pump-7 --qr
  e4 fleet devices bundle pump-7 --invite")]
pub(super) struct Args {
    /// The device, by its name or its id
    device: String,
    #[command(flatten)]
    form: FormArgs,
    /// Show a token that works once, and fetch nothing
    #[arg(long, conflicts_with = "form")]
    invite: bool,
    /// For how many seconds the token works; as the key server's policy says, unless given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    expires_in: Option<u64>,
}

/// In which form it is wanted, and where it goes.
#[derive(clap::Args)]
#[group(id = "form", multiple = false)]
struct FormArgs {
    /// Write a state file, as `e4 sub --state` and the libraries take it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print lines of name=value with the secrets in them
    #[arg(long)]
    text: bool,
    /// Print those lines as a QR code
    #[arg(long)]
    qr: bool,
}

/// Fetch what a device needs to begin with, with a token that works once
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  e4 fleet devices fetch --invitation invitation.txt --out pump-7.state --server https://keys.example:7443")]
pub(super) struct FetchArgs {
    /// Where the token of the invitation is: a file, `-` for standard input, `env:NAME` for an environment variable
    #[arg(long, value_name = "FILE")]
    invitation: Source,
    #[command(flatten)]
    form: FormArgs,
}

/// Invite a device in public-key mode, which registers its own public key: show a token that works once
#[derive(clap::Args)]
pub(super) struct InviteArgs {
    /// The name that it gets; without one, it brings one
    #[arg(long)]
    name: Option<String>,
    /// A label that it gets, NAME=VALUE; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// A group that it becomes a member of; may be given several times
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// For how many seconds the token works; as the key server's policy says, unless given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    expires_in: Option<u64>,
}

/// Register the public key of a device, with a token that works once
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  e4 keygen ed25519 --out panel-1.key
  e4 fleet devices register --invitation invitation.txt --public-key-file panel-1.key.pub --name panel-1")]
pub(super) struct RegisterArgs {
    /// Where the token of the invitation is: a file, `-` for standard input, `env:NAME` for an environment variable
    #[arg(long, value_name = "FILE")]
    invitation: Source,
    /// The public Ed25519 key of the device
    #[arg(long, value_name = "FILE")]
    public_key_file: Source,
    /// Its name, unless the invitation has one
    #[arg(long)]
    name: Option<String>,
}

pub(super) fn run(args: &Args, server: &Server, output: Output) -> Result<(), Failure> {
    if !args.invite {
        args.form.check()?;
    }
    let id = names::device(server, &args.device)?;
    let body = NewBundle { expires_in: args.expires_in };
    let invitation: Invitation = server.post(&Path::new(&["devices", &id, "bundle"]), &body)?.read()?;
    if args.invite {
        return print_invitation(&invitation, output);
    }
    args.form.fetch(invitation.token, server, output)
}

pub(super) fn fetch(args: &FetchArgs, server: &Server, output: Output) -> Result<(), Failure> {
    args.form.check()?;
    args.form.fetch(Secret::new(read_token(&args.invitation)?), server, output)
}

pub(super) fn invite(args: &InviteArgs, server: &Server, output: Output) -> Result<(), Failure> {
    let body = NewInvitation {
        name: args.name.clone(),
        labels: pairs(&args.labels)?,
        groups: args.groups.clone(),
        expires_in: args.expires_in,
    };
    print_invitation(&server.post(&Path::new(&["invitations"]), &body)?.read()?, output)
}

pub(super) fn register(args: &RegisterArgs, server: &Server, output: Output) -> Result<(), Failure> {
    let key = args.public_key_file.key::<VerifyingKey>()?;
    let token = Secret::new(read_token(&args.invitation)?);
    let body = Register { token, public_key: hex::encode(key.as_bytes()), name: args.name.clone() };
    let registered: Registered = server.post(&Path::new(&["register"]), &body)?.read()?;
    output.print(&registered, || {
        fields(&[("id", registered.id.clone()), ("key of the key server", registered.server_key.clone())])
    })
}

fn print_invitation(invitation: &Invitation, output: Output) -> Result<(), Failure> {
    note(format!(
        "The token works once, until {}, and is not shown again:",
        crate::terminal::printable(&invitation.expires)
    ));
    output.print(invitation, || invitation.token.reveal().to_owned())
}

impl FormArgs {
    /// Fails before something is fetched that can be fetched once, and then has no place.
    fn check(&self) -> anyhow::Result<()> {
        match self {
            Self { out: Some(path), .. } => check_free(path, false),
            Self { out: None, text: false, qr: false } => {
                Err(anyhow!("say where it is to go: --out FILE, --text or --qr"))
            }
            _ => Ok(()),
        }
    }

    fn fetch(&self, token: Secret, server: &Server, output: Output) -> Result<(), Failure> {
        let form = if self.out.is_some() { BundleForm::State } else { BundleForm::Text };
        let bundle: Bundle = server.post(&Path::new(&["bundles"]), &Redeem { token, form })?.read()?;
        match &self.out {
            Some(path) => {
                let state = BASE64_STANDARD.decode(bundle.content.reveal()).map(Zeroizing::new);
                let state = state.map_err(|_shows_a_byte| anyhow!("the key server sent no state file"))?;
                let file = |owner| NewFile { path, mode: 0o600, owner, replaces: false, to_the_disk: true };
                let written = fs::metadata(folder_of(path)).and_then(|owner| file(owner).write(&state));
                written.with_context(|| {
                    let path = path.display();
                    format!("could not write {path}, and what was fetched cannot be fetched again: make a new bundle for the device")
                })?;
                let shown = serde_json::json!({"id": bundle.id, "name": bundle.name, "state": path});
                output.print(&shown, || format!("The state of {} is in {}", bundle.id, path.display()))
            }
            None if self.qr => {
                let code = QrCode::new(bundle.content.reveal().as_bytes()).context("as a QR code")?;
                // Light on a dark terminal, as most are.
                let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
                output.print(&bundle, || drawn)
            }
            None => output.print(&bundle, || bundle.content.reveal().trim_end().to_owned()),
        }
    }
}
