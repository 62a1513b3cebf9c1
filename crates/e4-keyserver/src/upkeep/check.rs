//! Everything in the database, examined.

use super::{Findings, UpkeepError, examine::Examiner, rows::page, tables::TABLES};
use crate::{
    store::{Store, Transaction},
    vault::Vault,
};

/// Opens every sealed value in its place, and verifies the audit. Nothing is changed.
///
/// # Errors
///
/// The database. What is wrong in it is in the findings.
pub async fn check(store: &Store, vault: &Vault) -> Result<Findings, UpkeepError> {
    examine(&mut store.read().await?, vault).await
}

pub(super) async fn examine(tx: &mut Transaction, vault: &Vault) -> Result<Findings, UpkeepError> {
    let mut examiner = Examiner::new(vault);
    for table in TABLES {
        let mut rows = page(tx, table, None).await?;
        while let Some(last) = rows.last() {
            for row in &rows {
                examiner.row(table, row);
            }
            rows = page(tx, table, Some(last)).await?;
        }
    }
    Ok(examiner.end())
}
