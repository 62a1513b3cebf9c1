//! The server's own X25519 pairs.

use super::{
    Actor, Fleet, OrderDetail, Refusal, RefusalKind,
    intent::{Attempted, Intent},
    keys::keep_fingerprints,
    members::DUE,
    rotate::{NewOrder, insert_order},
};
use crate::{
    model::{Mode, OrderKind, OrderState, Reason, Role},
    store::{Transaction, Value},
    vault::Place,
};
use e4::{C2PublicKey, C2SecretKey};
use serde_json::json;

/// A pair of the server.
pub(super) struct Pair {
    /// Its number.
    pub(super) version: u32,
    /// What commands are agreed with.
    pub(super) secret: C2SecretKey,
    /// What devices have of it.
    pub(super) public: C2PublicKey,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pair(version {}, ..)", self.version)
    }
}

impl Pair {
    /// The one that new devices get.
    pub(super) async fn current(fleet: &Fleet) -> Result<Self, Refusal> {
        let mut tx = fleet.store().read().await?;
        let pairs = Self::all(fleet, &mut tx).await?;
        let current = pairs.into_iter().max_by_key(|pair| pair.version);
        current.ok_or_else(|| Refusal::damaged("the server has no key pair: `e4-keyserver init` makes the first one"))
    }

    /// All whose secret half is kept, the oldest first.
    pub(super) async fn all(fleet: &Fleet, tx: &mut Transaction) -> Result<Vec<Self>, Refusal> {
        let sql = "SELECT version, secret FROM server_keys WHERE secret IS NOT NULL ORDER BY version";
        let rows = tx.query(sql, &[]).await?;
        rows.iter()
            .map(|row| {
                let version = row.version(0)?;
                let key = fleet.vault().open_key(Place::server_key(u64::from(version)), row.bytes(1)?)?;
                let secret = C2SecretKey::from_bytes(&key).map_err(|error| Refusal::damaged(error.to_string()))?;
                Ok(Self { version, public: secret.public_key(), secret })
            })
            .collect()
    }
}

impl Fleet {
    /// Gives the server a new key pair: devices in public-key mode are moved to it one by one.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] while devices are still being moved to the one before.
    pub async fn rotate_server_key(&self, actor: &Actor) -> Result<i64, Refusal> {
        self.intention(actor, Role::Administrator, ("rotate server key", "server"), rotate_server_key).await
    }
}

async fn rotate_server_key(mut intent: Intent) -> Attempted<i64> {
    let sql = "SELECT id FROM orders WHERE kind = $1 AND state IN (0, 1, 2)";
    if let Some(row) = intent.tx.query_opt(sql, &[Value::from(OrderKind::RotateServerKey.code())]).await? {
        return Err(RefusalKind::Conflict.because(format!(
            "order {} still moves devices to the server key before: wait for its end, or cancel it",
            row.int(0)?
        )));
    }
    let version = new_pair(&mut intent).await?;
    let order = NewOrder {
        kind: OrderKind::RotateServerKey,
        state: OrderState::Switching,
        topic: None,
        device: None,
        rotation: None,
        version: Some(version),
        reason: Reason::Asked,
        detail: OrderDetail::default(),
    };
    let id = insert_order(&mut intent, &order).await?;
    let sql = format!("UPDATE devices SET due = {DUE} WHERE status <> 2 AND mode = $2 AND secret IS NOT NULL");
    let due = intent.tx.execute(&sql, &[Value::from(intent.now), Value::from(Mode::PublicKey.code())]).await?;
    intent.audit("rotate server key", "server", &json!({ "version": version, "order": id, "devices": due })).await?;
    Ok((intent, id))
}

/// Stores a new pair as the current one.
pub(super) async fn new_pair(intent: &mut Intent) -> Result<u32, Refusal> {
    let newest = match intent.tx.query_opt("SELECT MAX(version) FROM server_keys", &[]).await? {
        Some(row) => row.opt_int(0)?.unwrap_or(0),
        None => 0,
    };
    let version = super::keys::version_of(newest + 1)?;
    let key = intent.fleet.vault().new_key()?;
    let secret = C2SecretKey::from_bytes(&key).map_err(|error| Refusal::damaged(error.to_string()))?;
    let fingerprint = intent.fleet.vault().fingerprint(&key);
    keep_fingerprints(intent, vec![(fingerprint, "server".to_owned())]).await?;
    let sealed = intent.fleet.vault().seal(Place::server_key(u64::from(version)), &*key)?;
    intent.tx.execute("UPDATE server_keys SET role = 2 WHERE role <> 2", &[]).await?;
    let values = [
        Value::from(version),
        Value::from(secret.public_key().as_bytes()),
        Value::from(sealed),
        Value::from(intent.now),
    ];
    let sql = "INSERT INTO server_keys (version, role, public, secret, created) VALUES ($1, 1, $2, $3, $4)";
    intent.tx.execute(sql, &values).await?;
    Ok(version)
}
