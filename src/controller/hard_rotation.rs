//! How a topic's key is replaced so that the old one opens nothing any more.

use crate::{
    command::Command,
    keys::{KeyError, TopicKey},
    names::TopicHash,
};
use alloc::{vec, vec::Vec};
use rand_core::CryptoRng;

/// The commands by which a client gives up the old key of a topic at once, without the hour during which it still opens messages
/// under its previous key. Which they are depends on what the client knows: see [`for_client`](Self::for_client).
///
#[cfg_attr(all(feature = "std", feature = "getrandom"), doc = "```")]
#[cfg_attr(not(all(feature = "std", feature = "getrandom")), doc = "```ignore")]
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use e4::controller::{HardRotation, Lane, Recipient, Report};
/// use e4::{ClientId, ClientKey, Timestamp, Topic, TopicKey};
///
/// # let recipient = Recipient::symmetric(ClientId::from_name("pump-7")?, &ClientKey::generate()?);
/// # let (mut lane, last_report, topic) = (Lane::new(), None::<Report>, Topic::new("plant/7/pump/pressure")?);
/// let knows_next_keys = last_report.is_some_and(|report| report.knows_next_keys);
/// let commands = HardRotation::for_client(knows_next_keys, true).commands(*topic.hash(), TopicKey::generate()?)?;
/// let sealed = recipient.seal(&commands, &mut lane, Timestamp::now())?;
/// # assert_eq!(sealed.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardRotation {
    /// `ReplaceTopicKey`: one command, that nobody on the way can halve.
    Replace,
    /// `RemoveTopic`, then `SetTopicKey`.
    ///
    /// Both carry one second: swapped, they leave the client without a key, which is the safe side. A broker that keeps the first back makes the rotation a soft one. One that keeps the second back leaves a client without
    /// a key of its own for the topic: it falls back to that of a subtree, and so to a wider circle, if it has one.
    RemoveAndSet,
    /// `SetTopicKey` with a random key that nobody gets, then `SetTopicKey` with the new one. The topic has a key of its own all
    /// the time, and what the client keeps as the previous key is the random one.
    ///
    /// A broker that keeps the first back makes the rotation a soft one. One that keeps the second back leaves a client that
    /// nobody understands, and that understands nobody but, for an hour, those under the old key.
    PushOut,
}

impl HardRotation {
    /// The way that is right for a client: by [`knows_next_keys`](super::Report::knows_next_keys) of its last report, `false`
    /// if there is none, and by whether it holds, or may hold, the key of a subtree around the topic.
    #[must_use]
    pub const fn for_client(knows_next_keys: bool, in_subtree: bool) -> Self {
        match (knows_next_keys, in_subtree) {
            (true, _) => Self::Replace,
            (false, true) => Self::PushOut,
            (false, false) => Self::RemoveAndSet,
        }
    }

    /// How many commands it takes.
    #[must_use]
    pub const fn command_count(self) -> usize {
        match self {
            Self::Replace => 1,
            Self::RemoveAndSet | Self::PushOut => 2,
        }
    }

    /// The commands, which belong together and go out in this order.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when no random key can be drawn.
    #[cfg(feature = "getrandom")]
    pub fn commands(self, topic: TopicHash, key: TopicKey) -> Result<Vec<Command>, KeyError> {
        self.commands_with(topic, key, TopicKey::generate)
    }

    /// [`commands`](Self::commands) with a random generator of the caller's.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn commands_with_rng(
        self,
        topic: TopicHash,
        key: TopicKey,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<Command>, KeyError> {
        self.commands_with(topic, key, || TopicKey::generate_with_rng(rng))
    }

    fn commands_with(
        self,
        topic: TopicHash,
        key: TopicKey,
        random: impl FnOnce() -> Result<TopicKey, KeyError>,
    ) -> Result<Vec<Command>, KeyError> {
        Ok(match self {
            Self::Replace => vec![Command::ReplaceTopicKey { topic, key }],
            Self::RemoveAndSet => vec![Command::RemoveTopic(topic), Command::SetTopicKey { topic, key }],
            Self::PushOut => {
                vec![Command::SetTopicKey { topic, key: random()? }, Command::SetTopicKey { topic, key }]
            }
        })
    }
}
