//! The state in a file.
//!
//! A sealed file is `"e4seal1" | V (16) | C`, AES-SIV under the storage key, with the same seven bytes and the client
//! id as its associated data.

use super::{Snapshot, Store, StoreError};
use crate::{keys::StorageKey, names::ClientId, siv};
use alloc::vec::Vec;
use core::fmt;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const NEW_SUFFIX: &str = ".new";
const LOCK_SUFFIX: &str = ".lock";
const SEALED_MAGIC: &[u8; 7] = b"e4seal1";

/// Keeps the state in a file, mode 0600.
///
/// A save writes a file beside it (`NAME.new`), syncs it, renames it over the old one and syncs the folder: after a
/// power failure at any moment the file holds the old state or the new one, whole. While the store has the state open,
/// a lock on `NAME.lock` keeps other programs out: two clients that take turns in overwriting one state would forget
/// which commands they have seen. Leave that file alone while a program runs. Whoever uses the store needs the right to
/// write the folder, for loading too.
pub struct FileStore {
    path: PathBuf,
    sealed_for: Option<(StorageKey, ClientId)>,
    lock: Option<File>,
}

impl FileStore {
    /// The state in plain, protected by the rights on the file alone.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), sealed_for: None, lock: None }
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
        Self { path: path.into(), sealed_for: Some((key, client)), lock: None }
    }

    /// Where the state is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&mut self) -> Result<(), StoreError> {
        if self.lock.is_none() {
            if self.path.file_name().is_none() {
                return Err(failed("use this path, which names no file")(io::ErrorKind::InvalidInput.into()));
            }
            self.path = resolved(&self.path);
            let file =
                private_file(OpenOptions::new().create(true).truncate(false), &with_suffix(&self.path, LOCK_SUFFIX))
                    .map_err(failed("open the lock file beside the state file"))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StoreError::InUse),
                Err(TryLockError::Error(error)) => return Err(failed("lock the state file")(error)),
            }
            self.lock = Some(file);
        }
        Ok(())
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
        self.lock()?;
        // A save that a crash cut short may have left keys here. If it cannot be removed, it does no other harm.
        let _ = fs::remove_file(with_suffix(&self.path, NEW_SUFFIX));
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Empty),
            Err(error) => return Err(failed("read the state file")(error)),
        };
        read(&self.open(bytes)?);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        self.lock()?;
        let bytes = self.seal(state)?;
        replace(&mut Disk::default(), &self.path, &bytes)
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).field("sealed", &self.sealed_for.is_some()).finish()
    }
}

/// The steps of a save, so that tests can let each of them fail.
trait FileSystem {
    /// Makes a new file with these bytes, mode 0600, in place of any that is there.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_folder_of(&mut self, path: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// Replaces a file such that a crash at any point leaves the old or the new content.
fn replace(disk: &mut impl FileSystem, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let new = with_suffix(path, NEW_SUFFIX);
    let renamed = disk
        .write(&new, bytes)
        .map_err(failed("write the new state beside the state file"))
        .and_then(|()| disk.sync(&new).map_err(failed("sync the new state to the disk")))
        .and_then(|()| disk.rename(&new, path).map_err(failed("put the new state in the place of the old one")));
    if let Err(error) = renamed {
        // It may hold keys, so try; the error that matters is the one from before.
        let _ = disk.remove(&new);
        return Err(error);
    }
    disk.sync_folder_of(path).map_err(failed("sync the folder of the state file"))
}

#[derive(Default)]
struct Disk {
    /// What was written last, and is to be synced: another handle on it might not learn of an error in writing.
    written: Option<File>,
}

impl FileSystem for Disk {
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.written.insert(private_file(OpenOptions::new().create_new(true), path)?).write_all(bytes)
    }

