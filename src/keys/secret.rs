use super::{KeyError, KeyFingerprint};
use core::fmt;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Where the bytes of a secret are that lives long: in one place on the heap, so that a value that is moved leaves no copy
/// behind. Without an allocator they are in the value itself.
#[cfg(feature = "alloc")]
pub(crate) type Settled = alloc::boxed::Box<[u8; 32]>;
#[cfg(not(feature = "alloc"))]
pub(crate) type Settled = [u8; 32];

/// Defines a secret of 32 bytes, and where its bytes are.
macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident($place:ty)) => {
        $(#[$doc])*
        ///
        /// 32 bytes, never all zero. Wiped on drop, compared in constant time, never printed.
        #[derive(Clone)]
        pub struct $name($place);

        impl $name {
            /// Takes over 32 uniformly random bytes. The caller wipes its own copy.
            ///
            /// # Errors
            ///
            /// [`KeyError::AllZero`].
            pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
                let mut key = Self(<$place>::default());
                key.0.copy_from_slice(bytes);
                key.or_all_zero()
            }

            fn or_all_zero(self) -> Result<Self, KeyError> {
                if bool::from(self.0.as_slice().ct_eq(&[0; 32])) { Err(KeyError::AllZero) } else { Ok(self) }
            }

            /// The 32 bytes of the secret.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_slice().ct_eq(other.0.as_slice()).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.as_mut_slice().zeroize();
            }
        }

        impl ZeroizeOnDrop for $name {}
    };
}
pub(crate) use secret_bytes;

/// Defines a secret of 32 bytes that is drawn at random.
macro_rules! secret_key {
    ($(#[$doc:meta])* $name:ident($place:ty)) => {
        secret_bytes! { $(#[$doc])* $name($place) }

        impl $name {
            /// Draws a key from a random generator.
            ///
            /// # Errors
            ///
            /// [`KeyError::AllZero`], which means that the generator is broken.
            pub fn generate_with_rng(rng: &mut (impl CryptoRng + ?Sized)) -> Result<Self, KeyError> {
                let mut key = Self(<$place>::default());
                rng.fill_bytes(key.0.as_mut_slice());
                key.or_all_zero()
            }

            /// Draws a key from the operating system's random generator.
            ///
            /// # Errors
            ///
            /// [`KeyError::NoRandomness`] when there is none, [`KeyError::AllZero`] when it is broken.
            #[cfg(feature = "getrandom")]
            pub fn generate() -> Result<Self, KeyError> {
                let mut key = Self(<$place>::default());
                getrandom::fill(key.0.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
                key.or_all_zero()
            }

            /// What two people compare to see that they hold the same key.
            #[must_use]
            pub fn fingerprint(&self) -> KeyFingerprint {
                KeyFingerprint::of(&self.0)
            }
        }
    };
}
pub(crate) use secret_key;

secret_key! {
    /// The key that seals and opens the messages of one topic.
    TopicKey([u8; 32])
}
secret_key! {
    /// The key of a subtree such as `plant/7/#`, from which the key of every topic that the filter covers is derived.
    SubtreeKey([u8; 32])
}
secret_key! {
    /// The secret that a whole namespace of topic keys is derived from. It belongs to the key server alone.
    RootKey(Settled)
}
/// Defines how a secret is computed from others: in place, so that no copy of it stays behind.
macro_rules! derived {
    ($($name:ident)*) => {
        $(impl $name {
            pub(crate) fn derive(fill: impl FnOnce(&mut [u8; 32])) -> Self {
                let mut key = Self([0; 32]);
                fill(&mut key.0);
                key
            }
        })*
    };
}

derived! { TopicKey SubtreeKey }

impl TopicKey {
    /// For a container that reuses the place where the key stood.
    pub(crate) fn wipe(&mut self) {
        self.0.zeroize();
    }
}

secret_key! {
    /// The key that a symmetric client shares with its key server, and under which its commands are sealed.
    ClientKey(Settled)
}
secret_key! {
    /// The key that the file of a client's state is sealed with.
    StorageKey(Settled)
}
