//! A fleet file of `e4 control` moves to a key server: devices, groups and topics with their keys, and who has which.

use super::{address::Path, devices::hex_secret, list, names, server::Server, table::count};
use crate::{
    fleet::{Device, DeviceKey, Fleet, WantedTopic},
    output::{Failure, Output},
    terminal::{note, printable},
};
use anyhow::Context;
use e4_keyserver_api::{Access, Imported, Mode, NewDevice, NewGroup, NewTopic, Status, Topic, TopicPolicy};
use serde::Serialize;
use std::{collections::BTreeSet, path::Path as FilePath};
use zeroize::Zeroizing;

/// The group of all devices of the file, for topics that are for all.
const ALL: &str = "all of the fleet file";

#[derive(Serialize, Default)]
struct Moved {
    devices: u64,
    groups: u64,
    topics: u64,
    accesses: u64,
}

pub(super) fn run(path: &FilePath, server: &Server, output: Output) -> Result<(), Failure> {
    let fleet = Fleet::load(path)?;
    let entries = entries(&fleet)?;
    let mut moved = Moved { groups: add_groups(&fleet, server)?, ..Moved::default() };
    moved.devices = add_devices(entries, server)?;
    for topic in fleet.topics() {
        let (id, is_new) = add_topic(topic, server)?;
        moved.topics += u64::from(is_new);
        moved.accesses += grant(&fleet, topic, id, server)?;
    }
    if fleet.devices().any(|(_, device)| device.mode == e4::Mode::PublicKey) {
        note(
            "Devices in public-key mode take commands of this key server once they know its key: `e4 fleet server-key export \
             --out server.key.pub`, and then `e4 control set-c2-key --public-key-file server.key.pub --all`",
        );
    }
    note(
        "From now on leave `e4 control` alone for these devices: two that send commands are seen as one that is not known",
    );
    output.print(&moved, || {
        format!(
            "Moved: {}, {}, {}, {}",
            count(moved.devices, "device", "devices"),
            count(moved.groups, "group", "groups"),
            count(moved.topics, "topic", "topics"),
            count(moved.accesses, "access", "accesses")
        )
    })
}

/// What the key server is to know of each device. All keys are there before anything is sent.
fn entries(fleet: &Fleet) -> anyhow::Result<Vec<NewDevice>> {
    for topic in fleet.topics() {
        topic.key().with_context(|| format!("the topic {}", topic.name.shown()))?;
    }
    let is_for_all = fleet.topics().any(WantedTopic::is_for_all);
    let entry = |(name, device): (&str, &Device)| {
        let (mode, key, public_key) = match device.key().with_context(|| format!("the device {}", printable(name)))? {
            DeviceKey::Symmetric(key) => (Mode::Symmetric, Some(hex_secret(key.as_bytes())), None),
            DeviceKey::Public(key) => (Mode::PublicKey, None, Some(hex::encode(key.as_bytes()))),
        };
        Ok(NewDevice {
            name: Some(name.to_owned()),
            id: Some(device.id.to_string()),
            mode,
            key,
            public_key,
            labels: std::collections::BTreeMap::new(),
            groups: device.groups().iter().cloned().chain(is_for_all.then(|| ALL.to_owned())).collect(),
            notes: String::new(),
        })
    };
    fleet.devices().map(entry).collect()
}

fn add_groups(fleet: &Fleet, server: &Server) -> Result<u64, Failure> {
    let mut wanted: BTreeSet<&str> =
        fleet.devices().flat_map(|(_, device)| device.groups()).map(String::as_str).collect();
    if fleet.topics().any(WantedTopic::is_for_all) {
        wanted.insert(ALL);
    }
    let path = Path::new(&["groups"]);
    let known: Vec<e4_keyserver_api::Group> = list::all(server, &path, None)?;
    let mut added = 0;
    for name in wanted {
        if known.iter().any(|group| group.name == name) {
            note(format!("The key server has a group {} already, which stays as it is", printable(name)));
            continue;
        }
        server.post(&path, &NewGroup { name: name.to_owned(), selector: None, policy: Default::default() })?;
        added += 1;
    }
    Ok(added)
}

/// All those that the key server does not know yet, or none.
fn add_devices(entries: Vec<NewDevice>, server: &Server) -> Result<u64, Failure> {
    let mut lines = Zeroizing::new(Vec::new());
    for entry in entries {
        let name = entry.name.as_deref().unwrap_or_default();
        if is_known(server, name)? {
            note(format!("The key server has a device {} already, which stays as it is", printable(name)));
            continue;
        }
        lines.append(&mut serde_json::to_vec(&entry)?);
        lines.push(b'\n');
    }
    if lines.is_empty() {
        return Ok(0);
    }
    let answer = server.post_lines(&Path::new(&["devices", "import"]), "application/jsonl", &lines)?;
    Ok(answer.read::<Imported>()?.added)
}

fn is_known(server: &Server, name: &str) -> Result<bool, Failure> {
    let path = Path::new(&["devices"]).with("name", Some(name));
    let found = list::all::<e4_keyserver_api::Device>(server, &path, Some(1))?;
    Ok(found.iter().any(|device| device.status != Status::Withdrawn))
}

/// The number of a topic at the key server, and whether it is new there.
fn add_topic(topic: &WantedTopic, server: &Server) -> Result<(u64, bool), Failure> {
    let path = Path::new(&["topics"]);
    let known = list::all::<Topic>(server, &path.clone().with("name", Some(topic.name.as_str())), Some(1))?;
    if let Some(known) = known.first() {
        note(format!("The key server has the topic {} already, and its key stays as it is", topic.name.shown()));
        return Ok((known.id, false));
    }
    let new = NewTopic {
        name: topic.name.as_str().to_owned(),
        key: Some(hex_secret(topic.key()?.as_bytes())),
        policy: TopicPolicy::default(),
        notes: String::new(),
    };
    Ok((server.post(&path, &new)?.read::<Topic>()?.id, true))
}

/// Who has the key may read; who publishes there, or may do so as far as the file says, may write.
fn grant(fleet: &Fleet, topic: &WantedTopic, id: u64, server: &Server) -> Result<u64, Failure> {
    let id = id.to_string();
    let mut granted = 0;
    let writes = |group: Option<&str>| {
        let members =
            fleet.devices().filter(|(_, device)| group.is_none_or(|it| device.groups().iter().any(|own| own == it)));
        members.into_iter().any(|(_, device)| device.turn(&topic.name) > 0)
    };
    for device in topic.devices() {
        let write = fleet.device(device)?.turn(&topic.name) > 0;
        let device = names::device(server, device)?;
        server.put(&Path::new(&["topics", &id, "access", "devices", &device]), &Access { read: true, write })?;
        granted += 1;
    }
    let groups = topic.groups().iter().map(|group| (group.as_str(), writes(Some(group))));
    for (group, write) in groups.chain(topic.is_for_all().then(|| (ALL, writes(None)))) {
        server.put(&Path::new(&["topics", &id, "access", "groups", group]), &Access { read: true, write })?;
        granted += 1;
    }
    Ok(granted)
}
