use super::Holdings;
use e4::{ClientId, TopicHash, controller::StateDigest};

/// One thing that a device holds and that shows in the digest of its report, by the version of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// The current key of a topic or subtree.
    Topic(TopicHash, u32),
    /// The next key of a topic or subtree.
    Next(TopicHash, u32),
    /// The public key of a peer.
    Peer(ClientId, u32),
    /// The public key of the server.
    ServerKey(u32),
}

/// The digest of a device that holds this, from the digest of each entry alone; `None` if that of one is not known, as when its
/// key was erased.
pub fn digest_of(holdings: &Holdings, of_entry: &impl Fn(Entry) -> Option<StateDigest>) -> Option<StateDigest> {
    let sum = holdings.entries().try_fold(0_u128, |sum, entry| Some(sum ^ number(of_entry(entry)?)))?;
    Some(StateDigest::from_bytes(sum.to_be_bytes()))
}

/// A digest as a number: digests are joined by XOR.
pub(super) fn number(digest: StateDigest) -> u128 {
    u128::from_be_bytes(*digest.as_bytes())
}
