//! The fleet file: which devices there are, and the keys that commands to them are sealed with.
//!
//! ```toml
//! c2_key_file = "c2.key"                  # X25519; for devices in public-key mode
//!
//! [devices.pump-7]
//! mode = "symmetric"
//! key_file = "pump-7.key"                 # the client key
//! writes = ["plant/7/pump/#"]             # where it publishes, if that is known
//!
//! [devices.panel-1]
//! mode = "public-key"
//! public_key_file = "panel-1.key.pub"     # Ed25519
//! groups = ["panels"]
//! id = "00112233445566778899aabbccddeeff" # unless the id follows from the name
//! writes = []
//! ```
//!
//! Paths are relative to the file. No two devices have the same key: whoever can publish could pass a command for one on to
//! the other.

mod distinct;
mod file;
mod lanes;
mod writes;

pub(crate) use distinct::NewKey;
pub(crate) use lanes::Lanes;

use crate::terminal::printable;
use anyhow::{Context, anyhow, ensure};
use e4::{C2SecretKey, ClientId, ClientKey, Mode, TopicFilter, VerifyingKey, controller::Recipient};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// A fleet with its keys, as far as they could be read.
pub(crate) struct Fleet {
    path: PathBuf,
    /// The file, as it is locked while commands are sealed and sent.
    file: File,
    c2_key: Option<Loaded<C2SecretKey>>,
    devices: BTreeMap<String, Device>,
}

/// A key, or why it could not be read: that matters only when the key is needed.
type Loaded<K> = Result<K, String>;

/// A device of the fleet.
pub(crate) struct Device {
    pub(crate) id: ClientId,
    pub(crate) mode: Mode,
    key: Loaded<DeviceKey>,
    groups: Vec<String>,
    writes: Option<Vec<TopicFilter<'static>>>,
}

/// What a device in its mode is known by.
enum DeviceKey {
    Symmetric(ClientKey),
    Public(VerifyingKey),
}

impl DeviceKey {
    fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Symmetric(key) => key.as_bytes(),
            Self::Public(key) => key.as_bytes(),
        }
    }
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
    /// Reads and checks the file, and the keys that it names.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut text = String::new();
        let mut file = File::open(path).with_context(|| format!("could not read the fleet file {shown}"))?;
        file.read_to_string(&mut text).with_context(|| format!("could not read the fleet file {shown}"))?;
        let (c2_key, devices) = file::parse(path, &text).with_context(|| format!("the fleet file {shown}"))?;
        let fleet = Self { path: path.to_owned(), file, c2_key, devices };
        fleet.check_distinct().with_context(|| format!("the fleet file {shown}"))?;
        Ok(fleet)
    }

    /// The devices that are meant. Of a group and of all, those of another mode than `takes` are left out.
    pub(crate) fn select(&self, whom: &Whom, takes: Option<Mode>) -> anyhow::Result<Vec<(&str, &Device)>> {
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

    /// What it takes to seal for a device.
    pub(crate) fn recipient(&self, device: &Device) -> anyhow::Result<Recipient> {
        match device.key()? {
            DeviceKey::Symmetric(key) => Ok(Recipient::symmetric(device.id, key)),
            DeviceKey::Public(key) => Ok(Recipient::public_key(device.id, self.c2_key()?, key)?),
        }
    }

    fn c2_key(&self) -> anyhow::Result<&C2SecretKey> {
        let key = self.c2_key.as_ref().with_context(|| {
            format!("{} names no c2_key_file, which devices in public-key mode need", self.path.display())
        })?;
        key.as_ref().map_err(|reason| anyhow!("{reason}"))
    }
}

impl Device {
    fn key(&self) -> anyhow::Result<&DeviceKey> {
        self.key.as_ref().map_err(|reason| anyhow!("{reason}"))
    }

    /// The public key of a device in public-key mode.
    pub(crate) fn public_key(&self) -> anyhow::Result<VerifyingKey> {
        match self.key()? {
            DeviceKey::Public(key) => Ok(*key),
            DeviceKey::Symmetric(_) => Err(anyhow!("the device is in symmetric mode, and has no public key")),
        }
    }
}
