//! Enrolment: one device, or a hundred thousand, all or none.

mod prepare;

use super::{
    Actor, Fault, Fleet, Refusal,
    find::device_subject,
    groups::group_new,
    intent::{Attempted, Intent},
    server_key::Pair,
};
use crate::{
    model::{Labels, Mode, Role, Slice, Status},
    plan::{Holdings, Known, Standing},
    store::Value,
};
use e4::ClientId;
pub(super) use prepare::must_be_device_name;
use prepare::{Prepared, prepare};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};
use zeroize::Zeroizing;

/// A device to be added.
#[derive(Debug)]
pub struct NewDevice {
    /// In which line of the list it is, from 1.
    pub line: u64,
    /// Its name; without one it needs an id.
    pub name: Option<String>,
    /// Its id, unless it follows from the name.
    pub id: Option<ClientId>,
    /// How it is keyed.
    pub key: NewDeviceKey,
    /// Names and values.
    pub labels: Labels,
    /// Groups that it is a listed member of.
    pub groups: Vec<String>,
    /// What people wrote about it.
    pub notes: String,
}

/// How a new device is keyed.
///
/// Its `Debug` shows no secret.
pub enum NewDeviceKey {
    /// Symmetric, with a key that the server makes.
    Made,
    /// Symmetric, with the key that it has.
    Symmetric(Zeroizing<[u8; 32]>),
    /// By its public key.
    PublicKey([u8; 32]),
}

/// Devices were added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// How many.
    pub count: u64,
    /// The ids of the first of them.
    pub ids: Vec<String>,
}

/// Ids that an answer and the audit name at most.
const NAMED: usize = 20;
/// Ids in one statement.
const CHUNK: usize = 5_000;

impl Fleet {
    /// Adds all of these devices, or none of them.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Invalid`](super::RefusalKind::Invalid) with the lines that are wrong.
    pub async fn add_devices(&self, actor: &Actor, devices: Vec<NewDevice>) -> Result<Added, Refusal> {
        let devices = Arc::new(devices);
        let subject = match devices.as_slice() {
            [device] => device.name.clone().or(device.id.map(|id| id.to_string())).unwrap_or_default(),
            many => format!("{} devices", many.len()),
        };
        let pair = Pair::current(self).await;
        let pair = match pair {
            Ok(pair) => Arc::new(pair),
            Err(refusal) => return Err(refusal),
        };
        self.intention(actor, Role::Enroller, ("add devices", &subject), |intent| {
            add_devices(intent, devices.clone(), pair.clone())
        })
        .await
    }
}

pub(super) async fn add_devices(mut intent: Intent, devices: Arc<Vec<NewDevice>>, pair: Arc<Pair>) -> Attempted<Added> {
    let prepared = prepare(&intent.fleet, devices.clone(), pair).await?;
    let faults = taken(&mut intent, &prepared).await?;
    if !faults.is_empty() {
        return Err(Refusal::of_lines(faults));
    }
    let groups_before = groups_fault(&mut intent, &devices).await?;
    if !groups_before.is_empty() {
        return Err(Refusal::of_lines(groups_before));
    }
    insert(&mut intent, &prepared).await?;
    group_new(
        &mut intent,
        prepared.iter().zip(devices.iter()).map(|(it, device)| (it.id, &device.labels, device.groups.as_slice())),
    )
    .await?;
    let ids: Vec<_> = prepared.iter().take(NAMED).map(|it| it.id.to_string()).collect();
    let (subject, detail) = match (prepared.as_slice(), devices.as_slice()) {
        ([one], [device]) => (
            device_subject(&one.id),
            json!({ "name": one.name, "mode": one.mode.word(), "labels": one.labels, "groups": device.groups,
                    "key": if one.is_fresh { "new" } else { "given" } }),
        ),
        _ => (format!("{} devices", prepared.len()), json!({ "first": ids, "count": prepared.len() })),
    };
    intent.audit("add devices", &subject, &detail).await?;
    let count = u64::try_from(prepared.len()).unwrap_or(u64::MAX);
    Ok((intent, Added { count, ids }))
}

