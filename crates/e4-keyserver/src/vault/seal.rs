//! Sealing of one value to its place.
//!
//! ```text
//! 0     4                20
//! | mark | synthetic IV   | ciphertext …
//! ```
//!
//! The mark is the beginning of the root key's fingerprint. AES-256-SIV takes as associated data, as five separate inputs:
//! `LAYOUT | table | column | row | version (8 bytes, big-endian)`.

use super::{Column, Place, RootFingerprint, VaultError, hierarchy::Root};
use aes_siv::{KeyInit, siv::Aes256Siv};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Version of what is sealed, and of this layout. It changes when a column gets another meaning.
const LAYOUT: &[u8] = b"1";

const MARK: usize = 4;

/// The sealing keys of one root key.
pub(super) struct SealingKeys {
    fingerprint: RootFingerprint,
    keys: BTreeMap<Column, Box<Zeroizing<[u8; 64]>>>,
}

impl SealingKeys {
    pub(super) fn of(root: &Root) -> Self {
        let keys = Column::ALL.into_iter().map(|it| (it, Box::new(root.sealing_key(it.table(), it.name())))).collect();
        Self { fingerprint: root.fingerprint(), keys }
    }

    pub(super) fn fingerprint(&self) -> RootFingerprint {
        self.fingerprint
    }

    pub(super) fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let not_sealed = || VaultError::NotAuthentic { place: place.to_string() };
        let mut siv = self.cipher(place.column).ok_or_else(not_sealed)?;
        let ciphertext =
            siv.encrypt(associated(place, &place.version.to_be_bytes()), secret).map_err(|_| not_sealed())?;
        let mut sealed = self.fingerprint.mark().to_vec();
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// `None` if the value is under another root key.
    pub(super) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Option<Result<Zeroizing<Vec<u8>>, VaultError>> {
        let (mark, ciphertext) = sealed.split_at_checked(MARK)?;
        if mark != self.fingerprint.mark() {
            return None;
        }
        let opened = self
            .cipher(place.column)
            .and_then(|mut siv| siv.decrypt(associated(place, &place.version.to_be_bytes()), ciphertext).ok());
        Some(opened.map(Zeroizing::new).ok_or_else(|| VaultError::NotAuthentic { place: place.to_string() }))
    }

    fn cipher(&self, column: Column) -> Option<Aes256Siv> {
        self.keys.get(&column).map(|key| Aes256Siv::new((&***key).into()))
    }
}

fn associated<'a>(place: &'a Place<'_>, version: &'a [u8; 8]) -> [&'a [u8]; 5] {
    [LAYOUT, place.column.table().as_bytes(), place.column.name().as_bytes(), place.row.as_bytes(), version]
}
