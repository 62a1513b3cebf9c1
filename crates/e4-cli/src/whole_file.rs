//! Files that are written whole or not at all, and belong to whom they should.

use anyhow::{Context, ensure};
use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    path::Path,
};

/// What a new file is to be.
pub(crate) struct NewFile<'a> {
    pub(crate) path: &'a Path,
    /// Its permissions, where there are such.
    pub(crate) mode: u32,
    /// It is to belong to whom this belongs: what root does for a service stays with the service.
    pub(crate) owner: Metadata,
    /// Whether it may take the place of another one, or of a link.
    pub(crate) replaces: bool,
    /// Whether it is to be there after a power failure as well.
    pub(crate) to_the_disk: bool,
}

impl NewFile<'_> {
    /// Writes it. No error names the temporary file, which nobody has to look for.
    pub(crate) fn write(self, content: &[u8]) -> io::Result<()> {
        self.try_write(content).map_err(without_path)
    }

    fn try_write(self, content: &[u8]) -> io::Result<()> {
        let folder = folder_of(self.path);
        let mut file = tempfile::Builder::new().prefix(".e4-").tempfile_in(folder)?;
        self.hand_over(file.as_file())?;
        file.write_all(content)?;
        if self.to_the_disk {
            file.as_file().sync_all()?;
        }
        let file = if self.replaces { file.persist(self.path) } else { file.persist_noclobber(self.path) };
        let file = file.map_err(|error| error.error)?;
        if self.to_the_disk {
            #[cfg(unix)]
            File::open(folder)?.sync_all()?;
            file.sync_all()?;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn hand_over(&self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        file.set_permissions(fs::Permissions::from_mode(self.mode))?;
        let own = file.metadata()?;
        if (self.owner.uid(), self.owner.gid()) != (own.uid(), own.gid()) {
            // Whoever is not root makes files of his own.
            let _not_root = fchown(file, Some(self.owner.uid()), Some(self.owner.gid()));
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn hand_over(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

/// The error without the path that the library for temporary files puts behind it.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path \"") {
        Some((reason, _path)) => io::Error::new(error.kind(), reason),
        None => error,
    }
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fails if there is something that a new file would replace, unless that is wanted.
pub(crate) fn check_free(path: &Path, force: bool) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.display();
    ensure!(force, "{path} exists: choose another name, or replace it with --force");
    ensure!(metadata.is_file() || metadata.is_symlink(), "{path} is not a file, and is not replaced");
    Ok(())
}

/// Opens what is a file, and no link to one: somebody else may have put it there, and a pipe is waited for.
pub(crate) fn open_file(path: &Path) -> anyhow::Result<Option<File>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not look for {}", path.display())),
    };
    let shown = path.display();
    ensure!(!metadata.is_symlink(), "{shown} is a link, and not followed: put the file itself there");
    ensure!(metadata.is_file(), "{shown} is not a file");
    File::open(path).map(Some).with_context(|| format!("could not read {shown}"))
}
