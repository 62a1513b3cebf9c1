//! What the fleet file has in it, and its errors, which show no value: somebody may have written a key there.

use super::{
    device::{Device, DeviceKey, Loaded},
    topics::WantedTopic,
};
use crate::{
    names::{self, KeyName},
    source::Source,
    terminal::printable,
};
use anyhow::{Context, bail, ensure};
use e4::{C2SecretKey, ClientId, ClientKey, Mode, VerifyingKey};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What the file says.
pub(super) struct Parts {
    pub(super) c2_key: Option<Loaded<C2SecretKey>>,
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) topics: Vec<WantedTopic>,
}

/// Reads the text of a file at a path, and the keys that it names.
pub(super) fn parse(path: &Path, text: &str) -> anyhow::Result<Parts> {
    let file: File = toml::from_str(text).map_err(|error| at_line(text, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let source = |name: &PathBuf| Source::File(folder.join(name));
    let mut devices = BTreeMap::new();
    for (name, entry) in file.devices {
        let shown = printable(&name);
        ensure!(!name.contains(','), "the device {shown} has a comma in its name, which separates names after --to");
        let device = entry.load(&name, source).with_context(|| format!("the device {shown}"))?;
        if let Some((other, _)) = devices.iter().find(|(_, other): &(&String, &Device)| other.id == device.id) {
            bail!("the devices {} and {shown} have the same id {}", printable(other), device.id);
        }
        devices.insert(name, device);
    }
    ensure!(!devices.is_empty(), "there are no devices: give each one a table [devices.NAME]");
    let c2_key = file.c2_key_file.map(|name| loaded(source(&name).key::<C2SecretKey>()));
    let topics = file.topics.into_iter().map(|(name, entry)| {
        let shown = printable(&name);
        entry.load(&name, &devices, source).with_context(|| format!("the topic {shown}"))
    });
    let topics = topics.collect::<anyhow::Result<_>>()?;
    Ok(Parts { c2_key, devices, topics })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    c2_key_file: Option<PathBuf>,
    #[serde(default)]
    devices: BTreeMap<String, Entry>,
    #[serde(default)]
    topics: BTreeMap<String, TopicEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicEntry {
    key_file: PathBuf,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
}

impl TopicEntry {
    fn load(
        self,
        name: &str,
        devices: &BTreeMap<String, Device>,
        source: impl Fn(&PathBuf) -> Source,
    ) -> anyhow::Result<WantedTopic> {
        let name: KeyName = name.parse()?;
        name.ensure_not_control()?;
        for device in &self.to {
            ensure!(devices.contains_key(device), "there is no device {}", printable(device));
        }
        for group in &self.groups {
            let known = devices.values().any(|device| device.groups.contains(group));
            ensure!(known, "no device is in the group {}", printable(group));
        }
        let key = loaded(source(&self.key_file).key());
        Ok(WantedTopic { name, key, to: self.to, groups: self.groups })
    }
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
    writes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ModeName {
    Symmetric,
    PublicKey,
}

impl Entry {
    fn load(self, name: &str, source: impl Fn(&PathBuf) -> Source) -> anyhow::Result<Device> {
        let id = match &self.id {
            Some(id) => id.parse().context("its id")?,
            None => ClientId::from_name(name)?,
        };
        let (mode, key) = match (self.mode, &self.key_file, &self.public_key_file) {
            (ModeName::Symmetric, Some(key), None) => {
                (Mode::Symmetric, source(key).key::<ClientKey>().map(DeviceKey::Symmetric))
            }
            (ModeName::PublicKey, None, Some(key)) => {
                (Mode::PublicKey, source(key).key::<VerifyingKey>().map(DeviceKey::Public))
            }
            (ModeName::Symmetric, ..) => bail!("in symmetric mode a device has a key_file, and no public_key_file"),
            (ModeName::PublicKey, ..) => bail!("in public-key mode a device has a public_key_file, and no key_file"),
        };
        let filter = |text: &String| names::filter(text).with_context(|| format!("its writes, {}", printable(text)));
        let writes = self.writes.map(|filters| filters.iter().map(filter).collect()).transpose()?;
        Ok(Device { id, mode, key: loaded(key), groups: self.groups, writes })
    }
}

fn loaded<K>(key: anyhow::Result<K>) -> Loaded<K> {
    key.map_err(|reason| format!("{reason:#}"))
}

/// The error without the text of the line, and without values: somebody may have written a key there.
fn at_line(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(String::new(), |before| format!("line {}: ", before.matches('\n').count() + 1));
    if at_value_without_quotes(text, error) {
        return anyhow::anyhow!(
            "{line}the value is not in quotes: write text as \"text\", and several as [\"one\", \"two\"]"
        );
    }
    anyhow::anyhow!("{line}{}", without_values(error.message()))
}

/// Whether the value that is wrong is text without quotes. All values in this file are text, and the TOML library takes it
/// for a number or a word of its own that is spelled wrong.
fn at_value_without_quotes(text: &str, error: &toml::de::Error) -> bool {
    let Some(span) = error.span() else { return false };
    let Some(before) = text.get(..span.start) else { return false };
    let line = before.matches('\n').count();
    let Some((_name, value)) = text.lines().nth(line).and_then(|line| line.split_once('=')) else { return false };
    let first = value.trim_start_matches([' ', '\t', '[']).chars().next();
    first.is_some_and(|first| !matches!(first, '"' | '\'' | ']' | '#'))
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
