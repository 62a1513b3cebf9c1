//! The keys of the protocol, each a type of its own (protocol page, section 1).
//!
//! | type | who holds it | what it does |
//! |---|---|---|
//! | [`TopicKey`] | everyone on a topic | seals and opens the topic's messages |
//! | [`SubtreeKey`] | everyone below a filter such as `plant/7/#` | gives the topic keys below the filter |
//! | [`RootKey`] | the key server | gives every subtree key and topic key of a namespace |
//! | [`ClientKey`] | one symmetric client and the key server | seals the commands for this client |
//! | [`SigningKey`] | one public-key client | signs its messages, agrees on the control key |
//! | [`VerifyingKey`] | everyone | checks what its client signed |
//! | [`C2SecretKey`] | the key server | agrees on the control key with a public-key client |
//! | [`C2PublicKey`] | every public-key client | the public half of it |
//! | [`ControlKey`] | one public-key client and the key server | seals the commands for this client |
//! | `ReportKey` | one client and the key server | seals what the client reports; made from the key of its commands |
//! | [`StorageKey`] | one device | seals the state file of the device |
//!
//! Secrets are wiped when they are dropped, are compared in constant time, and print as `TopicKey(..)`.

mod ed25519;
mod fingerprint;
mod report;
mod secret;
mod x25519;

pub(crate) use ed25519::SIGNATURE_LEN;
pub use ed25519::{SigningKey, VerifyingKey};
pub use fingerprint::KeyFingerprint;
pub(crate) use report::ReportKey;
pub use secret::{ClientKey, RootKey, StorageKey, SubtreeKey, TopicKey};
pub use x25519::{C2PublicKey, C2SecretKey, ControlKey};

use core::fmt;

/// Why bytes were refused as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// All bytes are zero: memory that was never written, or a failed random generator.
    AllZero,
    /// The Ed25519 public key is not the canonical encoding of a point of the curve.
    NotAPoint,
    /// The public key has a small order, so that it would accept signatures or agree on secrets that anyone can make.
    SmallOrder,
    /// The public half of an Ed25519 key pair does not belong to its seed.
    MismatchedPair,
    /// The operating system has no random bytes to make a key of.
    NoRandomness,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllZero => "the key is all zero: use 32 random bytes",
            Self::NotAPoint => "the public key is not a point of the curve: check that it was copied whole",
            Self::SmallOrder => "the public key has a small order and protects nothing: ask its owner for another one",
            Self::NoRandomness => "the operating system has no random bytes to make a key of: try again later",
            Self::MismatchedPair => {
                "the public half of the key pair does not belong to its seed: make the pair anew from the seed"
            }
        })
    }
}

impl core::error::Error for KeyError {}
