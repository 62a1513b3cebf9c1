//! The client: seals, opens, and follows its key server (protocol page, sections 5 to 9 and 11).

mod builder;
mod command;
mod error;
mod open;
mod report;
mod seal;
mod transition;

pub use builder::{ClientBuilder, CreateError, LoadError};
pub use error::{OpenError, Refusal};
pub use open::{KeyRole, Message, Opened};
pub use seal::SealError;

#[cfg(feature = "alloc")]
use crate::key_ring::GrowableKeyRing;
use crate::{
    filter::TopicFilter,
    key_ring::{AgeRules, Full, KeyRing, MaxAge, NoRoom, Spare, Table, TopicEntry},
    keys::{C2PublicKey, KeyFingerprint, SubtreeKey, TopicKey, VerifyingKey},
    message::Mode,
    names::{ClientId, ControlTopic, TopicHash},
    replay::ReplayWindow,
    stack,
    state::{Change, IdentityKeys, Options, Repeated, State, encode},
    store::{Encode, Sink, Snapshot, Store, StoreError},
    time::{Clock, Timekeeper, Timestamp},
    topic::Topic,
};
use core::fmt;

#[cfg(feature = "alloc")]
type AnyStore = alloc::boxed::Box<dyn Store + Send + Sync>;
#[cfg(feature = "alloc")]
type AnyClock = alloc::boxed::Box<dyn Clock + Send + Sync>;

/// One device or program: its keys, the topic keys that it was given, and what it remembers of messages and commands.
///
/// Written without parameters it is the client for everything with a heap: a key ring that grows, any store, any clock.
/// With a [`FixedKeyRing`](crate::FixedKeyRing) and a store and clock of its own it needs no allocator.
///
/// Sealing takes `&self` and opening `&mut self`. To share a client between threads, put it into a
/// [`RwLock`](https://doc.rust-lang.org/std/sync/struct.RwLock.html): many can seal at once.
///
/// Of everything that a client is given, it checks all before it changes anything: an error means that nothing changed but what
/// it [reports](Self::report) as refused.
pub struct Client<
    #[cfg(feature = "alloc")] R: KeyRing = GrowableKeyRing,
    #[cfg(feature = "alloc")] S: Store = AnyStore,
    #[cfg(feature = "alloc")] C: Clock = AnyClock,
    #[cfg(not(feature = "alloc"))] R: KeyRing,
    #[cfg(not(feature = "alloc"))] S: Store,
    #[cfg(not(feature = "alloc"))] C: Clock,
