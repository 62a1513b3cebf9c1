//! Takes over a client of e4go from the JSON file that it keeps its state in.
//!
//! ```text
//! { "ID": 16 bytes,
//!   "TopicKeys": { topic hash: key (32),
//!                  transition hash: previous key (32) | when it was replaced, Unix seconds, little-endian (8) },
//!   "Key": { "keyType": 0, "keyData": { "Key": client key (32) } }
//!       or { "keyType": 1, "keyData": { "PrivateKey": seed (32) | public key (32), "SignerID": 16 bytes,
//!                                       "C2PubKey": 32 bytes, "PubKeys": { client id: public key (32) } } },
//!   "ReceivingTopic": control topic }
//! ```
//!
//! Hashes and ids that are names of fields are in hexadecimal, bytes in base64. The transition hash is
//! `SHA3-256(topic hash)[0..16]`.
//!
//! e4go 1.1 and later write the file in place without cutting it: after a shorter state the rest of an older one follows.

use super::state::{Created, NewStateArgs};
use crate::{
    output::{Failure, Output, iso_time},
    source::Source,
    terminal::{note, printable, without_keys},
};
use anyhow::{Context, anyhow, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4::{
    C2PublicKey, Client, ClientBuilder, ClientId, ClientKey, GrowableKeyRing, Identity, KeyError, SigningKey,
    Timestamp, TopicHash, TopicKey, VerifyingKey,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use sha3::{Digest, Sha3_256};
use std::{collections::BTreeMap, fmt, fs, time::UNIX_EPOCH};
use zeroize::Zeroizing;

/// Take over a device from the state file of e4go
///
/// The device keeps its id, its keys, and the keys of its topics and peers; previous keys open messages for the rest of
/// their hour. What cannot be used is left out, and named. e4go does not record which commands it has accepted, and takes
/// them for ten minutes: so commands that were sent more than ten minutes before now are refused, and this machine's clock
/// has to be right.
///
/// Stop the e4go client first. Commands that are sent from then on wait at the broker in the MQTT session of the e4go
/// client, which has another name than that of this command: connect once with that name (-i), which is the MQTT client id
/// that the e4go client used, before anything else.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 device import-e4go --from e4go.json --state pump-7.state
  e4 pub --state pump-7.state --only-connect -i THE-MQTT-ID-OF-THE-E4GO-CLIENT

The page \"Moving from e4go\" (docs/moving-from-e4go.md) has all of it.")]
pub(crate) struct Args {
    /// The state file of e4go; `-` for standard input, `env:NAME` for an environment variable
    #[arg(long, value_name = "FILE")]
    from: Source,
    /// Go on although times in the file are still to come for this machine's clock
    #[arg(long)]
    trust_clock: bool,
    #[command(flatten)]
    state: NewStateArgs,
}

/// More than the state of any device.
const MAX_LEN: usize = 16 << 20;

/// How long e4go accepts a command.
const E4GO_COMMAND_SECONDS: u64 = 600;
/// The first of January 2020, when there was the first e4go: no clock that is right is before.
const FIRST_E4GO: u64 = 1_577_836_800;
/// How far the clock of another machine may be ahead without a word, in seconds.
const CLOCKS_DIFFER: u64 = 600;
/// A device that was in use changed something within this time, in seconds: a year.
const LONG_UNUSED: u64 = 366 * 24 * 3600;
/// What is later is no time in seconds.
const NO_TIME: u64 = 1 << 33;

