//! Finds what a request names.

use super::{Refusal, RefusalKind, intent::Intent};
use crate::{
    model::{Labels, Mode, Status, TopicName},
    store::{Row, Value},
};
use e4::ClientId;
use std::collections::BTreeMap;

/// A device, as far as intentions need to know it.
pub(super) struct Device {
    pub(super) id: ClientId,
    pub(super) name: Option<String>,
    pub(super) mode: Mode,
    pub(super) status: Status,
    pub(super) labels: Labels,
    pub(super) notes: String,
    pub(super) revision: i64,
    pub(super) key_version: i64,
    pub(super) has_next_key: bool,
    pub(super) held: Option<String>,
}

const DEVICE: &str = "SELECT id, name, mode, status, labels, notes, revision, key_version,
    next_since, held FROM devices";

impl Device {
    fn of(row: &Row) -> Result<Self, Refusal> {
        let unknown = || Refusal::damaged("a device has a code that this program does not know");
        Ok(Self {
            id: id_of(row.bytes(0)?)?,
            name: row.opt_text(1)?.map(str::to_owned),
            mode: Mode::from_code(row.int(2)?).ok_or_else(unknown)?,
            status: Status::from_code(row.int(3)?).ok_or_else(unknown)?,
            labels: labels_of(row.text(4)?)?,
            notes: row.text(5)?.to_owned(),
            revision: row.int(6)?,
            key_version: row.int(7)?,
            has_next_key: row.opt_int(8)?.is_some(),
            held: row.opt_text(9)?.map(str::to_owned),
        })
    }

    /// How it is called in the audit.
    pub(super) fn subject(&self) -> String {
        device_subject(&self.id)
    }

    pub(super) fn must_not_be_withdrawn(&self) -> Result<(), Refusal> {
        if self.status == Status::Withdrawn {
            return Err(RefusalKind::Conflict.because(format!("device {} was withdrawn, which is for ever", self.id)));
        }
        Ok(())
    }
}

pub(super) fn device_subject(id: &ClientId) -> String {
    format!("device {id}")
}

/// A device, withdrawn or not; its row is held to the end of the transaction.
pub(super) async fn device(intent: &mut Intent, id: &ClientId) -> Result<Device, Refusal> {
    let row = intent
        .tx
        .query_opt(&format!("{DEVICE} WHERE id = $1 FOR UPDATE"), &[Value::from(id.as_bytes().as_slice())])
        .await?;
    Device::of(&row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no device {id}")))?)
}

/// All devices that are not withdrawn, with their labels.
pub(super) async fn labelled(intent: &mut Intent) -> Result<Vec<(ClientId, Labels)>, Refusal> {
    let rows = intent.tx.query("SELECT id, labels FROM devices WHERE status <> 2", &[]).await?;
    rows.iter().map(|row| Ok((id_of(row.bytes(0)?)?, labels_of(row.text(1)?)?))).collect()
}

/// A topic that is not removed.
pub(super) struct Topic {
    pub(super) name: TopicName,
    pub(super) policy: String,
    pub(super) notes: String,
    pub(super) revision: i64,
}

pub(super) async fn topic(intent: &mut Intent, id: i64) -> Result<Topic, Refusal> {
    let sql = "SELECT name, policy, notes, revision FROM topics WHERE id = $1 AND removed IS NULL";
    let row = intent.tx.query_opt(sql, &[Value::from(id)]).await?;
    let row = row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no topic {id}")))?;
    Ok(Topic {
        name: TopicName::new(row.text(0)?).map_err(|error| Refusal::damaged(error.to_string()))?,
        policy: row.text(1)?.to_owned(),
        notes: row.text(2)?.to_owned(),
        revision: row.int(3)?,
    })
}

pub(super) struct Group {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) selector: Option<String>,
    pub(super) policy: String,
    pub(super) revision: i64,
}

const GROUP: &str = "SELECT id, name, selector, policy, revision FROM groups";

impl Group {
    fn of(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            id: row.int(0)?,
            name: row.text(1)?.to_owned(),
            selector: row.opt_text(2)?.map(str::to_owned),
            policy: row.text(3)?.to_owned(),
            revision: row.int(4)?,
        })
    }

    /// Its members are listed by hand.
    pub(super) fn must_be_listed(&self) -> Result<(), Refusal> {
        match &self.selector {
            None => Ok(()),
            Some(selector) => Err(RefusalKind::Conflict.because(format!(
                "the members of group `{}` are those with the labels {selector}: change the labels of the device instead",
                self.name
            ))),
        }
    }
}

pub(super) async fn group(intent: &mut Intent, name: &str) -> Result<Group, Refusal> {
    let row = intent.tx.query_opt(&format!("{GROUP} WHERE name = $1"), &[Value::from(name)]).await?;
    Group::of(&row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no group `{name}`")))?)
}

pub(super) async fn groups(intent: &mut Intent) -> Result<Vec<Group>, Refusal> {
    intent.tx.query(&format!("{GROUP} ORDER BY id"), &[]).await?.iter().map(Group::of).collect()
}

/// Refuses a change of something that was changed since the caller looked.
pub(super) fn must_be_revision(found: i64, expected: Option<i64>, what: &str) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != found => Err(RefusalKind::Stale.because(format!(
            "{what} was changed meanwhile (revision {found}, not {expected}): look at it again, and repeat the change if it still makes sense"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn id_of(bytes: &[u8]) -> Result<ClientId, Refusal> {
    let bytes = bytes.try_into().map_err(|_| Refusal::damaged("the id of a device has not 16 bytes"))?;
    Ok(ClientId::from_bytes(bytes))
}

pub(super) fn labels_of(text: &str) -> Result<Labels, Refusal> {
    let labels: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|_| Refusal::damaged("the labels of a device cannot be read"))?;
    Labels::new(labels).map_err(|error| Refusal::damaged(error.to_string()))
}

pub(super) fn labels_text(labels: &Labels) -> Result<String, Refusal> {
    let labels: BTreeMap<_, _> = labels.iter().collect();
    serde_json::to_string(&labels).map_err(|_| Refusal::damaged("labels cannot be written"))
}
