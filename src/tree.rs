//! Topic keys from one secret (protocol page, section 10).
//!
//! ```text
//! root key ── epoch ──> key of # ── "plant" ──> key of plant/# ── "7" ──> key of plant/7/#
//!                                                                              │ "topic key"
//!                                                                              └──> topic key of plant/7
//! ```

use crate::{
    filter::Subtree,
    kdf::{expand, extract},
    keys::{RootKey, SubtreeKey, TopicKey},
    names::NameError,
    topic::Topic,
};
use zeroize::Zeroizing;

/// The salt of the extraction; it names this derivation and its version.
const SALT: &[u8] = b"e4 topic tree v1";
const EPOCH_LABEL: &[u8] = b"epoch";
const LEVEL_LABEL: &[u8] = b"level";
const TOPIC_KEY_LABEL: &[u8] = b"topic key";

impl RootKey {
    /// The key of `#` in an epoch: every topic key of the namespace follows from it.
    ///
    /// Raising the epoch changes every key below.
    ///
    /// `N(root) = expand(extract(salt, root key), "epoch" | epoch as u64 big-endian)`
    #[must_use]
    pub fn namespace_key(&self, epoch: u64) -> SubtreeKey {
        let mut prk = Zeroizing::new([0; 32]);
        extract(SALT, self.as_bytes(), &mut prk);
        SubtreeKey::derive(|key| expand(&prk, &[EPOCH_LABEL, &epoch.to_be_bytes()], key))
    }

    /// The key of a subtree in an epoch.
    #[must_use]
    pub fn subtree_key(&self, epoch: u64, subtree: &Subtree<'_>) -> SubtreeKey {
        self.namespace_key(epoch).descend(subtree.prefix())
    }

    /// The key of a topic in an epoch.
    #[must_use]
    pub fn topic_key(&self, epoch: u64, topic: &Topic<'_>) -> TopicKey {
        self.namespace_key(epoch).topic_key_below(Some(topic.as_str()))
    }
}

impl SubtreeKey {
    /// The key of a topic that `subtree`, whose key this is, covers.
    ///
    /// # Errors
    ///
    /// [`NameError::NotCovered`].
    pub fn topic_key(&self, subtree: &Subtree<'_>, topic: &Topic<'_>) -> Result<TopicKey, NameError> {
        Ok(self.topic_key_below(subtree.levels_below(topic.as_str())?))
    }

    /// The key of a subtree that lies in `subtree`, whose key this is.
    ///
    /// # Errors
    ///
    /// [`NameError::NotCovered`].
    pub fn subtree_key(&self, subtree: &Subtree<'_>, narrower: &Subtree<'_>) -> Result<SubtreeKey, NameError> {
        let below = match (narrower.prefix(), subtree.prefix()) {
            (Some(prefix), _) => subtree.levels_below(prefix)?,
            (None, None) => None,
            (None, Some(_)) => return Err(NameError::NotCovered),
        };
        Ok(self.descend(below))
    }

    /// The same 32 bytes as a `SetTopicKey` command carries them, under the hash of the subtree's filter.
    #[must_use]
    pub fn to_topic_key(&self) -> TopicKey {
        TopicKey::derive(|key| key.copy_from_slice(self.as_bytes()))
    }

    /// The other way round: what was received for the hash of a subtree's filter.
    pub(crate) fn from_topic_key(key: &TopicKey) -> Self {
        Self::derive(|own| own.copy_from_slice(key.as_bytes()))
    }

    /// `topic key = expand(N(t), "topic key")`
    pub(crate) fn topic_key_below(&self, levels: Option<&str>) -> TopicKey {
        let node = self.descend(levels);
        TopicKey::derive(|key| expand(node.as_bytes(), &[TOPIC_KEY_LABEL], key))
    }

    /// `N(p / level) = expand(N(p), "level" | level)` for each of the levels; none at all for `None`.
    fn descend(&self, levels: Option<&str>) -> Self {
        let mut node = self.clone();
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            node = Self::derive(|key| expand(node.as_bytes(), &[LEVEL_LABEL, level.as_bytes()], key));
        }
        node
    }
}
