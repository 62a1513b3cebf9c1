use crate::names::Hex;
use core::fmt;
use sha3::{Digest, Sha3_256};

/// Names this use of the hash and its version.
const LABEL: &[u8] = b"e4 key fingerprint v1";

/// What two people compare to see that they hold the same key: 8 bytes, printed as 16 hexadecimal digits.
///
/// `SHA3-256("e4 key fingerprint v1" | key)[0..8]`, whatever the key is for: a [`SubtreeKey`](crate::SubtreeKey) has the
/// fingerprint of the same bytes as a [`TopicKey`](crate::TopicKey).
///
/// # Security
///
/// It tells nothing about a key of 32 random bytes. Whoever sees the fingerprint of a key made from a password can try
/// passwords against it, as they can against anything sealed under the key. And it is not long enough to tell apart
/// keys that somebody chose so that their fingerprints agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint([u8; 8]);

impl KeyFingerprint {
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        let digest: [u8; 32] = Sha3_256::new().chain_update(LABEL).chain_update(key).finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self([a, b, c, d, e, f, g, h])
    }

    /// The 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use crate::{ClientKey, SubtreeKey, TopicKey};
    use std::string::ToString;

    #[test]
    fn the_fingerprint_of_a_key_never_changes_and_does_not_depend_on_its_use() {
        let bytes: [u8; 32] = core::array::from_fn(|n| u8::try_from(n).unwrap());
        // Computed with Python's hashlib.
        const EXPECTED: &str = "6530c95d74ba079b";
        assert_eq!(TopicKey::from_bytes(&bytes).unwrap().fingerprint().to_string(), EXPECTED);
        assert_eq!(ClientKey::from_bytes(&bytes).unwrap().fingerprint().to_string(), EXPECTED);
        let subtree_key = SubtreeKey::from_bytes(&bytes).unwrap();
        assert_eq!(subtree_key.fingerprint(), subtree_key.to_topic_key().fingerprint());
    }

    #[test]
    fn keys_that_differ_by_one_bit_have_different_fingerprints() {
        let fingerprint = |last: u8| {
            let mut bytes = [7; 32];
            bytes[31] = last;
            TopicKey::from_bytes(&bytes).unwrap().fingerprint()
        };
        assert_ne!(fingerprint(0), fingerprint(1));
    }
}
