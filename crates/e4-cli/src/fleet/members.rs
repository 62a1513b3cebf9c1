//! The devices of a fleet, and which of them are meant.

use super::{
    device::{Device, DeviceKey, Loaded},
    distinct::{Keys, NewKey},
    file,
    lock::lock,
    topics::WantedTopic,
};
use crate::terminal::printable;
use anyhow::{Context, anyhow, ensure};
use e4::{C2PublicKey, C2SecretKey, ClientId, Mode, VerifyingKey, controller::Recipient};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

/// A fleet with its keys, as far as they could be read.
pub(crate) struct Fleet {
    pub(super) path: PathBuf,
    /// Nobody else uses the fleet until this is dropped.
    _lock: Option<File>,
    c2_key: Option<Loaded<C2SecretKey>>,
    devices: BTreeMap<String, Device>,
    topics: Vec<WantedTopic>,
}

/// Which devices are meant.
#[derive(clap::Args)]
#[group(id = "whom", required = true, multiple = true)]
pub(crate) struct Whom {
    /// The device of this name in the fleet file; several with commas between them, or by giving this several times
    #[arg(long, value_name = "NAME", value_delimiter = ',', allow_hyphen_values = true)]
    to: Vec<String>,
    /// The devices of this group in the fleet file
    #[arg(long, value_name = "GROUP", value_delimiter = ',', allow_hyphen_values = true)]
    group: Vec<String>,
    /// All devices in the fleet file that take such a command
    #[arg(long, conflicts_with_all = ["to", "group"])]
    all: bool,
}

impl Whom {
    /// Whether a device is named, and not only one of a group or of all.
    pub(crate) fn names(&self, device: &str) -> bool {
        self.to.iter().any(|name| name == device)
    }
}

impl Fleet {
    /// Waits until nobody else uses the fleet, and reads and checks the file and the keys that it names.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let unreadable = || format!("could not read the fleet file {shown}");
        let lock = lock(path, fs::metadata(path).with_context(unreadable)?)?;
        let text = fs::read_to_string(path).with_context(unreadable)?;
        let file::Parts { c2_key, devices, topics } =
            file::parse(path, &text).with_context(|| format!("the fleet file {shown}"))?;
        let fleet = Self { path: path.to_owned(), _lock: lock, c2_key, devices, topics };
        fleet.check_keys().with_context(|| format!("the fleet file {shown}"))?;
        Ok(fleet)
    }

    fn check_keys(&self) -> anyhow::Result<()> {
        self.keys().check_distinct()?;
        for topic in &self.topics {
            if let Ok(key) = topic.key() {
                self.check_topic_key(key.as_bytes()).with_context(|| format!("the topic {}", topic.name.shown()))?;
            }
        }
        Ok(())
    }

    /// All devices, with their names.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&str, &Device)> {
        self.devices.iter().map(|(name, device)| (name.as_str(), device))
    }

    /// The topics that the file names.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &WantedTopic> {
        self.topics.iter()
    }

    /// The public keys of the devices in public-key mode, as far as they could be read.
    pub(crate) fn public_keys(&self) -> Vec<(ClientId, VerifyingKey)> {
        let keys = self.devices.values().filter_map(|device| Some((device.id, device.public_key().ok()?)));
        keys.collect()
    }

    /// The public key of the key server.
    pub(crate) fn c2_public_key(&self) -> anyhow::Result<C2PublicKey> {
        Ok(self.c2_key()?.public_key())
    }

    /// The devices that are meant. Of a group and of all, those of another mode than `takes` are left out.
    pub(crate) fn select(&self, whom: &Whom, takes: Option<Mode>) -> anyhow::Result<Vec<(&str, &Device)>> {
        let is_empty = whom.to.iter().chain(&whom.group).any(String::is_empty);
        ensure!(!is_empty, "behind --to or --group there is an empty name: is there a comma too many?");
        for name in &whom.to {
            self.device(name)?;
        }
        for group in &whom.group {
            let known = self.devices.values().any(|device| device.groups.contains(group));
            ensure!(known, "no device in {} is in the group {}", self.path.display(), printable(group));
        }
        let fits = |device: &Device| takes.is_none_or(|mode| mode == device.mode);
        let is_meant = |name: &String, device: &Device| {
            whom.to.contains(name)
                || (fits(device) && (whom.all || device.groups.iter().any(|group| whom.group.contains(group))))
        };
        let meant: Vec<_> = self.devices.iter().filter(|(name, device)| is_meant(name, device)).collect();
        ensure!(!meant.is_empty(), "none of these devices is in the mode that takes this command");
        Ok(meant.into_iter().map(|(name, device)| (name.as_str(), device)).collect())
    }

    /// A device by its name.
    pub(crate) fn device(&self, name: &str) -> anyhow::Result<&Device> {
        self.find(name).with_context(|| format!("there is no device {} in {}", printable(name), self.path.display()))
    }

    /// A device by its name, if it is in the file.
    pub(crate) fn find(&self, name: &str) -> Option<&Device> {
        self.devices.get(name)
    }

    fn keys(&self) -> Keys<'_> {
        Keys { c2: self.c2_key.as_ref().and_then(|key| key.as_ref().ok()), devices: &self.devices }
    }

    /// Fails if the key of a topic, or one that topic keys are derived from, is that of a device or of the key server.
    pub(crate) fn check_topic_key(&self, key: &[u8; 32]) -> anyhow::Result<()> {
        self.keys().check_topic_key(key)
    }

    /// Fails if a new key for a device, which is named, is that of another one or the key server's.
    pub(crate) fn check_new_key(&self, device: &str, key: &NewKey<'_>) -> anyhow::Result<()> {
        self.keys().check_new_key(device, key)
    }

    /// What it takes to seal for a device.
    pub(crate) fn recipient(&self, device: &Device) -> anyhow::Result<Recipient> {
        match device.key()? {
            DeviceKey::Symmetric(key) => Ok(Recipient::symmetric(device.id, key)),
            DeviceKey::Public(key) => self.recipient_with(device, key),
        }
    }

    /// What it takes to seal for a device in public-key mode that has another key than the file says.
    pub(crate) fn recipient_with(&self, device: &Device, key: &VerifyingKey) -> anyhow::Result<Recipient> {
        Ok(Recipient::public_key(device.id, self.c2_key()?, key)?)
    }

    fn c2_key(&self) -> anyhow::Result<&C2SecretKey> {
        let key = self.c2_key.as_ref().with_context(|| {
            format!("{} names no c2_key_file, which devices in public-key mode need", self.path.display())
        })?;
        key.as_ref().map_err(|reason| anyhow!("{reason}"))
    }
}
