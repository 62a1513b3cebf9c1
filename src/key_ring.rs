//! Where a client keeps keys and what it remembers: growing with the heap, or of fixed capacity without one.

mod fixed;
#[cfg(feature = "alloc")]
mod growable;
mod topic_entry;

pub use fixed::FixedKeyRing;
#[cfg(feature = "alloc")]
pub use growable::GrowableKeyRing;
pub use topic_entry::Spare;
pub(crate) use topic_entry::{SpareKey, TopicEntry, is_in_transition};

use crate::{
    digest::StateDigest,
    keys::{TopicKey, VerifyingKey},
    names::{ClientId, TopicHash},
    replay::ReplayMemory,
    siv::Tag,
};
use core::fmt;

/// The containers that a client is made of. Implemented by [`GrowableKeyRing`] and [`FixedKeyRing`] only.
pub trait KeyRing: Containers {}

pub(crate) mod sealed {
    use super::{
        AcceptedTags, AgeRules, ClientId, KeptDigest, KeyCache, ReplayMemory, Table, TopicEntry, TopicHash,
        VerifyingKey,
    };

    pub trait Containers {
        type Topics: Table<TopicHash, TopicEntry>;
        type Peers: Table<ClientId, VerifyingKey>;
        type Ages: AgeRules;
        type Derived: KeyCache;
        type Opened: ReplayMemory;
        type Commands: AcceptedTags;
        type Digest: KeptDigest;
    }
}
pub(crate) use sealed::Containers;

impl Wipe for TopicKey {
    fn wipe(&mut self) {
        Self::wipe(self);
    }
}

/// A container has no room for one more entry. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Full {
    /// Keys of topics and subtrees.
    Topics,
    /// Public keys of peers.
    Peers,
    /// Rules for the age of messages, or one of more than [`FixedKeyRing::MAX_FILTER_LEN`] bytes.
    AgeRules,
    /// Commands of one second.
    Commands,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topics => "there is no room for the key of another topic: have the key server remove one, or use a larger key ring",
            Self::Peers => "there is no room for the key of another peer: have the key server remove one, or use a larger key ring",
            Self::AgeRules => {
                "there is no room for this rule on the age of messages: remove one, or shorten its filter"
            }
            Self::Commands => {
                "too many commands carry the same second: the key server has to seal further ones with a later time"
            }
        })
    }
}

impl core::error::Error for Full {}

/// There is no room; the caller knows what for.
#[derive(Debug)]
pub struct NoRoom;

/// What leaves nothing secret where it stands. Not public: a key that was wiped is none.
pub trait Wipe {
    fn wipe(&mut self);
}

/// A map. Values are wiped where they stood when they are removed.
pub trait Table<K, V: Wipe>: Default {
    fn get(&self, key: &K) -> Option<&V>;
    fn has_room_for(&self, key: &K) -> bool;
    fn len(&self) -> usize;
    /// For how many more there is room; `None` for as many as one likes.
    fn room(&self) -> Option<usize>;
    /// Replaces the value when there is one.
    fn insert(&mut self, key: K, value: V) -> Result<(), NoRoom>;
    fn remove(&mut self, key: &K);
    fn clear(&mut self);
    fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a;
    fn values_mut<'a>(&'a mut self) -> impl Iterator<Item = &'a mut V>
    where
        V: 'a;
}

/// Topic keys that were derived from a subtree's, so that the next message on the topic needs no derivation.
pub trait KeyCache: Default {
    fn get(&self, topic: &TopicHash) -> Option<&TopicKey>;
    fn insert(&mut self, topic: TopicHash, key: TopicKey);
    fn clear(&mut self);
}

/// Rules on the age of messages. Their order means nothing.
pub trait AgeRules: Default {
    /// Replaces the rule of the same filter when there is one.
    fn set(&mut self, filter: &str, max_age: MaxAge) -> Result<(), NoRoom>;
    /// Sets a rule that is never stored, and goes before the stored one of the same filter.
    fn set_for_now(&mut self, filter: &str, max_age: MaxAge) -> Result<(), NoRoom>;
    /// Removes both.
    fn remove(&mut self, filter: &str);
    /// The rules that hold.
    fn iter(&self) -> impl Iterator<Item = (&str, MaxAge)>;
    /// The rules that are stored.
    fn stored(&self) -> impl Iterator<Item = (&str, MaxAge)>;
}

/// The commands accepted in one second, by their `V`.
pub trait AcceptedTags: Default {
    fn has_room(&self) -> bool;
    fn push(&mut self, tag: Tag) -> Result<(), NoRoom>;
    fn clear(&mut self);
    fn as_slice(&self) -> &[Tag];
}

/// The digest of what a client holds: kept up to date with each change, or computed whenever it is asked for.
pub trait KeptDigest: Default {
    const IS_KEPT: bool;
    fn get(&self) -> StateDigest;
    fn set(&mut self, digest: StateDigest);
}

