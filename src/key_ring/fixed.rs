use super::{
    AcceptedTags, AgeRules, Containers, KeptDigest, KeyCache, KeyRing, MaxAge, NoRoom, Table, TopicEntry, Wipe,
};
use crate::{
    digest::StateDigest,
    keys::{TopicKey, VerifyingKey},
    names::{ClientId, TopicHash},
    replay::{ReplayMemory, Seen},
    siv::Tag,
    time::Timestamp,
};

pub(super) const AGE_RULES: usize = 4;
pub(super) const MAX_FILTER_LEN: usize = 47;
const COMMANDS_PER_SECOND: usize = 16;

/// A key ring of fixed capacity that needs no allocator, for microcontrollers.
///
/// `TOPICS` topics and subtrees with a second key each (96 bytes), `PEERS` public keys of peers (0 for a
/// symmetric client), and a memory of `OPENED` messages against replay (32 bytes each): at least as many as arrive in
/// one second, better as many as arrive in the eleven minutes during which a message can be opened. When it is full, its
/// oldest second is forgotten, and refused from then on on all topics.
///
/// Besides, it has room for 4 rules on the age of messages and for 16 commands of one second. A full container refuses
/// with [`Full`](super::Full) and changes nothing.
#[derive(Debug)]
pub enum FixedKeyRing<const TOPICS: usize, const PEERS: usize, const OPENED: usize> {}

impl<const TOPICS: usize, const PEERS: usize, const OPENED: usize> FixedKeyRing<TOPICS, PEERS, OPENED> {
    /// The longest filter of a rule on the age of messages, in bytes.
    pub const MAX_FILTER_LEN: usize = MAX_FILTER_LEN;

    /// Bytes of the longest state that a client with this key ring saves: what a store in flash makes room for.
    pub const MAX_STATE_LEN: usize = {
        let frame = 7 + 1 + 32;
        let identity = 1 + 18 + 1 + 1 + 34 + 34;
        let options = 1 + 1 + 9 + 9 + 9 + 1;
        let ages = 3 + AGE_RULES * (1 + 2 + MAX_FILTER_LEN + 9);
        let topics = 3 + TOPICS * (1 + 17 + 34 + 34 + 9);
        let peers = 3 + PEERS * (1 + 17 + 34);
        let order = 1 + 1 + 9 + 2 + COMMANDS_PER_SECOND * 17;
        let enrolment = 1 + 9;
        let latest = 1 + 9;
        let refused = 1 + 1 + 1 + 9;
        frame + identity + options + ages + topics + peers + order + enrolment + latest + refused
    };
}

impl<const TOPICS: usize, const PEERS: usize, const OPENED: usize> KeyRing for FixedKeyRing<TOPICS, PEERS, OPENED> {}

impl<const TOPICS: usize, const PEERS: usize, const OPENED: usize> Containers for FixedKeyRing<TOPICS, PEERS, OPENED> {
    type Topics = FixedTable<TopicHash, TopicEntry, TOPICS>;
    type Peers = FixedTable<ClientId, VerifyingKey, PEERS>;
    type Ages = FixedAgeRules;
    type Derived = NoKeyCache;
    type Opened = heapless::Vec<Seen, OPENED>;
    type Commands = heapless::Vec<Tag, COMMANDS_PER_SECOND, u8>;
    type Digest = NoDigest;
}

/// Slots that values never move between, so that a removed secret leaves no copy.
#[derive(Debug)]
pub struct FixedTable<K, V, const N: usize>([Option<(K, V)>; N]);

impl<K, V, const N: usize> Default for FixedTable<K, V, N> {
    fn default() -> Self {
        Self([const { None }; N])
    }
}

impl<K: PartialEq, V: Wipe, const N: usize> Table<K, V> for FixedTable<K, V, N> {
    fn get(&self, key: &K) -> Option<&V> {
        self.iter().find_map(|(other, value)| (other == key).then_some(value))
    }

    fn has_room_for(&self, key: &K) -> bool {
        self.0.iter().any(|slot| slot.as_ref().is_none_or(|(other, _)| other == key))
    }

    fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    fn room(&self) -> Option<usize> {
        Some(N.saturating_sub(self.len()))
    }

