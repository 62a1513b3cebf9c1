//! Keys that nobody holds any more are erased.

use crate::{
    fleet::{
        Actor, Fleet, Refusal,
        intent::{Attempted, Intent},
        wanted::topic_of,
    },
    model::{KeyRole, Role},
    plan::{Known, Standing, Step},
    store::{Transaction, Value},
};
use e4::TopicHash;
use serde_json::json;
use std::collections::BTreeSet;

/// A previous key opens messages for an hour on devices, and for a while longer where clocks differ.
const PREVIOUS: i64 = 2 * 3_600;
/// Devices in one statement.
const PAGE: i64 = 5_000;

impl Fleet {
    /// Erases retired keys of topics that no device holds, as far as their reports and what they were sent say, and server keys
    /// that no device is under. Who never reports is not asked: nothing is ever recognised of what it holds.
    pub(super) async fn erase_retired(&self) -> Result<(), Refusal> {
        let mut tx = self.store().read().await?;
        let sql = "SELECT k.topic, k.version, t.hash FROM key_versions k JOIN topics t ON t.id = k.topic
                   WHERE k.role = $1 AND k.secret IS NOT NULL AND k.role_since <= $2";
        let retired = Value::from(KeyRole::Retired.code());
        let rows = tx.query(sql, &[retired, Value::from(self.now().saturating_sub(PREVIOUS))]).await?;
        let retired: Result<Vec<_>, Refusal> =
            rows.iter().map(|row| Ok((row.int(0)?, row.version(1)?, TopicHash::from_bytes(row.array(2)?)))).collect();
        let retired = retired?;
        let held = if retired.is_empty() { BTreeSet::new() } else { held(&mut tx).await? };
        drop(tx);
        let erased: Vec<_> = retired
            .into_iter()
            .filter(|(_, version, topic)| !held.contains(&(*topic, *version)))
            .map(|(topic, version, _)| (topic, version))
            .collect();
        self.intention(&Actor::rule("erasing"), Role::Operator, ("erase keys", ""), |intent| {
            erase(intent, erased.clone())
        })
        .await
    }
}

/// What devices may hold beside the keys that they should: all that are as they should be hold those in use.
async fn held(tx: &mut Transaction) -> Result<BTreeSet<(TopicHash, u32)>, Refusal> {
    let mut held = BTreeSet::new();
    let mut after = Vec::new();
    loop {
        let sql =
            "SELECT id, held FROM devices WHERE id > $1 AND (standing <> $2 OR due IS NOT NULL) AND held IS NOT NULL
                   AND reported IS NOT NULL AND secret IS NOT NULL ORDER BY id LIMIT $3";
        let values = [Value::from(after.as_slice()), Value::from(Standing::Confirmed.word()), Value::from(PAGE)];
        let rows = tx.query(sql, &values).await?;
        for row in &rows {
            let known: Known = serde_json::from_str(row.text(1)?)
                .map_err(|_| Refusal::damaged("what a device holds cannot be read"))?;
            for (topic, it) in known.states.iter().flat_map(|state| &state.topics) {
                held.extend([Some(it.current), it.next].into_iter().flatten().map(|version| (*topic, version)));
            }
        }
        match rows.last() {
            Some(row) => after = row.bytes(0)?.to_vec(),
            None => break,
        }
    }
    for row in tx.query("SELECT DISTINCT step FROM outbox", &[]).await? {
        let step: Step =
            serde_json::from_str(row.text(0)?).map_err(|_| Refusal::damaged("a step in the outbox cannot be read"))?;
        if let (Some(topic), Some(version)) = (topic_of(&step), version_of(&step)) {
            held.insert((topic, version));
        }
    }
    Ok(held)
}

const fn version_of(step: &Step) -> Option<u32> {
    match step {
        Step::SetTopic { version, .. } | Step::SetNext { version, .. } | Step::Replace { version, .. } => {
            Some(*version)
        }
        _ => None,
    }
}

async fn erase(mut intent: Intent, versions: Vec<(i64, u32)>) -> Attempted<()> {
    let rows = versions.iter().map(|(topic, version)| vec![Value::from(*topic), Value::from(*version)]).collect();
    let sql = "UPDATE key_versions SET secret = NULL WHERE topic = $1 AND version = $2 AND role = 2";
    let topics = intent.tx.execute_each(sql, rows).await?;
    let sql = "UPDATE server_keys SET secret = NULL WHERE role = 2 AND secret IS NOT NULL AND NOT EXISTS (
                   SELECT 1 FROM devices d WHERE d.secret IS NOT NULL
                   AND (d.server_key = server_keys.version OR d.next_server_key = server_keys.version))";
    let server = intent.tx.execute(sql, &[]).await?;
    if topics + server > 0 {
        intent.audit("erase keys", "", &json!({ "topic_keys": topics, "server_keys": server })).await?;
    }
    Ok((intent, ()))
}
