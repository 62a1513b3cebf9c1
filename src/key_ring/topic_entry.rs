//! The keys of one topic or subtree (protocol page, section 7).

use super::Wipe;
use crate::{keys::TopicKey, time::Timestamp};

/// What a client holds for one topic or subtree: 80 bytes, 96 with the hash before it.
#[derive(Debug, Clone)]
pub struct TopicEntry {
    /// The current key: the only one that seals.
    pub(crate) key: TopicKey,
    pub(crate) spare: Option<SpareKey>,
}

/// A second key, which opens and does not seal.
#[derive(Debug, Clone)]
pub(crate) struct SpareKey {
    pub(crate) key: TopicKey,
    pub(crate) role: Spare,
}

/// What the second key is that a client holds for a topic or subtree besides the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spare {
    /// The key before. It opens messages for an hour after it was replaced.
    Previous {
        /// When the current key took its place.
        replaced: Timestamp,
    },
    /// The key that is to follow. It opens messages until then.
    Next,
}

impl TopicEntry {
    pub(crate) fn new(key: TopicKey) -> Self {
        Self { key, spare: None }
    }

    pub(crate) fn with_previous(key: TopicKey, previous: TopicKey, replaced: Timestamp) -> Self {
        Self { key, spare: Some(SpareKey { key: previous, role: Spare::Previous { replaced } }) }
    }

    pub(crate) fn with_next(key: TopicKey, next: TopicKey) -> Self {
        Self { key, spare: Some(SpareKey { key: next, role: Spare::Next }) }
    }

    /// All of its keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &TopicKey> {
        core::iter::once(&self.key).chain(self.spare.as_ref().map(|spare| &spare.key))
    }

    /// The key that is to follow the current one.
    pub(crate) fn next(&self) -> Option<&TopicKey> {
        self.spare.as_ref().filter(|spare| spare.role == Spare::Next).map(|spare| &spare.key)
    }

    /// The key before, and when the current one took its place.
    pub(crate) fn previous(&self) -> Option<(&TopicKey, Timestamp)> {
        let spare = self.spare.as_ref()?;
        match spare.role {
            Spare::Previous { replaced } => Some((&spare.key, replaced)),
            Spare::Next => None,
        }
    }

    /// When the current key took the place of one that is still kept.
    pub(crate) fn replaced(&self) -> Option<Timestamp> {
        self.previous().map(|(_, replaced)| replaced)
    }

    /// The same, to be changed.
    pub(crate) fn replaced_mut(&mut self) -> Option<&mut Timestamp> {
        match &mut self.spare.as_mut()?.role {
            Spare::Previous { replaced } => Some(replaced),
            Spare::Next => None,
        }
    }
}

impl Wipe for TopicEntry {
    fn wipe(&mut self) {
        self.key.wipe();
        self.spare = None;
    }
}

/// How long a previous key opens messages, in seconds.
const TRANSITION_SECONDS: u64 = 3600;

/// Whether a key that was replaced then still opens messages.
pub(crate) fn is_in_transition(replaced: Timestamp, now: Timestamp) -> bool {
    now.distance(replaced) <= TRANSITION_SECONDS
}
