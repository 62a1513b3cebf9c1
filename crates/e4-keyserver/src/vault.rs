//! Secrets at rest: the root key and its slots, sealing of each secret to its place, new keys, fingerprints, and what keeps
//! the audit honest. Pure: what it makes is stored by others.

mod audit;
mod error;
mod hedge;
mod hierarchy;
mod place;
mod seal;
mod slot;
#[cfg(test)]
mod tests;

pub use audit::{CHAIN_BEGINS, Checkpoint, Entry, digest};
pub use error::VaultError;
pub use hedge::{Chance, Generator, SystemChance};
pub use hierarchy::{RootFingerprint, read_key};
pub use place::{Column, Place};
pub use slot::{Slot, SlotKind, Unlock, Work};

use ed25519_dalek::SigningKey;
use hedge::Hedge;
use hierarchy::{Lasting, Root, Secret, extract};
use seal::SealingKeys;
use std::fmt;
use zeroize::Zeroizing;

/// What the database says in clear of its vault, and the secrets that the vault keeps for itself: rows of the table `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `root`: the fingerprint of the root key that new secrets are sealed with.
    pub root: RootFingerprint,
    /// `lasting`: sealed.
    pub lasting: Vec<u8>,
    /// `previous_root`: the root key before this one, sealed, as long as some row may still be under it.
    pub previous_root: Option<Vec<u8>>,
    /// `checkpoint_key`: the public key that checkpoints of the audit are verified with.
    pub checkpoint_key: [u8; 32],
}

/// An open vault. Everything secret in it is wiped when it is dropped.
pub struct Vault {
    root: Root,
    sealing: SealingKeys,
    previous: Option<(Root, SealingKeys)>,
    lasting: Lasting,
    fingerprints: Secret,
    audit: Secret,
    backups: Secret,
    checkpoints: Box<SigningKey>,
    hedge: Hedge,
    chance: Box<dyn Chance>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault(root key {}, ..)", self.root_fingerprint())
    }
}

impl Vault {
    /// A new vault, which has no slot yet. `besides` is whatever else is at hand that others do not know, such as the
    /// passphrase: it is mixed in, in case the generator is weak at the birth of a machine.
    ///
    /// # Errors
    ///
    /// [`VaultError::NoRandomness`].
    pub fn create(chance: Box<dyn Chance>, besides: &[u8]) -> Result<Self, VaultError> {
        let root = Root::new(draw_first(&*chance, b"e4 key server first root key v1", besides)?);
        let lasting = Lasting::new(draw_first(&*chance, b"e4 key server first lasting secret v1", besides)?);
        Ok(Self::of(root, None, lasting, chance))
    }

    /// Opens a vault by the slot of this name; without a name by any slot of the kind that opens.
    ///
    /// # Errors
    ///
    /// No such slot, none that opens, or a vault that is not the one of these slots. Nothing was opened then.
    pub fn open(
        slots: &[Slot],
        name: Option<&str>,
        unlock: &Unlock,
        stored: &Stored,
        chance: Box<dyn Chance>,
    ) -> Result<Self, VaultError> {
        let mut failed = None;
        for slot in slots.iter().filter(|it| it.kind == unlock.kind() && name.is_none_or(|name| it.name == name)) {
            match slot.unwrap(unlock, &stored.root) {
                Ok(root) => return Self::with_root(root, stored, chance),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| VaultError::NoSlot {
            wanted: match name {
                Some(name) => format!("`{name}` of kind {}", unlock.kind().word()),
                None => format!("of kind {}", unlock.kind().word()),
            },
        }))
    }

    fn with_root(root: Root, stored: &Stored, chance: Box<dyn Chance>) -> Result<Self, VaultError> {
        let sealing = SealingKeys::of(&root);
        let open = |column, sealed: &[u8]| {
            let place = Place::of_vault(column);
            let opened = sealing
                .open(&place, sealed)
                .unwrap_or_else(|| Err(VaultError::UnknownRoot { place: place.to_string() }))?;
            Secret::from_slice(&opened).ok_or(VaultError::NotAKey)
        };
        let lasting = Lasting::new(open(Column::Lasting, &stored.lasting)?);
        let previous = match &stored.previous_root {
            Some(sealed) => Some(Root::new(open(Column::PreviousRoot, sealed)?)),
            None => None,
        };
        Ok(Self::of(root, previous, lasting, chance))
    }

    fn of(root: Root, previous: Option<Root>, lasting: Lasting, chance: Box<dyn Chance>) -> Self {
        Self {
            sealing: SealingKeys::of(&root),
            root,
            previous: previous.map(|root| {
                let sealing = SealingKeys::of(&root);
                (root, sealing)
            }),
            fingerprints: lasting.key(hierarchy::FINGERPRINTS),
            audit: lasting.key(hierarchy::AUDIT),
            backups: lasting.key(hierarchy::BACKUPS),
            checkpoints: Box::new(SigningKey::from_bytes(lasting.key(hierarchy::CHECKPOINTS).as_bytes())),
            hedge: Hedge::new(lasting.key(hierarchy::HEDGE)),
            lasting,
            chance,
        }
    }

    /// What the database is to hold of this vault, beside its slots.
    ///
    /// # Errors
    ///
    /// None that is known: sealing of so little does not fail.
    pub fn stored(&self) -> Result<Stored, VaultError> {
        let seal = |column, secret: &Secret| self.sealing.seal(&Place::of_vault(column), secret.as_bytes());
        Ok(Stored {
            root: self.root_fingerprint(),
            lasting: seal(Column::Lasting, self.lasting.secret())?,
            previous_root: self
                .previous
                .as_ref()
                .map(|(root, _)| seal(Column::PreviousRoot, root.secret()))
                .transpose()?,
            checkpoint_key: self.checkpoint_key(),
        })
    }

