//! Keys in files: where a key is read from, and how one is written.
//!
//! A key file is one line of 64 hexadecimal digits. Secret ones have mode 0600, public ones 0644 and a name that ends in
//! `.pub`.

use crate::terminal::note;
use anyhow::{Context, bail, ensure};
use e4::KeyError;
use std::{
    convert::Infallible,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::Zeroizing;

/// What a key or a password may be long, in bytes, with some room for comfort.
const MAX_LEN: usize = 4096;

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

    /// Reads a secret key. No error shows any of it.
    pub(crate) fn secret_key<K>(&self, from_bytes: impl FnOnce(&[u8; 32]) -> Result<K, KeyError>) -> anyhow::Result<K> {
        if let Self::File(path) = self {
            ensure!(
                path.extension().is_none_or(|extension| extension != "pub"),
                "{self} has the name of a public key, and a secret one belongs here: leave out the .pub"
            );
        }
        parse_key(&self.secret_bytes(MAX_LEN)?, from_bytes).with_context(|| self.to_string())
    }

    /// Reads a public key.
    pub(crate) fn public_key<K>(&self, from_bytes: impl FnOnce(&[u8; 32]) -> Result<K, KeyError>) -> anyhow::Result<K> {
        if let Self::File(path) = self {
            check_is_public(path)?;
        }
        parse_key(&self.bytes(MAX_LEN)?, from_bytes).with_context(|| self.to_string())
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

    fn bytes(&self, max_len: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
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

/// Fails unless a file has the name of a public key, or none, as a pipe. Half of all secrets would pass for a public key of
/// one kind and all for one of the other, and be shown to everybody.
fn check_is_public(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let public = with_pub(path);
    ensure!(
        !public.exists(),
        "{shown} is the secret half of a key pair, and the public one belongs here: {}",
        public.display()
    );
    let is_named_so = path.extension().is_some_and(|extension| extension == "pub");
    ensure!(
        is_named_so || !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()),
        "{shown} has not the name of a public key, which ends in .pub: name the public file, or if it is one, rename it"
    );
    let secret = path.with_extension("");
    if let (true, Ok(public), Ok(secret)) = (is_named_so, read_key_line(path), read_key_line(&secret)) {
        ensure!(
            *public != *secret,
            "{shown} holds what {} does, which is the secret key: make a new pair with `e4 keygen`",
            path.with_extension("").display()
        );
    }
    Ok(())
}

/// What a key file holds, without the spaces around it.
fn read_key_line(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = read_all(File::open(path)?, MAX_LEN)?;
    Ok(Zeroizing::new(bytes.trim_ascii().to_ascii_lowercase()))
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

fn parse_key<K>(text: &[u8], from_bytes: impl FnOnce(&[u8; 32]) -> Result<K, KeyError>) -> anyhow::Result<K> {
    let digits = text.trim_ascii();
    ensure!(digits.len() == 64, "a key is 64 hexadecimal digits, and here are {} characters", digits.len());
    let mut key = Zeroizing::new([0; 32]);
    // Its own error would show a character.
    if hex::decode_to_slice(digits, &mut *key).is_err() {
        bail!("a key is 64 hexadecimal digits, and here are other characters as well");
    }
    Ok(from_bytes(&key)?)
}

/// The name of the public half.
pub(crate) fn with_pub(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".pub");
    name.into()
}

/// Who may read a new file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    Owner,
    Everyone,
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

/// Writes a key file, whole or not at all. An existing one is replaced only with `force`.
pub(crate) fn write_key(path: &Path, key: &[u8; 32], readers: Readers, force: bool) -> anyhow::Result<()> {
    check_free(path, force)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = (|| -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".e4-key-").tempfile_in(folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = match readers {
                Readers::Owner => 0o600,
                Readers::Everyone => 0o644,
            };
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        }
        keep_owner(file.as_file(), path)?;
        file.write_all(&*key_line(key))?;
        file.as_file().sync_all()?;
        let file =
            if force { file.persist(path) } else { file.persist_noclobber(path) }.map_err(|error| error.error)?;
        // Whoever sends the key next relies on finding it here after a power failure.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        file.sync_all()
    })();
    written.with_context(|| format!("could not write {}", path.display()))
}

/// Gives a file that was just made the owner of the one that it replaces, or of its folder. So what root does for a service
/// stays with the service.
#[cfg(unix)]
pub(crate) fn keep_owner(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = fs::symlink_metadata(path).or_else(|_| fs::metadata(folder))?;
    if owner.uid() != file.metadata()?.uid() {
        // Whoever is not root makes files of his own.
        let _not_root = fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn keep_owner(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes a key to standard output, which its user asked for.
pub(crate) fn print_key(key: &[u8; 32]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&*key_line(key))?;
    Ok(stdout.flush()?)
}

fn key_line(key: &[u8; 32]) -> Zeroizing<[u8; 65]> {
    let mut line = Zeroizing::new([b'\n'; 65]);
    for (digits, byte) in line.chunks_exact_mut(2).zip(key) {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_line_is_lower_case_hexadecimal_and_reads_back() {
        let key: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8 + 7).unwrap());
        let line = key_line(&key);
        assert_eq!(*line, *format!("{}\n", hex::encode(key)).as_bytes());
        let read = parse_key(&line[..], |bytes| Ok(*bytes)).unwrap();
        assert_eq!(read, key);
    }

    #[test]
    fn of_several_that_write_one_key_file_at_once_only_one_does() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = folder.path().join(format!("key {round}"));
            let start = std::sync::Barrier::new(8);
            let write = |n| {
                start.wait();
                write_key(&path, &[n; 32], Readers::Owner, false).is_ok().then_some(n)
            };
            let written: Vec<_> = std::thread::scope(|scope| {
                let writers: Vec<_> = (1..=8)
                    .map(|n| {
                        scope.spawn({
                            let write = &write;
                            move || write(n)
                        })
                    })
                    .collect();
                writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
            });
            let [winner] = written[..] else { panic!("{written:?} were written") };
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", hex::encode([winner; 32])));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 20, "nothing else is left");
    }
}