> {
    state: State<R>,
    store: S,
    time: Timekeeper<C>,
    replay: ReplayWindow<R::Opened>,
    derived: R::Derived,
    /// Between which times the previous keys that are still kept were replaced.
    transitions: Option<(Timestamp, Timestamp)>,
    /// Whether any topic has a second key to try.
    has_spare_keys: bool,
    /// Previous keys were erased here and are still in the store; when that was last tried to mend.
    unsaved_since: Option<Timestamp>,
    /// Seconds by which the previous keys have grown older since that was stored.
    unsaved_age: u32,
    /// Whether the time was known when it was last asked for.
    knew_time: bool,
    /// Goes before the stored option for as long as this client lives.
    repeated_for_now: Option<Repeated>,
}

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    fn new(mut state: State<R>, store: S, clock: C) -> Self {
        let (transitions, has_spare_keys) = (state.transitions(), state.has_spare_keys());
        if transitions.is_none() {
            state.latest = None;
        }
        state.start_digest();
        let seed = state.identity.hash_seed();
        stack::wipe::<{ stack::DEEP }>();
        Self {
            state,
            store,
            time: Timekeeper::new(clock),
            replay: ReplayWindow::new(seed),
            derived: R::Derived::default(),
            transitions,
            has_spare_keys,
            unsaved_since: None,
            unsaved_age: 0,
            knew_time: false,
            repeated_for_now: None,
        }
    }

    /// The client's id.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        self.state.identity.id()
    }

    /// The topic to subscribe to, at QoS 1 and in a persistent session: commands arrive there.
    #[must_use]
    pub fn control_topic(&self) -> ControlTopic {
        self.id().control_topic()
    }

    /// Which kind of client this is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.state.identity.mode()
    }

    /// The client's own public key; `None` in symmetric mode.
    #[must_use]
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        match self.state.identity.keys() {
            IdentityKeys::PublicKey { signing, .. } => Some(signing.verifying_key()),
            IdentityKeys::Symmetric(_) => None,
        }
    }

    /// The public key of the key server; `None` in symmetric mode.
    #[must_use]
    pub fn c2_key(&self) -> Option<&C2PublicKey> {
        self.state.identity.keys().c2_key()
    }

    /// The topics and subtrees that the client has a key for, with what it has there besides the current key. The time at
    /// which a previous key was replaced is by the clock as it is now: when the clock is set back, so is that time.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicHash, Option<Spare>)> {
        self.state.topics.iter().map(|(topic, entry)| (topic, entry.spare.as_ref().map(|spare| spare.role)))
    }

    /// The topics and subtrees that the client has a key for, with the fingerprints of their keys: to be compared with
    /// those of the key server, or of a peer.
    pub fn key_fingerprints(&self) -> impl Iterator<Item = TopicFingerprints> {
        self.state.topics.iter().map(|(topic, entry)| TopicFingerprints {
            topic: *topic,
            key: entry.key.fingerprint(),
            previous: entry.previous().map(|(key, replaced)| (key.fingerprint(), replaced)),
            next: entry.next().map(TopicKey::fingerprint),
        })
    }

    /// Whether the client has a key for a topic: its own, or that of a subtree around it.
    #[must_use]
    pub fn has_key_for(&self, topic: &Topic<'_>) -> bool {
        self.find_entry(topic).is_some()
    }

    /// The peers whose public keys the client has.
    pub fn peers(&self) -> impl Iterator<Item = (&ClientId, &VerifyingKey)> {
        self.state.peers.iter()
    }

    /// The time of the newest command that was ever accepted, or from which on commands are accepted: none older than this
    /// is.
    #[must_use]
    pub fn newest_command(&self) -> Option<Timestamp> {
        self.state.order.newest
    }

    /// The time as the client knows it; `None` on a device without a clock, until a command brings the time.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        self.time.now()
    }

    /// The limits that messages and commands are held against.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.state.options
    }

    /// Sets the limits, and stores them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: they could not be stored, and the old ones stay.
    pub fn set_options(&mut self, options: Options) -> Result<(), StoreError> {
        let old = core::mem::replace(&mut self.state.options, options);
        self.save(&Change::NONE).inspect_err(|_| self.state.options = old)
    }

    /// Sets what becomes of messages that were opened before for as long as this client lives, whatever
    /// [`Options::repeated`] says, and stores nothing: for the wishes of one run of a program.
    pub fn set_repeated_for_now(&mut self, repeated: Repeated) {
        self.repeated_for_now = Some(repeated);
    }

    fn repeated(&self) -> Repeated {
        self.repeated_for_now.unwrap_or(self.state.options.repeated)
    }

    /// The rules on the age of messages that hold, by filter.
    pub fn max_ages(&self) -> impl Iterator<Item = (&str, MaxAge)> {
        self.state.ages.iter()
    }

    /// Sets how old messages may be on the topics that a filter matches, and stores it. The rule of a topic itself goes
    /// before those of filters; of several filters that match, the one that names most levels counts, and of those the
    /// strictest.
    ///
    /// # Security
    ///
    /// Where any age is allowed, a replay is not detected: compare [`Message::sent`] with that of the last message.
    ///
    /// # Errors
    ///
    /// [`SetMaxAgeError`]: the rule has no room, or could not be stored; nothing was changed.
    pub fn set_max_age(&mut self, filter: &TopicFilter<'_>, max_age: MaxAge) -> Result<(), SetMaxAgeError> {
        let filter = filter.as_str();
        let old = self.age_rule(filter);
        self.state.ages.set(filter, max_age).map_err(|NoRoom| SetMaxAgeError::Full(Full::AgeRules))?;
        self.save(&Change::NONE).map_err(SetMaxAgeError::Store).inspect_err(|_| self.put_back_age_rule(filter, old))
    }

    /// Sets how old messages may be on the topics that a filter matches for as long as this client lives, and stores
    /// nothing: for the wishes of one run of a program. Goes before the stored rule of the same filter, which is left as it
    /// is; otherwise what [`set_max_age`](Self::set_max_age) says holds here too.
    ///
    /// # Errors
    ///
    /// [`Full`]: the key ring has no room for it. A [`FixedKeyRing`](crate::FixedKeyRing) has none for such rules.
    pub fn set_max_age_for_now(&mut self, filter: &TopicFilter<'_>, max_age: MaxAge) -> Result<(), Full> {
        self.state.ages.set_for_now(filter.as_str(), max_age).map_err(|NoRoom| Full::AgeRules)
    }

    /// Takes the rules of a filter back, the stored one and that for now, and stores that. There may be none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it could not be stored, and the rules stay.
    pub fn remove_max_age(&mut self, filter: &TopicFilter<'_>) -> Result<(), StoreError> {
        let filter = filter.as_str();
        let old = self.age_rule(filter);
        self.state.ages.remove(filter);
        let (Some(_), _) = old else {
            return Ok(());
        };
        self.save(&Change::NONE).inspect_err(|_| self.put_back_age_rule(filter, old))
    }

    /// The rule of a filter that is stored, and the one that holds.
    fn age_rule(&self, filter: &str) -> (Option<MaxAge>, Option<MaxAge>) {
        let of = |(other, age)| (other == filter).then_some(age);
        (self.state.ages.stored().find_map(of), self.state.ages.iter().find_map(of))
    }

    fn put_back_age_rule(&mut self, filter: &str, (stored, holds): (Option<MaxAge>, Option<MaxAge>)) {
        self.state.ages.remove(filter);
        // There is room: it was there a moment ago.
        if let Some(stored) = stored {
            let _ = self.state.ages.set(filter, stored);
        }
        if let Some(holds) = holds.filter(|_| holds != stored) {
            let _ = self.state.ages.set_for_now(filter, holds);
        }
    }

    /// From now on refuses messages that a sender can have sealed in this second or earlier, by a clock that is as far ahead
    /// as is allowed: those that are dated up to [`max_ahead`](Options::max_ahead) after it.
    ///
    /// The memory of opened messages does not survive a restart. An application that minds a replay from before its
    /// start sets this to its start time; then nothing that was opened before is opened again. The price is that for
    /// `max_ahead` seconds after the start new messages are refused too. Where any age is allowed, it has no effect.
    pub fn refuse_sent_until(&mut self, second: Timestamp) {
        self.replay.refuse_until(second.plus(self.state.options.max_ahead));
    }

    /// What is to be done when the client did not know the time and now does.
    fn notice_time(&mut self) {
        let now = self.time.now();
        if let Some(now) = now
            && !self.knew_time
        {
            self.replay.forget_after(now.plus(self.state.options.max_ahead));
        }
        self.knew_time = now.is_some();
    }

    /// Stores the state as it will be after a change.
    fn save(&mut self, change: &Change) -> Result<(), StoreError> {
        let saved = self.give_to_store(change);
        stack::wipe::<{ stack::DEEP }>();
        saved?;
        self.unsaved_since = None;
        self.unsaved_age = 0;
        Ok(())
    }

    #[inline(never)]
    fn give_to_store(&mut self, change: &Change) -> Result<(), StoreError> {
        let changed = Changed { state: &self.state, change };
        self.store.save(&Snapshot::new(self.state.identity.id(), &changed))
    }

    /// The entry that serves a topic: its own, or that of the closest subtree around it, with the levels between.
    fn find_entry<'t>(&self, topic: &'t Topic<'_>) -> Option<(&TopicEntry, Place<'t>)> {
        match self.state.topics.get(topic.hash()) {
            Some(entry) => Some((entry, Place::Exact)),
            None => self.find_subtree(topic),
        }
    }

    /// The entry of the closest subtree around a topic that has no entry of its own.
    fn find_subtree<'t>(&self, topic: &'t Topic<'_>) -> Option<(&TopicEntry, Place<'t>)> {
        // Without any key, nothing is worth hashing each level of a topic for.
        self.state.topics.iter().next()?;
        let of_subtree = |(hash, below)| Some((self.state.topics.get(&hash)?, Place::Below(below)));
        topic.enclosing_subtrees().filter_map(of_subtree).last()
    }

    /// Calls `with` with the key of a topic that an entry serves, deriving it where need be.
    fn with_key<T>(key: &TopicKey, place: Place<'_>, with: impl FnOnce(&TopicKey) -> T) -> T {
        match place {
            Place::Exact => with(key),
            Place::Below(levels) => with(&SubtreeKey::from_topic_key(key).topic_key_below(levels)),
        }
    }
}

