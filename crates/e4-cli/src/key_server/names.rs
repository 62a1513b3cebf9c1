//! What is meant by a name.

use super::{address::Path, list, server::Server};
use crate::{output::Failure, terminal::printable};
use anyhow::anyhow;
use e4::ClientId;
use e4_keyserver_api::{Device, DeviceRef, Status, Topic};

/// The id of a device that is given by its name or by its id.
pub(super) fn device(server: &Server, name: &str) -> Result<String, Failure> {
    if name.parse::<ClientId>().is_ok() {
        return Ok(name.to_lowercase());
    }
    for status in [None, Some(Status::Withdrawn.word())] {
        let path = Path::new(&["devices"]).with("name", Some(name)).with("status", status);
        if let Some(found) = list::all::<Device>(server, &path, Some(1))?.into_iter().next() {
            return Ok(found.id);
        }
    }
    Err(anyhow!("there is no device {}: see `e4 fleet devices list`", printable(name)).into())
}

/// The topic of a name.
pub(super) fn topic(server: &Server, name: &str) -> Result<Topic, Failure> {
    let path = Path::new(&["topics"]).with("name", Some(name));
    let found = list::all::<Topic>(server, &path, Some(1))?.into_iter().next();
    Ok(found.ok_or_else(|| anyhow!("the key server has no topic {}: see `e4 fleet topics list`", printable(name)))?)
}

/// A device, for people.
pub(super) fn shown(device: &DeviceRef) -> String {
    device.name.clone().unwrap_or_else(|| device.id.clone())
}