    fn insert(&mut self, key: K, value: V) -> Result<(), NoRoom> {
        let holds_key = |slot: &Option<(K, V)>| slot.as_ref().is_some_and(|(other, _)| *other == key);
        let at = self.0.iter().position(holds_key).or_else(|| self.0.iter().position(Option::is_none));
        let slot = at.and_then(|at| self.0.get_mut(at)).ok_or(NoRoom)?;
        wipe(slot);
        *slot = Some((key, value));
        Ok(())
    }

    fn remove(&mut self, key: &K) {
        for slot in &mut self.0 {
            if slot.as_ref().is_some_and(|(other, _)| other == key) {
                wipe(slot);
            }
        }
    }

    fn clear(&mut self) {
        self.0.iter_mut().for_each(wipe);
    }

    fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a,
    {
        self.0.iter().flatten().map(|(key, value)| (key, value))
    }

    fn values_mut<'a>(&'a mut self) -> impl Iterator<Item = &'a mut V>
    where
        V: 'a,
    {
        self.0.iter_mut().flatten().map(|(_, value)| value)
    }
}

/// Derives every time: memory is scarcer than time.
#[derive(Debug, Default)]
pub struct NoKeyCache;

impl KeyCache for NoKeyCache {
    fn get(&self, _: &TopicHash) -> Option<&TopicKey> {
        None
    }

    fn insert(&mut self, _: TopicHash, _: TopicKey) {}

    fn clear(&mut self) {}
}

/// Walks over the keys for each report: there are few, and a program that never reports has no code for it.
#[derive(Debug, Default)]
pub struct NoDigest;

impl KeptDigest for NoDigest {
    const IS_KEPT: bool = false;

    fn get(&self) -> StateDigest {
        StateDigest::default()
    }

    fn set(&mut self, _: StateDigest) {}
}

fn wipe<K, V: Wipe>(slot: &mut Option<(K, V)>) {
    if let Some((_, value)) = slot {
        value.wipe();
    }
    *slot = None;
}

#[derive(Debug, Default)]
pub struct FixedAgeRules(heapless::Vec<(heapless::String<MAX_FILTER_LEN, u8>, MaxAge), AGE_RULES>);

impl AgeRules for FixedAgeRules {
    fn set(&mut self, filter: &str, max_age: MaxAge) -> Result<(), NoRoom> {
        if let Some((_, age)) = self.0.iter_mut().find(|(other, _)| other == filter) {
            *age = max_age;
            return Ok(());
        }
        let mut text = heapless::String::new();
        text.push_str(filter).map_err(|_| NoRoom)?;
        self.0.push((text, max_age)).map_err(|_| NoRoom)
    }

    /// Only programs that run for a while and for somebody have such rules.
    fn set_for_now(&mut self, _: &str, _: MaxAge) -> Result<(), NoRoom> {
        Err(NoRoom)
    }

    fn remove(&mut self, filter: &str) {
        self.0.retain(|(other, _)| other != filter);
    }

    fn stored(&self) -> impl Iterator<Item = (&str, MaxAge)> {
        self.iter()
    }

    fn iter(&self) -> impl Iterator<Item = (&str, MaxAge)> {
        self.0.iter().map(|(filter, age)| (filter.as_str(), *age))
    }
}

impl<const N: usize> AcceptedTags for heapless::Vec<Tag, N, u8> {
    fn has_room(&self) -> bool {
        !self.is_full()
    }

    fn push(&mut self, tag: Tag) -> Result<(), NoRoom> {
        Self::push(self, tag).map_err(|_| NoRoom)
    }

    fn clear(&mut self) {
        Self::clear(self);
    }

    fn as_slice(&self) -> &[Tag] {
        self
    }
}

impl<const N: usize> ReplayMemory for heapless::Vec<Seen, N> {
    fn new(_: u64) -> Self {
        Self::new()
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }

    fn insert(&mut self, seen: Seen) -> bool {
        !self.contains(&seen) && self.push(seen).is_ok()
    }

    fn contains(&self, seen: &Seen) -> bool {
        self.as_slice().contains(seen)
    }

    fn oldest_second(&self) -> Option<Timestamp> {
        self.iter().map(|seen| seen.sent).min()
    }

    fn forget_second(&mut self, second: Timestamp) {
        self.retain(|seen| seen.sent != second);
    }

    fn forget_after(&mut self, second: Timestamp) {
        self.retain(|seen| seen.sent <= second);
    }
}
