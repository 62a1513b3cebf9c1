//! From what is said over HTTP to what the fleet takes, and back.

use super::Problem;
use crate::{
    fleet::{self, NewDevice, NewDeviceKey},
    model::Labels,
};
use e4_keyserver_api as said;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// Between types that are written alike, such as policies.
pub(super) fn alike<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, Problem> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|_| Problem::invalid("a value is out of its range"))
}

/// A key of 32 bytes. What is wrong is said without it.
pub(super) fn key(text: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, &mut *key).map_err(|_| "a key is 64 hexadecimal digits".to_owned())?;
    Ok(key)
}

/// A device to be added, of which a line is wrong if it is of many.
pub(super) fn new_device(line: u64, new: said::NewDevice) -> Result<NewDevice, String> {
    let id = new.id.map(|id| id.parse().map_err(|_| "an id is 32 hexadecimal digits".to_owned())).transpose()?;
    let key = match (new.mode, &new.key, &new.public_key) {
        (said::Mode::Symmetric, None, None) => NewDeviceKey::Made,
        (said::Mode::Symmetric, Some(secret), None) => NewDeviceKey::Symmetric(key(secret.reveal())?),
        (said::Mode::PublicKey, None, Some(public)) => NewDeviceKey::PublicKey(*key(public)?),
        (said::Mode::PublicKey, None, None) => {
            return Err(
                "a device in public-key mode needs `public_key`; one that is to bring it itself gets an invitation"
                    .to_owned(),
            );
        }
        (said::Mode::PublicKey, Some(_), _) => {
            return Err("a device in public-key mode has no `key` here: give `public_key` alone".to_owned());
        }
        _ => return Err("a device in symmetric mode has no `public_key`".to_owned()),
    };
    let labels = Labels::new(new.labels).map_err(|error| error.to_string())?;
    Ok(NewDevice { line, name: new.name, id, key, labels, groups: new.groups, notes: new.notes })
}

/// What follows from a change.
pub(super) fn change(change: fleet::Change) -> said::Change {
    let orders = change.orders.into_iter().filter_map(|order| u64::try_from(order).ok()).collect();
    said::Change { orders, warnings: change.warnings }
}

/// A number of a topic, an order or a token, as the database has it: what is too large is none of them.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that the database has, which is never negative.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
