//! What can be found wrong with a list, and made of it, without the database.

use super::{NewDevice, NewDeviceKey};
use crate::{
    fleet::{Fault, Fleet, Refusal, RefusalKind, find::labels_text, server_key::Pair, topics::must_be_notes},
    model::Mode,
    vault::Place,
};
use e4::{ClientId, ClientKey, VerifyingKey, controller::Recipient};
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};
use zeroize::Zeroizing;

pub(super) const KEY_IN_USE: &str =
    "its key is in use already, for a device, a topic or the server: no two of them may be equal, so make a new one";

/// A device as it will be stored.
pub(super) struct Prepared {
    pub(super) line: u64,
    pub(super) id: ClientId,
    pub(super) name: Option<String>,
    pub(super) mode: Mode,
    pub(super) labels: String,
    pub(super) notes: String,
    pub(super) sealed: Vec<u8>,
    pub(super) public_key: Option<[u8; 32]>,
    pub(super) server_key: Option<u32>,
    pub(super) fingerprint: [u8; 16],
    /// Nobody has used its key before, so that it is known that the device holds nothing.
    pub(super) is_fresh: bool,
}

/// Off the threads that serve others: a hundred thousand keys take a while.
pub(super) async fn prepare(
    fleet: &Fleet,
    devices: Arc<Vec<NewDevice>>,
    pair: Arc<Pair>,
) -> Result<Vec<Prepared>, Refusal> {
    let fleet = fleet.clone();
    let work = move || prepare_all(&fleet, &devices, &pair);
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| RefusalKind::Unavailable.because("the work was interrupted: send it again"))?
}

fn prepare_all(fleet: &Fleet, devices: &[NewDevice], pair: &Pair) -> Result<Vec<Prepared>, Refusal> {
    let (mut prepared, mut faults) = (Vec::with_capacity(devices.len()), Vec::new());
    let (mut ids, mut names, mut keys) = (HashMap::new(), HashMap::new(), HashMap::new());
    for device in devices {
        match prepare_one(fleet, device, pair) {
            Ok(it) => {
                let fault = first_line(&mut ids, it.id, it.line)
                    .map(|line| format!("line {line} has the same id"))
                    .or_else(|| {
                        let line = first_line(&mut names, it.name.clone()?, it.line)?;
                        Some(format!("line {line} has the same name"))
                    })
                    .or_else(|| {
                        let line = first_line(&mut keys, it.fingerprint, it.line)?;
                        Some(format!("line {line} has the same key: no two may be equal, so make a new one"))
                    });
                match fault {
                    Some(detail) => faults.push(Fault { line: it.line, detail }),
                    None => prepared.push(it),
                }
            }
            Err(refusal) if refusal.is_about_the_request() => {
                faults.push(Fault { line: device.line, detail: refusal.detail });
            }
            Err(refusal) => return Err(refusal),
        }
    }
    if faults.is_empty() { Ok(prepared) } else { Err(Refusal::of_lines(faults)) }
}

/// In which line this was before.
fn first_line<K: Hash + Eq>(seen: &mut HashMap<K, u64>, key: K, line: u64) -> Option<u64> {
    match seen.entry(key) {
        Entry::Occupied(before) => Some(*before.get()),
        Entry::Vacant(place) => {
            place.insert(line);
            None
        }
    }
}

fn prepare_one(fleet: &Fleet, device: &NewDevice, pair: &Pair) -> Result<Prepared, Refusal> {
    let invalid = |reason: String| RefusalKind::Invalid.because(reason);
    let id = match (&device.id, &device.name) {
        (Some(id), _) => *id,
        (None, Some(name)) => ClientId::from_name(name).map_err(|error| invalid(error.to_string()))?,
        (None, None) => return Err(invalid("a device needs a name or an id".to_owned())),
    };
    if let Some(name) = &device.name {
        must_be_device_name(name)?;
    }
    must_be_notes(&device.notes)?;
    let vault = fleet.vault();
    let (key, public_key) = match &device.key {
        NewDeviceKey::Made => (vault.new_key()?, None),
        NewDeviceKey::Symmetric(key) => {
            ClientKey::from_bytes(key).map_err(|error| invalid(error.to_string()))?;
            (key.clone(), None)
        }
        NewDeviceKey::PublicKey(key) => {
            let signer = VerifyingKey::from_bytes(key).map_err(|error| invalid(error.to_string()))?;
            let recipient = Recipient::public_key(id, &pair.secret, &signer);
            let recipient = recipient.map_err(|error| invalid(error.to_string()))?;
            let control = recipient.control_key().ok_or_else(|| Refusal::damaged("no control key was agreed"))?;
            let mut bytes = Zeroizing::new([0; 32]);
            bytes.copy_from_slice(control.as_bytes());
            (bytes, Some(*key))
        }
    };
    Ok(Prepared {
        line: device.line,
        id,
        name: device.name.clone(),
        mode: device.key.mode(),
        labels: labels_text(&device.labels)?,
        notes: device.notes.clone(),
        sealed: vault.seal(Place::device_key(id.as_bytes(), 1), &*key)?,
        fingerprint: vault.fingerprint(public_key.as_ref().unwrap_or(&key)),
        server_key: public_key.map(|_| pair.version),
        public_key,
        is_fresh: matches!(device.key, NewDeviceKey::Made),
    })
}

/// What can be shown in a table and found again.
pub(in crate::fleet) fn must_be_device_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) || name.trim() != name {
        return Err(RefusalKind::Invalid
            .because("the name of a device has 1 to 255 bytes, no control characters, and no spaces at its ends"));
    }
    Ok(())
}
