use crate::{
    command::Command,
    keys::{KeyError, TopicKey},
    names::TopicHash,
};
use rand_core::CryptoRng;

/// A command that changes nothing anywhere, and that a client reports all the same: it takes away a topic that nobody has.
///
/// Sent to see whether a client is there, or whether a report that is older than the last is what it really holds. The answer
/// is a report that has [`v`](super::SealedCommand::v) of the sealed command in it.
///
/// # Errors
///
/// [`KeyError::NoRandomness`], and [`KeyError::AllZero`] when the generator is broken.
#[cfg(feature = "getrandom")]
pub fn question() -> Result<Command, KeyError> {
    TopicKey::generate().map(|random| removal(&random))
}

/// [`question`] with a random generator of the caller's.
///
/// # Errors
///
/// [`KeyError::AllZero`], which means that the generator is broken.
pub fn question_with_rng(rng: &mut (impl CryptoRng + ?Sized)) -> Result<Command, KeyError> {
    TopicKey::generate_with_rng(rng).map(|random| removal(&random))
}

/// Half of a random key that is used for nothing else is a random hash.
fn removal(random: &TopicKey) -> Command {
    let (hash, _) = random.as_bytes().split_at(16);
    let mut topic = [0; 16];
    topic.copy_from_slice(hash);
    Command::RemoveTopic(TopicHash::from_bytes(topic))
}
