//! The state of a client (protocol page, sections 5 to 7 and 11), and what a command changes in it.

mod encoding;
mod holdings;
mod identity;
mod order;

pub(crate) use encoding::{decode, encode};
pub use identity::Identity;
pub(crate) use identity::{Enrolment, IdentityKeys};
pub(crate) use order::{CommandOrder, Order};

use crate::{
    command::{Command, CommandError},
    key_ring::{AcceptedTags, AgeRules, Full, KeyRing, MaxAge, NoRoom, Spare, Table, TopicEntry, is_in_transition},
    keys::{KeyError, TopicKey, VerifyingKey},
    names::{ClientId, TopicHash},
    siv::Tag,
    time::Timestamp,
    topic::Topic,
};
use core::{cmp::Reverse, fmt};

/// The limits that a client holds messages and commands against. Stored with its state.
///
/// ```
/// use e4::{MaxAge, Options};
///
/// let mut options = Options::default();
/// options.max_age = MaxAge::Seconds(60);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How old a message may be. 600 s by default; see also the rules by topic filter.
    pub max_age: MaxAge,
    /// How many seconds a message may be ahead of the client's clock. 60 by default. Commands may be ahead by any time.
    pub max_ahead: u64,
    /// How old a command may be, by the client's own clock; time that was learned from commands does not count. Any age by
    /// default, because a rotation waits in the broker for a device that is offline.
    pub command_max_age: MaxAge,
    /// What to do with a message that was opened before.
    pub repeated: Repeated,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_age: MaxAge::Seconds(600), max_ahead: 60, command_max_age: MaxAge::Any, repeated: Repeated::Refuse }
    }
}

/// What to do with a message that is equal to one that was opened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// Refuse it: it is a replay, or the rare case of two publishers that sent equal payloads in the same second.
    Refuse,
    /// Open it and mark it as repeated: for topics on which that case is not rare. Whoever does not look at
    /// [`Message::repeated`](crate::Message::repeated) accepts replays.
    Report,
}

/// Everything that is stored.
pub(crate) struct State<R: KeyRing> {
    pub(crate) identity: Identity,
    pub(crate) enrolled: Enrolment,
    pub(crate) options: Options,
    pub(crate) ages: R::Ages,
    pub(crate) topics: R::Topics,
    pub(crate) peers: R::Peers,
    pub(crate) order: CommandOrder<R::Commands>,
    /// The latest time seen since a key was replaced whose previous one is still kept.
    pub(crate) latest: Option<Timestamp>,
    /// Of all that is held, where it is kept. Not stored.
    digest: R::Digest,
}

/// What is to become of the state: computed first, stored second, done in memory third.
pub(crate) struct Change {
    pub(crate) effect: Effect,
    /// The command that asks for it; `None` when the application does.
    pub(crate) command: Option<(Timestamp, Tag)>,
}

impl Change {
    /// The state as it is.
    pub(crate) const NONE: Self = Self { effect: Effect::Nothing, command: None };
}

pub(crate) enum Effect {
    Nothing,
    PutTopic(TopicHash, TopicEntry),
    RemoveTopic(TopicHash),
    ClearTopics,
    SetIdentityKeys(IdentityKeys),
    PutPeer(ClientId, VerifyingKey),
    RemovePeer(ClientId),
    ClearPeers,
}

/// Why a command cannot be carried out.
pub(crate) enum CannotChange {
    Command(CommandError),
    Full(Full),
}

