//! The memory of opened messages (protocol page, section 5, step 6).

use crate::{
    names::{ClientId, TopicHash},
    siv::Tag,
    time::Timestamp,
};
use core::hash::{Hash, Hasher};

/// A message that was opened: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub(crate) sent: Timestamp,
    pub(crate) name: SeenName,
}

/// What tells a message from the others of its second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SeenName {
    /// The topic and the signer, mixed: they matter only between messages of equal tag, that is of one key.
    origin: u64,
    tag: Tag,
}

impl Seen {
    /// The seed is secret: with a mix that is known, a client could be given an id that passes for another's.
    pub(crate) fn new(seed: u64, sent: Timestamp, topic: &TopicHash, signer: Option<&ClientId>, tag: Tag) -> Self {
        let fold = |origin: u64, bytes: &[u8; 16]| {
            let (first, second) = halves(bytes);
            mix(seed ^ mix(seed ^ mix(origin ^ first)) ^ second)
        };
        let mut origin = fold(seed, topic.as_bytes());
        if let Some(signer) = signer {
            origin = fold(origin, signer.as_bytes());
        }
        Self { sent, name: SeenName { origin, tag } }
    }
}

impl Hash for SeenName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.tag);
    }
}

fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest))
}

/// A bijection of 64 bits that spreads every bit over all (the finaliser of the `SplitMix64` generator).
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A bounded set of opened messages.
pub trait ReplayMemory {
    /// An empty memory. The seed is secret, so that no sender knows how its messages are hashed.
    fn new(seed: u64) -> Self;
    fn is_full(&self) -> bool;
    /// Whether the message is new to the memory, which has room for it and holds it from now on.
    fn insert(&mut self, seen: Seen) -> bool;
    fn contains(&self, seen: &Seen) -> bool;
    fn oldest_second(&self) -> Option<Timestamp>;
    fn forget_second(&mut self, second: Timestamp);
    fn forget_after(&mut self, second: Timestamp);
}

/// Tells a first delivery from a second one, and never takes a second for a first.
pub(crate) struct ReplayWindow<M> {
    memory: M,
    /// Messages of this second or older are refused: the memory does not cover them.
    floor: Option<Timestamp>,
    /// So are those of this one, because the application says so.
    asked: Option<Timestamp>,
    seed: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    First,
    Repeated,
    /// Older than what the memory covers: it may be either.
    Unknown,
}

