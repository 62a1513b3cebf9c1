//! What a client holds, as 16 bytes (protocol page, section 11).
//!
//! ```text
//! digest = XOR of SHA3-256(entry)[0..16] over all entries; 16 zero bytes for none
//!
//! entry    topic key, subtree key   0x03 | topic hash (16) | key (32)
//!          peer                     0x06 | client id (16)  | Ed25519 public key (32)
//!          key server's key         0x07 | X25519 public key (32)
//!          next key                 0x08 | topic hash (16) | key (32)
//! ```

use crate::{
    keys::{C2PublicKey, TopicKey, VerifyingKey},
    names::{ClientId, Hex, TopicHash, short_hash},
};
use core::fmt;
use zeroize::zeroize_stack;

const TOPIC_KEY: u8 = 0x03;
const PEER: u8 = 0x06;
const C2_KEY: u8 = 0x07;
const NEXT_TOPIC_KEY: u8 = 0x08;

/// One thing that a client holds and that shows in its [`StateDigest`]. Previous keys are none: they end by themselves. Nor is
/// the client's own key: the key of the report shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateEntry<'a> {
    /// The current key of a topic or a subtree.
    TopicKey(&'a TopicHash, &'a TopicKey),
    /// The next key of a topic or a subtree.
    NextTopicKey(&'a TopicHash, &'a TopicKey),
    /// The public key of a peer.
    PubKey(&'a ClientId, &'a VerifyingKey),
    /// The public key of the key server.
    C2Key(&'a C2PublicKey),
}

/// What a client holds, as 16 bytes: equal for two that hold the same, in whatever order it came.
///
/// A key server makes the digest of what a client is to hold, and compares it with that of the client's
/// [`Report`](crate::controller::Report).
///
/// # Security
///
/// A checksum between two honest ends, not a commitment: a client that lies finds other entries with the same digest.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct StateDigest([u8; 16]);

impl StateDigest {
    /// The digest of some entries, none of which may come twice: it would cancel itself out.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = StateEntry<'a>>) -> Self {
        let mut digest = Self::default();
        for entry in entries {
            digest.toggle_leaving_traces(entry);
        }
        zeroize_stack::<STACK>();
        digest
    }

    /// Puts in an entry that is not in it, or takes out one that is.
    pub fn toggle(&mut self, entry: StateEntry<'_>) {
        self.toggle_leaving_traces(entry);
        zeroize_stack::<STACK>();
    }

    /// For a caller that wipes the stack when all is done.
    pub(crate) fn toggle_leaving_traces(&mut self, entry: StateEntry<'_>) {
        let hash = hash(entry);
        for (own, other) in self.0.iter_mut().zip(hash) {
            *own ^= other;
        }
    }

    /// Takes any 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDigest({self})")
    }
}

/// Bytes of stack that hashing takes. The hash leaves what it worked with there.
const STACK: usize = 1024;

#[inline(never)]
fn hash(entry: StateEntry<'_>) -> [u8; 16] {
    let (kind, name, key): (u8, &[u8], _) = match entry {
        StateEntry::TopicKey(topic, key) => (TOPIC_KEY, topic.as_bytes(), key.as_bytes()),
        StateEntry::NextTopicKey(topic, key) => (NEXT_TOPIC_KEY, topic.as_bytes(), key.as_bytes()),
        StateEntry::PubKey(client, key) => (PEER, client.as_bytes(), key.as_bytes()),
        StateEntry::C2Key(key) => (C2_KEY, &[], key.as_bytes()),
    };
    short_hash(&[&[kind], name, key])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_needs_no_order_and_what_was_taken_out_leaves_no_trace() {
        let (topic, key) = (TopicHash::from_bytes([1; 16]), TopicKey::from_bytes(&[2; 32]).unwrap());
        let entries = [StateEntry::TopicKey(&topic, &key), StateEntry::NextTopicKey(&topic, &key)];
        let [first, second] = entries;
        let both = StateDigest::of(entries);
        assert_eq!(StateDigest::of([second, first]), both);
        assert_ne!(StateDigest::of([first]), StateDigest::of([second]));
        let mut digest = both;
        digest.toggle(first);
        assert_eq!(digest, StateDigest::of([second]));
        digest.toggle(second);
        assert_eq!(digest, StateDigest::default());
        assert_eq!(StateDigest::default().as_bytes(), &[0; 16]);
    }
}
