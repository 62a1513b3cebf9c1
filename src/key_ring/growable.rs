use super::{
    AcceptedTags, AgeRules, Containers, KeptDigest, KeyCache, KeyRing, MaxAge, NoRoom, Table, TopicEntry, Wipe,
};
use crate::{
    digest::StateDigest,
    keys::{TopicKey, VerifyingKey},
    names::{ClientId, TopicHash},
    replay::{ReplayMemory, Seen, SeenName, mix},
    siv::Tag,
    time::Timestamp,
};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use hashbrown::{HashMap, HashSet};

/// Messages that are remembered against replay: 400 a second for the eleven minutes during which one can be opened. They
/// take 8 to 15 MB, or 50 MB where each comes in a second of its own. With more, a client refuses messages that come
/// later than it can remember.
const OPENED_MESSAGES: usize = 1 << 18;

/// Commands of one second that are remembered.
const COMMANDS_PER_SECOND: usize = 1 << 12;

/// Topic keys that are kept after they were derived from a subtree's.
const DERIVED_KEYS: usize = 1 << 16;

/// A key ring that grows with the number of keys. What [`Client`](crate::Client) uses unless told otherwise.
#[derive(Debug)]
pub enum GrowableKeyRing {}

impl KeyRing for GrowableKeyRing {}

impl Containers for GrowableKeyRing {
    type Topics = GrowableTable<TopicHash, TopicEntry>;
    type Peers = GrowableTable<ClientId, VerifyingKey>;
    type Ages = GrowableAgeRules;
    type Derived = GrowableKeyCache;
    type Opened = OpenedMessages;
    type Commands = AcceptedCommands;
    type Digest = StateDigest;
}

/// Takes the last eight bytes that are hashed for the hash.
///
/// The keys of these maps are 16-byte names that come from SHA3-256 or from the key server, never from a sender: they are
/// evenly spread as they are.
#[derive(Debug, Default)]
pub(super) struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 ^= u64::from_le_bytes(*last);
        }
    }

    /// The length prefix of arrays says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        // Client ids may be any bytes, so spread them.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(20)
    }
}

type Spread = BuildHasherDefault<LastBytes>;

/// Hashes under a secret: whoever has a topic key can choose the tags of its messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Seeded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.as_chunks().0 {
            self.0 = mix(self.0 ^ u64::from_le_bytes(*chunk));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub struct GrowableTable<K, V>(HashMap<K, V, Spread>);

impl<K, V> Default for GrowableTable<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Hash + Eq + Copy, V: Clone + Wipe> GrowableTable<K, V> {
    /// Grows by copying into a larger map and wiping the old one: a map that grows by itself leaves its old memory as
    /// it was.
    fn grow(&mut self) {
        let mut larger = HashMap::with_capacity_and_hasher(self.0.len().saturating_mul(2).max(4), Spread::default());
        larger.extend(self.0.iter().map(|(key, value)| (*key, value.clone())));
        self.clear();
        self.0 = larger;
    }
}

impl<K: Hash + Eq + Copy, V: Clone + Wipe> Table<K, V> for GrowableTable<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    fn has_room_for(&self, _: &K) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn room(&self) -> Option<usize> {
        None
    }

    fn insert(&mut self, key: K, value: V) -> Result<(), NoRoom> {
        if let Some(slot) = self.0.get_mut(&key) {
            slot.wipe();
            *slot = value;
            return Ok(());
        }
        if self.0.len() == self.0.capacity() {
            self.grow();
        }
        self.0.insert(key, value);
        Ok(())
    }

    fn remove(&mut self, key: &K) {
        if let Some(value) = self.0.get_mut(key) {
            // In place: taking the value out would leave its bytes behind.
            value.wipe();
            self.0.remove(key);
        }
    }

    fn clear(&mut self) {
        self.0.values_mut().for_each(Wipe::wipe);
        self.0.clear();
    }

    fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a,
    {
        self.0.iter()
    }

    fn values_mut<'a>(&'a mut self) -> impl Iterator<Item = &'a mut V>
    where
        V: 'a,
    {
        self.0.values_mut()
    }
}

/// Derived topic keys, all of which are forgotten when there are too many.
#[derive(Debug, Default)]
pub struct GrowableKeyCache(GrowableTable<TopicHash, TopicKey>);

impl KeyCache for GrowableKeyCache {
    fn get(&self, topic: &TopicHash) -> Option<&TopicKey> {
        self.0.get(topic)
    }