/// How old a message may be when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaxAge {
    /// At most so many seconds.
    Seconds(u64),
    /// Any age: for retained messages and last wills. Replays cannot be told from redelivery there.
    Any,
}

impl Wipe for VerifyingKey {
    /// Public: nothing to wipe.
    fn wipe(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use std::{rc::Rc, vec::Vec};

    /// Counts how often values of it were wiped in place.
    #[derive(Clone, Debug, PartialEq)]
    struct Probe(u32, Rc<Cell<u32>>);

    impl Wipe for Probe {
        fn wipe(&mut self) {
            self.1.set(self.1.get() + 1);
        }
    }

    fn id(n: u32) -> TopicHash {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        TopicHash::from_bytes(bytes)
    }

    fn exercise<T: Table<TopicHash, Probe>>(capacity: Option<u32>) {
        let wiped = Rc::new(Cell::new(0));
        let probe = |n| Probe(n, wiped.clone());
        let mut table = T::default();
        let full = capacity.unwrap_or(100);
        for n in 0..full {
            assert!(table.has_room_for(&id(n)));
            assert_eq!((table.len(), table.room()), (n as usize, capacity.map(|all| (all - n) as usize)));
            table.insert(id(n), probe(n)).unwrap();
        }
        if capacity.is_some() {
            assert!(!table.has_room_for(&id(full)));
            assert!(table.insert(id(full), probe(full)).is_err());
        }
        assert_eq!(table.iter().count(), full as usize);
        for n in 0..full {
            assert_eq!(table.get(&id(n)).unwrap().0, n);
            // Replacing needs no room.
            assert!(table.has_room_for(&id(n)));
            table.insert(id(n), probe(n + 1000)).unwrap();
            assert_eq!(table.get(&id(n)).unwrap().0, n + 1000);
        }
        assert!(table.get(&id(full)).is_none());
        table.remove(&id(full));
        for n in 0..full {
            let before = wiped.get();
            table.remove(&id(n));
            assert!(wiped.get() > before, "a removed value is wiped");
            assert!(table.get(&id(n)).is_none());
            assert_eq!(table.iter().count(), (full - n - 1) as usize);
        }
        for n in 0..full {
            table.insert(id(n), probe(n)).unwrap();
        }
        let before = wiped.get();
        table.clear();
        assert_eq!(table.iter().count(), 0);
        assert_eq!(wiped.get() - before, full, "cleared values are wiped");
    }

    #[test]
    fn tables_hold_what_was_put_into_them_and_wipe_what_is_removed() {
        exercise::<fixed::FixedTable<TopicHash, Probe, 0>>(Some(0));
        exercise::<fixed::FixedTable<TopicHash, Probe, 1>>(Some(1));
        exercise::<fixed::FixedTable<TopicHash, Probe, 7>>(Some(7));
        #[cfg(feature = "alloc")]
        exercise::<growable::GrowableTable<TopicHash, Probe>>(None);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn a_growing_table_wipes_what_it_leaves_behind() {
        let wiped = Rc::new(Cell::new(0));
        let mut table = growable::GrowableTable::<TopicHash, Probe>::default();
        for n in 0..1000 {
            table.insert(id(n), Probe(n, wiped.clone())).unwrap();
        }
        assert_eq!(table.iter().count(), 1000);
        assert!(wiped.get() >= 500, "{}", wiped.get());
        for n in 0..1000 {
            assert_eq!(table.get(&id(n)).unwrap().0, n);
        }
    }

    #[test]
    fn age_rules_replace_those_of_the_same_filter() {
        fn exercise<A: AgeRules>() {
            let mut rules = A::default();
            rules.set("a/#", MaxAge::Any).unwrap();
            rules.set("b", MaxAge::Seconds(5)).unwrap();
            rules.set("a/#", MaxAge::Seconds(9)).unwrap();
            let all: Vec<_> = rules.iter().collect();
            assert_eq!(all, [("a/#", MaxAge::Seconds(9)), ("b", MaxAge::Seconds(5))]);
            rules.remove("a/#");
            rules.remove("absent");
            assert_eq!(rules.iter().collect::<Vec<_>>(), [("b", MaxAge::Seconds(5))]);
        }
        exercise::<fixed::FixedAgeRules>();
        #[cfg(feature = "alloc")]
        exercise::<growable::GrowableAgeRules>();
    }

    #[test]
    fn fixed_age_rules_refuse_what_does_not_fit() {
        let mut rules = fixed::FixedAgeRules::default();
        assert!(rules.set(&"x".repeat(fixed::MAX_FILTER_LEN + 1), MaxAge::Any).is_err());
        for n in 0..fixed::AGE_RULES {
            rules.set(&format!("{n}{}", "x".repeat(fixed::MAX_FILTER_LEN - 1)), MaxAge::Any).unwrap();
        }
        assert!(rules.set("one more", MaxAge::Any).is_err());
        assert_eq!(rules.iter().count(), fixed::AGE_RULES);
    }
}
