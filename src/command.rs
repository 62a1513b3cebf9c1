//! Commands of the key server, as bytes and as values (protocol page, section 4).
//!
//! ```text
//! code   command          body                                     bytes in all
//! 0x00   RemoveTopic      topic hash (16)                          17
//! 0x01   ResetTopics                                               1
//! 0x02   SetIdKey         client key (32)                          33
//!                         Ed25519 seed (32) | public key (32)      65
//! 0x03   SetTopicKey      topic key (32) | topic hash (16)         49
//! 0x04   RemovePubKey     client id (16)                           17
//! 0x05   ResetPubKeys                                              1
//! 0x06   SetPubKey        Ed25519 public key (32) | client id (16) 49
//! 0x07   SetC2Key         X25519 public key (32)                   33
//! 0x08   SetNextTopicKey  topic key (32) | topic hash (16)         49
//! 0x09   ReplaceTopicKey  topic key (32) | topic hash (16)         49
//! 0x0a   SetTime          Unix time in seconds (8)                 9
//! ```

use crate::{
    bytes::{Reader, WrongLength},
    filter::Subtree,
    keys::{C2PublicKey, ClientKey, KeyError, SigningKey, SubtreeKey, TopicKey, VerifyingKey},
    message::Mode,
    names::{ClientId, TopicHash},
    time::Timestamp,
    topic::Topic,
};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

const REMOVE_TOPIC: u8 = 0x00;
const RESET_TOPICS: u8 = 0x01;
const SET_ID_KEY: u8 = 0x02;
const SET_TOPIC_KEY: u8 = 0x03;
const REMOVE_PUB_KEY: u8 = 0x04;
const RESET_PUB_KEYS: u8 = 0x05;
const SET_PUB_KEY: u8 = 0x06;
const SET_C2_KEY: u8 = 0x07;
const SET_NEXT_TOPIC_KEY: u8 = 0x08;
const REPLACE_TOPIC_KEY: u8 = 0x09;
const SET_TIME: u8 = 0x0a;

/// Bytes of the longest encoded command.
pub(crate) const MAX_LEN: usize = 65;

/// A command of the key server to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Forget the key of a topic, and its previous or next one. A client that holds the key of a subtree around the topic seals and
    /// opens under that one from then on, for all who have it.
    RemoveTopic(TopicHash),
    /// Forget the keys of all topics.
    ResetTopics,
    /// Take a new client key. For symmetric clients only.
    SetClientKey(ClientKey),
    /// Take a new Ed25519 key pair. For public-key clients only.
    SetSigningKey(SigningKey),
    /// Take a key for a topic or a subtree; the one it had becomes its previous key.
    SetTopicKey {
        /// The hash of the topic, or of the subtree's filter.
        topic: TopicHash,
        /// The new key.
        key: TopicKey,
    },
    /// Take a key that will soon be that of a topic or subtree, which has one: what comes under it is opened from now on, and
    /// nothing is sealed under it. It takes the place of a previous key. The key that the topic has now only takes a waiting
    /// next key away.
    ///
    /// Only clients whose report says so know it.
    SetNextTopicKey {
        /// The hash of the topic, or of the subtree's filter.
        topic: TopicHash,
        /// The key that is to follow.
        key: TopicKey,
    },
    /// Take a key for a topic or a subtree, and forget all others of it at once.
    ///
    /// Only clients whose report says so know it.
    ReplaceTopicKey {
        /// The hash of the topic, or of the subtree's filter.
        topic: TopicHash,
        /// The new key.
        key: TopicKey,
    },
    /// Take this for the present time. A client with a clock of its own accepts it and goes on by its clock.
    ///
    /// Only clients whose report says so know it.
    SetTime(Timestamp),
    /// Forget the public key of a peer. For public-key clients only.
    RemovePubKey(ClientId),
    /// Forget the public keys of all peers. For public-key clients only.
    ResetPubKeys,
    /// Take the public key of a peer. For public-key clients only.
    SetPubKey {
        /// The peer.
        client: ClientId,
        /// Its public key.
        key: VerifyingKey,
    },
    /// Take a new public key of the key server. For public-key clients only.
    SetC2Key(C2PublicKey),
}

// What is secret in it is wiped by its own type.
impl ZeroizeOnDrop for Command {}

