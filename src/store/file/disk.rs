//! How a file is replaced, whatever happens meanwhile.

use super::{StoreError, failed};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// The steps of a save, so that tests can let each of them fail.
pub(super) trait FileSystem {
    /// Makes a new and empty file for the owner of another one, mode 0600. Fails if there is anything.
    fn create(&mut self, new: &Path, owned_like: &Path) -> io::Result<()>;
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_folder_of(&mut self, path: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// Replaces a file by way of a new one, such that a crash at any point leaves the old or the new content.
pub(super) fn replace(disk: &mut impl FileSystem, path: &Path, new: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    const WRITE: &str = "write the new state beside the state file";
    // What is there is not ours.
    disk.create(new, path).map_err(failed(WRITE))?;
    let renamed = disk
        .write(new, bytes)
        .map_err(failed(WRITE))
        .and_then(|()| disk.sync(new).map_err(failed("sync the new state to the disk")))
        .and_then(|()| disk.rename(new, path).map_err(failed("put the new state in the place of the old one")));
    if let Err(error) = renamed {
        // It may hold keys, so try; the error that matters is the one from before.
        let _ = disk.remove(new);
        return Err(error);
    }
    disk.sync_folder_of(path).map_err(failed("sync the folder of the state file"))
}

#[derive(Default)]
pub(super) struct Disk {
    /// What was created last, and is to be written and synced: another handle on it might not learn of an error in writing.
    created: Option<File>,
}

impl FileSystem for Disk {
    fn create(&mut self, new: &Path, owned_like: &Path) -> io::Result<()> {
        let file = private(OpenOptions::new().write(true).create_new(true)).open(new)?;
        if let Err(error) = keep_owner(&file, owned_like) {
            // Empty, and ours.
            let _ = fs::remove_file(new);
            return Err(error);
        }
        self.created = Some(file);
        Ok(())
    }

    fn write(&mut self, _: &Path, bytes: &[u8]) -> io::Result<()> {
        self.created.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn sync(&mut self, _: &Path) -> io::Result<()> {
        self.created.take().map_or(Ok(()), |file| file.sync_all())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder_of(&mut self, path: &Path) -> io::Result<()> {
        // Only Unix can open a folder to sync it.
        if cfg!(unix) {
            File::open(folder_of(path))?.sync_all()?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// For the owner's eyes only.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Gives a file that was just made the owner of another one, or of its folder if that is not there yet. So what root does
/// to the state of a service does not take it away from the service.
#[cfg(unix)]
pub(super) fn keep_owner(file: &File, owned_like: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (owner, is_kept) = match fs::metadata(owned_like) {
        Ok(owner) => (owner, true),
        Err(_) => (fs::metadata(folder_of(owned_like))?, false),
    };
    if owner.uid() == file.metadata()?.uid() {
        return Ok(());
    }
    match fchown(file, Some(owner.uid()), Some(owner.gid())) {
        // Whoever is not root makes files of his own.
        Err(_) if !is_kept => Ok(()),
        result => result,
    }
}

#[cfg(not(unix))]
pub(super) fn keep_owner(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, path::PathBuf, vec::Vec};

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
        fn create(&mut self, new: &Path, _: &Path) -> io::Result<()> {
            if !self.step()? {
                return Self::half_done();
            }
            if self.names.contains_key(new) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.inodes.push(Inode { bytes: Vec::new(), synced: false });
            self.link(new, self.inodes.len() - 1);
            Ok(())
        }

        fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            let whole = self.step()?;
            let written = if whole { bytes.len() } else { bytes.len() / 2 };
            self.inodes[self.names[path]].bytes = bytes[..written].to_vec();
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
        let result = replace(&mut disk, Path::new("state"), Path::new("new"), NEW);
        (disk, result)
    }

    #[test]
    fn a_save_that_fails_at_any_step_leaves_the_old_state_or_the_new_one() {
        let mut failed = 0;
        for failure in [Failure::Refuses, Failure::Cuts, Failure::PowerBefore, Failure::PowerDuring] {
            for step in 0..9 {
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
        assert!(failed >= 4 * 5, "every step of a save can fail");
    }

    #[test]
    fn a_failed_save_leaves_no_keys_beside_the_state() {
        for step in 0..4 {
            let (disk, result) = replace_on(FlakyDisk::with_old_state(step, Failure::Refuses));
            assert!(result.is_err());
            assert_eq!(disk.names.keys().collect::<Vec<_>>(), [Path::new("state")], "step {step}");
        }
    }

    #[test]
    fn f10_a_file_that_is_in_the_way_of_a_save_is_left_alone() {
        let mut disk = FlakyDisk::with_old_state(usize::MAX - 1, Failure::Refuses);
        disk.inodes.push(Inode { bytes: b"of somebody else".to_vec(), synced: true });
        disk.names.insert("new".into(), 1);
        let (disk, result) = replace_on(disk);
        assert!(result.is_err());
        assert_eq!(disk.visible(), OLD);
        assert_eq!(disk.inodes[disk.names[Path::new("new")]].bytes, b"of somebody else");
    }
}
