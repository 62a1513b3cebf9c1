//! The rows of the vault itself: slots, and what the table `meta` says of the root key.

use super::UpkeepError;
use crate::{
    fleet::{Actor, Fleet},
    store::{Transaction, Value},
    vault::{RootFingerprint, Slot, SlotKind, Stored, VaultError},
};
use serde_json::json;

const ROOT: &str = "root";
const LASTING: &str = "lasting";
const PREVIOUS_ROOT: &str = "previous_root";
const CHECKPOINT_KEY: &str = "checkpoint_key";

/// Whether the database has a vault already.
///
/// # Errors
///
/// The database.
pub async fn has_vault(tx: &mut Transaction) -> Result<bool, UpkeepError> {
    Ok(meta(tx, ROOT).await?.is_some())
}

/// The slots that the root key is in, by name.
///
/// # Errors
///
/// The database, or a slot of a kind that this version does not know.
pub async fn load_slots(tx: &mut Transaction) -> Result<Vec<Slot>, UpkeepError> {
    let rows = tx.query("SELECT name, kind, parameters, wrapped, created FROM slots ORDER BY name", &[]).await?;
    let mut slots = Vec::new();
    for row in rows {
        let name = row.text(0)?.to_owned();
        let kind = SlotKind::from_word(row.text(1)?).ok_or_else(|| VaultError::BadSlot {
            slot: name.clone(),
            reason: "its kind is not known to this version".to_owned(),
        })?;
        slots.push(Slot {
            name,
            kind,
            parameters: row.text(2)?.to_owned(),
            wrapped: row.bytes(3)?.to_vec(),
            created: row.int(4)?,
        });
    }
    Ok(slots)
}

/// What the database says of its vault.
///
/// # Errors
///
/// The database, or [`VaultError::Incomplete`].
pub async fn load_stored(tx: &mut Transaction) -> Result<Stored, UpkeepError> {
    let root = meta(tx, ROOT).await?.as_deref().and_then(RootFingerprint::from_slice);
    let checkpoint_key = meta(tx, CHECKPOINT_KEY).await?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    Ok(Stored {
        root: root.ok_or(VaultError::Incomplete { missing: "vault" })?,
        lasting: meta(tx, LASTING).await?.ok_or(VaultError::Incomplete { missing: "lasting secret of a vault" })?,
        previous_root: meta(tx, PREVIOUS_ROOT).await?,
        checkpoint_key: checkpoint_key.ok_or(VaultError::Incomplete { missing: "public key of checkpoints" })?,
    })
}

pub(super) async fn save_stored(tx: &mut Transaction, stored: &Stored) -> Result<(), UpkeepError> {
    let Stored { root, lasting, previous_root, checkpoint_key } = stored;
    set_meta(tx, ROOT, root.as_bytes()).await?;
    set_meta(tx, LASTING, lasting).await?;
    set_meta(tx, CHECKPOINT_KEY, checkpoint_key).await?;
    match previous_root {
        Some(sealed) => set_meta(tx, PREVIOUS_ROOT, sealed).await,
        None => {
            tx.execute("DELETE FROM meta WHERE name = $1", &[Value::from(PREVIOUS_ROOT)]).await?;
            Ok(())
        }
    }
}

/// Stores a slot whose name is not taken.
///
/// # Errors
///
/// The database, or a name that is taken.
pub async fn add_slot(fleet: &Fleet, actor: &Actor, slot: &Slot) -> Result<(), UpkeepError> {
    let mut intent = fleet.begin(actor).await?;
    insert_slot(&mut intent.tx, slot).await?;
    intent.audit("add slot", &slot.name, &json!({ "kind": slot.kind.word() })).await?;
    Ok(intent.tx.commit().await?)
}

/// Removes a slot that is not the last one.
///
/// # Errors
///
/// The database, the last slot, or none of this name.
pub async fn remove_slot(fleet: &Fleet, actor: &Actor, name: &str) -> Result<(), UpkeepError> {
    let mut intent = fleet.begin(actor).await?;
    let slots = load_slots(&mut intent.tx).await?;
    let slot = slots.iter().find(|it| it.name == name);
    let slot = slot.ok_or_else(|| VaultError::NoSlot { wanted: format!("`{name}`") })?;
    if slots.len() == 1 {
        return Err(UpkeepError::State(format!("`{name}` is the last slot: without it nothing opens the vault again")));
    }
    intent.tx.execute("DELETE FROM slots WHERE name = $1", &[Value::from(name)]).await?;
    intent.audit("remove slot", name, &json!({ "kind": slot.kind.word() })).await?;
    Ok(intent.tx.commit().await?)
}

pub(super) async fn insert_slot(tx: &mut Transaction, slot: &Slot) -> Result<(), UpkeepError> {
    let added = tx
        .execute(
            "INSERT INTO slots (name, kind, parameters, wrapped, created) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            &[
                Value::from(slot.name.as_str()),
                Value::from(slot.kind.word()),
                Value::from(slot.parameters.as_str()),
                Value::from(slot.wrapped.as_slice()),
                Value::from(slot.created),
            ],
        )
        .await?;
    if added == 1 { Ok(()) } else { Err(UpkeepError::State(format!("there is a slot `{}` already", slot.name))) }
}

async fn meta(tx: &mut Transaction, name: &str) -> Result<Option<Vec<u8>>, UpkeepError> {
    let row = tx.query_opt("SELECT value FROM meta WHERE name = $1", &[Value::from(name)]).await?;
    Ok(row.map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()?)
}

async fn set_meta(tx: &mut Transaction, name: &str, value: &[u8]) -> Result<(), UpkeepError> {
    tx.execute(
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[Value::from(name), Value::from(value)],
    )
    .await?;
    Ok(())
}
