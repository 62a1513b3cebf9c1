//! No two messages that are equal: one that would equal another of the same second waits for the next one.
//!
//! What makes two protected messages equal is the topic key, the second, the payload and the signer; receivers refuse the
//! second one as a replay, and cannot tell. So the second one waits, and is sealed when it goes out; what is published on
//! the same topic after it waits behind it. Other topics go on.

use crate::{QoS, bounds::MAX_SEALED_A_SECOND, error::BrokerError, protocol::Taken};
use e4::{Timestamp, Topic};
use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// A message that waits for its second, not sealed yet.
pub(crate) struct Later {
    pub(crate) topic: Topic<'static>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// With who waits for the broker's answer.
pub(crate) struct Waiting(pub(crate) Later, pub(crate) oneshot::Sender<Result<Taken, BrokerError>>);

/// What was sealed in the newest second, and the topics whose messages wait, each with its queue.
pub(crate) struct Pacing<Q> {
    inner: Mutex<Inner<Q>>,
    hasher: RandomState,
}

struct Inner<Q> {
    second: Option<Timestamp>,
    sealed: HashSet<u64>,
    waiting: HashMap<String, Q>,
}

impl<Q> Default for Pacing<Q> {
    fn default() -> Self {
        let inner = Inner { second: None, sealed: HashSet::new(), waiting: HashMap::new() };
        Self { inner: Mutex::new(inner), hasher: RandomState::new() }
    }
}

impl<Q: Clone> Pacing<Q> {
    fn lock(&self) -> MutexGuard<'_, Inner<Q>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sealed message is the first of its kind; it is remembered then.
    pub(crate) fn is_first(&self, topic: &str, sealed: &[u8]) -> bool {
        /// Time, signer and V, in whatever order the mode has them.
        const WHAT_DIFFERS: usize = 40;
        let Some((time, _)) = sealed.split_first_chunk::<8>() else { return true };
        let second = Timestamp::from_unix(u64::from_le_bytes(*time));
        let digest = self.hasher.hash_one((topic, sealed.get(..WHAT_DIFFERS).unwrap_or(sealed)));
        let mut inner = self.lock();
        if inner.second != Some(second) {
            inner.second = Some(second);
            inner.sealed.clear();
        }
        inner.sealed.len() < MAX_SEALED_A_SECOND && inner.sealed.insert(digest)
    }

    /// Whether messages of a topic wait.
    pub(crate) fn waits(&self, topic: &str) -> bool {
        self.lock().waiting.contains_key(topic)
    }

    /// Makes the messages of a topic wait from now on, and returns their queue; its other end as well if they did not wait
    /// before.
    pub(crate) fn begin<R>(&self, topic: &str, queue: impl FnOnce() -> (Q, R)) -> (Q, Option<R>) {
        let mut inner = self.lock();
        if let Some(queue) = inner.waiting.get(topic) {
            return (queue.clone(), None);
        }
        let (queue, end) = queue();
        inner.waiting.insert(topic.to_owned(), queue.clone());
        (queue, Some(end))
    }

    /// Lets the messages of a topic go at once again.
    pub(crate) fn end(&self, topic: &str) {
        self.lock().waiting.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sealed message begins with that has this number and this time.
    fn sealed(number: usize, second: u64) -> Vec<u8> {
        [second.to_le_bytes(), number.to_le_bytes(), [0; 8]].concat()
    }

    #[test]
    fn more_messages_in_one_second_than_are_remembered_wait_for_the_next() {
        let pacing = Pacing::<()>::default();
        for number in 0..MAX_SEALED_A_SECOND {
            assert!(pacing.is_first("plant/7", &sealed(number, 1)));
        }
        assert!(!pacing.is_first("plant/7", &sealed(MAX_SEALED_A_SECOND, 1)), "it might be equal to a later one");
        assert!(pacing.is_first("plant/7", &sealed(MAX_SEALED_A_SECOND, 2)));
        assert_eq!(pacing.lock().sealed.len(), 1);
    }
}
