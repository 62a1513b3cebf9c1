use super::KeyError;
use crate::stack;
use core::fmt;
use ed25519_dalek::Signer;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Bytes of a signature.
pub(crate) const SIGNATURE_LEN: usize = 64;

/// The Ed25519 key pair of a public-key client (RFC 8032).
///
/// It signs messages, and agrees on the control key with the key server. Wiped on drop, compared in constant time,
/// never printed.
#[derive(Clone)]
pub struct SigningKey(Settled);

/// In one place on the heap, as other secrets that live long.
#[cfg(feature = "alloc")]
type Settled = alloc::boxed::Box<ed25519_dalek::SigningKey>;
#[cfg(not(feature = "alloc"))]
type Settled = ed25519_dalek::SigningKey;

impl SigningKey {
    /// The key pair of a 32-byte seed. The caller wipes its own copy.
    ///
    /// # Errors
    ///
    /// [`KeyError::AllZero`].
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        if bool::from(seed.ct_eq(&[0; 32])) {
            return Err(KeyError::AllZero);
        }
        let key = Self::expand(seed);
        stack::wipe::<{ stack::DEEP }>();
        Ok(key)
    }

    #[inline(never)]
    #[cfg_attr(not(feature = "alloc"), expect(clippy::useless_conversion, reason = "there is nothing to box with"))]
    fn expand(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed).into())
    }

    /// The key pair of a seed, with the public half that came along (as in a `SetIdKey` command).
    ///
    /// # Errors
    ///
    /// [`KeyError::AllZero`], or [`KeyError::MismatchedPair`] when the public half belongs to another seed.
    pub fn from_seed_and_public(seed: &[u8; 32], public: &[u8; 32]) -> Result<Self, KeyError> {
        let key = Self::from_seed(seed)?;
        if key.0.verifying_key().as_bytes() == public { Ok(key) } else { Err(KeyError::MismatchedPair) }
    }

    /// Draws a key pair from a random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::AllZero`], which means that the generator is broken.
    pub fn generate_with_rng(rng: &mut (impl CryptoRng + ?Sized)) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(&seed)
    }

    /// Draws a key pair from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] when there is none, [`KeyError::AllZero`] when it is broken.
    #[cfg(feature = "getrandom")]
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|_| KeyError::NoRandomness)?;
        Self::from_seed(&seed)
    }

    /// The 32-byte seed, the secret half.
    #[must_use]
    pub fn as_seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half, to be given to everyone who verifies this client's messages.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let signature = self.make_signature(message);
        // Making it expands the seed.
        stack::wipe::<{ 1 << 13 }>();
        signature
    }

    #[inline(never)]
    fn make_signature(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message).to_bytes()
    }

    /// The X25519 secret that the key pair maps to: the clamped first half of SHA-512 of the seed.
    pub(super) fn to_x25519(&self) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new(self.0.to_scalar_bytes());
        let [first, .., last] = &mut *secret;
        *first &= 0b1111_1000;
        *last = (*last & 0b0111_1111) | 0b0100_0000;
        secret
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_seed().ct_eq(other.as_seed()).into()
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl ZeroizeOnDrop for SigningKey {}

/// The Ed25519 public key of a client: 32 bytes, a point of the curve, not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads the 32-byte encoding of RFC 8032.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAPoint`] for anything but the canonical encoding of a point, [`KeyError::SmallOrder`] for the
    /// eight points under which a fixed signature verifies for every message.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotAPoint);
        }
        Ok(Self(key))
    }

    /// The 32-byte encoding of RFC 8032.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Verifies strictly: no small-order points, no non-canonical scalars.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }

    /// The X25519 public key that the key maps to (RFC 7748, the birational map).
    pub(super) fn to_x25519(self) -> [u8; 32] {
        self.0.to_montgomery().to_bytes()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", crate::names::Hex(self.as_bytes()))
    }
}
