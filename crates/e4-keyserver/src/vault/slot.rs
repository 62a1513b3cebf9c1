//! Slots: the root key, wrapped once for each way to open the vault.

use super::{
    RootFingerprint, VaultError,
    hedge::Chance,
    hierarchy::{Root, Secret, wrapping_key},
};
use aes_siv::{KeyInit, siv::Aes256Siv};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// How a slot is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SlotKind {
    /// A passphrase, by Argon2id.
    Passphrase,
    /// A file of 32 random bytes, or a credential of systemd.
    KeyFile,
    /// An environment variable with 32 random bytes.
    Environment,
}

impl SlotKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passphrase, Self::KeyFile, Self::Environment];

    /// As it is stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
            Self::Environment => "environment",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// The root key in one wrapping, as the table `slots` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// How it is opened.
    pub kind: SlotKind,
    /// JSON: for a passphrase how much work it takes, and the salt.
    pub parameters: String,
    /// The root key, wrapped.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created: i64,
}

/// What opens a slot of its kind. Wiped on drop, never printed.
pub enum Unlock {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// What is in the key file.
    KeyFile(Zeroizing<[u8; 32]>),
    /// What is in the environment variable.
    Environment(Zeroizing<[u8; 32]>),
}

impl Unlock {
    /// Which kind of slot it opens.
    #[must_use]
    pub const fn kind(&self) -> SlotKind {
        match self {
            Self::Passphrase(_) => SlotKind::Passphrase,
            Self::KeyFile(_) => SlotKind::KeyFile,
            Self::Environment(_) => SlotKind::Environment,
        }
    }
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unlock({}, ..)", self.kind().word())
    }
}

/// How much work one try of a passphrase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Memory, in KiB.
    pub memory: u32,
    /// How often it is gone over.
    pub passes: u32,
}

impl Work {
    /// The second recommendation of RFC 9106 in memory, done by one thread.
    pub const DEFAULT: Self = Self { memory: 64 * 1024, passes: 3 };
    /// Less is not made and not accepted.
    pub const LEAST: Self = Self { memory: 19 * 1024, passes: 2 };
    /// More is not accepted: whoever can write to the database could stop the server with it.
    const MOST: Self = Self { memory: 1024 * 1024, passes: 16 };

    const fn is_sane(self) -> bool {
        Self::LEAST.memory <= self.memory
            && self.memory <= Self::MOST.memory
            && Self::LEAST.passes <= self.passes
            && self.passes <= Self::MOST.passes
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PassphraseParameters {
    algorithm: String,
    memory: u32,
    passes: u32,
    salt: String,
}

const ARGON2ID: &str = "argon2id";

impl Slot {
    pub(super) fn wrap(
        root: &Root,
        name: &str,
        unlock: &Unlock,
        work: Work,
        created: i64,
        chance: &dyn Chance,
    ) -> Result<Self, VaultError> {
        let bad = |reason: String| VaultError::BadSlot { slot: name.to_owned(), reason };
        let parameters = match unlock {
            Unlock::Passphrase(passphrase) => {
                if passphrase.chars().count() < 12 {
                    return Err(bad("a passphrase has at least 12 characters".to_owned()));
                }
                if !work.is_sane() {
                    return Err(bad("the work for a passphrase is out of bounds".to_owned()));
                }
                let mut salt = [0; 16];
                chance.fill(&mut salt)?;
                serde_json::to_string(&PassphraseParameters {
                    algorithm: ARGON2ID.to_owned(),
                    memory: work.memory,
                    passes: work.passes,
                    salt: hex::encode(salt),
                })
                .map_err(|error| bad(error.to_string()))?
            }
            Unlock::KeyFile(_) | Unlock::Environment(_) => "{}".to_owned(),
        };
        let mut slot = Self { name: name.to_owned(), kind: unlock.kind(), parameters, wrapped: Vec::new(), created };
        let mut siv = slot.cipher(unlock)?;
        slot.wrapped = siv
            .encrypt(slot.associated(&root.fingerprint()), root.secret().as_bytes())
            .map_err(|_| bad("it could not be sealed".to_owned()))?;
        Ok(slot)
    }

    /// The root key in it, which is the one that the database names.
    pub(super) fn unwrap(&self, unlock: &Unlock, expected: &RootFingerprint) -> Result<Root, VaultError> {
        let wrong = || VaultError::WrongKey { slot: self.name.clone() };
        if unlock.kind() != self.kind {
            return Err(wrong());
        }
        let mut siv = self.cipher(unlock)?;
        let opened = siv.decrypt(self.associated(expected), &self.wrapped).map(Zeroizing::new).map_err(|_| wrong())?;
        let root = Root::new(Secret::from_slice(&opened).ok_or_else(wrong)?);
        let found = root.fingerprint();
        if found != *expected {
            return Err(VaultError::OtherRoot { expected: expected.to_string(), found: found.to_string() });
        }
        Ok(root)
    }

    fn associated<'a>(&'a self, root: &'a RootFingerprint) -> [&'a [u8]; 4] {
        [self.name.as_bytes(), self.kind.word().as_bytes(), self.parameters.as_bytes(), root.as_bytes()]
    }

    fn cipher(&self, unlock: &Unlock) -> Result<Aes256Siv, VaultError> {
        let key = match unlock {
            Unlock::Passphrase(passphrase) => {
                let stretched = self.stretch(passphrase)?;
                wrapping_key(&*stretched, self.kind.word())
            }
            Unlock::KeyFile(key) | Unlock::Environment(key) => wrapping_key(&**key, self.kind.word()),
        };
        Ok(Aes256Siv::new((&*key).into()))
    }

    fn stretch(&self, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let bad = |reason: &str| VaultError::BadSlot { slot: self.name.clone(), reason: reason.to_owned() };
        let parameters: PassphraseParameters =
            serde_json::from_str(&self.parameters).map_err(|_| bad("its parameters are not those of a passphrase"))?;
        let work = Work { memory: parameters.memory, passes: parameters.passes };
        if parameters.algorithm != ARGON2ID || !work.is_sane() {
            return Err(bad("its parameters ask for another algorithm, or for too little or too much work"));
        }
        let salt = hex::decode(&parameters.salt)
            .ok()
            .filter(|salt| salt.len() == 16)
            .ok_or_else(|| bad("its salt is not 16 bytes"))?;
        let params =
            Params::new(work.memory, work.passes, 1, Some(32)).map_err(|_| bad("its parameters do not fit"))?;
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut stretched = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), &salt, &mut *stretched, memory.as_mut_slice())
            .map_err(|_| bad("its passphrase could not be worked on: memory may be short"))?;
        Ok(stretched)
    }
}
