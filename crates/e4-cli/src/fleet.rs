//! The fleet file: which devices there are, and the keys that commands to them are sealed with.
//!
//! ```toml
//! c2_key_file = "c2.key"                  # X25519; for devices in public-key mode
//!
//! [devices.pump-7]
//! mode = "symmetric"
//! key_file = "pump-7.key"                 # the client key
//!
//! [devices.panel-1]
//! mode = "public-key"
//! public_key_file = "panel-1.key.pub"     # Ed25519
//! groups = ["panels"]
//! id = "00112233445566778899aabbccddeeff" # unless the id follows from the name
//! ```
//!
//! Paths are relative to the file.

use crate::{secret_file::Source, terminal::printable};
use anyhow::{Context, bail, ensure};
use e4::{C2SecretKey, ClientId, ClientKey, Mode, VerifyingKey, controller::Recipient};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A fleet, whose keys have not been read yet.
pub(crate) struct Fleet {
    path: PathBuf,
    c2_key: Option<Source>,
    devices: BTreeMap<String, Device>,
}

/// A device of the fleet.
pub(crate) struct Device {
    pub(crate) id: ClientId,
    pub(crate) mode: Mode,
    /// The client key, or the public key.
    key: Source,
    groups: Vec<String>,
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
    /// Reads and checks the file, but none of the keys that it names.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("could not read the fleet file {shown}"))?;
        Self::parse(path, &text).with_context(|| format!("the fleet file {shown}"))
    }

    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let source = |name: &PathBuf| Source::File(folder.join(name));
        let mut devices = BTreeMap::new();
        for (name, entry) in file.devices {
            ensure!(
                !name.contains(','),
                "the device {} has a comma in its name, which separates names after --to",
                printable(&name)
            );
            let device = entry.check(&name, source).with_context(|| format!("the device {}", printable(&name)))?;
            if let Some((other, _)) = devices.iter().find(|(_, other): &(&String, &Device)| other.id == device.id) {
                bail!("the devices {} and {} have the same id {}", printable(other), printable(&name), device.id);
            }
            devices.insert(name, device);
        }
        ensure!(!devices.is_empty(), "there are no devices: give each one a table [devices.NAME]");
        Ok(Self { path: path.to_owned(), c2_key: file.c2_key_file.as_ref().map(source), devices })
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

    /// Reads the key of a device, and what else it takes to seal for it.
    pub(crate) fn recipient(&self, device: &Device) -> anyhow::Result<Recipient> {
        match device.mode {
            Mode::Symmetric => Ok(Recipient::symmetric(device.id, &device.key.secret_key(ClientKey::from_bytes)?)),
            Mode::PublicKey => {
                let c2 = self.c2_key.as_ref().with_context(|| {
                    format!("{} names no c2_key_file, which devices in public-key mode need", self.path.display())
                })?;
                let c2 = c2.secret_key(C2SecretKey::from_bytes)?;
                Ok(Recipient::public_key(device.id, &c2, &device.public_key()?)?)
            }
        }
    }
}

impl Device {
    /// Reads the public key of a device in public-key mode.
    pub(crate) fn public_key(&self) -> anyhow::Result<VerifyingKey> {
        ensure!(self.mode == Mode::PublicKey, "the device is in symmetric mode, and has no public key");
        self.key.public_key(VerifyingKey::from_bytes)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    c2_key_file: Option<PathBuf>,
    #[serde(default)]
    devices: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    mode: ModeName,
    key_file: Option<PathBuf>,
    public_key_file: Option<PathBuf>,
    id: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ModeName {
    Symmetric,
    PublicKey,
}

impl Entry {
    fn check(self, name: &str, source: impl Fn(&PathBuf) -> Source) -> anyhow::Result<Device> {
        let id = match &self.id {
            Some(id) => id.parse().context("its id")?,
            None => ClientId::from_name(name)?,
        };
        let (mode, key) = match (self.mode, &self.key_file, &self.public_key_file) {
            (ModeName::Symmetric, Some(key), None) => (Mode::Symmetric, source(key)),
            (ModeName::PublicKey, None, Some(key)) => (Mode::PublicKey, source(key)),
            (ModeName::Symmetric, ..) => bail!("in symmetric mode a device has a key_file, and no public_key_file"),
            (ModeName::PublicKey, ..) => bail!("in public-key mode a device has a public_key_file, and no key_file"),
        };
        Ok(Device { id, mode, key, groups: self.groups })
    }
}

/// The error without the text of the line, and without values: somebody may have written a key there.
fn at_line(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(String::new(), |before| format!("line {}: ", before.matches('\n').count() + 1));
    anyhow::anyhow!("{line}{}", without_values(error.message()))
}

/// The TOML library quotes values, and names between backticks.
fn without_values(message: &str) -> String {
    let mut shown = String::new();
    let mut rest = message;
    while let Some((before, quote, quoted, after)) = next_quoted(rest) {
        shown.push_str(before);
        if quote == '`' && is_a_word(quoted) {
            shown.push_str(&format!("`{quoted}`"));
        } else {
            shown.push_str("(not shown)");
        }
        rest = after;
    }
    shown + rest
}

/// What is before it, the kind of its quotes, what is in them, and what is behind it. Quotes that are not closed go on to
/// the end.
fn next_quoted(text: &str) -> Option<(&str, char, &str, &str)> {
    let (start, quote) = text.char_indices().find(|(_, character)| matches!(character, '"' | '`'))?;
    let (before, from_quote) = text.split_at(start);
    let inside = from_quote.get(1..)?;
    let (quoted, after) = inside.split_once(quote).unwrap_or((inside, ""));
    Some((before, quote, quoted, after))
}

/// Whether it is a name that people think of.
fn is_a_word(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_named_so = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    text.len() <= 24 && digits <= 2 && text.bytes().all(is_named_so)
}
