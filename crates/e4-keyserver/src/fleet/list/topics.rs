//! Topics, their keys by version, and who has access.

use super::{after_number, damaged, hex_id, limit, moment, no_cursor, number, one_more, part, word_of};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind},
    model::{Access, KeyRole, TopicName},
    store::{Row, Transaction, Value},
};
use e4::ClientId;
use e4_keyserver_api as said;
use std::collections::HashMap;

const COLUMNS: &str = "SELECT id, name, hash, policy, notes, created, revision FROM topics WHERE removed IS NULL";

pub(in crate::fleet) fn no_such_topic() -> Refusal {
    RefusalKind::NotFound.because("there is no topic of this number: `?name=` finds a topic by its name")
}

impl Fleet {
    /// Topics in the order of their numbers.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_topics(&self, query: &said::TopicsQuery) -> Result<said::Page<said::Topic>, Refusal> {
        let limit = limit(query.limit)?;
        let after = after_number(query.after.as_deref())?.unwrap_or(0);
        let mut tx = self.store().read().await?;
        let mut values = vec![Value::from(after)];
        let name = query.name.as_ref().map_or("", |name| {
            values.push(Value::from(name.as_str()));
            " AND name = $2"
        });
        let sql = format!("{COLUMNS} AND id > $1{name} ORDER BY id LIMIT {}", one_more(limit));
        let rows = tx.query(&sql, &values).await?;
        let topics = topics_of(&mut tx, &rows).await?;
        Ok(part(topics, limit, |topic| topic.id.to_string()))
    }

    /// What is said of one topic.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; the database.
    pub async fn topic(&self, id: i64) -> Result<said::Topic, Refusal> {
        let mut tx = self.store().read().await?;
        let rows = tx.query(&format!("{COLUMNS} AND id = $1"), &[Value::from(id)]).await?;
        topics_of(&mut tx, &rows).await?.pop().ok_or_else(no_such_topic)
    }

    /// The keys that a topic has and had, the newest first: never their values.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; a query that makes no sense; the database.
    pub async fn topic_keys(
        &self,
        topic: i64,
        query: &said::PageQuery,
    ) -> Result<said::Page<said::KeyVersion>, Refusal> {
        let limit = limit(query.limit)?;
        let before = after_number(query.after.as_deref())?.unwrap_or(i64::MAX);
        let mut tx = self.store().read().await?;
        exists(&mut tx, topic).await?;
        let sql = format!(
            "SELECT version, role, reason, created, role_since, fingerprint FROM key_versions
             WHERE topic = $1 AND version < $2 ORDER BY version DESC LIMIT {}",
            one_more(limit)
        );
        let rows = tx.query(&sql, &[Value::from(topic), Value::from(before)]).await?;
        let versions = rows.iter().map(version_of).collect::<Result<Vec<_>, _>>()?;
        Ok(part(versions, limit, |version| version.version.to_string()))
    }

    /// Who has access to a topic: groups by name, then devices by id.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; a query that makes no sense; the database.
    pub async fn topic_access(
        &self,
        topic: i64,
        query: &said::PageQuery,
    ) -> Result<said::Page<said::AccessEntry>, Refusal> {
        let limit = limit(query.limit)?;
        let (group, device) =
            match query.after.as_deref().map(|after| after.split_once(':').ok_or_else(no_cursor)).transpose()? {
                None => (Some(""), vec![]),
                Some(("group", name)) => (Some(name), vec![]),
                Some(("device", id)) => (None, id.parse::<ClientId>().map_err(|_| no_cursor())?.as_bytes().to_vec()),
                Some(_) => return Err(no_cursor()),
            };
        let mut tx = self.store().read().await?;
        exists(&mut tx, topic).await?;
        let mut entries = Vec::new();
        if let Some(after) = group {
            let sql = format!(
                "SELECT g.name, a.access FROM group_access a JOIN groups g ON g.id = a.grp
                 WHERE a.topic = $1 AND g.name > $2 ORDER BY g.name LIMIT {}",
                one_more(limit)
            );
            for row in tx.query(&sql, &[Value::from(topic), Value::from(after)]).await? {
                entries.push(said::AccessEntry {
                    device: None,
                    group: Some(row.text(0)?.to_owned()),
                    access: access(row.int(1)?),
                });
            }
        }
        if entries.len() <= limit {
            let sql = format!(
                "SELECT d.id, d.name, a.access FROM device_access a JOIN devices d ON d.id = a.device
                 WHERE a.topic = $1 AND a.device > $2 ORDER BY a.device LIMIT {}",
                one_more(limit - entries.len())
            );
            for row in tx.query(&sql, &[Value::from(topic), Value::from(device)]).await? {
                let device = said::DeviceRef { id: hex_id(row.bytes(0)?), name: row.opt_text(1)?.map(str::to_owned) };
                entries.push(said::AccessEntry { device: Some(device), group: None, access: access(row.int(2)?) });
            }
        }
        Ok(part(entries, limit, |entry| match (&entry.group, &entry.device) {
            (Some(name), _) => format!("group:{name}"),
            (None, device) => format!("device:{}", device.as_ref().map_or("", |device| device.id.as_str())),
        }))
    }
}

