//! The chain of the audit, and its signed checkpoints.
//!
//! Two chains run over the entries. The one of MACs is keyed: who can write to the database and has no key can neither change
//! an entry nor add one. The one of digests needs no key: a checkpoint signs where it stands, so that an export can be checked
//! anywhere with the public key.

use super::hierarchy::{Secret, extract};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha3::{Digest, Sha3_256};

const ENTRY: &[u8] = b"e4 key server audit entry v1";
const CHECKPOINT: &[u8] = b"e4 key server audit checkpoint v1";

/// What an entry says: the columns of the table `audit`, without the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Who, or which rule.
    pub actor: &'a str,
    /// From where.
    pub origin: &'a str,
    /// What.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// Before and after, without secrets.
    pub detail: &'a str,
}

impl Entry<'_> {
    /// Each field after its length: no two entries are written alike.
    fn write(&self, mut put: impl FnMut(&[u8])) {
        put(ENTRY);
        put(&self.id.to_be_bytes());
        put(&self.at.to_be_bytes());
        for field in [self.actor, self.origin, self.action, self.subject, self.detail] {
            put(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            put(field.as_bytes());
        }
    }
}

/// What the MAC of an entry takes in before the first one, and a digest before the first checkpoint.
pub const CHAIN_BEGINS: [u8; 32] = [0; 32];

/// `HMAC-SHA3-256(key, previous MAC | entry)`, which is what HKDF-Extract computes.
pub(super) fn mac(key: &Secret, previous: &[u8; 32], entry: &Entry<'_>) -> [u8; 32] {
    let mut written = previous.to_vec();
    entry.write(|bytes| written.extend_from_slice(bytes));
    *extract(key.as_bytes(), &[&written]).as_bytes()
}

/// Where the chain of digests stands after an entry: `SHA3-256(previous digest | entry | its MAC)`.
#[must_use]
pub fn digest(previous: &[u8; 32], entry: &Entry<'_>, mac: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha3_256::new();
    hash.update(previous);
    entry.write(|bytes| hash.update(bytes));
    hash.update(mac);
    hash.finalize().into()
}

/// Where the chain of digests stood after an entry, which is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the last entry that it covers.
    pub audit: i64,
    /// When it was signed.
    pub at: i64,
    /// Where the chain of digests stood.
    pub digest: [u8; 32],
}

impl Checkpoint {
    fn signed_bytes(&self) -> Vec<u8> {
        [CHECKPOINT, &self.audit.to_be_bytes(), &self.at.to_be_bytes(), &self.digest].concat()
    }

    pub(super) fn sign(&self, key: &SigningKey) -> [u8; 64] {
        key.sign(&self.signed_bytes()).to_bytes()
    }

    /// Whether a signature on it is that of a public key.
    #[must_use]
    pub fn is_signed_by(&self, public_key: &[u8; 32], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(public_key), Signature::from_slice(signature)) else {
            return false;
        };
        key.verify_strict(&self.signed_bytes(), &signature).is_ok()
    }
}
