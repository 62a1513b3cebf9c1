//! A new server.

use super::{
    UpkeepError,
    keys::{add_slot, has_vault, save_stored},
};
use crate::{
    model::KeyRole,
    store::{Store, Value},
    vault::{Place, Slot, Vault},
};
use e4::C2SecretKey;

/// Writes a new vault with its slots, and the first key pair of the server, into a database that has none.
///
/// # Errors
///
/// The database, no random bytes, or a vault that is there already.
pub async fn found(store: &Store, vault: &Vault, slots: &[Slot], now: i64) -> Result<(), UpkeepError> {
    let mut tx = store.write().await?;
    if has_vault(&mut tx).await? {
        return Err(UpkeepError::State(
            "the database belongs to a key server already, and nothing was changed".to_owned(),
        ));
    }
    save_stored(&mut tx, &vault.stored()?).await?;
    for slot in slots {
        add_slot(&mut tx, slot).await?;
    }
    let secret = vault.new_key()?;
    let pair = C2SecretKey::from_bytes(&secret).map_err(|error| UpkeepError::State(error.to_string()))?;
    let version = 1;
    tx.execute(
        "INSERT INTO server_keys (version, role, public, secret, created) VALUES ($1, $2, $3, $4, $5)",
        &[
            Value::from(1_i64),
            Value::from(KeyRole::Current.code()),
            Value::from(pair.public_key().as_bytes().as_slice()),
            Value::from(vault.seal(Place::server_key(version), pair.as_bytes())?),
            Value::from(now),
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO fingerprints (fingerprint, owner) VALUES ($1, $2)",
        &[Value::from(vault.fingerprint(pair.as_bytes()).as_slice()), Value::from("server key 1")],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}
