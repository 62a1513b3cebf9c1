//! Who is concerned by a change.

use super::{Refusal, find::id_of, intent::Intent};
use crate::{
    model::{Access, Mode, Status, TopicName},
    store::Value,
};
use e4::ClientId;
use std::collections::BTreeSet;

/// Devices with access to the topic `$2`, directly or by a group.
pub(super) const MEMBERS: &str = "SELECT device FROM device_access WHERE topic = ANY($2)
     UNION SELECT m.device FROM members m JOIN group_access g ON g.grp = m.grp WHERE g.topic = ANY($2)";

/// When a device is due for which the intention of `$1` changed something: at once, unless commands for it are under way that it
/// will report on. Then its report makes it due, or the time to send them again: else a device that is away would find as many
/// copies before it as there were intentions meanwhile.
pub(super) const DUE: &str =
    "CASE WHEN attempts > 0 AND reported IS NOT NULL AND status <> 2 THEN coalesce(due, $1) ELSE $1 END";

/// Has the planner look at everybody who has access to these topics.
pub(super) async fn members_are_due(intent: &mut Intent, topics: &[i64]) -> Result<u64, Refusal> {
    let sql = format!("UPDATE devices SET due = {DUE} WHERE status <> 2 AND secret IS NOT NULL AND id IN ({MEMBERS})");
    Ok(intent.tx.execute(&sql, &[Value::from(intent.now), list(topics)]).await?)
}

/// Has the planner look at these devices, withdrawn ones too.
pub(super) async fn devices_are_due(intent: &mut Intent, devices: &[ClientId]) -> Result<u64, Refusal> {
    let sql = format!("UPDATE devices SET due = {DUE} WHERE secret IS NOT NULL AND id = ANY($2)");
    let mut count = 0;
    for some in devices.chunks(CHUNK) {
        count += intent.tx.execute(&sql, &[Value::from(intent.now), ids(some)]).await?;
    }
    Ok(count)
}

/// How many have access to a topic.
pub(super) async fn count_members(intent: &mut Intent, topics: &[i64]) -> Result<i64, Refusal> {
    let sql = format!("SELECT COUNT(*) FROM devices WHERE status <> $1 AND id IN ({MEMBERS})");
    let row = intent.tx.query_opt(&sql, &[Value::from(Status::Withdrawn.code()), list(topics)]).await?;
    Ok(row.map_or(Ok(0), |row| row.int(0))?)
}

/// One way in which a device has access to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) topic: i64,
    pub(super) access: Access,
    /// By this group; directly otherwise.
    pub(super) group: Option<String>,
}

/// All ways in which a device has access to topics.
pub(super) async fn ways_of(intent: &mut Intent, device: &ClientId) -> Result<Vec<Way>, Refusal> {
    let id = Value::from(device.as_bytes().as_slice());
    let mut ways = Vec::new();
    let sql = "SELECT topic, access FROM device_access WHERE device = $1 ORDER BY topic";
    for row in intent.tx.query(sql, std::slice::from_ref(&id)).await? {
        ways.push(Way { topic: row.int(0)?, access: Access::from_code(row.int(1)?), group: None });
    }
    let sql = "SELECT a.topic, a.access, g.name FROM members m JOIN group_access a ON a.grp = m.grp
               JOIN groups g ON g.id = m.grp WHERE m.device = $1 ORDER BY a.topic, g.name";
    for row in intent.tx.query(sql, &[id]).await? {
        let group = Some(row.text(2)?.to_owned());
        ways.push(Way { topic: row.int(0)?, access: Access::from_code(row.int(1)?), group });
    }
    ways.retain(|way| !way.access.is_none());
    Ok(ways)
}

/// All topics that are not removed.
pub(super) async fn topics(intent: &mut Intent) -> Result<Vec<(i64, TopicName)>, Refusal> {
    let rows = intent.tx.query("SELECT id, name FROM topics WHERE removed IS NULL ORDER BY id", &[]).await?;
    rows.iter()
        .map(|row| {
            let name = TopicName::new(row.text(1)?).map_err(|error| Refusal::damaged(error.to_string()))?;
            Ok((row.int(0)?, name))
        })
        .collect()
}

/// A topic and those that enclose it or are enclosed by it: in public-key mode their readers have to know each other's writers.
pub(super) fn related(all: &[(i64, TopicName)], topic: i64) -> Vec<i64> {
    let Some((_, name)) = all.iter().find(|(id, _)| *id == topic) else { return vec![topic] };
    let is_related = |other: &TopicName| other == name || other.encloses(name) || name.encloses(other);
    all.iter().filter(|(_, other)| is_related(other)).map(|(id, _)| *id).collect()
}

fn list(topics: &[i64]) -> Value {
    Value::list(topics.iter().copied())
}

/// Which of these devices have access to a topic.
pub(super) async fn still_members(
    intent: &mut Intent,
    topic: i64,
    devices: &BTreeSet<ClientId>,
) -> Result<BTreeSet<ClientId>, Refusal> {
    let mut still = BTreeSet::new();
    let sql = format!("SELECT device FROM ({MEMBERS}) AS all_members WHERE device = ANY($1)");
    for some in devices.iter().copied().collect::<Vec<_>>().chunks(CHUNK) {
        for row in intent.tx.query(&sql, &[ids(some), list(&[topic])]).await? {
            still.insert(id_of(row.bytes(0)?)?);
        }
    }
    Ok(still)
}

/// These devices got or lost topics: if one of them signs, whoever reads there is to know its public key, or to forget it.
pub(super) async fn peers_are_due(intent: &mut Intent, concerned: &[i64], devices: &[ClientId]) -> Result<(), Refusal> {
    let mut signs = false;
    for some in devices.chunks(CHUNK) {
        let sql = "SELECT id FROM devices WHERE mode = 1 AND id = ANY($1) LIMIT 1";
        signs = signs || intent.tx.query_opt(sql, &[ids(some)]).await?.is_some();
    }
    if signs {
        let all = topics(intent).await?;
        let related: BTreeSet<_> = concerned.iter().flat_map(|topic| related(&all, *topic)).collect();
        members_are_due(intent, &related.into_iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Ids in one statement.
const CHUNK: usize = 10_000;

fn ids(devices: &[ClientId]) -> Value {
    Value::list(devices.iter().map(ClientId::as_bytes))
}

/// A topic is going: whoever reads there or around it may have fewer peers.
pub(super) async fn peers_of_topic_are_due(intent: &mut Intent, topic: i64) -> Result<(), Refusal> {
    let sql = format!("SELECT id FROM devices WHERE mode = $1 AND id IN ({MEMBERS}) LIMIT 1");
    let row = intent.tx.query_opt(&sql, &[Value::from(Mode::PublicKey.code()), list(&[topic])]).await?;
    if let Some(row) = row {
        peers_are_due(intent, &[topic], &[id_of(row.bytes(0)?)?]).await?;
    }
    Ok(())
}
