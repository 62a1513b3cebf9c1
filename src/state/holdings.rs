//! What a state holds, as a digest (protocol page, section 11).

use super::{Effect, State};
use crate::{
    digest::{StateDigest, StateEntry},
    key_ring::{KeptDigest, KeyRing, Table, TopicEntry},
    keys::TopicKey,
    names::TopicHash,
};

impl<R: KeyRing> State<R> {
    /// The digest of all that is held.
    pub(crate) fn digest(&self) -> StateDigest {
        if R::Digest::IS_KEPT { self.digest.get() } else { self.digest_of(true, true) }
    }

    /// Computes the digest, if it is kept, of a state that was put together otherwise than by commands.
    pub(crate) fn start_digest(&mut self) {
        if R::Digest::IS_KEPT {
            self.digest.set(self.digest_of(true, true));
        }
    }

    /// Brings the digest, if it is kept, up to what it is once a change is carried out.
    pub(super) fn update_digest(&mut self, effect: &Effect) {
        if R::Digest::IS_KEPT {
            self.digest.set(self.digest_after(effect));
        }
    }

    /// The digest of the key server's key, and of the topics and the peers or not.
    fn digest_of(&self, topics: bool, peers: bool) -> StateDigest {
        let c2 = self.identity.keys().c2_key().map(StateEntry::C2Key);
        let topics = self.topics.iter().filter(|_| topics).flat_map(|(topic, entry)| {
            let next = entry.next().map(|key| StateEntry::NextTopicKey(topic, key));
            core::iter::once(StateEntry::TopicKey(topic, &entry.key)).chain(next)
        });
        let peers = self.peers.iter().filter(|_| peers).map(|(client, key)| StateEntry::PubKey(client, key));
        StateDigest::of(c2.into_iter().chain(topics).chain(peers))
    }

    /// The digest as it will be once a change is carried out, entry by entry.
    fn digest_after(&self, effect: &Effect) -> StateDigest {
        let mut digest = self.digest.get();
        match effect {
            Effect::Nothing => {}
            Effect::PutTopic(topic, entry) => change_topic(&mut digest, topic, self.topics.get(topic), Some(entry)),
            Effect::RemoveTopic(topic) => change_topic(&mut digest, topic, self.topics.get(topic), None),
            Effect::ClearTopics => digest = self.digest_of(false, true),
            Effect::SetIdentityKeys(keys) => {
                let (old, new) = (self.identity.keys().c2_key(), keys.c2_key());
                change(&mut digest, StateEntry::C2Key, old, new);
            }
            Effect::PutPeer(client, key) => {
                change(&mut digest, |key| StateEntry::PubKey(client, key), self.peers.get(client), Some(key));
            }
            Effect::RemovePeer(client) => {
                change(&mut digest, |key| StateEntry::PubKey(client, key), self.peers.get(client), None);
            }
            Effect::ClearPeers => digest = self.digest_of(true, false),
        }
        digest
    }
}

fn change_topic(digest: &mut StateDigest, topic: &TopicHash, old: Option<&TopicEntry>, new: Option<&TopicEntry>) {
    fn current(entry: &TopicEntry) -> &TopicKey {
        &entry.key
    }
    change(digest, |key| StateEntry::TopicKey(topic, key), old.map(current), new.map(current));
    let (old, new) = (old.and_then(TopicEntry::next), new.and_then(TopicEntry::next));
    change(digest, |key| StateEntry::NextTopicKey(topic, key), old, new);
}

/// Takes an old key out and puts a new one in, unless they are the same. Whoever carries a command out wipes the stack.
fn change<'k, K: PartialEq>(
    digest: &mut StateDigest,
    entry: impl Fn(&'k K) -> StateEntry<'k>,
    old: Option<&'k K>,
    new: Option<&'k K>,
) {
    if old != new {
        for key in old.into_iter().chain(new) {
            digest.toggle_leaving_traces(entry(key));
        }
    }
}