impl From<CommandError> for CannotChange {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<KeyError> for CannotChange {
    fn from(error: KeyError) -> Self {
        Self::Command(error.into())
    }
}

impl<R: KeyRing> State<R> {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            enrolled: identity.enrolment(),
            identity,
            options: Options::default(),
            ages: R::Ages::default(),
            topics: R::Topics::default(),
            peers: R::Peers::default(),
            order: CommandOrder::new(),
            latest: None,
            digest: R::Digest::default(),
        }
    }

    /// What a command would change. Refuses whatever could not be done completely.
    #[inline(never)]
    pub(crate) fn plan(
        &self,
        command: Command,
        sent: Timestamp,
        tag: Tag,
        now: Timestamp,
    ) -> Result<Change, CannotChange> {
        command.check_for(self.identity.mode(), self.identity.control())?;
        if command.topic_key().is_some_and(|(_, key)| self.identity.shares(key)) {
            return Err(CommandError::SharedKey.into());
        }
        let has_room = self.order.newest != Some(sent) || self.order.accepted.has_room();
        match self.effect_of(command, now) {
            Ok(_) | Err(CannotChange::Full(_)) if !has_room => Err(CannotChange::Full(Full::Commands)),
            Ok(effect) => Ok(Change { effect, command: Some((sent, tag)) }),
            Err(error) => Err(error),
        }
    }

    /// What a command for this client does to the state.
    fn effect_of(&self, command: Command, now: Timestamp) -> Result<Effect, CannotChange> {
        Ok(match command {
            Command::RemoveTopic(topic) => Effect::RemoveTopic(topic),
            Command::ResetTopics => Effect::ClearTopics,
            Command::SetTopicKey { topic, key } => {
                self.set_topic_key(topic, key, Some(Spare::Previous { replaced: now }))?
            }
            Command::SetNextTopicKey { topic, key } => self.set_topic_key(topic, key, Some(Spare::Next))?,
            Command::ReplaceTopicKey { topic, key } => self.set_topic_key(topic, key, None)?,
            Command::SetTime(_) => Effect::Nothing,
            Command::SetClientKey(key) => self.take_keys(IdentityKeys::Symmetric(key))?,
            Command::SetSigningKey(signing) => match self.identity.keys() {
                IdentityKeys::PublicKey { c2, .. } => self.take_keys(IdentityKeys::public_key(signing, *c2)?)?,
                IdentityKeys::Symmetric(_) => return Err(CommandError::WrongMode.into()),
            },
            Command::SetC2Key(c2) => match self.identity.keys() {
                IdentityKeys::PublicKey { signing, .. } => {
                    self.take_keys(IdentityKeys::public_key(signing.clone(), c2)?)?
                }
                IdentityKeys::Symmetric(_) => return Err(CommandError::WrongMode.into()),
            },
            Command::SetPubKey { client, key } => {
                if !self.peers.has_room_for(&client) {
                    return Err(CannotChange::Full(Full::Peers));
                }
                Effect::PutPeer(client, key)
            }
            Command::RemovePubKey(client) => Effect::RemovePeer(client),
            Command::ResetPubKeys => Effect::ClearPeers,
        })
    }

    /// Takes a key for a topic. The other key that the topic has afterwards is its previous one, this very one as the next,
    /// or none.
    fn set_topic_key(&self, topic: TopicHash, key: TopicKey, other: Option<Spare>) -> Result<Effect, CannotChange> {
        let Some(entry) = self.topics.get(&topic) else {
            return match other {
                Some(Spare::Next) => Err(CommandError::NoCurrentKey.into()),
                _ if self.topics.has_room_for(&topic) => Ok(Effect::PutTopic(topic, TopicEntry::new(key))),
                _ => Err(CannotChange::Full(Full::Topics)),
            };
        };
        let is_current = entry.key == key;
        let entry = match other {
            Some(Spare::Previous { .. }) if is_current => return Ok(Effect::Nothing),
            Some(Spare::Next) if is_current && entry.next().is_none() => return Ok(Effect::Nothing),
            Some(Spare::Previous { replaced }) => TopicEntry::with_previous(key, entry.key.clone(), replaced),
            Some(Spare::Next) if !is_current => TopicEntry::with_next(entry.key.clone(), key),
            Some(Spare::Next) | None => TopicEntry::new(key),
        };
        Ok(Effect::PutTopic(topic, entry))
    }

    /// Takes new keys for the client itself, if no topic has them, not even as a previous key: removed members hold that.
    fn take_keys(&self, keys: IdentityKeys) -> Result<Effect, CommandError> {
        let is_shared = self.topics.iter().any(|(_, entry)| entry.keys().any(|key| keys.include(key)));
        if is_shared { Err(CommandError::SharedKey) } else { Ok(Effect::SetIdentityKeys(keys)) }
    }

    /// Whether a topic has a key of the client itself. No command makes it so.
    pub(crate) fn shares_a_key(&self) -> bool {
        self.topics.iter().any(|(_, entry)| entry.keys().any(|key| self.identity.shares(key)))
    }

    /// Carries a planned change out. Room was made sure of when it was planned.
    #[inline(never)]
    pub(crate) fn commit(&mut self, change: Change) {
        self.update_digest(&change.effect);
        match change.effect {
            Effect::Nothing => {}
            Effect::PutTopic(topic, entry) => {
                let _: Result<(), NoRoom> = self.topics.insert(topic, entry);
            }
            Effect::RemoveTopic(topic) => self.topics.remove(&topic),
            Effect::ClearTopics => self.topics.clear(),
            Effect::SetIdentityKeys(keys) => self.identity.set_keys(keys),
            Effect::PutPeer(client, key) => {
                let _: Result<(), NoRoom> = self.peers.insert(client, key);
            }
            Effect::RemovePeer(client) => self.peers.remove(&client),
            Effect::ClearPeers => self.peers.clear(),
        }
        if let Some((sent, tag)) = change.command {
            self.order.accept(sent, tag);
        }
    }

    /// Erases the previous keys that have expired.
    pub(crate) fn erase_expired(&mut self, now: Timestamp) {
        for entry in self.topics.values_mut() {
            if entry.replaced().is_some_and(|replaced| !is_in_transition(replaced, now)) {
                // Dropped, and so wiped, where it stands.
                entry.spare = None;
            }
        }
    }

    /// The earliest and the latest time at which a key that is still kept was replaced.
    pub(crate) fn transitions(&self) -> Option<(Timestamp, Timestamp)> {
        let replaced = || self.topics.iter().filter_map(|(_, entry)| entry.replaced());
        replaced().min().zip(replaced().max())
    }

    /// Whether any topic has a second key.
    pub(crate) fn has_spare_keys(&self) -> bool {
        self.topics.iter().any(|(_, entry)| entry.spare.is_some())
    }

    /// How old a message on the topic may be: the rule of the topic itself, or that of the closest filter that matches,
    /// or what the options say. Of filters that name equally many levels the strictest counts.
    pub(crate) fn max_age(&self, topic: &Topic<'_>) -> MaxAge {
        let name = topic.as_str();
        self.ages
            .iter()
            .find(|(filter, _)| *filter == name)
            .or_else(|| {
                let matching = self.ages.iter().filter(|(filter, _)| crate::filter::matches(filter, name));
                matching.max_by_key(|(filter, max_age)| (crate::filter::named_levels(filter), Reverse(*max_age)))
            })
            .map_or(self.options.max_age, |(_, max_age)| max_age)
    }
}

/// Why saved bytes were refused as the state of a client. They were not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes do not begin as a state does.
    NotAState,
    /// The checksum is wrong: some bytes were changed, lost or added.
    Damaged,
    /// A later version of this crate wrote the state.
    NewerVersion(u8),
    /// The bytes are whole, and say something that no client's state can say.
    Invalid,
    /// The key of a topic is also one of the client itself, so that every member of the topic can give it commands.
    SharedKey,
    /// The state holds more than this client's key ring has room for.
    Full(Full),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAState => f.write_str(
                "this is not the state of an E4 client: check the path; a sealed state needs its storage key",
            ),
            Self::Damaged => f.write_str("the state is damaged or cut short: restore it, or enrol the device again"),
            Self::NewerVersion(version) => {
                write!(f, "the state has version {version}, written by a later release: update this program")
            }
            Self::Invalid => f.write_str(
                "the state is whole, but no client could have written it: restore it, or enrol the device again",
            ),
            Self::SharedKey => f.write_str(
                "the client's own key is that of a topic too, and every member of the topic its key server: enrol the device with a new key",
            ),
            Self::Full(full) => write!(f, "the state does not fit: {full}"),
        }
    }
}

impl core::error::Error for StateError {}