    /// The vault under a new root key, with what was sealed under the one before still to be opened. Its slots are to be made
    /// anew, and the rows to be sealed anew, before [`Vault::forget_previous`].
    ///
    /// # Errors
    ///
    /// [`VaultError::NoRandomness`].
    pub fn with_new_root(self) -> Result<Self, VaultError> {
        let secret = self.hedge.draw(&*self.chance)?;
        let root = Root::new(Secret::filled(|place| place.copy_from_slice(&*secret)));
        Ok(Self::of(root, Some(self.root), self.lasting, self.chance))
    }

    /// Whether some row may still be sealed under the root key before this one.
    #[must_use]
    pub const fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// No row is under the root key before this one any more.
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Which root key new secrets are sealed with.
    #[must_use]
    pub fn root_fingerprint(&self) -> RootFingerprint {
        self.sealing.fingerprint()
    }

    /// The root key, wrapped for one more way to open the vault.
    ///
    /// # Errors
    ///
    /// A passphrase that is too short, work out of bounds, or no random bytes.
    pub fn new_slot(&self, name: &str, unlock: &Unlock, work: Work, created: i64) -> Result<Slot, VaultError> {
        Slot::wrap(&self.root, name, unlock, work, created, &*self.chance)
    }

    /// Seals a secret to its place. The same secret at the same place gives the same bytes.
    ///
    /// # Errors
    ///
    /// None that is known: sealing of so little does not fail.
    pub fn seal(&self, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.sealing.seal(&place, secret)
    }

    /// Opens what was sealed at this place.
    ///
    /// # Errors
    ///
    /// [`VaultError::NotAuthentic`] for anything else, [`VaultError::UnknownRoot`] if it is under another root key.
    pub fn open_sealed(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let previous = || self.previous.as_ref().and_then(|(_, keys)| keys.open(&place, sealed));
        let opened = self.sealing.open(&place, sealed).or_else(previous);
        opened.unwrap_or_else(|| Err(VaultError::UnknownRoot { place: place.to_string() }))
    }

    /// Opens a key of 32 bytes.
    ///
    /// # Errors
    ///
    /// As [`Vault::open_sealed`], and [`VaultError::NotAKey`] for another length.
    pub fn open_key(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let opened = self.open_sealed(place, sealed)?;
        let bytes: &[u8; 32] = opened.as_slice().try_into().map_err(|_| VaultError::NotAKey)?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(bytes);
        Ok(key)
    }

    /// A sealed value under the current root key; `None` if it is already.
    ///
    /// # Errors
    ///
    /// As [`Vault::open_sealed`].
    pub fn reseal(&self, place: Place<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        if let Some(opened) = self.sealing.open(&place, sealed) {
            return opened.map(|_| None);
        }
        let secret = self.open_sealed(place, sealed)?;
        self.seal(place, &secret).map(Some)
    }

    /// A new key, from the generator and from a secret of the vault: a weak generator makes no weak keys.
    ///
    /// # Errors
    ///
    /// [`VaultError::NoRandomness`].
    pub fn new_key(&self) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.hedge.draw(&*self.chance)
    }

    /// A generator that begins with a new key.
    ///
    /// # Errors
    ///
    /// [`VaultError::NoRandomness`].
    pub fn generator(&self) -> Result<Generator, VaultError> {
        self.hedge.generator(&*self.chance)
    }

    /// What tells two keys apart and nobody without the vault can compute: equal keys have equal ones whatever they are for.
    #[must_use]
    pub fn fingerprint(&self, key: &[u8; 32]) -> [u8; 16] {
        let full = extract(self.fingerprints.as_bytes(), &[key]);
        let mut fingerprint = [0; 16];
        fingerprint.iter_mut().zip(full.as_bytes()).for_each(|(to, from)| *to = *from);
        fingerprint
    }

    /// The MAC of an audit entry, after that of the one before; before the first one [`CHAIN_BEGINS`].
    #[must_use]
    pub fn audit_mac(&self, previous: &[u8; 32], entry: &Entry<'_>) -> [u8; 32] {
        audit::mac(&self.audit, previous, entry)
    }

    /// The MAC of a backup with this digest: anybody can encrypt a file to a recipient, and only this server writes its backups.
    pub(crate) fn backup_mac(&self, digest: &[u8; 32]) -> [u8; 32] {
        *extract(self.backups.as_bytes(), &[digest]).as_bytes()
    }

    /// The public key that checkpoints are verified with: [`Checkpoint::is_signed_by`].
    #[must_use]
    pub fn checkpoint_key(&self) -> [u8; 32] {
        self.checkpoints.verifying_key().to_bytes()
    }

    /// Signs where the chain of the audit stands.
    #[must_use]
    pub fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> [u8; 64] {
        checkpoint.sign(&self.checkpoints)
    }
}

/// The first secrets, before there is anything to hedge with but what is `besides`.
fn draw_first(chance: &dyn Chance, label: &[u8], besides: &[u8]) -> Result<Secret, VaultError> {
    let mut random = Zeroizing::new([0; 64]);
    chance.fill(&mut *random)?;
    Ok(extract(label, &[&*random, &chance.moment(), besides]))
}
