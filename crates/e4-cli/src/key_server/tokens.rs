//! `e4 fleet tokens`.

use super::{
    address::Path,
    list::{self, ListArgs},
    server::Server,
    table::or_dash,
};
use crate::{
    output::{Failure, Output},
    terminal::{note, printable},
};
use anyhow::anyhow;
use clap::ValueEnum;
use e4_keyserver_api::{NewToken, Role, Token, TokenMade};

/// Tokens: who may use the key server, for what and until when
#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// List tokens, which are not shown themselves
    List(ListArgs),
    Add(Add),
    Remove(Remove),
}

/// Make a token, which is shown once
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  e4 fleet tokens add dashboard --role viewer --expires-in 2592000 > dashboard.token")]
pub(super) struct Add {
    /// Its name, under which its holder is in the audit
    name: String,
    /// What its holder may do
    #[arg(long, value_enum)]
    role: RoleName,
    /// For how many seconds it works; until it is removed, unless given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    expires_in: Option<u64>,
}

/// Remove a token, which then works no more
#[derive(clap::Args)]
pub(super) struct Remove {
    /// Its name
    name: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Looks
    Viewer,
    /// Adds devices, and looks
    Enroller,
    /// Changes devices, groups, topics and access, rotates and withdraws
    Operator,
    /// Tokens and settings as well
    Administrator,
    /// Reads payloads; nothing more
    PayloadReader,
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    let path = Path::new(&["tokens"]);
    match action {
        Action::List(args) => {
            let columns = ["name", "role", "made", "expires", "last used"];
            list::print(server, &path, args, output, &columns, |token: &Token| {
                let (expires, used) = (or_dash(token.expires.as_ref()), or_dash(token.used.as_ref()));
                vec![token.name.clone(), token.role.to_string(), token.created.clone(), expires, used]
            })
        }
        Action::Add(args) => {
            let role = match args.role {
                RoleName::Viewer => Role::Viewer,
                RoleName::Enroller => Role::Enroller,
                RoleName::Operator => Role::Operator,
                RoleName::Administrator => Role::Administrator,
                RoleName::PayloadReader => Role::PayloadReader,
            };
            let body = NewToken { name: args.name.clone(), role, expires_in: args.expires_in };
            let made: TokenMade = server.post(&path, &body)?.read()?;
            note("The token is not shown again:");
            output.print(&made, || made.secret.reveal().to_owned())
        }
        Action::Remove(args) => {
            let tokens: Vec<Token> = list::all(server, &path, None)?;
            let token = tokens.iter().find(|token| token.name == args.name);
            let shown = printable(&args.name);
            let token = token.ok_or_else(|| anyhow!("there is no token {shown}: see `e4 fleet tokens list`"))?;
            server.delete(&Path::new(&["tokens", &token.id.to_string()]))?;
            output.print(token, || format!("The token {shown} is removed"))
        }
    }
}
