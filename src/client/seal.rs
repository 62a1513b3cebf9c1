use super::{Client, Place};
use crate::{
    key_ring::{KeyCache, KeyRing, Table},
    keys::TopicKey,
    message::{self, TooShort},
    names::{ControlTopic, NameError, REPORT_SUFFIX, TopicHash},
    state::IdentityKeys,
    store::Store,
    time::Clock,
    topic::{AsTopic, Topic},
};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use zeroize::Zeroize;

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// Seals a payload for a topic: encrypts it under the topic's key, and signs it in public-key mode.
    ///
    /// The result is [`overhead`](crate::Mode::overhead) bytes longer than the payload, which may be empty. Nothing
    /// in it is random: equal payloads sealed for one topic in the same second are equal, also between publishers in
    /// symmetric mode. Protocol page, section 3.
    ///
    /// # Errors
    ///
    /// [`SealError`]
    #[cfg(feature = "alloc")]
    pub fn seal(&self, topic: impl AsTopic, payload: &[u8]) -> Result<Vec<u8>, SealError> {
        let mode = self.mode();
        let mut message = Vec::with_capacity(payload.len().saturating_add(mode.overhead()));
        message.resize(mode.header_len(), 0);
        message.extend_from_slice(payload);
        message.resize(message.len().saturating_add(mode.trailer_len()), 0);
        self.seal_in_place(topic, &mut message).inspect_err(|_| message.zeroize())?;
        Ok(message)
    }

    /// Seals a payload into a buffer of the caller's, and returns the part of it that holds the sealed message: the
    /// first `payload.len() + mode().overhead()` bytes.
    ///
    /// # Errors
    ///
    /// [`SealError`], and no plaintext is in `out`; [`SealError::BufferTooSmall`] when it is shorter than that.
    pub fn seal_into<'o>(
        &self,
        topic: impl AsTopic,
        payload: &[u8],
        out: &'o mut [u8],
    ) -> Result<&'o mut [u8], SealError> {
        let mode = self.mode();
        let needed = payload.len().saturating_add(mode.overhead());
        let message = out.get_mut(..needed).ok_or(SealError::BufferTooSmall { needed })?;
        if let Some(body) = mode.body_mut(message) {
            body.copy_from_slice(payload);
        }
        if let Err(error) = self.seal_in_place(topic, message) {
            // The payload was copied there.
            message.zeroize();
            return Err(error);
        }
        Ok(message)
    }

    /// Seals the payload that stands in the middle of a message: behind [`header_len`](crate::Mode::header_len) bytes
    /// and before [`trailer_len`](crate::Mode::trailer_len) bytes, which are overwritten.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the message is as it was. [`SealError::BufferTooSmall`] when it is shorter than the overhead.
    pub fn seal_in_place(&self, topic: impl AsTopic, message: &mut [u8]) -> Result<(), SealError> {
        let needed = self.mode().overhead();
        if message.len() < needed {
            return Err(SealError::BufferTooSmall { needed });
        }
        let topic = topic.as_topic()?;
        if topic.hash() == self.state.identity.control() {
            return Err(SealError::ControlTopic);
        }
        // Hashed only where it is as long as report topics are and ends as they do.
        let before = topic.as_str().strip_suffix(REPORT_SUFFIX).filter(|before| before.len() == ControlTopic::LEN);
        if before.is_some_and(|before| TopicHash::of(before) == *self.state.identity.control()) {
            return Err(SealError::ReportTopic);
        }
        let sent = self.time.now().ok_or(SealError::TimeUnknown)?;
        self.with_current_key(&topic, |key| match self.state.identity.keys() {
            IdentityKeys::Symmetric(_) => message::seal(key, sent, message),
            IdentityKeys::PublicKey { signing, .. } => message::seal_signed(key, sent, self.id(), signing, message),
        })
        .ok_or(SealError::NoTopicKey)?
        .map_err(|TooShort| SealError::BufferTooSmall { needed })
    }

    /// Derives the key of a topic that a subtree's key serves, and keeps it until the next command, so that sealing and
    /// opening need no derivation. Opening a message does so by itself; this is for a client that only publishes.
    ///
    /// A topic that has a key of its own needs nothing, and a [`FixedKeyRing`](crate::FixedKeyRing) keeps nothing.
    ///
    /// # Errors
    ///
    /// [`SealError::Name`], [`SealError::NoTopicKey`]
    pub fn prepare(&mut self, topic: impl AsTopic) -> Result<(), SealError> {
        let topic = topic.as_topic()?;
        let (entry, place) = self.find_entry(&topic).ok_or(SealError::NoTopicKey)?;
        if matches!(place, Place::Below(_)) {
            let key = Self::with_key(&entry.key, place, TopicKey::clone);
            self.derived.insert(*topic.hash(), key);
        }
        Ok(())
    }

    /// Calls `with` with the current key of a topic, if there is one.
    fn with_current_key<T>(&self, topic: &Topic<'_>, with: impl FnOnce(&[u8; 32]) -> T) -> Option<T> {
        if let Some(entry) = self.state.topics.get(topic.hash()) {
            return Some(with(entry.key.as_bytes()));
        }
        if let Some(key) = self.derived.get(topic.hash()) {
            return Some(with(key.as_bytes()));
        }
        let (entry, place) = self.find_subtree(topic)?;
        Some(Self::with_key(&entry.key, place, |key| with(key.as_bytes())))
    }
}

/// Why a payload was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The topic is not the name of a topic.
    Name(NameError),
    /// The topic is the client's own control topic: what is sealed there would pass for a command.
    ControlTopic,
    /// The topic is the client's own report topic: what is sealed there would take the place of its report.
    ReportTopic,
    /// The buffer is shorter than the sealed message.
    BufferTooSmall {
        /// Bytes that suffice.
        needed: usize,
    },
    /// The client has no key for the topic, nor for a subtree around it.
    NoTopicKey,
    /// The device has no clock, and no command has told it the time yet.
    TimeUnknown,
}

impl From<NameError> for SealError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::ControlTopic => {
                f.write_str("this is the client's own control topic, which takes commands only: choose another topic")
            }
            Self::ReportTopic => f.write_str(
                "this is the client's own report topic, where its key server reads what it holds: choose another topic",
            ),
            Self::BufferTooSmall { needed } => {
                write!(f, "the buffer is too small: the sealed message takes {needed} bytes")
            }
            Self::NoTopicKey => f.write_str(
                "the client has no key for this topic: have the key server send it, or a subtree's around it",
            ),
            Self::TimeUnknown => f.write_str(
                "the device does not know the time yet: give it a clock, or wait for a command of the key server",
            ),
        }
    }
}

impl core::error::Error for SealError {}
