//! The lock file, beside the fleet file: only one command uses a fleet at a time.
//!
//! It is empty and never replaced. The fleet file is: many editors write a new one, and a lock on the old one keeps nobody
//! out who opens the new one.

use crate::{
    terminal::note,
    whole_file::{NewFile, open_file},
};
use anyhow::Context;
use std::{
    fs::{File, Metadata, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A file that stands beside the fleet file.
pub(super) fn beside(fleet: &Path, extension: &str) -> PathBuf {
    let mut path = fleet.as_os_str().to_owned();
    path.push(extension);
    path.into()
}

/// Waits until nobody else uses the fleet of this file, whose metadata is given. The lock lasts until what is returned is
/// dropped; there is none in a folder where nothing can be written, and so nothing be sent.
pub(super) fn lock(fleet: &Path, owner: Metadata) -> anyhow::Result<Option<File>> {
    let path = beside(fleet, ".lock");
    let file = open(&path, owner)?;
    if let Some(file) = &file {
        wait_for(file).with_context(|| format!("could not lock {}", path.display()))?;
    }
    Ok(file)
}

fn open(path: &Path, owner: Metadata) -> anyhow::Result<Option<File>> {
    if open_file(path)?.is_none() {
        // Whoever may send commands to the fleet goes on to do so, also after somebody else did, such as root.
        let mode = permissions(&owner);
        match (NewFile { path, mode, owner, replaces: false, to_the_disk: false }.write(&[])) {
            Err(error) if is_for_readers(&error) => return Ok(None),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("could not write {}", path.display()));
            }
            // Somebody else was faster.
            Ok(()) | Err(_) => (),
        }
    }
    // Some file systems, such as NFS, lock only what is open for writing.
    let file = File::options().read(true).write(true).open(path).or_else(|_read_only| File::open(path));
    file.map(Some).with_context(|| format!("could not read {}", path.display()))
}

fn is_for_readers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn wait_for(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            note("Another e4 control sends commands to this fleet: waiting for it");
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Who may read and write a file.
#[cfg(unix)]
pub(super) fn permissions(file: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(file) & 0o666
}

#[cfg(not(unix))]
pub(super) fn permissions(_: &Metadata) -> u32 {
    0o600
}
