//! New keys of devices' own.

use super::{
    Actor, Fleet, OrderDetail, Refusal, RefusalKind,
    find::{self, device_subject, id_of},
    intent::{Attempted, Intent},
    keys::{keep_fingerprints, version_of},
    members::devices_are_due,
    rotate::{NewOrder, insert_order},
};
use crate::{
    model::{Mode, OrderKind, OrderState, Reason, Role, Status},
    store::Value,
    vault::Place,
};
use e4::{ClientId, SigningKey};
use serde_json::json;

impl Fleet {
    /// Moves a device to a new key of its own. Until it reports under the new one, either is tried.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; [`RefusalKind::Conflict`] if it was withdrawn, is being moved already, or was never heard:
    /// then nobody would know which key it has.
    pub async fn rotate_client_key(&self, actor: &Actor, device: &ClientId) -> Result<i64, Refusal> {
        let subject = device_subject(device);
        self.intention(actor, Role::Operator, ("rotate client key", &subject), |intent| {
            rotate_client_key(intent, device)
        })
        .await
    }
}

async fn rotate_client_key(mut intent: Intent, id: &ClientId) -> Attempted<i64> {
    let device = find::device(&mut intent, id).await?;
    device.must_not_be_withdrawn()?;
    if device.status != Status::Active {
        return Err(RefusalKind::Conflict.because(format!(
            "device {id} was never heard: it could not say which of two keys it has, so it keeps the one that it has"
        )));
    }
    if device.has_next_key {
        return Err(RefusalKind::Conflict.because(format!("device {id} is being moved to another key already")));
    }
    new_client_keys(&mut intent, &[*id]).await?;
    let order = NewOrder {
        kind: OrderKind::RotateClientKeys,
        state: OrderState::Switching,
        topic: None,
        device: Some(*id),
        rotation: None,
        version: Some(version_of(device.key_version + 1)?),
        reason: Reason::Asked,
        detail: OrderDetail::default(),
    };
    let order = insert_order(&mut intent, &order).await?;
    intent.audit("rotate client key", &device.subject(), &json!({ "order": order })).await?;
    Ok((intent, order))
}

/// Stores new keys for those of these devices that can be moved; how many. `next_secret` is the client key of a symmetric
/// device, and the seed of the key pair of one in public-key mode.
pub(super) async fn new_client_keys(intent: &mut Intent, devices: &[ClientId]) -> Result<u64, Refusal> {
    let sql = "SELECT id, mode, key_version FROM devices
               WHERE id = ANY($1) AND status = $2 AND next_since IS NULL AND secret IS NOT NULL ORDER BY id FOR UPDATE";
    let ids = Value::list(devices.iter().map(ClientId::as_bytes));
    let found = intent.tx.query(sql, &[ids, Value::from(Status::Active.code())]).await?;
    let (mut rows, mut fingerprints, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for row in &found {
        let id = id_of(row.bytes(0)?)?;
        let vault = intent.fleet.vault();
        let key = vault.new_key()?;
        let public = match Mode::from_code(row.int(1)?) {
            Some(Mode::PublicKey) => {
                let pair = SigningKey::from_seed(&key).map_err(|error| Refusal::damaged(error.to_string()))?;
                Some(*pair.verifying_key().as_bytes())
            }
            _ => None,
        };
        let version = version_of(row.int(2)? + 1)?;
        fingerprints.push((vault.fingerprint(public.as_ref().unwrap_or(&key)), device_subject(&id)));
        rows.push(vec![
            Value::from(vault.seal(Place::next_device_key(id.as_bytes(), u64::from(version)), &*key)?),
            Value::from(public),
            Value::from(intent.now),
            Value::from(id.as_bytes()),
        ]);
        moved.push(id);
    }
    keep_fingerprints(intent, fingerprints).await?;
    let sql = "UPDATE devices SET next_secret = $1, next_public_key = $2, next_since = $3 WHERE id = $4";
    let count = intent.tx.execute_each(sql, rows).await?;
    devices_are_due(intent, &moved).await?;
    Ok(count)
}
