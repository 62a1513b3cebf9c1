//! Lists, which the key server gives in pages.

use super::{address::Path, answer::NOT_UNDERSTOOD, server::Server, table::table};
use crate::output::{Failure, Output};
use anyhow::{Context, ensure};
use e4_keyserver_api::Page;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How many items a page has at most.
const PAGE: u32 = 1000;

/// How much of a list.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct ListArgs {
    /// Show so many at most
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

/// Calls with each item of a list, page by page.
pub(super) fn each(
    server: &Server,
    path: &Path,
    limit: Option<u32>,
    mut take: impl FnMut(Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = limit.unwrap_or(u32::MAX);
    let mut after: Option<String> = None;
    while left > 0 {
        let asked = path.clone().with("limit", Some(left.min(PAGE).to_string())).with("after", after.as_ref());
        let page: Page<Value> = server.get(&asked)?.read()?;
        for item in page.items {
            if left > 0 {
                take(item)?;
                left -= 1;
            }
        }
        if page.next.is_none() {
            break;
        }
        ensure_moves(after.as_ref(), page.next.as_ref())?;
        after = page.next;
    }
    Ok(())
}

fn ensure_moves(before: Option<&String>, next: Option<&String>) -> anyhow::Result<()> {
    ensure!(before != next, "the key server gives the same page of the list for ever");
    Ok(())
}

/// All items of a list.
pub(super) fn all<T: DeserializeOwned>(server: &Server, path: &Path, limit: Option<u32>) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    each(server, path, limit, |item| {
        items.push(serde_json::from_value(item).context(NOT_UNDERSTOOD)?);
        Ok(())
    })?;
    Ok(items)
}

/// Prints a list: for people as a table, for programs one object a line.
pub(super) fn print<T: DeserializeOwned>(
    server: &Server,
    path: &Path,
    args: &ListArgs,
    output: Output,
    columns: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<(), Failure> {
    if output.json {
        return each(server, path, args.limit, |item| output.print(&item, String::new));
    }
    let items: Vec<T> = all(server, path, args.limit)?;
    if items.is_empty() {
        return output.print(&(), || "There are none".to_owned());
    }
    output.print(&(), || table(columns, items.iter().map(row)))
}
