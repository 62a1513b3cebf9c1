//! The files of this folder as types. A field that is in a file and not here is an error: nothing goes unchecked.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What e4go computed.
pub fn e4go() -> E4go {
    serde_json::from_str(include_str!("e4go.json")).expect("e4go.json has the form that is described here")
}

/// The keys of the topic tree.
pub fn derivation() -> Derivation {
    serde_json::from_str(include_str!("derivation.json")).expect("derivation.json has the form that is described here")
}

/// Reports, and the commands that came with them.
pub fn report() -> Reports {
    serde_json::from_str(include_str!("report.json")).expect("report.json has the form that is described here")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct E4go {
    pub topic_hash: Vec<TopicHashCase>,
    pub client_id: Vec<ClientIdCase>,
    pub symmetric_message: Vec<SymmetricMessage>,
    pub signed_message: Vec<SignedMessage>,
    pub key_conversion: Vec<KeyConversion>,
    pub command: Vec<CommandCase>,
    pub saved_state: Vec<SavedState>,
    /// Not of this crate's concern: it makes no keys of passwords.
    #[serde(rename = "password_argon2i_nosalt_t1_m65536_p4")]
    _passwords: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicHashCase {
    pub topic: String,
    pub hash: Short,
    pub transition_hash: Short,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientIdCase {
    pub name: String,
    pub id: Short,
    pub control_topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymmetricMessage {
    pub topic_key: Key,
    pub timestamp: u64,
    pub payload: Bytes,
    pub protected: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedMessage {
    pub topic_key: Key,
    pub signer_id: Short,
    pub ed25519_seed: Key,
    pub ed25519_public: Key,
    pub timestamp: u64,
    pub payload: Bytes,
    pub protected: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConversion {
    pub ed25519_seed: Key,
    pub ed25519_public: Key,
    pub x25519_secret: Key,
    pub x25519_public: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandCase {
    pub command: String,
    pub args: CommandArgs,
    pub encoded: Bytes,
    pub timestamp: u64,
    pub symmetric: SymmetricCommand,
    pub public_key: PublicKeyCommand,
}

/// What a command is about; every command has some of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandArgs {
    pub topic: Option<String>,
    pub name: Option<String>,
    pub key: Option<Key>,
    pub topic_key: Option<Key>,
    pub ed25519_seed: Option<Key>,
    pub ed25519_public: Option<Key>,
    pub x25519_public: Option<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymmetricCommand {
    pub client_key: Key,
    pub protected: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeyCommand {
    pub c2_secret: Key,
    pub c2_public: Key,
    pub client_ed25519_seed: Key,
    pub client_ed25519_public: Key,
    pub control_key: Key,
    pub protected: Bytes,
}

/// A state file of e4go, and what it says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedState {
    pub mode: String,
    pub name: String,
    pub id_key: Option<Key>,
    pub ed25519_seed: Option<Key>,
    pub c2_public: Option<Key>,
    pub topic_keys: BTreeMap<String, Key>,
    #[serde(default)]
    pub previous_topic_keys: BTreeMap<String, Key>,
    #[serde(default)]
    pub public_keys: BTreeMap<String, Key>,
    pub json: StateFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct StateFile {
    #[serde(rename = "ID")]
    pub id: Base64,
    /// By the hash of the topic, 32 bytes; by the transition hash, the previous key and when it was replaced, 40 bytes.
    pub topic_keys: BTreeMap<String, Base64>,
    pub key: StateFileKey,
    pub receiving_topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StateFileKey {
    pub key_type: u8,
    pub key_data: KeyData,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum KeyData {
    #[serde(rename_all = "PascalCase")]
    Symmetric { key: Base64 },
    #[serde(rename_all = "PascalCase")]
    PublicKey {
        /// The seed, then the public key.
        private_key: Base64,
        #[serde(rename = "SignerID")]
        signer_id: Base64,
        c2_pub_key: Base64,
        pub_keys: BTreeMap<String, Base64>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derivation {
    pub topic_key: Vec<TopicKeyCase>,
    pub subtree_key: Vec<SubtreeKeyCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicKeyCase {
    pub root: Key,
    pub epoch: u64,
    pub topic: String,
    pub key: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubtreeKeyCase {
    pub root: Key,
    pub epoch: u64,
    pub filter: String,
    pub key: Key,
    pub below: Vec<BelowCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BelowCase {
    pub topic: String,
    pub key: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    pub report: Vec<ReportCase>,
    /// Commands that e4go does not know.
    pub command: Vec<NewCommandCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCommandCase {
    pub name: String,
    /// The client key or control key.
    pub sealing_key: Key,
    pub topic_key: Option<Key>,
    pub topic_hash: Option<Short>,
    pub time: Option<u64>,
    pub timestamp: u64,
    pub encoding: Bytes,
    pub sealed: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportCase {
    /// The client key or control key.
    pub key: Key,
    pub client_id: Short,
    pub topic: String,
    pub report_key: Key,
    pub timestamp: u64,
    pub newest: u64,
    pub newest_v: Short,
    pub topics: Vec<HeldTopic>,
    pub peers: Vec<HeldPeer>,
    pub c2_public_key: Option<Key>,
    pub digest: Short,
    pub room: u32,
    pub flags: u8,
    pub refusal: u8,
    pub refused_at: u64,
    pub body: Bytes,
    pub sealed: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldTopic {
    pub hash: Short,
    pub key: Key,
    pub next: Option<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldPeer {
    pub id: Short,
    pub public_key: Key,
}

/// 16 bytes in hexadecimal.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short(#[serde(with = "hex")] pub [u8; 16]);

/// 32 bytes in hexadecimal.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(#[serde(with = "hex")] pub [u8; 32]);

/// Bytes in hexadecimal.
#[derive(Deserialize, Debug)]
pub struct Bytes(#[serde(with = "hex")] pub Vec<u8>);

/// Bytes in base64.
#[derive(Deserialize, Debug)]
#[serde(try_from = "String")]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    pub fn to_array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().expect("the base64 text has as many bytes as the format says")
    }
}

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64_STANDARD.decode(text).map(Self)
    }
}
