use super::{
    KeyError, KeyFingerprint, SigningKey, VerifyingKey,
    secret::{Settled, secret_bytes, secret_key},
};
use core::fmt;
use rand_core::CryptoRng;
use sha3::{Digest, Sha3_256};
use subtle::ConstantTimeEq;
use x25519_dalek::x25519;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

secret_key! {
    /// The X25519 secret of a key server that manages public-key clients (RFC 7748).
    C2SecretKey(Settled)
}

impl C2SecretKey {
    /// The public half, which every public-key client is given.
    #[must_use]
    pub fn public_key(&self) -> C2PublicKey {
        C2PublicKey(x25519(*self.as_bytes(), x25519_dalek::X25519_BASEPOINT_BYTES))
    }
}

/// The X25519 public key of a key server: 32 bytes, not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct C2PublicKey([u8; 32]);

impl C2PublicKey {
    /// Reads the 32-byte encoding of RFC 7748.
    ///
    /// # Errors
    ///
    /// [`KeyError::SmallOrder`] when every secret would agree with it on all zeros.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        // A clamped secret is a multiple of eight: it takes exactly the points of small order to zero.
        if x25519([1; 32], *bytes) == [0; 32] {
            return Err(KeyError::SmallOrder);
        }
        Ok(Self(*bytes))
    }

    /// The 32-byte encoding of RFC 7748.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for C2PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C2PublicKey({})", crate::names::Hex(&self.0))
    }
}

secret_bytes! {
    /// The key under which the commands for one public-key client are sealed, and from which the key of its reports comes.
    /// Both ends compute it. A key server that stores it, as secretly as any other key, need not agree on it again.
    ControlKey(Settled)
}

impl ControlKey {
    /// The client's side.
    pub(crate) fn of_client(key: &SigningKey, c2: &C2PublicKey) -> Result<Self, KeyError> {
        Self::agree(&key.to_x25519(), c2.as_bytes())
    }

    /// The key server's side.
    ///
    /// # Errors
    ///
    /// [`KeyError::SmallOrder`] when the two keys agree on all zeros.
    pub fn of_c2(secret: &C2SecretKey, client: &VerifyingKey) -> Result<Self, KeyError> {
        Self::agree(secret.as_bytes(), &client.to_x25519())
    }

    /// `SHA3-256(X25519(a, B))` (protocol page, section 4).
    fn agree(secret: &[u8; 32], public: &[u8; 32]) -> Result<Self, KeyError> {
        let shared = Zeroizing::new(x25519(*secret, *public));
        if bool::from(shared.ct_eq(&[0; 32])) {
            return Err(KeyError::SmallOrder);
        }
        let mut key = Self(Settled::default());
        let bytes: &mut [u8; 32] = &mut key.0;
        Sha3_256::new().chain_update(*shared).finalize_into(bytes.into());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agreement_on_all_zeros_is_refused() {
        // Unreachable through the public types: they refuse points of small order when they are made.
        assert_eq!(ControlKey::agree(&[9; 32], &[0; 32]).unwrap_err(), KeyError::SmallOrder);
    }
}
