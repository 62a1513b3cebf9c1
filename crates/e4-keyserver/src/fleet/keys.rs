//! New keys: drawn, sealed to their place, and known by a fingerprint, so that no two secrets of the fleet are equal.

use super::{Refusal, RefusalKind, intent::Intent};
use crate::{
    model::{KeyRole, Reason},
    store::Value,
    vault::Place,
};
use e4::TopicKey;
use std::collections::BTreeMap;

/// New versions for many topics at once.
pub(super) struct NewVersions<'a> {
    pub(super) topics: &'a [i64],
    /// Current, or next.
    pub(super) role: KeyRole,
    /// Whoever holds an earlier version loses it at once.
    pub(super) cuts: bool,
    pub(super) reason: Reason,
}

/// The versions of a topic that members may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct InUse {
    pub(super) current: Option<u32>,
    pub(super) next: Option<u32>,
    cut: u32,
    pub(super) newest: u32,
}

/// The keys in use of these topics.
pub(super) async fn in_use(intent: &mut Intent, topics: &[i64]) -> Result<BTreeMap<i64, InUse>, Refusal> {
    let list = Value::list(topics.iter().copied());
    let mut found: BTreeMap<i64, InUse> = topics.iter().map(|topic| (*topic, InUse::default())).collect();
    let sql = "SELECT topic, version, role, cut FROM key_versions WHERE topic = ANY($1) AND role <> 2";
    for row in intent.tx.query(sql, std::slice::from_ref(&list)).await? {
        let entry = found.entry(row.int(0)?).or_default();
        let version = version_of(row.int(1)?)?;
        match KeyRole::from_code(row.int(2)?) {
            Some(KeyRole::Current) => {
                entry.current = Some(version);
                entry.cut = version_of(row.int(3)?)?;
            }
            Some(KeyRole::Next) => entry.next = Some(version),
            _ => {}
        }
    }
    let sql = "SELECT topic, MAX(version) FROM key_versions WHERE topic = ANY($1) GROUP BY topic";
    for row in intent.tx.query(sql, &[list]).await? {
        found.entry(row.int(0)?).or_default().newest = version_of(row.int(1)?)?;
    }
    Ok(found)
}

/// Makes a new key for each of these topics. With role current, what was in use is retired.
pub(super) async fn new_versions(intent: &mut Intent, new: &NewVersions<'_>) -> Result<BTreeMap<i64, u32>, Refusal> {
    let before = in_use(intent, new.topics).await?;
    let now = Value::from(intent.now);
    let roles = if new.role == KeyRole::Current { "role <> 2" } else { "role = 0" };
    let list = Value::list(new.topics.iter().copied());
    let sql = format!("UPDATE key_versions SET role = 2, role_since = $1 WHERE topic = ANY($2) AND {roles}");
    intent.tx.execute(&sql, &[now, list]).await?;
    let mut versions = BTreeMap::new();
    let mut rows = Vec::with_capacity(before.len());
    for (topic, before) in before {
        let version = before.newest + 1;
        let key = intent.fleet.vault().new_key()?;
        rows.push((topic, version, if new.cuts { version } else { before.cut }, key));
        versions.insert(topic, version);
    }
    insert_versions(intent, rows, new.role, new.reason).await?;
    Ok(versions)
}

type NewKey = zeroize::Zeroizing<[u8; 32]>;

/// Stores keys of topics, as version and cut say.
pub(super) async fn insert_versions(
    intent: &mut Intent,
    keys: Vec<(i64, u32, u32, NewKey)>,
    role: KeyRole,
    reason: Reason,
) -> Result<(), Refusal> {
    let (mut rows, mut fingerprints) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    for (topic, version, cut, key) in keys {
        let shown = TopicKey::from_bytes(&key).map_err(|error| RefusalKind::Invalid.because(error.to_string()))?;
        let secret = intent.fleet.vault().seal(Place::topic_key(topic, u64::from(version)), &*key)?;
        fingerprints.push((intent.fleet.vault().fingerprint(&key), format!("topic {topic}")));
        rows.push(vec![
            Value::from(topic),
            Value::from(i64::from(version)),
            Value::from(role.code()),
            Value::from(intent.now),
            Value::from(reason.code()),
            Value::from(i64::from(cut)),
            Value::from(secret),
            Value::from(shown.fingerprint().as_bytes().as_slice()),
        ]);
    }
    keep_fingerprints(intent, fingerprints).await?;
    intent
        .tx
        .execute_each(
            "INSERT INTO key_versions (topic, version, role, created, role_since, reason, cut, secret, fingerprint)
             VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)",
            rows,
        )
        .await?;
    Ok(())
}

/// Keeps the fingerprints of new keys; refuses a key that is in use for anything else.
pub(super) async fn keep_fingerprints(intent: &mut Intent, new: Vec<([u8; 16], String)>) -> Result<(), Refusal> {
    let count = new.len();
    let rows =
        new.into_iter().map(|(fingerprint, owner)| vec![Value::from(fingerprint.as_slice()), Value::from(owner)]);
    let sql = "INSERT INTO fingerprints (fingerprint, owner) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let kept = intent.tx.execute_each(sql, rows.collect()).await?;
    if u64::try_from(count).is_ok_and(|count| count == kept) {
        return Ok(());
    }
    Err(RefusalKind::Conflict.because(
        "this key is in use already, for a device, a topic or the server: no two secrets of a fleet may be equal, so make a new one",
    ))
}

pub(super) fn version_of(number: i64) -> Result<u32, Refusal> {
    u32::try_from(number).map_err(|_| Refusal::damaged(format!("{number} is no version of a key")))
}