impl<M: ReplayMemory> ReplayWindow<M> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { memory: M::new(seed), floor: None, asked: None, seed }
    }

    /// What a message is remembered by.
    pub(crate) fn seen(&self, sent: Timestamp, topic: &TopicHash, signer: Option<&ClientId>, tag: Tag) -> Seen {
        Seen::new(self.seed, sent, topic, signer, tag)
    }

    /// Says what the delivery of a message is that passed all other checks, and remembers it.
    pub(crate) fn deliver(&mut self, seen: Seen) -> Delivery {
        if self.floor.max(self.asked).is_some_and(|floor| seen.sent <= floor) {
            return Delivery::Unknown;
        }
        if self.memory.is_full() {
            if self.memory.contains(&seen) {
                return Delivery::Repeated;
            }
            let oldest = self.memory.oldest_second().map_or(seen.sent, |oldest| oldest.min(seen.sent));
            self.memory.forget_second(oldest);
            self.floor = self.floor.max(Some(oldest));
            if oldest == seen.sent {
                // The message is itself of the second that was forgotten as a whole.
                return Delivery::First;
            }
        }
        if self.memory.insert(seen) { Delivery::First } else { Delivery::Repeated }
    }

    /// From now on refuses messages that were sent in this second or earlier.
    pub(crate) fn refuse_until(&mut self, second: Timestamp) {
        self.asked = self.asked.max(Some(second));
    }

    /// Lets go of what is later than any message can be that is opened now. As long as the client did not know the time, it
    /// opened messages that were dated far ahead; nothing would ever be older than these, and a full memory would forget
    /// the present instead.
    pub(crate) fn forget_after(&mut self, latest: Timestamp) {
        self.memory.forget_after(latest);
        self.floor = self.floor.map(|floor| floor.min(latest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Window<const N: usize> = ReplayWindow<heapless::Vec<Seen, N>>;

    fn seen(sent: u64, n: u8) -> Seen {
        Seen::new(7, Timestamp::from_unix(sent), &TopicHash::from_bytes([1; 16]), None, [n; 16])
    }

    fn deliver<const N: usize>(window: &mut Window<N>, sent: u64, n: u8) -> Delivery {
        window.deliver(seen(sent, n))
    }

    #[test]
    fn a_slot_takes_32_bytes() {
        assert_eq!(size_of::<Seen>(), 32);
    }

    #[test]
    fn a_full_memory_forgets_its_oldest_second_as_a_whole() {
        let mut window = Window::<4>::new(0);
        for (sent, n) in [(11, 0), (10, 1), (10, 2), (12, 3)] {
            assert_eq!(deliver(&mut window, sent, n), Delivery::First);
        }
        assert_eq!(deliver(&mut window, 12, 4), Delivery::First);
        assert_eq!(deliver(&mut window, 10, 1), Delivery::Unknown);
        assert_eq!(deliver(&mut window, 10, 9), Delivery::Unknown);
        assert_eq!(deliver(&mut window, 11, 0), Delivery::Repeated);
        assert_eq!(deliver(&mut window, 12, 3), Delivery::Repeated);
        assert_eq!(deliver(&mut window, 11, 5), Delivery::First);
    }

    #[test]
    fn a_late_message_in_a_full_memory_is_taken_once() {
        let mut window = Window::<2>::new(0);
        assert_eq!(deliver(&mut window, 20, 0), Delivery::First);
        assert_eq!(deliver(&mut window, 21, 1), Delivery::First);
        assert_eq!(deliver(&mut window, 15, 2), Delivery::First);
        assert_eq!(deliver(&mut window, 15, 2), Delivery::Unknown);
        assert_eq!(deliver(&mut window, 20, 0), Delivery::Repeated);
        assert_eq!(deliver(&mut window, 21, 1), Delivery::Repeated);
    }

    #[test]
    fn more_messages_in_a_second_than_the_memory_holds_are_never_taken_twice() {
        let mut window = Window::<2>::new(0);
        assert_eq!(deliver(&mut window, 20, 0), Delivery::First);
        assert_eq!(deliver(&mut window, 20, 1), Delivery::First);
        assert_eq!(deliver(&mut window, 20, 2), Delivery::First);
        for n in 0..4 {
            assert_eq!(deliver(&mut window, 20, n), Delivery::Unknown);
        }
        assert_eq!(deliver(&mut window, 21, 0), Delivery::First);
    }

    #[test]
    fn no_memory_at_all_takes_one_message_a_second() {
        let mut window = Window::<0>::new(0);
        assert_eq!(deliver(&mut window, 20, 0), Delivery::First);
        assert_eq!(deliver(&mut window, 20, 1), Delivery::Unknown);
        assert_eq!(deliver(&mut window, 21, 1), Delivery::First);
    }

    #[test]
    fn topics_and_signers_tell_messages_apart() {
        let (a, b) = (TopicHash::from_bytes([1; 16]), TopicHash::from_bytes([2; 16]));
        let signer = |n: u8| ClientId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
        let at = Timestamp::from_unix(1);
        let all = [
            Seen::new(7, at, &a, None, [0; 16]),
            Seen::new(7, at, &b, None, [0; 16]),
            Seen::new(7, at, &a, Some(&signer(1)), [0; 16]),
            Seen::new(7, at, &a, Some(&signer(2)), [0; 16]),
            Seen::new(7, at, &b, Some(&signer(1)), [0; 16]),
            Seen::new(7, at, &a, Some(&ClientId::from_bytes([0; 16])), [0; 16]),
        ];
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    /// An id that a mix without a secret, or with another one, takes for that of a victim.
    #[test]
    fn f13_no_id_that_is_made_for_it_passes_for_another() {
        let (at, topic, victim) = (Timestamp::from_unix(1), TopicHash::from_bytes([9; 16]), [0xa5; 16]);
        for guess in [0, 1, u64::MAX] {
            let name = |seed: u64, id| Seen::new(seed, at, &topic, Some(&ClientId::from_bytes(id)), [0; 16]).name;
            // With the same first half folded differently, the second half makes good for it.
            let (first, second) = halves(&victim);
            let origin = {
                let (one, two) = halves(topic.as_bytes());
                mix(guess ^ mix(guess ^ mix(guess ^ one)) ^ two)
            };
            let chosen_first = first ^ 1;
            let inner = |first: u64| guess ^ mix(guess ^ mix(origin ^ first));
            let chosen_second = second ^ inner(first) ^ inner(chosen_first);
            let mut id = [0; 16];
            id[..8].copy_from_slice(&chosen_first.to_le_bytes());
            id[8..].copy_from_slice(&chosen_second.to_le_bytes());
            assert_eq!(name(guess, id), name(guess, victim), "the seed {guess} was guessed");
            for seed in [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210] {
                assert_ne!(name(seed, id), name(seed, victim));
            }
            // The mix of the first release.
            let origin = one_of(&topic);
            let inner = |first: u64| mix(origin ^ first);
            id[8..].copy_from_slice(&(second ^ inner(first) ^ inner(chosen_first)).to_le_bytes());
            assert_ne!(name(7, id), name(7, victim));
        }
    }

    fn one_of(topic: &TopicHash) -> u64 {
        halves(topic.as_bytes()).0
    }

    #[test]
    fn f14_what_was_dated_far_ahead_does_not_fill_the_memory_once_the_time_is_known() {
        let mut window = Window::<4>::new(0);
        for n in 0..6 {
            assert_eq!(deliver(&mut window, 1000 + u64::from(n), n), Delivery::First);
        }
        assert_eq!(deliver(&mut window, 9, 9), Delivery::Unknown, "the floor is ahead too");
        window.forget_after(Timestamp::from_unix(20));
        assert_eq!(deliver(&mut window, 20, 9), Delivery::Unknown, "what may have been opened before");
        for n in 0..4 {
            assert_eq!(deliver(&mut window, 21, n), Delivery::First);
        }
        for n in 0..4 {
            assert_eq!(deliver(&mut window, 21, n), Delivery::Repeated);
        }
    }
}