    fn insert(&mut self, topic: TopicHash, key: TopicKey) {
        if self.0.0.len() >= DERIVED_KEYS {
            self.clear();
        }
        // A growable table has room.
        let _ = self.0.insert(topic, key);
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[derive(Debug, Default)]
pub struct GrowableAgeRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    filter: Box<str>,
    stored: Option<MaxAge>,
    for_now: Option<MaxAge>,
}

impl GrowableAgeRules {
    fn rule(&mut self, filter: &str) -> Option<&mut Rule> {
        self.0.iter_mut().find(|rule| *rule.filter == *filter)
    }
}

impl AgeRules for GrowableAgeRules {
    fn set(&mut self, filter: &str, max_age: MaxAge) -> Result<(), NoRoom> {
        match self.rule(filter) {
            Some(rule) => rule.stored = Some(max_age),
            None => self.0.push(Rule { filter: filter.into(), stored: Some(max_age), for_now: None }),
        }
        Ok(())
    }

    fn set_for_now(&mut self, filter: &str, max_age: MaxAge) -> Result<(), NoRoom> {
        match self.rule(filter) {
            Some(rule) => rule.for_now = Some(max_age),
            None => self.0.push(Rule { filter: filter.into(), stored: None, for_now: Some(max_age) }),
        }
        Ok(())
    }

    fn remove(&mut self, filter: &str) {
        self.0.retain(|rule| *rule.filter != *filter);
    }

    fn iter(&self) -> impl Iterator<Item = (&str, MaxAge)> {
        self.0.iter().filter_map(|rule| Some((&*rule.filter, rule.for_now.or(rule.stored)?)))
    }

    fn stored(&self) -> impl Iterator<Item = (&str, MaxAge)> {
        self.0.iter().filter_map(|rule| Some((&*rule.filter, rule.stored?)))
    }
}

/// Up to date, so that a report costs no walk over a million keys.
impl KeptDigest for StateDigest {
    const IS_KEPT: bool = true;

    fn get(&self) -> StateDigest {
        *self
    }

    fn set(&mut self, digest: StateDigest) {
        *self = digest;
    }
}

#[derive(Debug, Default)]
pub struct AcceptedCommands(Vec<Tag>);

impl AcceptedTags for AcceptedCommands {
    fn has_room(&self) -> bool {
        self.0.len() < COMMANDS_PER_SECOND
    }

    fn push(&mut self, tag: Tag) -> Result<(), NoRoom> {
        if !self.has_room() {
            return Err(NoRoom);
        }
        self.0.push(tag);
        Ok(())
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn as_slice(&self) -> &[Tag] {
        &self.0
    }
}

/// Opened messages by the second in which they were sent, so that a second can be forgotten as a whole.
#[derive(Debug)]
pub struct OpenedMessages {
    seconds: BTreeMap<Timestamp, HashSet<SeenName, Seeded>>,
    begun_last: Timestamp,
    len: usize,
    hasher: Seeded,
}

impl ReplayMemory for OpenedMessages {
    fn new(seed: u64) -> Self {
        Self { seconds: BTreeMap::new(), begun_last: Timestamp::from_unix(0), len: 0, hasher: Seeded(seed) }
    }

    fn is_full(&self) -> bool {
        self.len >= OPENED_MESSAGES
    }

    fn insert(&mut self, seen: Seen) -> bool {
        let is_new = match self.seconds.get_mut(&seen.sent) {
            Some(second) => second.insert(seen.name),
            None => {
                // Room for as many as there were in the second that was begun before this one. Each second lends its
                // number once, so that all the room is never more than all the messages.
                let expected = self.seconds.get(&self.begun_last).map_or(0, HashSet::len);
                let mut second = HashSet::with_capacity_and_hasher(expected, self.hasher);
                second.insert(seen.name);
                self.seconds.insert(seen.sent, second);
                self.begun_last = seen.sent;
                true
            }
        };
        self.len += usize::from(is_new);
        is_new
    }

    fn contains(&self, seen: &Seen) -> bool {
        self.seconds.get(&seen.sent).is_some_and(|second| second.contains(&seen.name))
    }

    fn oldest_second(&self) -> Option<Timestamp> {
        self.seconds.first_key_value().map(|(second, _)| *second)
    }

    fn forget_second(&mut self, second: Timestamp) {
        if let Some(forgotten) = self.seconds.remove(&second) {
            self.len -= forgotten.len();
        }
    }

    fn forget_after(&mut self, second: Timestamp) {
        let forgotten = self.seconds.split_off(&second.plus(1));
        self.len -= forgotten.values().map(HashSet::len).sum::<usize>();
    }
}
