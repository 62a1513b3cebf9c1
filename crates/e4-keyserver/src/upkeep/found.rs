//! A new server.

use super::{
    UpkeepError,
    keys::{has_vault, insert_slot, save_stored},
};
use crate::{
    store::Store,
    vault::{Slot, Vault},
};

/// Writes a new vault with its slots into a database that has none.
///
/// # Errors
///
/// The database, or a vault that is there already.
pub async fn found(store: &Store, vault: &Vault, slots: &[Slot]) -> Result<(), UpkeepError> {
    let mut tx = store.write().await?;
    if has_vault(&mut tx).await? {
        return Err(UpkeepError::State(
            "the database belongs to a key server already, and nothing was changed".to_owned(),
        ));
    }
    save_stored(&mut tx, &vault.stored()?).await?;
    for slot in slots {
        insert_slot(&mut tx, slot).await?;
    }
    tx.commit().await?;
    Ok(())
}