/// Which keys a client holds for a topic or subtree, without the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicFingerprints {
    /// The topic, or the subtree.
    pub topic: TopicHash,
    /// Its key.
    pub key: KeyFingerprint,
    /// The key it had before, when that is still kept, and when it was replaced.
    pub previous: Option<(KeyFingerprint, Timestamp)>,
    /// The key that is to follow, when that is known.
    pub next: Option<KeyFingerprint>,
}

/// Where a topic lies, seen from the entry that serves it.
#[derive(Clone, Copy)]
enum Place<'t> {
    Exact,
    Below(Option<&'t str>),
}

/// A state as it will be after a change.
struct Changed<'a, R: KeyRing> {
    state: &'a State<R>,
    change: &'a Change,
}

impl<R: KeyRing> Encode for Changed<'_, R> {
    fn encode_to(&self, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        encode(self.state, self.change, sink)
    }
}

impl<R: KeyRing, S: Store, C: Clock> fmt::Debug for Client<R, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", self.id())
            .field("mode", &self.mode())
            .field("topics", &self.topics().count())
            .field("peers", &self.peers().count())
            .finish_non_exhaustive()
    }
}

/// Why a rule on the age of messages was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetMaxAgeError {
    /// The key ring has no room for the rule.
    Full(Full),
    /// The rule could not be stored.
    Store(StoreError),
}

