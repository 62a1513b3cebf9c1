//! Copies of one message that a broker delivers because several of this client's filters match its topic.

use crate::protocol::Arrived;
use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher,
};

/// Messages of which copies may come on this connection, the newest at the end.
#[derive(Default)]
pub(crate) struct Copies {
    expected: VecDeque<(u64, usize)>,
    hasher: RandomState,
}

impl Copies {
    /// Copies come one right after the other.
    const MAX: usize = 256;

    /// So many copies of this message may come.
    pub(crate) fn expect(&mut self, message: &Arrived, copies: usize) {
        if copies == 0 {
            return;
        }
        if self.expected.len() == Self::MAX {
            self.expected.pop_front();
        }
        self.expected.push_back((self.digest(message), copies));
    }

    /// Whether this is one of them, and not a replay.
    pub(crate) fn is_one(&mut self, message: &Arrived) -> bool {
        let digest = self.digest(message);
        match self.expected.iter_mut().find(|(other, copies)| *other == digest && *copies > 0) {
            Some((_, copies)) => {
                *copies -= 1;
                true
            }
            None => false,
        }
    }

    /// Copies belong to the connection on which the first one came.
    pub(crate) fn clear(&mut self) {
        self.expected.clear();
    }

    fn digest(&self, message: &Arrived) -> u64 {
        self.hasher.hash_one((&message.topic, &message.payload))
    }
}