/// What came of it.
#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    created: Created,
    /// Unix seconds: commands that were sent then or earlier are refused.
    refuses_commands_until: u64,
    /// Entries of the file that cannot be used, with the reason.
    left_out: Vec<String>,
    /// How commands are fetched that wait in the session of the e4go client.
    fetch_commands: String,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    args.state.check_free()?;
    let json = args.from.secret_bytes(MAX_LEN)?;
    let now = Timestamp::now().as_unix();
    let (file, is_all) = read(&json).with_context(|| args.from.to_string())?;
    args.check_clock(now, &file).with_context(|| args.from.to_string())?;
    let TakenOver { id, builder, left_out } = take_over(&file, now).with_context(|| args.from.to_string())?;
    let until = now.saturating_sub(E4GO_COMMAND_SECONDS);
    let mut client = args.state.create(builder.refuse_commands_until(Timestamp::from_unix(until)), id)?;
    client.erase_expired_keys()?;
    if !is_all {
        note(format!(
            "Warning: behind the state, {} has the rest of an older one, which may hold keys that were withdrawn: wipe the \
             file once the device works",
            args.from
        ));
    }
    for reason in &left_out.0 {
        note(format!("Left out: {reason}"));
    }
    let imported = Imported {
        created: Created::new(&args.state, &client),
        refuses_commands_until: until,
        left_out: left_out.0,
        fetch_commands: args.state.fetch_commands(&id),
    };
    output.print(&imported, || imported.to_text())
}

impl Imported {
    fn to_text(&self) -> String {
        format!(
            "{}\nleft out       {}\ncommands       refused if sent at or before {}\n\nCommands that were sent since the e4go \
             client was stopped wait in its MQTT session: before anything else, run\n  {}",
            self.created.to_text(),
            self.left_out.len(),
            iso_time(Timestamp::from_unix(self.refuses_commands_until)),
            self.fetch_commands
        )
    }
}

impl Args {
    /// A clock that is wrong would have the device take recorded commands, or none for years.
    fn check_clock(&self, now: u64, file: &StateFile) -> anyhow::Result<()> {
        let shown = |time| iso_time(Timestamp::from_unix(time));
        let newest = self.times(file).max().unwrap_or(FIRST_E4GO);
        if !self.trust_clock {
            ensure!(
                now >= FIRST_E4GO,
                "this machine's clock says {}, when there was no e4go: set the clock first",
                shown(now)
            );
            ensure!(
                now.saturating_add(CLOCKS_DIFFER) >= newest,
                "this machine's clock says {}, and the file is newer, of {}: set the clock first; or, if it was the e4go \
                 client's that was wrong, add --trust-clock",
                shown(now),
                shown(newest)
            );
        }
        if now.saturating_sub(newest) > LONG_UNUSED && newest > FIRST_E4GO {
            note(format!(
                "Warning: this machine's clock says {}, and nothing in the file is newer than {}: if the clock is wrong, set it \
                 and do this again with --force, or the device refuses all commands until then",
                shown(now),
                shown(newest)
            ));
        }
        Ok(())
    }

    /// When something was written: the file, as far as one knows, and the keys that were replaced.
    fn times(&self, file: &StateFile) -> impl Iterator<Item = u64> {
        let written = match &self.from {
            Source::File(path) => fs::metadata(path).and_then(|metadata| metadata.modified()).ok(),
            Source::Stdin | Source::Env(_) => None,
        };
        let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
        let replaced = file.topic_keys.iter().flat_map(BTreeMap::values).filter_map(|entry| {
            let (_key, time) = entry.bytes("").ok()?.split::<8>("").ok()?;
            Some(u64::from_le_bytes(*time)).filter(|time| *time < NO_TIME)
        });
        let times: Vec<_> = written.into_iter().chain(replaced).collect();
        times.into_iter()
    }
}

/// The state, and whether it is all that there is.
fn read(json: &[u8]) -> anyhow::Result<(StateFile, bool)> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter();
    let file = values.next().context("is empty")?.map_err(|error| describe(&error))?;
    let rest = json.get(values.byte_offset()..).unwrap_or_default();
    Ok((file, rest.trim_ascii().is_empty()))
}

struct TakenOver {
    id: ClientId,
    builder: ClientBuilder<GrowableKeyRing>,
    left_out: LeftOut,
}

/// What could not be used, and why.
#[derive(Default)]
struct LeftOut(Vec<String>);

impl LeftOut {
    fn add(&mut self, field: &str, reason: &anyhow::Error) {
        self.0.push(without_keys(&format!("{field}: {reason:#}")).into_owned());
    }
}

