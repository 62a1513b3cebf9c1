//! What people say about a device.

use super::{
    Actor, Change, Fleet, Refusal, RefusalKind,
    add_devices::must_be_device_name,
    find::{self, device_subject, labels_text, must_be_revision},
    groups::regroup,
    intent::{Attempted, Intent},
    topics::must_be_notes,
};
use crate::{
    model::{Labels, Role},
    store::Value,
};
use e4::ClientId;
use serde_json::json;
use std::collections::BTreeMap;

/// What is to be changed about a device; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceChange {
    /// Another name. The id stays.
    pub name: Option<String>,
    /// Labels that it gets; `None` takes one away.
    pub labels: BTreeMap<String, Option<String>>,
    /// Other notes.
    pub notes: Option<String>,
}

impl Fleet {
    /// Changes what is said about a device. Its labels may get it into groups and out of groups.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Stale`], [`RefusalKind::Conflict`] for a name that is taken.
    pub async fn change_device(
        &self,
        actor: &Actor,
        id: &ClientId,
        change: &DeviceChange,
        revision: Option<i64>,
    ) -> Result<Change, Refusal> {
        let subject = device_subject(id);
        self.intention(actor, Role::Operator, ("change device", &subject), |intent| {
            change_device(intent, id, change, revision)
        })
        .await
    }
}

async fn change_device(
    mut intent: Intent,
    id: &ClientId,
    change: &DeviceChange,
    revision: Option<i64>,
) -> Attempted<Change> {
    let device = find::device(&mut intent, id).await?;
    device.must_not_be_withdrawn()?;
    must_be_revision(device.revision, revision, &format!("device {id}"))?;
    if let Some(name) = &change.name {
        must_be_device_name(name)?;
        let sql = "SELECT id FROM devices WHERE name = $1 AND id <> $2";
        let taken = intent.tx.query_opt(sql, &[Value::from(name.as_str()), Value::from(id.as_bytes())]).await?;
        if taken.is_some() {
            return Err(RefusalKind::Conflict.because(format!("another device has the name `{name}`")));
        }
    }
    let mut labels: BTreeMap<_, _> =
        device.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in &change.labels {
        match value {
            Some(value) => labels.insert(name.clone(), value.clone()),
            None => labels.remove(name),
        };
    }
    let labels = Labels::new(labels).map_err(|error| RefusalKind::Invalid.because(error.to_string()))?;
    let name = change.name.as_ref().or(device.name.as_ref());
    let notes = change.notes.as_ref().unwrap_or(&device.notes);
    must_be_notes(notes)?;
    let (before, after) = (labels_text(&device.labels)?, labels_text(&labels)?);
    let values = [
        Value::from(name.map(String::as_str)),
        Value::from(after.as_str()),
        Value::from(notes.as_str()),
        Value::from(id.as_bytes()),
    ];
    let sql = "UPDATE devices SET name = $1, labels = $2, notes = $3, revision = revision + 1 WHERE id = $4";
    intent.tx.execute(sql, &values).await?;
    let changed = regroup(&mut intent, *id, &device.labels, &labels).await?;
    let detail = json!({
        "before": { "name": device.name, "labels": before, "notes": device.notes },
        "after": { "name": name, "labels": after, "notes": notes },
        "orders": changed.orders,
    });
    intent.audit("change device", &device.subject(), &detail).await?;
    Ok((intent, changed))
}
