//! Who a client is, and the keys that it has for itself (protocol page, sections 1 and 4).

use crate::{
    keys::{C2PublicKey, ClientKey, ControlKey, KeyError, SigningKey, TopicKey},
    message::Mode,
    names::{ClientId, TopicHash},
};
use sha3::{Digest, Sha3_256};
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

/// Who a client is: its id and its keys.
///
/// ```
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use e4::{ClientId, ClientKey, Identity};
///
/// let identity = Identity::symmetric(ClientId::from_name("pump-7")?, ClientKey::generate()?);
/// # assert_eq!(identity.id(), &ClientId::from_name("pump-7")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    id: ClientId,
    control: TopicHash,
    keys: IdentityKeys,
}

#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "alloc"), expect(clippy::large_enum_variant, reason = "there is no allocator to box with"))]
pub(crate) enum IdentityKeys {
    Symmetric(ClientKey),
    PublicKey { signing: SigningKey, c2: C2PublicKey, control: ControlKey },
}

impl Identity {
    /// A client that shares a symmetric key with its key server.
    #[must_use]
    pub fn symmetric(id: ClientId, key: ClientKey) -> Self {
        Self::new(id, IdentityKeys::Symmetric(key))
    }

    /// A client that signs its messages, and knows the public key of its key server.
    ///
    /// # Errors
    ///
    /// [`KeyError::SmallOrder`] when the two keys agree on all zeros.
    pub fn public_key(id: ClientId, signing: SigningKey, c2: C2PublicKey) -> Result<Self, KeyError> {
        Ok(Self::new(id, IdentityKeys::public_key(signing, c2)?))
    }

    fn new(id: ClientId, keys: IdentityKeys) -> Self {
        Self { id, control: id.control_topic().hash(), keys }
    }

    /// The client's id.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// Which kind of client this is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.keys {
            IdentityKeys::Symmetric(_) => Mode::Symmetric,
            IdentityKeys::PublicKey { .. } => Mode::PublicKey,
        }
    }

    /// What tells one enrolment from another.
    pub(crate) fn enrolment(&self) -> Enrolment {
        match &self.keys {
            IdentityKeys::Symmetric(key) => Enrolment::new(key.as_bytes(), None),
            IdentityKeys::PublicKey { signing, c2, .. } => {
                Enrolment::new(signing.verifying_key().as_bytes(), Some(c2.as_bytes()))
            }
        }
    }

    /// The hash of the control topic.
    pub(crate) fn control(&self) -> &TopicHash {
        &self.control
    }

    pub(crate) fn keys(&self) -> &IdentityKeys {
        &self.keys
    }

    pub(super) fn set_keys(&mut self, keys: IdentityKeys) {
        self.keys = keys;
    }

    /// What hash maps are seeded with: a number that no sender knows.
    #[inline(never)]
    pub(crate) fn hash_seed(&self) -> u64 {
        let digest: [u8; 32] =
            Sha3_256::new().chain_update(b"e4 replay memory").chain_update(self.command_key()).finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Whether a topic key is one of the client's own: see [`IdentityKeys::include`].
    pub(crate) fn shares(&self, key: &TopicKey) -> bool {
        self.keys.include(key)
    }

    /// The key that commands come under.
    pub(crate) fn command_key(&self) -> &[u8; 32] {
        match &self.keys {
            IdentityKeys::Symmetric(key) => key.as_bytes(),
            IdentityKeys::PublicKey { control, .. } => control.as_bytes(),
        }
    }
}

impl IdentityKeys {
    pub(super) fn public_key(signing: SigningKey, c2: C2PublicKey) -> Result<Self, KeyError> {
        let control = ControlKey::of_client(&signing, &c2)?;
        Ok(Self::PublicKey { signing, c2, control })
    }

    /// The key server's public key.
    pub(crate) fn c2_key(&self) -> Option<&C2PublicKey> {
        match self {
            Self::Symmetric(_) => None,
            Self::PublicKey { c2, .. } => Some(c2),
        }
    }

    /// Whether a topic key is one of these, public ones included. Whoever is a member of the topic would know how commands
    /// are sealed or what the client signs with, or whoever knows a public key would be a member of the topic.
    pub(super) fn include(&self, key: &TopicKey) -> bool {
        let key = key.as_bytes();
        match self {
            Self::Symmetric(own) => own.as_bytes().ct_eq(key).into(),
            Self::PublicKey { signing, c2, control } => {
                let is_secret = control.as_bytes().ct_eq(key) | signing.as_seed().ct_eq(key);
                bool::from(is_secret) || c2.as_bytes() == key || signing.verifying_key().as_bytes() == key
            }
        }
    }
}

// All that is secret in it is wiped by its own type.
impl ZeroizeOnDrop for Identity {}

/// A mark of the keys that a client was enrolled with. Commands change the keys and not this, so that a program that is
/// started with other keys than the client was enrolled with can be told so.
///
/// Four bytes for each key: they tell a mistake, and help nobody to guess a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enrolment([u8; Self::LEN]);

impl Enrolment {
    pub(crate) const LEN: usize = 8;
    /// Of a state that was saved before there were marks.
    pub(crate) const UNKNOWN: Self = Self([0; Self::LEN]);

    fn new(client_key: &[u8; 32], c2: Option<&[u8; 32]>) -> Self {
        let [a, b, c, d] = Self::mark(client_key);
        let [e, f, g, h] = c2.map_or([0; 4], Self::mark);
        Self([a, b, c, d, e, f, g, h])
    }

    /// `SHA3-256("e4 enrolment v1" | key)[0..4]`, the key of a pair being the public one.
    fn mark(key: &[u8; 32]) -> [u8; 4] {
        let digest: [u8; 32] = Sha3_256::new().chain_update(b"e4 enrolment v1").chain_update(key).finalize().into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether the client key is the same, and whether the key server's is.
    pub(crate) fn compare(&self, other: &Self) -> (bool, bool) {
        let ([a @ .., _, _, _, _], [b @ .., _, _, _, _]) = (&self.0, &other.0);
        let ([_, _, _, _, c @ ..], [_, _, _, _, d @ ..]) = (&self.0, &other.0);
        (a == b, c == d)
    }
}