fn take_over(file: &StateFile, now: u64) -> anyhow::Result<TakenOver> {
    let id = ClientId::from_bytes(*file.id.to_array("ID")?);
    ensure!(
        file.receiving_topic == id.control_topic().as_str(),
        "ReceivingTopic is not {}, the control topic of the client with this ID: a client of another topic \
         (WithReceivingTopic) cannot be taken over",
        id.control_topic()
    );
    let mut left_out = LeftOut::default();
    let mut builder = Client::builder(file.key.identity(id)?);
    for (name, key) in file.key.key_data.pub_keys.iter().flatten() {
        let field = format!("PubKeys, {}", printable(name));
        match file.key.peer(name, key) {
            Ok((peer, key)) => builder = builder.peer(peer, key).context(field)?,
            Err(reason) => left_out.add(&field, &reason),
        }
    }
    let no_topics = BTreeMap::new();
    let topics = file.topic_keys.as_ref().unwrap_or(&no_topics);
    for (name, entry) in topics {
        let field = format!("TopicKeys, {}", printable(name));
        let (topic, key) = match topic_key(name, entry, &id.control_topic().hash(), &file.key.key_data) {
            Ok(Some(found)) => found,
            // What a topic key that was removed leaves behind, which e4go does not use any more.
            Ok(None) => continue,
            Err(reason) => {
                left_out.add(&field, &reason);
                continue;
            }
        };
        let previous = topics.get(&transition_hash(&topic).to_string());
        let previous = previous.map(|entry| previous_key(entry, &file.key.key_data, now));
        builder = match previous {
            Some(Ok((before, replaced))) => builder.topic_key_with_previous(&topic, key, before, replaced),
            Some(Err(reason)) => {
                left_out.add(&format!("{field}, its previous key"), &reason);
                builder.topic_key(&topic, key)
            }
            None => builder.topic_key(&topic, key),
        }
        .context(field)?;
    }
    Ok(TakenOver { id, builder, left_out })
}

/// The key of a topic; none, if the entry is a previous key.
fn topic_key(
    name: &str,
    entry: &Entry,
    control: &TopicHash,
    own: &KeyData,
) -> anyhow::Result<Option<(TopicHash, TopicKey)>> {
    let topic: TopicHash = name.parse()?;
    let bytes = entry.bytes("the key")?;
    match bytes.0.len() {
        32 => {}
        40 => return Ok(None),
        len => bail!("has {len} bytes, and a key has 32, or 40 with the time it was replaced"),
    }
    ensure!(topic != *control, "this is the device's own control topic, which has no topic key");
    own.ensure_not_shared(&bytes.0)?;
    Ok(Some((topic, bytes.to_key("the key", TopicKey::from_bytes)?)))
}

fn previous_key(entry: &Entry, own: &KeyData, now: u64) -> anyhow::Result<(TopicKey, Timestamp)> {
    let (key, replaced) = entry.bytes("it")?.split::<8>("it")?;
    let replaced = u64::from_le_bytes(*replaced);
    own.ensure_not_shared(key)?;
    ensure!(replaced <= now, "it was replaced at a time that is still to come");
    Ok((TopicKey::from_bytes(key)?, Timestamp::from_unix(replaced)))
}

