//! Who reads and writes a topic.

use super::{
    Actor, Change, Fleet, Refusal,
    find::{self, device_subject},
    groups::members,
    intent::{Attempted, Intent},
    members::{devices_are_due, peers_are_due, still_members},
    rotate::{join, leave},
};
use crate::{
    model::{Access, Role},
    store::Value,
};
use e4::ClientId;
use serde_json::json;
use std::collections::BTreeSet;

/// Who has access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// One device.
    Device(ClientId),
    /// All members of a group.
    Group(String),
}

impl Fleet {
    /// Says what somebody may do with a topic from now on; [`Access::default`] is nothing.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`](super::RefusalKind::NotFound), or a device that was withdrawn.
    pub async fn set_access(&self, actor: &Actor, topic: i64, who: &Who, access: Access) -> Result<Change, Refusal> {
        let subject = format!("topic {topic}");
        let action = if access.is_none() { "take access" } else { "give access" };
        self.intention(actor, Role::Operator, (action, &subject), |intent| set_access(intent, topic, who, access)).await
    }
}

async fn set_access(mut intent: Intent, topic: i64, who: &Who, access: Access) -> Attempted<Change> {
    find::topic(&mut intent, topic).await?;
    let (table, column, row, concerned, name) = match who {
        Who::Device(id) => {
            find::device(&mut intent, id).await?.must_not_be_withdrawn()?;
            let row = Value::from(id.as_bytes());
            ("device_access", "device", row, BTreeSet::from([*id]), device_subject(id))
        }
        Who::Group(name) => {
            let group = find::group(&mut intent, name).await?;
            let members = members(&mut intent, group.id).await?;
            ("group_access", "grp", Value::from(group.id), members, format!("group {name}"))
        }
    };
    let place = [Value::from(topic), row.clone()];
    let sql = format!("SELECT access FROM {table} WHERE topic = $1 AND {column} = $2");
    let before = match intent.tx.query_opt(&sql, &place).await? {
        Some(found) => Access::from_code(found.int(0)?),
        None => Access::default(),
    };
    if before == access {
        return Ok((intent, Change::default()));
    }
    let had = still_members(&mut intent, topic, &concerned).await?;
    if access.is_none() {
        intent.tx.execute(&format!("DELETE FROM {table} WHERE topic = $1 AND {column} = $2"), &place).await?;
    } else {
        let sql = format!(
            "INSERT INTO {table} (topic, {column}, access) VALUES ($1, $2, $3)
             ON CONFLICT (topic, {column}) DO UPDATE SET access = excluded.access"
        );
        intent.tx.execute(&sql, &[Value::from(topic), row, Value::from(access.code())]).await?;
    }
    let has = still_members(&mut intent, topic, &concerned).await?;
    let mut changed = Change::default();
    let left: Vec<_> = had.difference(&has).copied().collect();
    if !left.is_empty() {
        changed.orders.extend(leave(&mut intent, topic, &left).await?);
    }
    if has.difference(&had).next().is_some() {
        changed.orders.extend(join(&mut intent, topic).await?);
    }
    let concerned: Vec<_> = concerned.into_iter().collect();
    devices_are_due(&mut intent, &concerned).await?;
    peers_are_due(&mut intent, &[topic], &concerned).await?;
    let detail = json!({
        "who": name, "before": words(before), "after": words(access), "devices": concerned.len(), "orders": changed.orders,
    });
    let action = if access.is_none() { "take access" } else { "give access" };
    intent.audit(action, &format!("topic {topic}"), &detail).await?;
    Ok((intent, changed))
}

pub(super) const fn words(access: Access) -> &'static str {
    match (access.read, access.write) {
        (true, true) => "reads and writes",
        (true, false) => "reads",
        (false, true) => "writes",
        (false, false) => "nothing",
    }
}
