//! `e4 fleet audit`.

use super::{
    address::Path,
    list::{self, ListArgs},
    server::Server,
};
use crate::{
    output::{Failure, Output},
    terminal::note,
    whole_file::check_free,
};
use anyhow::Context;
use e4_keyserver_api::AuditEntry;
use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    path::PathBuf,
};

/// Who changed what, and what was refused
#[derive(clap::Subcommand)]
pub(super) enum Action {
    List(ListEntries),
    Export(Export),
}

/// List the entries, newest first
#[derive(clap::Args)]
pub(super) struct ListEntries {
    /// By this token or rule
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Of this kind
    #[arg(long, value_name = "WORDS")]
    action: Option<String>,
    /// About this: a name, an id, a number
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Write all entries and signed checkpoints as JSON lines, for `e4-keyserver check`
#[derive(clap::Args)]
pub(super) struct Export {
    /// Where they go; `-` for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    match action {
        Action::List(args) => {
            let path = Path::new(&["audit"])
                .with("actor", args.actor.as_ref())
                .with("action", args.action.as_ref())
                .with("subject", args.subject.as_ref());
            let columns = ["entry", "at", "who", "from", "what", "of", "detail"];
            list::print(server, &path, &args.list, output, &columns, |entry: &AuditEntry| {
                vec![
                    entry.id.to_string(),
                    entry.at.clone(),
                    entry.actor.clone(),
                    entry.origin.clone(),
                    entry.action.clone(),
                    entry.subject.clone(),
                    if entry.detail.is_null() { String::new() } else { entry.detail.to_string() },
                ]
            })
        }
        Action::Export(args) => export(args, server),
    }
}

/// Lines as they come: they are signed, and may be more than fit into memory. JSON has nothing in it that steers a terminal, if the
/// key server writes it; who exports to a terminal has that trust.
fn export(args: &Export, server: &Server) -> Result<(), Failure> {
    let to_stdout = args.out.as_os_str() == "-";
    if !to_stdout {
        check_free(&args.out, false)?;
    }
    let body = server.stream(&Path::new(&["audit", "export"]))?;
    let reader = body.into_with_config().limit(u64::MAX).reader();
    if to_stdout {
        copy(reader, io::stdout().lock()).context("the export did not come whole")?;
        return Ok(());
    }
    let shown = args.out.display();
    let mut file = OpenOptions::new().write(true).create_new(true).open(&args.out);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("could not write {shown}: {error}"))?;
    copy(reader, &mut *file).with_context(|| format!("the export in {shown} is not whole"))?;
    file.sync_all().with_context(|| shown.to_string())?;
    note(format!("The audit is in {shown}"));
    Ok(())
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.flush()
}
