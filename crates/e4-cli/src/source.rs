//! Where keys and passwords are read from.

use crate::terminal::note;
use anyhow::{Context, bail, ensure};
use std::{
    convert::Infallible,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::Zeroizing;

/// Where a secret is read from: a file, standard input (`-`) or an environment variable (`env:NAME`).
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Stdin,
    Env(OsString),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("env:") {
            Some(name) => Self::Env(name.into()),
            None if text == "-" => Self::Stdin,
            None => Self::File(text.into()),
        })
    }
}

/// Names the source, as error messages do.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Env(name) => write!(f, "the environment variable {}", name.display()),
        }
    }
}

impl Source {
    pub(crate) fn is_stdin(&self) -> bool {
        matches!(self, Self::Stdin)
    }

    /// Reads up to so many bytes, and warns when others can read the file as well.
    pub(crate) fn secret_bytes(&self, max_len: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        if let Self::File(path) = self {
            warn_if_others_can_read(path);
        }
        self.bytes(max_len)
    }

    /// Reads a password of up to so many bytes. No error shows the name of a file that is not there: it may be the password.
    pub(crate) fn password(&self, max_len: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        if let Self::File(path) = self {
            let exists = path.try_exists().is_ok_and(|exists| exists);
            ensure!(
                exists,
                "there is no file of the name that was given for a password (not shown, as it may be the password itself): \
                 give the name of a file, - for standard input or env:NAME for an environment variable"
            );
        }
        self.secret_bytes(max_len).with_context(|| self.of_password())
    }

    /// Names the source of a password, as error messages do.
    pub(crate) fn of_password(&self) -> String {
        format!("the password from {self}")
    }

    pub(crate) fn bytes(&self, max_len: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let bytes = match self {
            Self::File(path) => File::open(path).and_then(|file| read_all(file, max_len)),
            Self::Stdin => unbuffered_stdin().and_then(|stdin| read_all(stdin, max_len)),
            Self::Env(name) => match std::env::var_os(name) {
                Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
                None => bail!("{self} is not set"),
            },
        };
        let bytes = bytes.with_context(|| format!("could not read {self}"))?;
        ensure!(!bytes.is_empty(), "{self} is empty");
        ensure!(bytes.len() <= max_len, "{self} is longer than {max_len} bytes: check that it is the right one");
        Ok(bytes)
    }
}

/// Reads at most one byte more than allowed, into a buffer that never grows: no copy stays behind.
fn read_all(mut from: impl Read, max_len: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; max_len.saturating_add(1)]);
    let mut len = 0;
    while let Some(free) = bytes.get_mut(len..).filter(|free| !free.is_empty()) {
        match from.read(free) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Standard input without the buffer of the standard library, where a secret would stay.
#[cfg(unix)]
fn unbuffered_stdin() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
fn unbuffered_stdin() -> io::Result<io::Stdin> {
    Ok(io::stdin())
}

#[cfg(unix)]
fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // A pipe that a shell made (`<(...)`) is nobody else's.
    if let Ok(metadata) = fs::metadata(path)
        && metadata.is_file()
        && metadata.permissions().mode() & 0o044 != 0
    {
        let path = path.display();
        note(format!("Warning: others can read the secret in {path}: chmod 600 {path}"));
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_: &Path) {}