/// Lines with an id, a name or a key that is in use.
async fn taken(intent: &mut Intent, prepared: &[Prepared]) -> Result<Vec<Fault>, Refusal> {
    let mut faults = Vec::new();
    for some in prepared.chunks(CHUNK) {
        let by_id: HashMap<&[u8], &Prepared> = some.iter().map(|it| (it.id.as_bytes().as_slice(), it)).collect();
        let ids = Value::list(some.iter().map(|it| it.id.as_bytes()));
        for row in intent.tx.query("SELECT id, status FROM devices WHERE id = ANY($1)", &[ids]).await? {
            let Some(it) = by_id.get(row.bytes(0)?) else { continue };
            let what = if Status::from_code(row.int(1)?) == Some(Status::Withdrawn) {
                "was withdrawn, and its id is never used again: choose another name"
            } else {
                "is there already"
            };
            faults.push(Fault { line: it.line, detail: format!("device {} {what}", it.id) });
        }
        let by_name: HashMap<&str, &Prepared> =
            some.iter().filter_map(|it| it.name.as_deref().map(|name| (name, it))).collect();
        let names = Value::list(by_name.keys().copied());
        for row in intent.tx.query("SELECT name, id FROM devices WHERE name = ANY($1)", &[names]).await? {
            let Some(it) = by_name.get(row.text(0)?) else { continue };
            // The same id was told already.
            if row.bytes(1)? != it.id.as_bytes() {
                faults.push(Fault { line: it.line, detail: "a device of this name is there already".to_owned() });
            }
        }
        let by_key: HashMap<&[u8], &Prepared> = some.iter().map(|it| (it.fingerprint.as_slice(), it)).collect();
        let keys = Value::list(some.iter().map(|it| &it.fingerprint));
        for row in intent.tx.query("SELECT fingerprint FROM fingerprints WHERE fingerprint = ANY($1)", &[keys]).await? {
            let Some(it) = by_key.get(row.bytes(0)?) else { continue };
            faults.push(Fault { line: it.line, detail: prepare::KEY_IN_USE.to_owned() });
        }
    }
    faults.sort_by_key(|fault| fault.line);
    Ok(faults)
}

/// Lines that name a group that there is not, or whose members follow from labels.
async fn groups_fault(intent: &mut Intent, devices: &[NewDevice]) -> Result<Vec<Fault>, Refusal> {
    if devices.iter().all(|device| device.groups.is_empty()) {
        return Ok(Vec::new());
    }
    let groups = super::find::groups(intent).await?;
    let listed: HashMap<_, _> = groups.iter().map(|group| (group.name.as_str(), group.must_be_listed())).collect();
    let mut faults = Vec::new();
    for device in devices {
        for name in &device.groups {
            let detail = match listed.get(name.as_str()) {
                Some(Ok(())) => continue,
                Some(Err(refusal)) => refusal.detail.clone(),
                None => format!("there is no group `{name}`"),
            };
            faults.push(Fault { line: device.line, detail });
        }
    }
    Ok(faults)
}

async fn insert(intent: &mut Intent, prepared: &[Prepared]) -> Result<(), Refusal> {
    let fingerprints =
        prepared.iter().map(|it| vec![Value::from(&it.fingerprint), Value::from(device_subject(&it.id))]).collect();
    intent.tx.execute_each("INSERT INTO fingerprints (fingerprint, owner) VALUES ($1, $2)", fingerprints).await?;
    let mut rows = Vec::with_capacity(prepared.len());
    for it in prepared {
        let server_key = it.server_key;
        let held = match it.is_fresh {
            true => Some(known_text(server_key)?),
            false => None,
        };
        rows.push(vec![
            Value::from(it.id.as_bytes()),
            Value::from(Slice::of(&it.id).code()),
            Value::from(it.name.as_deref()),
            Value::from(it.mode.code()),
            Value::from(it.labels.as_str()),
            Value::from(it.notes.as_str()),
            Value::from(intent.now),
            Value::from(it.sealed.as_slice()),
            Value::from(it.public_key.as_ref()),
            Value::from(server_key),
            Value::from(held),
            Value::from(Standing::Unconfirmed.word()),
        ]);
    }
    intent
        .tx
        .execute_each(
            "INSERT INTO devices (id, slice, name, mode, status, labels, notes, created, revision, key_version, secret,
                                  public_key, server_key, client_key_since, lane_last, lane_used, report_newest, report_sent,
                                  held, standing, standing_since, attempts)
             VALUES ($1, $2, $3, $4, 0, $5, $6, $7, 1, 1, $8, $9, $10, $7, 0, 0, 0, 0, $11, $12, $7, 0)",
            rows,
        )
        .await?;
    Ok(())
}

/// What a device holds that begins with a bundle, or with the server's public key alone.
fn known_text(server_key: Option<u32>) -> Result<String, Refusal> {
    let known = Known::new(Holdings { server_key, ..Holdings::default() });
    serde_json::to_string(&known).map_err(|_| Refusal::damaged("what a device holds cannot be written"))
}

impl NewDeviceKey {
    const fn mode(&self) -> Mode {
        match self {
            Self::Made | Self::Symmetric(_) => Mode::Symmetric,
            Self::PublicKey(_) => Mode::PublicKey,
        }
    }
}

impl std::fmt::Debug for NewDeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Made => f.write_str("Made"),
            Self::Symmetric(_) => f.write_str("Symmetric(..)"),
            Self::PublicKey(key) => write!(f, "PublicKey({})", hex::encode(key)),
        }
    }
}
