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

use super::state::{Created, NewStateArgs};
use crate::{
    output::{Failure, Output},
    secret_file::Source,
};
use anyhow::{Context, anyhow, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4::{
    C2PublicKey, Client, ClientBuilder, ClientId, ClientKey, GrowableKeyRing, Identity, KeyError, SigningKey,
    Timestamp, TopicHash, TopicKey, VerifyingKey,
};
use serde::{Deserialize, Deserializer, de};
use sha3::{Digest, Sha3_256};
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroizing;

/// Take over a device from the state file of e4go
///
/// The device keeps its id, its keys, and the keys of its topics and peers; previous keys open messages for the rest of
/// their hour. e4go does not record which commands it has accepted, and takes them for ten minutes: so commands that
/// were sent more than ten minutes before now are refused. Stop the e4go client first.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  e4 device import-e4go --from e4go.json --state pump-7.state")]
pub(crate) struct Args {
    /// The state file of e4go; `-` for standard input, `env:NAME` for an environment variable
    #[arg(long, value_name = "FILE")]
    from: Source,
    #[command(flatten)]
    state: NewStateArgs,
}

/// More than the state of any device.
const MAX_LEN: usize = 16 << 20;

/// How long e4go accepts a command.
const E4GO_COMMAND_SECONDS: u64 = 600;

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    args.state.check_free()?;
    let json = args.from.secret_bytes(MAX_LEN)?;
    let (id, builder) = take_over(&json).with_context(|| args.from.to_string())?;
    let mut client = args.state.create(builder, id)?;
    client.erase_expired_keys()?;
    let created = Created::new(&args.state, &client);
    output.print(&created, || created.to_text())
}

fn take_over(json: &[u8]) -> anyhow::Result<(ClientId, ClientBuilder<GrowableKeyRing>)> {
    let file: StateFile = serde_json::from_slice(json).map_err(|error| describe(&error))?;
    let id = ClientId::from_bytes(*file.id.to_array("ID")?);
    ensure!(
        file.receiving_topic == id.control_topic().as_str(),
        "ReceivingTopic is not {}, the control topic of the client with this ID",
        id.control_topic()
    );
    let mut builder = Client::builder(file.key.identity(id)?);
    for (peer, key) in file.key.key_data.pub_keys.iter().flatten() {
        let field = format!("PubKeys, {peer}");
        let key = key.to_key(&field, VerifyingKey::from_bytes)?;
        builder = builder.peer(peer.parse().context("PubKeys")?, key).context(field)?;
    }
    let builder = put_in_topic_keys(builder, &file.topic_keys.unwrap_or_default())?;
    let oldest_command = Timestamp::now().as_unix().saturating_sub(E4GO_COMMAND_SECONDS);
    Ok((id, builder.refuse_commands_until(Timestamp::from_unix(oldest_command))))
}

/// A topic key that was removed may have left its previous key behind, which e4go does not use any more.
fn put_in_topic_keys(
    mut builder: ClientBuilder<GrowableKeyRing>,
    entries: &BTreeMap<String, Base64>,
) -> anyhow::Result<ClientBuilder<GrowableKeyRing>> {
    for (name, entry) in entries {
        let field = format!("TopicKeys, {name}");
        let topic: TopicHash = name.parse().with_context(|| field.clone())?;
        match entry.0.len() {
            32 => {}
            40 => continue,
            len => bail!("{field}: has {len} bytes, and a key has 32, or 40 with the time it was replaced"),
        }
        let key = entry.to_key(&field, TopicKey::from_bytes)?;
        builder = match entries.get(&transition_hash(&topic).to_string()) {
            Some(previous) => {
                let (key_before, replaced) = previous.split::<8>(&field)?;
                let key_before =
                    TopicKey::from_bytes(key_before).with_context(|| format!("{field}, its previous key"))?;
                let replaced = Timestamp::from_unix(u64::from_le_bytes(*replaced));
                builder.topic_key_with_previous(&topic, key, key_before, replaced)
            }
            None => builder.topic_key(&topic, key),
        }
        .context(field)?;
    }
    Ok(builder)
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
    topic_keys: Option<BTreeMap<String, Base64>>,
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
    pub_keys: Option<BTreeMap<String, Base64>>,
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

fn present<'a>(field: &'a Option<Base64>, name: &str) -> anyhow::Result<&'a Base64> {
    field.as_ref().with_context(|| format!("{name} is missing in keyData"))
}

/// Bytes that may be secret.
struct Base64(Zeroizing<Vec<u8>>);

impl Base64 {
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
                // The decoder's own error would show a character.
                let bytes = BASE64_STANDARD.decode(text).map_err(|_| E::custom("not base64"))?;
                Ok(Base64(Zeroizing::new(bytes)))
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