impl fmt::Display for SetMaxAgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(full) => full.fmt(f),
            Self::Store(error) => write!(f, "the rule could not be stored: {error}"),
        }
    }
}

impl core::error::Error for SetMaxAgeError {}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::{ClientKey, Identity, MemoryStore};

    #[test]
    fn the_fingerprints_of_a_topic_are_those_of_its_current_and_of_its_previous_key() {
        let key = |n| TopicKey::from_bytes(&[n; 32]).unwrap();
        let (a, b, now) = (Topic::new("a").unwrap(), Topic::new("b").unwrap(), Timestamp::now());
        let id = ClientId::from_name("pump-7").unwrap();
        let client = Client::builder(Identity::symmetric(id, ClientKey::from_bytes(&[1; 32]).unwrap()))
            .topic_key(a.hash(), key(2))
            .and_then(|builder| builder.topic_key_with_previous(b.hash(), key(3), key(4), now))
            .and_then(|builder| builder.create(MemoryStore::new()))
            .unwrap();
        let mut found: std::vec::Vec<_> = client.key_fingerprints().collect();
        found.sort_by_key(|entry| entry.key != key(2).fingerprint());
        let of_a = TopicFingerprints { topic: *a.hash(), key: key(2).fingerprint(), previous: None, next: None };
        let previous = Some((key(4).fingerprint(), now));
        let of_b = TopicFingerprints { topic: *b.hash(), key: key(3).fingerprint(), previous, next: None };
        assert_eq!(found, [of_a, of_b]);
    }
}
