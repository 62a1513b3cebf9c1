//! A fleet file of `e4 control` moves to a key server: devices, groups and topics with their keys, and who has which.

use super::{address::Path, devices::hex_secret, list, server::Server, table::count};
use crate::{
    fleet::{Device, DeviceKey, Fleet, WantedTopic},
    output::{Failure, Output},
    terminal::{note, printable},
};
use anyhow::{Context, anyhow};
use e4_keyserver_api::{Access, Group, GroupPolicy, Imported, Mode, NewDevice, NewGroup, NewTopic, Topic, TopicPolicy};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path as FilePath,
};
use zeroize::Zeroizing;

/// The group of all devices of the file, for topics that are for all.
const ALL: &str = "all of the fleet file";

/// Moves a fleet, or only says what that would be.
struct Move<'a> {
    fleet: &'a Fleet,
    server: &'a Server,
    dry_run: bool,
}

/// What moved, in numbers.
#[derive(Serialize)]
struct Moved {
    dry_run: bool,
    devices: u64,
    groups: u64,
    topics: u64,
    accesses: u64,
}

pub(super) fn run(path: &FilePath, dry_run: bool, server: &Server, output: Output) -> Result<(), Failure> {
    let fleet = &Fleet::load(path)?;
    let it = Move { fleet, server, dry_run };
    let entries = it.entries()?;
    let mut moved = Moved { dry_run, groups: it.groups()?, devices: it.devices(entries)?, topics: 0, accesses: 0 };
    for topic in fleet.topics() {
        let (known, is_new) = it.topic(topic)?;
        moved.topics += u64::from(is_new);
        moved.accesses += it.access(topic, known)?;
    }
    if fleet.devices().any(|(_, device)| device.mode == e4::Mode::PublicKey) {
        note(
            "Devices in public-key mode take commands of this key server once they know its key: `e4 fleet server-key export \
             --out server.key.pub`, and then `e4 control set-c2-key --public-key-file server.key.pub --all`",
        );
    }
    if !dry_run {
        note("From then on leave `e4 control` alone: a device that takes commands from both stands as `ahead`");
    }
    output.print(&moved, || {
        format!(
            "{}: {}, {}, {}, {}",
            if dry_run { "Would move" } else { "Moved" },
            count(moved.devices, "device", "devices"),
            count(moved.groups, "group", "groups"),
            count(moved.topics, "topic", "topics"),
            count(moved.accesses, "access", "accesses")
        )
    })
}

