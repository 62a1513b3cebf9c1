//! Why something was not opened.

use crate::{
    command::CommandError,
    key_ring::Full,
    message::TooShort,
    names::{ClientId, NameError},
    store::StoreError,
    time::Timestamp,
};
use core::fmt;

/// Why what arrived was not opened: the caller's mistake, the sender's, or a local resource. Nothing has changed but what the
/// client [reports](crate::Client::report) as refused.
///
/// # Acknowledging
///
/// A transport acknowledges what met a [final](Self::is_final) error, or it would be delivered again for ever. After any
/// other error it disconnects without acknowledging, has the disk mended, and connects again before it opens anything else: a command that it left out would be too old once a later one is accepted. The one exception is a
/// command that makes room: see [`Client::may_overtake`](crate::Client::may_overtake).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The topic is not the name of a topic.
    Name(NameError),
    /// The buffer is shorter than the payload.
    BufferTooSmall {
        /// Bytes that suffice.
        needed: usize,
    },
    /// What arrived is not acceptable. Drop it and go on.
    Refused(Refusal),
    /// A command is authentic, and the key ring has no room for what it brings. The key server makes room first, and
    /// sends it again with a later time.
    Full(Full),
    /// A command is authentic, and its result could not be stored.
    Store(StoreError),
}

/// Why something that arrived is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is shorter than the overhead of a protected message.
    TooShort,
    /// It was sent too long ago.
    TooOld {
        /// Seconds since it was sent.
        age: u64,
        /// Seconds that are allowed.
        max_age: u64,
    },
    /// The message was sent in the future.
    FromTheFuture {
        /// Seconds from now.
        ahead: u64,
    },
    /// The client has no key for the topic, nor for a subtree around it.
    NoTopicKey,
    /// It was changed, or was never sealed under a key that the client has for this.
    NotAuthentic,
    /// The client does not have the public key of the signer.
    UnknownSigner(ClientId),
    /// The signature is not the signer's.
    BadSignature(ClientId),
    /// An equal message or command was accepted before.
    Repeated,
    /// The message was sent before the time that the memory of opened messages covers: it may have been opened before.
    BeyondReplayMemory,
    /// The command is older than one that was accepted before.
    Superseded {
        /// When the newest accepted command was sent.
        newest: Timestamp,
    },
    /// The command is authentic and cannot be carried out.
    Command(CommandError),
}

impl OpenError {
    /// Whether the same bytes would meet the same error if they were delivered again. Not so for [`Store`](Self::Store),
    /// which is the fault of this device and loses a command if it is acknowledged. A store without room for so long a state ([`StoreError::TooLong`]) has none the next time either:
    /// that is final, as [`Full`](Self::Full) is.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::TooLong(_)),
            _ => true,
        }
    }
}

impl From<NameError> for OpenError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TooShort> for OpenError {
    fn from(_: TooShort) -> Self {
        Self::Refused(Refusal::TooShort)
    }
}

impl From<TooShort> for Refusal {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::BufferTooSmall { needed } => write!(f, "the buffer is too small: the payload takes {needed} bytes"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Full(full) => write!(f, "the command cannot be applied: {full}"),
            Self::Store(error) => write!(f, "the command was not applied, because it could not be stored: {error}"),
        }
    }
}

impl core::error::Error for OpenError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("too short to be protected: the sender does not use E4, or not in this mode"),
            Self::TooOld { age, .. } if *age > TEN_YEARS => f.write_str(
                "not E4, or sealed by a device whose clock was never set: it bears a time of more than ten years ago; if the sender uses E4, check its clock and this client's",
            ),
            Self::FromTheFuture { ahead } if *ahead > NO_TIME => {
                f.write_str("not E4: it does not begin with a time, as text and other formats do not; check what the sender publishes")
            }
            Self::FromTheFuture { ahead } if *ahead > TEN_YEARS => f.write_str(
                "sent more than ten years in the future: set this client's clock; if it is right, the sender does not use E4",
            ),
            Self::TooOld { age, max_age } => write!(
                f,
                "sent {age} s ago, more than the {max_age} s that are allowed: check both clocks, or allow a larger age on this topic"
            ),
            Self::FromTheFuture { ahead } => {
                write!(f, "sent {ahead} s in the future: check the clocks of the sender and of this client")
            }
            Self::NoTopicKey => {
                f.write_str("no key for this topic: have the key server send it, or that of a subtree around it")
            }
            Self::NotAuthentic => f.write_str(
                "not authentic: it was changed on the way, sealed under a key that this client does not have, or by a client of the other mode",
            ),
            Self::UnknownSigner(signer) => {
                write!(f, "signed by client {signer}, whose public key this client does not have: have the key server send it")
            }
            Self::BadSignature(signer) => write!(
                f,
                "the signature does not match the public key of client {signer}: it is forged, or the key server has to send that client's new key"
            ),
            Self::Repeated => f.write_str("accepted before: this is a replay, or a second delivery"),
            Self::BeyondReplayMemory => f.write_str(
                "too late to be told from a replay: the memory of opened messages does not reach back so far",
            ),
            Self::Superseded { newest } => {
                write!(
                    f,
                    "older than the newest accepted command, sent at {newest} (Unix time): one that was carried out and came again, or one that is out of order; only if it was never carried out, have the key server send it again with the present time"
                )
            }
            Self::Command(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

/// Seconds in ten years: either a clock was never set, or the bytes are no timestamp.
const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;

/// Seconds that no clock is behind, were it never set: the bytes are no timestamp. So begin all that is text, and nearly all
/// that is not E4.
const NO_TIME: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Seconds that the first eight bytes of a message say, at the time 1,800,000,000.
    fn said_of(bytes: [u8; 8]) -> std::string::String {
        let (sent, now) = (u64::from_le_bytes(bytes), 1_800_000_000);
        if sent > now {
            Refusal::FromTheFuture { ahead: sent - now }.to_string()
        } else {
            Refusal::TooOld { age: now - sent, max_age: 600 }.to_string()
        }
    }

    #[test]
    fn f46a_what_does_not_begin_with_a_time_is_called_not_e4() {
        let milliseconds = 1_800_000_000_000_u64.to_le_bytes();
        for bytes in [
            *b"{\"t\": 21",
            *b"21.5\xc2\xb0C ",
            *b"ON\nOFF\nO",
            [0xff; 8],
            [0; 8],
            milliseconds,
            (1_u64 << 33).to_le_bytes(),
        ] {
            assert!(said_of(bytes).starts_with("not E4"), "{}", said_of(bytes));
        }
        // A clock that was never set, and clocks that differ.
        for sent in [1_800_000_000_u64 + 61, 1_800_000_000 - 601, 1_800_000_000 + 1_700_000_000] {
            let said = said_of(sent.to_le_bytes());
            assert!(!said.starts_with("not E4") && said.contains("clock"), "{said}");
        }
    }
}