impl Command {
    /// The command that gives a client the key of a topic.
    #[must_use]
    pub fn set_topic_key(topic: &Topic<'_>, key: TopicKey) -> Self {
        Self::SetTopicKey { topic: *topic.hash(), key }
    }

    /// The command that gives a client the key that a topic will have next.
    #[must_use]
    pub fn set_next_topic_key(topic: &Topic<'_>, key: TopicKey) -> Self {
        Self::SetNextTopicKey { topic: *topic.hash(), key }
    }

    /// The command that gives a client the key of a topic and takes all others of it away.
    #[must_use]
    pub fn replace_topic_key(topic: &Topic<'_>, key: TopicKey) -> Self {
        Self::ReplaceTopicKey { topic: *topic.hash(), key }
    }

    /// The command that takes the key of a topic away.
    #[must_use]
    pub fn remove_topic(topic: &Topic<'_>) -> Self {
        Self::RemoveTopic(*topic.hash())
    }

    /// The command that takes the key of a subtree away.
    #[must_use]
    pub fn remove_subtree(subtree: &Subtree<'_>) -> Self {
        Self::RemoveTopic(*subtree.hash())
    }

    /// The command that gives a client the key of a subtree.
    #[must_use]
    pub fn set_subtree_key(subtree: &Subtree<'_>, key: &SubtreeKey) -> Self {
        Self::SetTopicKey { topic: *subtree.hash(), key: key.to_topic_key() }
    }

    /// The command that gives a client the key that a subtree will have next.
    #[must_use]
    pub fn set_next_subtree_key(subtree: &Subtree<'_>, key: &SubtreeKey) -> Self {
        Self::SetNextTopicKey { topic: *subtree.hash(), key: key.to_topic_key() }
    }

    /// The command that gives a client the key of a subtree and takes all others of it away.
    #[must_use]
    pub fn replace_subtree_key(subtree: &Subtree<'_>, key: &SubtreeKey) -> Self {
        Self::ReplaceTopicKey { topic: *subtree.hash(), key: key.to_topic_key() }
    }

