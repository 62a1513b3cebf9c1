//! Devices get new keys of their own after they got new topic keys: otherwise, whoever records what goes over the broker and
//! learns the key of a device later would read every topic key that it was ever sent.

use crate::{
    fleet::{
        Actor, Fleet, Refusal,
        client_keys::new_client_keys,
        find::id_of,
        intent::{Attempted, Intent},
    },
    model::{Mode, Role, Status},
    plan::Standing,
    store::Value,
};
use e4::ClientId;
use serde_json::json;

/// Devices at once: a fleet moves within an hour, and not all of it in the same second.
const AT_ONCE: i64 = 5_000;

impl Fleet {
    /// Begins it for devices whose time has come. Not for devices in public-key mode: the server would learn what they sign
    /// with, and others would miss what they write until they have the new public key.
    pub(super) async fn move_client_keys(&self) -> Result<bool, Refusal> {
        let pause = self.policy().client_keys;
        if pause <= 0 {
            return Ok(false);
        }
        let mut tx = self.store().read().await?;
        let sql =
            "SELECT id FROM devices WHERE keyed IS NOT NULL AND client_key_since <= $1 AND mode = $2 AND status = $3
                   AND standing = $4 AND due IS NULL AND next_since IS NULL AND secret IS NOT NULL LIMIT $5";
        let values = [
            Value::from(self.now().saturating_sub(pause)),
            Value::from(Mode::Symmetric.code()),
            Value::from(Status::Active.code()),
            Value::from(Standing::Confirmed.word()),
            Value::from(AT_ONCE),
        ];
        let devices: Result<Vec<ClientId>, Refusal> =
            tx.query(sql, &values).await?.iter().map(|row| id_of(row.bytes(0)?)).collect();
        let devices = devices?;
        drop(tx);
        if devices.is_empty() {
            return Ok(false);
        }
        let actor = Actor::rule("client keys");
        self.intention(&actor, Role::Operator, ("move client keys", ""), |intent| move_those(intent, devices.clone()))
            .await?;
        Ok(true)
    }
}

async fn move_those(mut intent: Intent, devices: Vec<ClientId>) -> Attempted<()> {
    let count = new_client_keys(&mut intent, &devices).await?;
    intent.audit("move client keys", &format!("{count} devices"), &json!({ "devices": count })).await?;
    Ok((intent, ()))
}
