//! From one database to another.

use super::{
    UpkeepError,
    cell::to_line,
    keys::has_vault,
    rekey::refuse_while_running,
    rows::{insert, page},
    tables::{TABLES, Table},
};
use crate::{
    fleet::Held,
    store::{Store, Transaction},
};
use sha3::{Digest, Sha3_256};

/// Copies all rows into a database that has no vault, and verifies each of them there before it commits. The first one holds
/// from then on.
///
/// # Errors
///
/// Either database, a server that runs on the first one, or a second one that is not empty. Nothing was written then.
pub async fn copy(from: &Store, to: &Store, now: i64) -> Result<u64, UpkeepError> {
    let mut source = from.read().await?;
    refuse_while_running(&mut source, now).await?;
    let mut target = to.write().await?;
    if has_vault(&mut target).await? {
        return Err(UpkeepError::State(
            "the second database belongs to a key server already, and nothing was changed".to_owned(),
        ));
    }
    // A new database has rows of its own there, which the first one has as well.
    target.execute("DELETE FROM meta", &[]).await?;
    let mut copied = 0;
    for table in TABLES {
        let mut rows = page(&mut source, table, None).await?;
        while let Some(last) = rows.last().cloned() {
            insert(&mut target, table, rows).await?;
            rows = page(&mut source, table, Some(&last)).await?;
        }
        let (in_source, in_target) = (digest(&mut source, table).await?, digest(&mut target, table).await?);
        if in_source != in_target {
            return Err(UpkeepError::State(format!(
                "the rows of {} are not the same in both databases, and nothing was changed",
                table.name
            )));
        }
        copied += in_target.0;
    }
    target.commit().await?;
    drop(source);
    // Two servers on copies would give the same device different commands of one second.
    let mut source = from.write().await?;
    let reason =
        "it was copied to another database, and goes on from there: release it only if nothing runs on that copy";
    Held { reason: reason.to_owned(), since: now }.write(&mut source).await?;
    source.commit().await?;
    Ok(copied)
}

/// How many rows a table has, and a digest over them. Two databases may order text differently, so it is not in the order of
/// the rows, but in that of their digests.
async fn digest(tx: &mut Transaction, table: &Table) -> Result<(u64, [u8; 32]), UpkeepError> {
    let mut digests: Vec<[u8; 32]> = Vec::new();
    let mut rows = page(tx, table, None).await?;
    while let Some(last) = rows.last() {
        digests.extend(rows.iter().map(|row| <[u8; 32]>::from(Sha3_256::digest(to_line(row)))));
        rows = page(tx, table, Some(last)).await?;
    }
    digests.sort_unstable();
    let count = u64::try_from(digests.len()).unwrap_or(u64::MAX);
    Ok((count, Sha3_256::digest(digests.as_flattened()).into()))
}