    /// The bytes of the command, before it is sealed.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        let mut encoded = EncodedCommand::default();
        match self {
            Self::RemoveTopic(topic) => encoded.put(REMOVE_TOPIC, &[topic.as_bytes()]),
            Self::ResetTopics => encoded.put(RESET_TOPICS, &[]),
            Self::SetClientKey(key) => encoded.put(SET_ID_KEY, &[key.as_bytes()]),
            Self::SetSigningKey(key) => {
                encoded.put(SET_ID_KEY, &[key.as_seed(), key.verifying_key().as_bytes()]);
            }
            Self::SetTopicKey { topic, key } => {
                encoded.put(SET_TOPIC_KEY, &[key.as_bytes(), topic.as_bytes()]);
            }
            Self::RemovePubKey(client) => encoded.put(REMOVE_PUB_KEY, &[client.as_bytes()]),
            Self::ResetPubKeys => encoded.put(RESET_PUB_KEYS, &[]),
            Self::SetPubKey { client, key } => {
                encoded.put(SET_PUB_KEY, &[key.as_bytes(), client.as_bytes()]);
            }
            Self::SetC2Key(key) => encoded.put(SET_C2_KEY, &[key.as_bytes()]),
            Self::SetNextTopicKey { topic, key } => {
                encoded.put(SET_NEXT_TOPIC_KEY, &[key.as_bytes(), topic.as_bytes()]);
            }
            Self::ReplaceTopicKey { topic, key } => {
                encoded.put(REPLACE_TOPIC_KEY, &[key.as_bytes(), topic.as_bytes()]);
            }
            Self::SetTime(now) => encoded.put(SET_TIME, &[&now.to_wire()]),
        }
        encoded
    }

    /// Reads the bytes of a command.
    ///
    /// # Errors
    ///
    /// [`CommandError::UnknownCode`], [`CommandError::WrongLength`], [`CommandError::Key`] when a key in it is none, or
    /// [`CommandError::NotATime`] when a time in it is none.
    #[inline(never)]
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut reader = Reader::new(bytes);
        let command = match reader.take_byte()? {
            REMOVE_TOPIC => Self::RemoveTopic(TopicHash::from_bytes(*reader.take_array()?)),
            RESET_TOPICS => Self::ResetTopics,
            SET_ID_KEY if reader.remaining() == 32 => Self::SetClientKey(ClientKey::from_bytes(reader.take_array()?)?),
            SET_ID_KEY if reader.remaining() == 64 => {
                let (seed, public) = (reader.take_array()?, reader.take_array()?);
                Self::SetSigningKey(SigningKey::from_seed_and_public(seed, public)?)
            }
            SET_ID_KEY => return Err(CommandError::WrongLength),
            code @ (SET_TOPIC_KEY | SET_NEXT_TOPIC_KEY | REPLACE_TOPIC_KEY) => {
                let (key, topic) = (reader.take_array()?, reader.take_array()?);
                reader.finish()?;
                let (topic, key) = (TopicHash::from_bytes(*topic), TopicKey::from_bytes(key)?);
                return Ok(match code {
                    SET_NEXT_TOPIC_KEY => Self::SetNextTopicKey { topic, key },
                    REPLACE_TOPIC_KEY => Self::ReplaceTopicKey { topic, key },
                    _ => Self::SetTopicKey { topic, key },
                });
            }
            REMOVE_PUB_KEY => Self::RemovePubKey(ClientId::from_bytes(*reader.take_array()?)),
            RESET_PUB_KEYS => Self::ResetPubKeys,
            SET_PUB_KEY => {
                let (key, client) = (reader.take_array()?, reader.take_array()?);
                reader.finish()?;
                return Ok(Self::SetPubKey {
                    client: ClientId::from_bytes(*client),
                    key: VerifyingKey::from_bytes(key)?,
                });
            }
            SET_C2_KEY => {
                let key = reader.take_array()?;
                reader.finish()?;
                return Ok(Self::SetC2Key(C2PublicKey::from_bytes(key)?));
            }
            SET_TIME => {
                let now = Timestamp::from_wire(*reader.take_array()?);
                reader.finish()?;
                return if now.is_plausible() { Ok(Self::SetTime(now)) } else { Err(CommandError::NotATime) };
            }
            code => return Err(CommandError::UnknownCode(code)),
        };
        reader.finish()?;
        Ok(command)
    }

    /// Whether it takes keys away and brings none: then the state gets no longer but by the record of the command.
    pub(crate) fn only_removes(&self) -> bool {
        matches!(self, Self::RemoveTopic(_) | Self::ResetTopics | Self::RemovePubKey(_) | Self::ResetPubKeys)
    }

    /// The key that it brings for a topic or a subtree, whether for now or for later.
    pub(crate) fn topic_key(&self) -> Option<(&TopicHash, &TopicKey)> {
        match self {
            Self::SetTopicKey { topic, key }
            | Self::SetNextTopicKey { topic, key }
            | Self::ReplaceTopicKey { topic, key } => Some((topic, key)),
            _ => None,
        }
    }

    /// Whether a client of this mode, with this control topic, takes the command.
    pub(crate) fn check_for(&self, mode: Mode, control: &TopicHash) -> Result<(), CommandError> {
        if self.topic_key().is_some_and(|(topic, _)| topic == control) {
            return Err(CommandError::ControlTopic);
        }
        match (self, mode) {
            (Self::SetTime(now), _) if !now.is_plausible() => Err(CommandError::NotATime),
            (
                Self::RemoveTopic(_)
                | Self::ResetTopics
                | Self::SetTopicKey { .. }
                | Self::SetNextTopicKey { .. }
                | Self::ReplaceTopicKey { .. }
                | Self::SetTime(_),
                _,
            )
            | (Self::SetClientKey(_), Mode::Symmetric)
            | (
                Self::SetSigningKey(_)
                | Self::RemovePubKey(_)
                | Self::ResetPubKeys
                | Self::SetPubKey { .. }
                | Self::SetC2Key(_),
                Mode::PublicKey,
            ) => Ok(()),
            (_, Mode::Symmetric | Mode::PublicKey) => Err(CommandError::WrongMode),
        }
    }
}

