//! A new root key.
//!
//! First, in one transaction: the new root key in its slots, instead of the old ones, and the old root key sealed under it.
//! From then on the vault opens rows under either. Then all rows, in batches, each in a transaction of its own; each sealed
//! value says by its first bytes which root key it is under, so that whoever goes on after an interruption begins at the front
//! and passes over what is done. At the end the old root key is forgotten.

use super::{
    UpkeepError,
    examine::{NamedRow, resealed},
    keys::{insert_slot, save_stored},
    rows::page,
    tables::{TABLES, Table, placeholders},
};
use crate::{
    fleet::{Actor, Fleet},
    store::{Transaction, Value},
    vault::{Column, Slot, Stored, Vault},
};
use serde_json::json;

/// How far a new root key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows that were looked at.
    pub rows: u64,
    /// Of these, rows that were sealed anew.
    pub resealed: u64,
}

/// Puts a new root key into place of the old one: the vault of the fleet is what [`Vault::with_new_root`] gave, and these are its slots.
///
/// # Errors
///
/// The database, no slot, or a server that runs on this database.
pub async fn begin_rekey(fleet: &Fleet, actor: &Actor, slots: &[Slot]) -> Result<(), UpkeepError> {
    if slots.is_empty() {
        return Err(UpkeepError::State("without a slot nothing opens the vault again".to_owned()));
    }
    let mut intent = fleet.begin(actor).await?;
    refuse_while_running(&mut intent.tx, fleet.now()).await?;
    intent.tx.execute("DELETE FROM slots", &[]).await?;
    for slot in slots {
        insert_slot(&mut intent.tx, slot).await?;
    }
    save_stored(&mut intent.tx, &fleet.vault().stored()?).await?;
    let names: Vec<_> = slots.iter().map(|it| it.name.as_str()).collect();
    let root = fleet.vault().root_fingerprint().to_string();
    intent.audit("new root key", &root, &json!({ "slots": names })).await?;
    Ok(intent.tx.commit().await?)
}

/// Seals all rows under the new root key, and forgets the one before. It can be interrupted, and begun again.
///
/// # Errors
///
/// The database, a server that runs on it, or a value that does not open: it is left as it is, and so is the old root key.
pub async fn continue_rekey(
    fleet: &Fleet,
    actor: &Actor,
    mut told: impl FnMut(Progress),
) -> Result<Progress, UpkeepError> {
    let mut progress = Progress::default();
    for table in
        TABLES.iter().filter(|it| Column::ALL.iter().any(|column| column.table() == it.name) && it.name != "meta")
    {
        let mut after = None;
        loop {
            let mut tx = fleet.store().write().await?;
            refuse_while_running(&mut tx, fleet.now()).await?;
            let rows = page(&mut tx, table, after.as_deref()).await?;
            let Some(last) = rows.last() else { break };
            for row in &rows {
                progress.rows += 1;
                progress.resealed += u64::from(reseal(&mut tx, fleet.vault(), &NamedRow { table, row }).await?);
            }
            after = Some(last.clone());
            tx.commit().await?;
            told(progress);
        }
    }
    let mut intent = fleet.begin(actor).await?;
    save_stored(&mut intent.tx, &Stored { previous_root: None, ..fleet.vault().stored()? }).await?;
    let root = fleet.vault().root_fingerprint().to_string();
    intent.audit("old root key forgotten", &root, &json!({ "resealed": progress.resealed })).await?;
    intent.tx.commit().await?;
    Ok(progress)
}

async fn reseal(tx: &mut Transaction, vault: &Vault, row: &NamedRow<'_>) -> Result<bool, UpkeepError> {
    let new = resealed(vault, row)?;
    for (column, sealed) in &new {
        let Table { name, key, .. } = row.table;
        let statement = format!(
            "UPDATE {name} SET {} = ${} WHERE ({}) = ({})",
            column.name(),
            key + 1,
            row.table.key_list(),
            placeholders(*key)
        );
        let mut parameters: Vec<Value> = row.row.iter().take(*key).cloned().map(Value::from).collect();
        parameters.push(Value::from(sealed.as_slice()));
        tx.execute(&statement, &parameters).await?;
    }
    Ok(!new.is_empty())
}

/// A server that runs would go on to seal under the old root key.
pub(super) async fn refuse_while_running(tx: &mut Transaction, now: i64) -> Result<(), UpkeepError> {
    let holder = tx.query_opt("SELECT holder FROM leases WHERE expires > $1 LIMIT 1", &[Value::from(now)]).await?;
    match holder {
        Some(row) => Err(UpkeepError::State(format!(
            "the key server `{}` runs on this database: stop it first, or wait a few seconds if it was just stopped",
            row.text(0)?
        ))),
        None => Ok(()),
    }
}
