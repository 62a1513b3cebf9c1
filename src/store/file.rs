//! The state in a file.
//!
//! A sealed file is `"e4seal1" | V (16) | C`, AES-SIV under the storage key, with the same seven bytes and the client
//! id as its associated data.

mod disk;
mod lock;

use super::{Snapshot, Store, StoreError};
use crate::{keys::StorageKey, names::ClientId, siv};
use alloc::vec::Vec;
use core::fmt;
use disk::{Disk, replace};
use lock::Lock;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const SEALED_MAGIC: &[u8; 7] = b"e4seal1";

/// Keeps the state in a file, mode 0600.
///
/// A save writes a new file beside it, with a name drawn at random, syncs it, renames it over the old one and syncs the
/// folder: after a power failure at any moment the file holds the old state or the new one, whole. While the store has the
/// state open, a lock on `NAME.lock` keeps other programs out: two clients that take turns in overwriting one state would
/// forget which commands they have seen. Leave that file alone while a program runs. Whoever uses the store needs the right
/// to write the folder, for loading too, unless the store is [`read_only`](Self::read_only).
///
/// Run by root, the state keeps the owner that it has. A new one, and the lock, get the owner of the state or of the folder.
pub struct FileStore {
    path: PathBuf,
    sealed_for: Option<(StorageKey, ClientId)>,
    read_only: bool,
    lock: Option<Lock>,
}

impl FileStore {
    /// The state in plain, protected by the rights on the file alone.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), sealed_for: None, read_only: false, lock: None }
    }

    /// The state sealed under a storage key, which should come from somewhere else than the same disk. Bound to the
    /// client: the file of another client under the same key is refused.
    ///
    /// # Security
    ///
    /// Sealing keeps the keys secret. It cannot keep somebody who can write the disk from putting back an older file,
    /// and with it older keys and the memory of commands from then.
    #[must_use]
    pub fn sealed(path: impl Into<PathBuf>, key: StorageKey, client: ClientId) -> Self {
        Self { path: path.into(), sealed_for: Some((key, client)), read_only: false, lock: None }
    }

    /// For looking at a state, also one that a program has open or that lies on a read-only disk: takes no lock, changes
    /// nothing, and refuses to save.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Where the state is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&mut self) -> Result<&mut Lock, StoreError> {
        if self.lock.is_none() {
            if self.path.file_name().is_none() {
                return Err(failed("use this path, which names no file")(io::ErrorKind::InvalidInput.into()));
            }
            self.path = resolved(&self.path);
        }
        match &mut self.lock {
            Some(lock) => Ok(lock),
            none => Ok(none.insert(Lock::take(&self.path)?)),
        }
    }

    fn seal(&self, snapshot: &Snapshot<'_>) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let mut state = snapshot.to_bytes()?;
        let Some((key, client)) = &self.sealed_for else {
            return Ok(state);
        };
        if client != snapshot.client() {
            return Err(StoreError::OtherClient);
        }
        let tag = siv::seal(key.as_bytes(), &associated_data(client), &mut state);
        Ok(Zeroizing::new([&SEALED_MAGIC[..], &tag, &state].concat()))
    }

    fn open(&self, mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let Some((key, client)) = &self.sealed_for else {
            return Ok(bytes);
        };
        let Some((tag, sealed)) =
            bytes.strip_prefix(SEALED_MAGIC).and_then(<[u8]>::split_first_chunk::<{ siv::TAG_LEN }>)
        else {
            return Err(StoreError::NotAuthentic);
        };
        let (tag, at) = (*tag, bytes.len() - sealed.len());
        let state = bytes.get_mut(at..).unwrap_or_default();
        siv::open(key.as_bytes(), &associated_data(client), &tag, state)
            .map_err(|siv::NotAuthentic| StoreError::NotAuthentic)?;
        bytes.drain(..at);
        Ok(bytes)
    }
}

fn associated_data(client: &ClientId) -> [u8; 23] {
    let mut data = [0; 23];
    let (magic, id) = data.split_at_mut(SEALED_MAGIC.len());
    magic.copy_from_slice(SEALED_MAGIC);
    id.copy_from_slice(client.as_bytes());
    data
}

impl Store for FileStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        if !self.read_only {
            self.lock()?.remove_leftover();
        }
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Empty),
            Err(error) => return Err(failed("read the state file")(error)),
        };
        read(&self.open(bytes)?);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        self.lock()?;
        let bytes = self.seal(state)?;
        let new = self.lock()?.new_file()?;
        replace(&mut Disk::default(), &self.path, &new, &bytes)
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).field("sealed", &self.sealed_for.is_some()).finish()
    }
}

/// The path without links and from the root, so that a link to a state and the state are locked as one, a save replaces
/// the state, and a program may change its folder.
fn resolved(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(path)
        .or_else(|_| fs::canonicalize(folder).map(|folder| folder.join(path.file_name().unwrap_or_default())))
        .unwrap_or_else(|_| path.to_path_buf())
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::File { action, kind: error.kind() }
}
