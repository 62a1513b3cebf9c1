//! The lock file beside a state file: who has it open, and the name under which that program writes.

use super::{
    StoreError,
    disk::{keep_owner, private},
    failed,
};
use alloc::{format, string::String};
use core::hash::{BuildHasher, Hasher};
use std::{
    collections::hash_map::RandomState,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

const LOCK_SUFFIX: &str = ".lock";
const NEW_SUFFIX: &str = ".new";
/// Hexadecimal digits of a drawn name.
const NAME_LEN: usize = 16;

/// Keeps other programs from a state, for as long as it lives.
///
/// The file holds the name under which new states are written beside the old one. It is drawn at random for each start, so
/// that nobody has chosen it or can wait for it; and it is written down, so that what a crash leaves is found and removed
/// at the next start, and nothing else is.
pub(super) struct Lock {
    file: File,
    state: PathBuf,
    new: Option<PathBuf>,
}

impl Lock {
    pub(super) fn take(state: &Path) -> Result<Self, StoreError> {
        let file = open(&with_suffix(state, LOCK_SUFFIX), state)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, state: state.to_path_buf(), new: None }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
            Err(TryLockError::Error(error)) => Err(failed("lock the state file")(error)),
        }
    }

    /// Where the next state is written.
    pub(super) fn new_file(&mut self) -> Result<PathBuf, StoreError> {
        let is_free = |new: &PathBuf| fs::symlink_metadata(new).is_err();
        if self.new.as_ref().is_some_and(|new| !is_free(new)) {
            // A save could not remove what it wrote.
            self.remove_leftover();
        }
        if let Some(new) = self.new.take().filter(is_free) {
            return Ok(self.new.insert(new).clone());
        }
        let name = format!("{:0NAME_LEN$x}", RandomState::new().build_hasher().finish());
        self.write_down(&name).map_err(failed("write the lock file beside the state file"))?;
        Ok(self.new.insert(self.new_path(&name)).clone())
    }

    /// Removes what a save that a crash cut short has left: it may hold keys. If it cannot be removed, it does no other
    /// harm.
    pub(super) fn remove_leftover(&mut self) {
        if let Some(leftover) = self.written_down()
            && fs::symlink_metadata(&leftover).is_ok_and(|metadata| metadata.is_file())
        {
            let _ = fs::remove_file(leftover);
        }
    }

    fn new_path(&self, name: &str) -> PathBuf {
        with_suffix(&self.state, &format!(".{name}{NEW_SUFFIX}"))
    }

    fn write_down(&mut self, name: &str) -> io::Result<()> {
        if has_other_names(&self.file)? {
            // It might be anybody's: a lock needs no content.
            return Ok(());
        }
        self.file.rewind()?;
        self.file.write_all(name.as_bytes())?;
        self.file.sync_data()
    }

    fn written_down(&mut self) -> Option<PathBuf> {
        let mut name = String::new();
        self.file.rewind().ok()?;
        let longer = u64::try_from(NAME_LEN).ok()?.saturating_add(1);
        (&mut self.file).take(longer).read_to_string(&mut name).ok()?;
        let is_drawn = name.len() == NAME_LEN && name.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_drawn.then(|| self.new_path(&name))
    }
}

/// Opens the lock file, or makes it. One that leads elsewhere is not followed: somebody may have put it there for a program
/// of root to stumble over.
fn open(lock: &Path, state: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    private(options.read(true).write(true));
    // Without waiting for the other end, if it is a pipe.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let opened = match options.open(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = options.create_new(true).open(lock);
            match made {
                // Another program was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.create_new(false).open(lock),
                Ok(file) => {
                    // It says nothing about the state, so it may also be the user's own.
                    let _ = keep_owner(&file, state);
                    Ok(file)
                }
                error => error,
            }
        }
        opened => opened,
    };
    let is_link = || fs::symlink_metadata(lock).is_ok_and(|metadata| metadata.is_symlink());
    match opened {
        Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => Ok(file),
        Err(error) if !is_link() => Err(failed("open the lock file beside the state file")(error)),
        _ => Err(StoreError::Other(
            "the lock file beside the state is a link or no file at all, and is not used: remove it",
        )),
    }
}

/// Whether the file is known by other names too, in a backup that shares it or where somebody wants it to be written.
#[cfg(unix)]
fn has_other_names(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 1)
}

#[cfg(not(unix))]
fn has_other_names(_: &File) -> io::Result<bool> {
    Ok(false)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}