/// An encoded command: 1 to 65 bytes, some of them secret. Wiped on drop, never printed.
#[derive(Clone)]
pub struct EncodedCommand {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl EncodedCommand {
    fn put(&mut self, code: u8, fields: &[&[u8]]) {
        let bytes = core::iter::once(&code).chain(fields.iter().copied().flatten());
        self.len = 0;
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
            self.len += 1;
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Default for EncodedCommand {
    fn default() -> Self {
        Self { bytes: [0; MAX_LEN], len: 0 }
    }
}

impl fmt::Debug for EncodedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodedCommand(..)")
    }
}

impl Drop for EncodedCommand {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl ZeroizeOnDrop for EncodedCommand {}

/// A command that a client applied, without the secrets that it carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppliedCommand {
    /// The topic has no key any more.
    RemoveTopic(TopicHash),
    /// No topic has a key any more.
    ResetTopics,
    /// The client has a new key, or a new key pair.
    SetIdKey,
    /// The topic or subtree has this key now; it may be the one that it had.
    SetTopicKey(TopicHash),
    /// The peer has no public key here any more.
    RemovePubKey(ClientId),
    /// No peer has a public key here any more.
    ResetPubKeys,
    /// The peer has this public key now.
    SetPubKey(ClientId),
    /// The key server has a new public key.
    SetC2Key,
    /// The topic or subtree has this next key now, or none if it was its current one.
    SetNextTopicKey(TopicHash),
    /// The topic or subtree has this key now and no other.
    ReplaceTopicKey(TopicHash),
    /// A client without a clock of its own takes this for the present time.
    SetTime(Timestamp),
}

impl From<&Command> for AppliedCommand {
    fn from(command: &Command) -> Self {
        match command {
            Command::RemoveTopic(topic) => Self::RemoveTopic(*topic),
            Command::ResetTopics => Self::ResetTopics,
            Command::SetClientKey(_) | Command::SetSigningKey(_) => Self::SetIdKey,
            Command::SetTopicKey { topic, .. } => Self::SetTopicKey(*topic),
            Command::RemovePubKey(client) => Self::RemovePubKey(*client),
            Command::ResetPubKeys => Self::ResetPubKeys,
            Command::SetPubKey { client, .. } => Self::SetPubKey(*client),
            Command::SetC2Key(_) => Self::SetC2Key,
            Command::SetNextTopicKey { topic, .. } => Self::SetNextTopicKey(*topic),
            Command::ReplaceTopicKey { topic, .. } => Self::ReplaceTopicKey(*topic),
            Command::SetTime(now) => Self::SetTime(*now),
        }
    }
}

/// Why an authentic command was refused for what it says. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no command with this code.
    UnknownCode(u8),
    /// The command has too few or too many bytes for its code.
    WrongLength,
    /// A key in the command is none.
    Key(KeyError),
    /// The command is for clients of the other mode.
    WrongMode,
    /// The command sets a key for the client's own control topic.
    ControlTopic,
    /// The command brings a topic key that is also a key of the client itself, or a client key that is also that of a topic:
    /// every member of the topic could then give the client commands.
    SharedKey,
    /// The command is dated [`Timestamp::LIMIT`] or more, so that no other could follow it, or has the client take that for
    /// the present time.
    NotATime,
    /// The command brings the next key of a topic or subtree that the client has no key for.
    NoCurrentKey,
}

impl From<WrongLength> for CommandError {
    fn from(_: WrongLength) -> Self {
        Self::WrongLength
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCode(code) => {
                write!(f, "the command has the unknown code {code:#04x}: update the client, or check the key server")
            }
            Self::WrongLength => f.write_str("the command has the wrong length for its code: check the key server"),
            Self::Key(error) => write!(f, "the command carries a bad key: {error}"),
            Self::WrongMode => f.write_str(
                "the command is for the other kind of client: check whether the key server has it as symmetric or public-key",
            ),
            Self::ControlTopic => f.write_str(
                "the command sets a topic key for the client's control topic, which takes commands only: choose another topic",
            ),
            Self::SharedKey => f.write_str(
                "the command would make the client's own key that of a topic too, and every member of the topic its key server: draw a new key",
            ),
            Self::NotATime => f.write_str(
                "the command has a time in the year 2242 or later: have the key server count seconds, not milliseconds, and check its clock",
            ),
            Self::NoCurrentKey => f.write_str(
                "the command brings the next key of a topic that the client has no key for: have the key server send the current key first",
            ),
        }
    }
}

impl core::error::Error for CommandError {}