fn transition_hash(topic: &TopicHash) -> TopicHash {
    let digest: [u8; 32] = Sha3_256::digest(topic.as_bytes()).into();
    let mut hash = [0; 16];
    hash.copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
    TopicHash::from_bytes(hash)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateFile {
    #[serde(rename = "ID")]
    id: Base64,
    topic_keys: Option<BTreeMap<String, Entry>>,
    key: StateFileKey,
    receiving_topic: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateFileKey {
    key_type: u8,
    key_data: KeyData,
}

/// The fields of either mode.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyData {
    key: Option<Base64>,
    private_key: Option<Base64>,
    #[serde(rename = "SignerID")]
    signer_id: Option<Base64>,
    c2_pub_key: Option<Base64>,
    pub_keys: Option<BTreeMap<String, Entry>>,
}

impl KeyData {
    /// Fails for a topic key that is one of the device's own as well.
    fn ensure_not_shared(&self, key: &[u8]) -> anyhow::Result<()> {
        let own = [&self.key, &self.private_key, &self.c2_pub_key].into_iter().flatten();
        let is_own = own.flat_map(|own| own.0.chunks(32)).any(|own| own == key);
        ensure!(!is_own, "it is a key of the device's own: every member of the topic could send it commands");
        Ok(())
    }
}

impl StateFileKey {
    fn identity(&self, id: ClientId) -> anyhow::Result<Identity> {
        match self.key_type {
            0 => {
                let key = present(&self.key_data.key, "Key")?;
                Ok(Identity::symmetric(id, key.to_key("Key", ClientKey::from_bytes)?))
            }
            1 => {
                let signer = present(&self.key_data.signer_id, "SignerID")?;
                ensure!(signer.to_array::<16>("SignerID")? == id.as_bytes(), "SignerID and ID are not the same");
                let (seed, public) = present(&self.key_data.private_key, "PrivateKey")?.split("PrivateKey")?;
                let signing = SigningKey::from_seed_and_public(seed, public).context("PrivateKey")?;
                let c2 = present(&self.key_data.c2_pub_key, "C2PubKey")?;
                Ok(Identity::public_key(id, signing, c2.to_key("C2PubKey", C2PublicKey::from_bytes)?)?)
            }
            other => bail!("keyType is {other}, and only 0 (symmetric) and 1 (public-key) are known"),
        }
    }
}

impl StateFileKey {
    /// Another client, whose signed messages this one accepts.
    fn peer(&self, name: &str, key: &Entry) -> anyhow::Result<(ClientId, VerifyingKey)> {
        ensure!(self.key_type == 1, "a device in symmetric mode has no peers");
        Ok((name.parse()?, key.bytes("the key")?.to_key("the key", VerifyingKey::from_bytes)?))
    }
}

fn present<'a>(field: &'a Option<Base64>, name: &str) -> anyhow::Result<&'a Base64> {
    field.as_ref().with_context(|| format!("{name} is missing in keyData"))
}

/// What should be bytes, in a map of many: if it is something else, the rest is good all the same.
struct Entry(Option<Base64>);

impl Entry {
    fn bytes(&self, what: &str) -> anyhow::Result<&Base64> {
        self.0.as_ref().with_context(|| format!("{what} is not bytes in base64"))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry(Base64::decode(text)))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Entry, A::Error> {
                while items.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Entry(None))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut items: A) -> Result<Entry, A::Error> {
                while items.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                Ok(Entry(None))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Bytes that may be secret.
struct Base64(Zeroizing<Vec<u8>>);

impl Base64 {
    /// None if it is no base64. The decoder's own error would show a character.
    fn decode(text: &str) -> Option<Self> {
        BASE64_STANDARD.decode(text).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    fn to_array<const N: usize>(&self, field: &str) -> anyhow::Result<&[u8; N]> {
        let len = self.0.len();
        self.0.as_slice().try_into().map_err(|_| anyhow!("{field} has {len} bytes, and not {N}"))
    }

    fn to_key<K>(&self, field: &str, from_bytes: impl FnOnce(&[u8; 32]) -> Result<K, KeyError>) -> anyhow::Result<K> {
        from_bytes(self.to_array(field)?).with_context(|| field.to_owned())
    }

    /// A key, and the bytes behind it.
    fn split<const N: usize>(&self, field: &str) -> anyhow::Result<(&[u8; 32], &[u8; N])> {
        self.0
            .split_first_chunk()
            .and_then(|(key, rest)| Some((key, rest.try_into().ok()?)))
            .ok_or_else(|| anyhow!("{field} has {} bytes, and not {}", self.0.len(), 32 + N))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                Base64::decode(text).ok_or_else(|| E::custom("not base64"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// What is wrong with the JSON, without any value of it: that could be a key.
fn describe(error: &serde_json::Error) -> anyhow::Error {
    let place = format!("line {}, column {}", error.line(), error.column());
    let message = error.to_string();
    match error.classify() {
        serde_json::error::Category::Eof => anyhow!("is cut short: its JSON ends early"),
        serde_json::error::Category::Data if message.starts_with("missing field") => {
            anyhow!("is no state file of e4go: {message}")
        }
        serde_json::error::Category::Data => {
            anyhow!("is no state file of e4go: {place} has another kind of value than belongs there")
        }
        _ => anyhow!("is not JSON, at {place}"),
    }
}