    fn sync(&mut self, _: &Path) -> io::Result<()> {
        self.written.take().map_or(Ok(()), |file| file.sync_all())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder_of(&mut self, path: &Path) -> io::Result<()> {
        // Only Unix can open a folder to sync it.
        if cfg!(unix) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

fn private_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.write(true).open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const OLD: &[u8] = b"the old state, which is longer than the new one";
    const NEW: &[u8] = b"the new state";

    /// A disk that remembers what is safe from a power failure, and fails at a step that the test chooses.
    #[derive(Clone)]
    struct FlakyDisk {
        inodes: Vec<Inode>,
        /// The folder as programs see it.
        names: BTreeMap<PathBuf, usize>,
        /// The folder as it is on the disk, and the operations on it that may or may not be there too.
        synced_names: BTreeMap<PathBuf, usize>,
        unsynced: Vec<FolderChange>,
        steps_left: usize,
        failure: Failure,
        power: bool,
    }

    #[derive(Clone)]
    struct Inode {
        bytes: Vec<u8>,
        synced: bool,
    }

    #[derive(Clone)]
    enum FolderChange {
        Link(PathBuf, usize),
        Unlink(PathBuf),
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Failure {
        /// The step returns an error, having done nothing, and so does nothing after it fail.
        Refuses,
        /// The step returns an error, having done half of its work.
        Cuts,
        /// The power fails before the step is done.
        PowerBefore,
        /// The power fails when the step is half done.
        PowerDuring,
    }

    impl FlakyDisk {
        fn with_old_state(fails_at: usize, failure: Failure) -> Self {
            let old = Inode { bytes: OLD.to_vec(), synced: true };
            let names = BTreeMap::from([(PathBuf::from("state"), 0)]);
            Self {
                inodes: vec![old],
                names: names.clone(),
                synced_names: names,
                unsynced: Vec::new(),
                steps_left: fails_at,
                failure,
                power: true,
            }
        }

        /// Counts a step; says whether it is to be done whole (`Ok(true)`) or by half, or that it fails.
        fn step(&mut self) -> io::Result<bool> {
            let error = || io::Error::from(io::ErrorKind::StorageFull);
            if !self.power {
                return Err(error());
            }
            self.steps_left = self.steps_left.wrapping_sub(1);
            if self.steps_left != usize::MAX {
                return Ok(true);
            }
            match self.failure {
                Failure::Refuses => Err(error()),
                Failure::Cuts => Ok(false),
                Failure::PowerBefore => {
                    self.power = false;
                    Err(error())
                }
                Failure::PowerDuring => {
                    self.power = false;
                    Ok(false)
                }
            }
        }

        fn half_done() -> io::Result<()> {
            Err(io::ErrorKind::Interrupted.into())
        }

        fn link(&mut self, path: &Path, inode: usize) {
            self.names.insert(path.into(), inode);
            self.unsynced.push(FolderChange::Link(path.into(), inode));
        }

        fn unlink(&mut self, path: &Path) {
            self.names.remove(path);
            self.unsynced.push(FolderChange::Unlink(path.into()));
        }

        /// What a reader finds now.
        fn visible(&self) -> &[u8] {
            &self.inodes[self.names[Path::new("state")]].bytes
        }

        /// Everything that a reader may find after a power failure: any of the changes to the folder that were not
        /// synced, and any beginning of the files that were not.
        fn after_power_failure(&self) -> Vec<Option<Vec<u8>>> {
            let mut found = Vec::new();
            for survivors in 0..1_u32 << self.unsynced.len() {
                let mut names = self.synced_names.clone();
                for (n, change) in self.unsynced.iter().enumerate() {
                    match change {
                        _ if survivors >> n & 1 == 0 => {}
                        FolderChange::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
                        FolderChange::Unlink(path) => drop(names.remove(path)),
                    }
                }
                match names.get(Path::new("state")).map(|inode| &self.inodes[*inode]) {
                    None => found.push(None),
                    Some(inode) if inode.synced => found.push(Some(inode.bytes.clone())),
                    Some(inode) => found.extend((0..=inode.bytes.len()).map(|cut| Some(inode.bytes[..cut].to_vec()))),
                }
            }
            found
        }
    }

    impl FileSystem for FlakyDisk {
        fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            let whole = self.step()?;
            let written = if whole { bytes.len() } else { bytes.len() / 2 };
            self.inodes.push(Inode { bytes: bytes[..written].to_vec(), synced: false });
            self.link(path, self.inodes.len() - 1);
            if whole { Ok(()) } else { Self::half_done() }
        }

        fn sync(&mut self, path: &Path) -> io::Result<()> {
            if !self.step()? {
                return Self::half_done();
            }
            self.inodes[self.names[path]].synced = true;
            Ok(())
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            let whole = self.step()?;
            self.link(to, self.names[from]);
            self.unlink(from);
            if whole { Ok(()) } else { Self::half_done() }
        }

        fn sync_folder_of(&mut self, _: &Path) -> io::Result<()> {
            if !self.step()? {
                return Self::half_done();
            }
            self.synced_names = self.names.clone();
            self.unsynced.clear();
            Ok(())
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            if !self.step()? {
                return Self::half_done();
            }
            self.unlink(path);
            Ok(())
        }
    }

    fn replace_on(mut disk: FlakyDisk) -> (FlakyDisk, Result<(), StoreError>) {
        let result = replace(&mut disk, Path::new("state"), NEW);
        (disk, result)
    }

    #[test]
    fn a_save_that_fails_at_any_step_leaves_the_old_state_or_the_new_one() {
        let mut failed = 0;
        for failure in [Failure::Refuses, Failure::Cuts, Failure::PowerBefore, Failure::PowerDuring] {
            for step in 0..8 {
                let (disk, result) = replace_on(FlakyDisk::with_old_state(step, failure));
                failed += usize::from(result.is_err());
                assert!([OLD, NEW].contains(&disk.visible()), "step {step}");
                for found in disk.after_power_failure() {
                    let found = found.unwrap_or_else(|| panic!("step {step}: the state is gone"));
                    assert!([OLD, NEW].contains(&found.as_slice()), "step {step}: {found:?}");
                    if result.is_ok() {
                        assert_eq!(found, NEW, "step {step}: a save that was reported is lost");
                    }
                }
            }
        }
        assert!(failed >= 4 * 4, "every step of a save can fail");
    }

    #[test]
    fn a_failed_save_leaves_no_keys_beside_the_state() {
        for step in 0..3 {
            let (disk, result) = replace_on(FlakyDisk::with_old_state(step, Failure::Refuses));
            assert!(result.is_err());
            assert_eq!(disk.names.keys().collect::<Vec<_>>(), [Path::new("state")], "step {step}");
        }
    }
}