impl Move<'_> {
    /// What the key server is to know of each device. All keys are there before anything is sent.
    fn entries(&self) -> anyhow::Result<Vec<NewDevice>> {
        for topic in self.fleet.topics() {
            topic.key().with_context(|| format!("the topic {}", topic.name.shown()))?;
        }
        let entry = |(name, device): (&str, &Device)| {
            let key = device.key().with_context(|| format!("the device {}", printable(name)))?;
            let (mode, key, public_key) = match key {
                DeviceKey::Symmetric(key) => (Mode::Symmetric, Some(hex_secret(key.as_bytes())), None),
                DeviceKey::Public(key) => (Mode::PublicKey, None, Some(hex::encode(key.as_bytes()))),
            };
            Ok(NewDevice {
                name: Some(name.to_owned()),
                id: Some(device.id.to_string()),
                mode,
                key,
                public_key,
                labels: BTreeMap::new(),
                groups: device.groups().iter().cloned().chain(self.has_all().then(|| ALL.to_owned())).collect(),
                notes: String::new(),
            })
        };
        self.fleet.devices().map(entry).collect()
    }

    /// Whether there is a topic that is for all devices.
    fn has_all(&self) -> bool {
        self.fleet.topics().any(WantedTopic::is_for_all)
    }

    /// Groups that the key server does not have yet.
    fn groups(&self) -> Result<u64, Failure> {
        let named = self.fleet.devices().flat_map(|(_, device)| device.groups()).map(String::as_str);
        let wanted: BTreeSet<&str> = named.chain(self.has_all().then_some(ALL)).collect();
        let path = Path::new(&["groups"]);
        let known: Vec<Group> = list::all(self.server, &path, None)?;
        let mut added = 0;
        for name in wanted {
            if known.iter().any(|group| group.name == name) {
                note(format!("The key server has a group {} already, which stays as it is", printable(name)));
                continue;
            }
            if !self.dry_run {
                let group = NewGroup { name: name.to_owned(), selector: None, policy: GroupPolicy::default() };
                self.server.post(&path, &group)?;
            }
            added += 1;
        }
        Ok(added)
    }

    /// All devices that the key server does not have yet, or none.
    fn devices(&self, entries: Vec<NewDevice>) -> Result<u64, Failure> {
        let mut lines = Zeroizing::new(Vec::new());
        let mut added = 0;
        for entry in entries {
            if self.is_known(&entry)? {
                continue;
            }
            let mut line = Zeroizing::new(serde_json::to_vec(&entry)?);
            lines.append(&mut line);
            lines.push(b'\n');
            added += 1;
        }
        if added == 0 || self.dry_run {
            return Ok(added);
        }
        let answer = self.server.post_lines(&Path::new(&["devices", "import"]), "application/jsonl", &lines)?;
        Ok(answer.read::<Imported>()?.added)
    }

    fn is_known(&self, entry: &NewDevice) -> Result<bool, Failure> {
        let shown = printable(entry.name.as_deref().unwrap_or_default());
        let path = Path::new(&["devices"]).with("name", entry.name.as_ref());
        let found = list::all::<e4_keyserver_api::Device>(self.server, &path, Some(1))?;
        let Some(known) = found.first() else { return Ok(false) };
        if Some(&known.id) != entry.id.as_ref() {
            return Err(
                anyhow!("the key server has a device {shown} with another id: give one of them another name").into()
            );
        }
        note(format!("The key server has a device {shown} already, which stays as it is"));
        Ok(true)
    }

    /// A topic's number at the key server, if it has one by now, and whether it is new there.
    fn topic(&self, topic: &WantedTopic) -> Result<(Option<u64>, bool), Failure> {
        let path = Path::new(&["topics"]);
        let by_name = path.clone().with("name", Some(topic.name.as_str()));
        let known = list::all::<Topic>(self.server, &by_name, Some(1))?;
        if let Some(known) = known.first() {
            note(format!("The key server has the topic {} already, and its key stays as it is", topic.name.shown()));
            return Ok((Some(known.id), false));
        }
        if self.dry_run {
            return Ok((None, true));
        }
        let new = NewTopic {
            name: topic.name.as_str().to_owned(),
            key: Some(hex_secret(topic.key()?.as_bytes())),
            policy: TopicPolicy::default(),
            notes: String::new(),
        };
        Ok((Some(self.server.post(&path, &new)?.read::<Topic>()?.id), true))
    }

    /// Who has the key may read; who publishes there, or may do so as far as the file says, may write.
    fn access(&self, topic: &WantedTopic, number: Option<u64>) -> Result<u64, Failure> {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        let mut granted = 0;
        let mut grant = |kind: &str, whom: &str, write: bool| {
            granted += 1;
            if self.dry_run {
                return Ok(());
            }
            let path = Path::new(&["topics", &number, "access", kind, whom]);
            self.server.put(&path, &Access { read: true, write }).map(|_| ())
        };
        let mut writing = self.fleet.devices().filter(|(_, device)| device.turn(&topic.name) > 0);
        if topic.is_for_all() {
            grant("groups", ALL, writing.next().is_some())?;
            return Ok(granted);
        }
        let writing: Vec<_> = writing.collect();
        for name in topic.devices() {
            let device = self.fleet.device(name)?;
            grant("devices", &device.id.to_string(), device.turn(&topic.name) > 0)?;
        }
        for group in topic.groups() {
            grant("groups", group, writing.iter().any(|(_, device)| device.groups().contains(group)))?;
        }
        Ok(granted)
    }
}
