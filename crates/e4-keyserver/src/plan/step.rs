use e4::{ClientId, Command, KeyError, Timestamp, TopicHash, TopicKey, VerifyingKey, controller::question_with_rng};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize, de::Error as _};
use std::{fmt, str::FromStr};

/// One command, by the version of the key that it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// A key becomes current; the one before opens for an hour more.
    SetTopic {
        /// Of this topic or subtree.
        #[serde(with = "hex")]
        topic: TopicHash,
        /// The version.
        version: u32,
    },
    /// A key will be the next one. The current one takes a waiting next key away.
    SetNext {
        /// Of this topic or subtree.
        #[serde(with = "hex")]
        topic: TopicHash,
        /// The version.
        version: u32,
    },
    /// A key becomes current, and all others of the topic are forgotten.
    Replace {
        /// Of this topic or subtree.
        #[serde(with = "hex")]
        topic: TopicHash,
        /// The version.
        version: u32,
    },
    /// A random key that nobody gets pushes the current one out. [`Step::SetTopic`] follows in the same batch.
    PushOut {
        /// Of this topic or subtree.
        #[serde(with = "hex")]
        topic: TopicHash,
    },
    /// The keys of a topic are forgotten.
    RemoveTopic {
        /// The topic or subtree.
        #[serde(with = "hex")]
        topic: TopicHash,
    },
    /// The keys of all topics are forgotten.
    ResetTopics,
    /// The public key of a peer.
    SetPeer {
        /// The peer.
        #[serde(with = "hex")]
        peer: ClientId,
        /// The version.
        version: u32,
    },
    /// A peer is forgotten.
    RemovePeer {
        /// The peer.
        #[serde(with = "hex")]
        peer: ClientId,
    },
    /// All peers are forgotten.
    ResetPeers,
    /// The device's own key: that of a symmetric one, the pair that it signs with of one in public-key mode.
    SetClientKey {
        /// The version.
        version: u32,
    },
    /// The server's public key.
    SetServerKey {
        /// The version.
        version: u32,
    },
    /// The time at which it is sealed. The bytes are good only while that is the time: they are never sent again.
    SetTime,
    /// Changes nothing, and has the device report.
    Question {
        /// Sealed under the key that the device is being moved to.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        new_key: bool,
    },
}

impl Step {
    /// Whether the same bytes may be sent again.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        !matches!(self, Self::SetTime)
    }

    /// Whether it can change what a device holds.
    #[must_use]
    pub const fn changes_keys(&self) -> bool {
        !matches!(self, Self::SetTime | Self::Question { .. })
    }

    /// Whether what follows comes under another key.
    #[must_use]
    pub const fn moves_key(&self) -> bool {
        matches!(self, Self::SetClientKey { .. } | Self::SetServerKey { .. })
    }

    /// The command, with its key.
    ///
    /// # Errors
    ///
    /// [`StepError::NoKey`] when `keys` does not have the version, [`StepError::Random`] when the random generator is broken.
    pub fn command(
        &self,
        keys: &(impl Keys + ?Sized),
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Command, StepError> {
        let missing = StepError::NoKey(*self);
        Ok(match *self {
            Self::SetTopic { topic, version } => {
                Command::SetTopicKey { topic, key: keys.topic(&topic, version).ok_or(missing)? }
            }
            Self::SetNext { topic, version } => {
                Command::SetNextTopicKey { topic, key: keys.topic(&topic, version).ok_or(missing)? }
            }
            Self::Replace { topic, version } => {
                Command::ReplaceTopicKey { topic, key: keys.topic(&topic, version).ok_or(missing)? }
            }
            Self::PushOut { topic } => {
                Command::SetTopicKey { topic, key: TopicKey::generate_with_rng(rng).map_err(StepError::Random)? }
            }
            Self::RemoveTopic { topic } => Command::RemoveTopic(topic),
            Self::ResetTopics => Command::ResetTopics,
            Self::SetPeer { peer, version } => {
                Command::SetPubKey { client: peer, key: keys.peer(&peer, version).ok_or(missing)? }
            }
            Self::RemovePeer { peer } => Command::RemovePubKey(peer),
            Self::ResetPeers => Command::ResetPubKeys,
            Self::SetClientKey { version } => keys.client(version).ok_or(missing)?,
            Self::SetServerKey { version } => keys.server(version).ok_or(missing)?,
            Self::SetTime => Command::SetTime(now),
            Self::Question { .. } => question_with_rng(rng).map_err(StepError::Random)?,
        })
    }
}

/// Has the keys of versions, for one device.
pub trait Keys {
    /// A key of a topic or subtree.
    fn topic(&self, topic: &TopicHash, version: u32) -> Option<TopicKey>;
    /// The public key of a peer.
    fn peer(&self, peer: &ClientId, version: u32) -> Option<VerifyingKey>;
    /// The command that brings the device's own key.
    fn client(&self, version: u32) -> Option<Command>;
    /// The command that brings the server's public key.
    fn server(&self, version: u32) -> Option<Command>;
}

/// Why a step is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepError {
    /// The key that it is to bring is not there.
    NoKey(Step),
    /// There is no randomness.
    Random(KeyError),
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(step) => write!(f, "the key for {step:?} is not stored, or was erased: check the database"),
            Self::Random(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StepError {}

/// 16 bytes in hexadecimal.
mod hex {
    use super::{FromStr, fmt};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(super::custom::<D>)
    }
}

fn custom<'de, D: serde::Deserializer<'de>>(error: impl fmt::Display) -> D::Error {
    D::Error::custom(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_stored_as_short_json_and_read_back() {
        let (topic, peer) = (TopicHash::from_bytes([0xab; 16]), ClientId::from_bytes([0xcd; 16]));
        let (topic_text, peer_text) = ("ab".repeat(16), "cd".repeat(16));
        for (step, json) in [
            (
                Step::SetTopic { topic, version: 7 },
                format!(r#"{{"do":"set-topic","topic":"{topic_text}","version":7}}"#),
            ),
            (Step::PushOut { topic }, format!(r#"{{"do":"push-out","topic":"{topic_text}"}}"#)),
            (Step::RemovePeer { peer }, format!(r#"{{"do":"remove-peer","peer":"{peer_text}"}}"#)),
            (Step::ResetTopics, r#"{"do":"reset-topics"}"#.to_owned()),
            (Step::SetServerKey { version: 2 }, r#"{"do":"set-server-key","version":2}"#.to_owned()),
            (Step::Question { new_key: false }, r#"{"do":"question"}"#.to_owned()),
            (Step::Question { new_key: true }, r#"{"do":"question","new_key":true}"#.to_owned()),
        ] {
            assert_eq!(serde_json::to_string(&step).unwrap(), json);
            assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), step);
        }
        for bad in [r#"{"do":"sing"}"#, r#"{"do":"push-out","topic":"ab"}"#, r#"{"do":"set-topic","version":1}"#] {
            assert!(serde_json::from_str::<Step>(bad).is_err(), "{bad}");
        }
    }
}