fn access(code: i64) -> said::Access {
    let Access { read, write } = Access::from_code(code);
    said::Access { read, write }
}

async fn exists(tx: &mut Transaction, topic: i64) -> Result<(), Refusal> {
    let sql = "SELECT id FROM topics WHERE id = $1 AND removed IS NULL";
    tx.query_opt(sql, &[Value::from(topic)]).await?.map(|_| ()).ok_or_else(no_such_topic)
}

fn version_of(row: &Row) -> Result<said::KeyVersion, Refusal> {
    Ok(said::KeyVersion {
        version: number(row.int(0)?)?,
        role: word_of!(KeyRole, row.int(1)?)?,
        reason: word_of!(Reason, row.int(2)?)?,
        created: moment(row.int(3)?),
        role_since: moment(row.int(4)?),
        fingerprint: hex::encode(row.bytes(5)?),
    })
}

async fn topics_of(tx: &mut Transaction, rows: &[Row]) -> Result<Vec<said::Topic>, Refusal> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids = rows.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    let mut versions: HashMap<(i64, i64), i64> = HashMap::new();
    let sql =
        "SELECT topic, role, MAX(version) FROM key_versions WHERE topic = ANY($1) AND role <> $2 GROUP BY topic, role";
    for row in tx.query(sql, &[Value::list(ids.clone()), Value::from(KeyRole::Retired.code())]).await? {
        versions.insert((row.int(0)?, row.int(1)?), row.int(2)?);
    }
    let mut members: HashMap<i64, i64> = HashMap::new();
    let sql = "SELECT topic, COUNT(*) FROM (
                 SELECT topic, device FROM device_access WHERE topic = ANY($1)
                 UNION SELECT a.topic, m.device FROM group_access a JOIN members m ON m.grp = a.grp WHERE a.topic = ANY($1)
               ) AS member GROUP BY topic";
    for row in tx.query(sql, &[Value::list(ids)]).await? {
        members.insert(row.int(0)?, row.int(1)?);
    }
    let subtrees =
        tx.query("SELECT name FROM topics WHERE removed IS NULL AND name LIKE '%#' ORDER BY name", &[]).await?;
    let subtrees = subtrees.iter().map(|row| name(row.text(0)?)).collect::<Result<Vec<_>, _>>()?;
    rows.iter()
        .map(|row| {
            let id = row.int(0)?;
            let name = name(row.text(1)?)?;
            let version = |role: KeyRole| versions.get(&(id, role.code())).copied().map(number).transpose();
            Ok(said::Topic {
                id: number(id)?,
                hash: hex_id(row.bytes(2)?),
                policy: serde_json::from_str(row.text(3)?).map_err(|_| damaged("a policy that is none"))?,
                notes: row.text(4)?.to_owned(),
                members: number(members.get(&id).copied().unwrap_or(0))?,
                current: version(KeyRole::Current)?.ok_or_else(|| damaged("a topic without a key"))?,
                next: version(KeyRole::Next)?,
                warnings: subtrees.iter().filter(|subtree| subtree.encloses(&name)).map(covered).collect(),
                created: moment(row.int(5)?),
                revision: number(row.int(6)?)?,
                name: name.as_str().to_owned(),
            })
        })
        .collect()
}

fn covered(subtree: &TopicName) -> String {
    format!(
        "`{subtree}` is around it: whoever has no key of its own for this topic opens and seals it under the key of `{subtree}`"
    )
}

fn name(text: &str) -> Result<TopicName, Refusal> {
    TopicName::new(text).map_err(|_| damaged("a topic that is none"))
}
