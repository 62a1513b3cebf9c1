//! Keys in files.
//!
//! A key file is one line: 64 hexadecimal digits, and before them which key they are. A line without that is a symmetric key
//! (of a client, a topic or a subtree, or for a state file), as other programs write it.
//!
//! ```text
//! 71aa…
//! root 9c02…
//! ed25519-secret 5e31…
//! ed25519-public d75a…
//! x25519-secret c204…
//! x25519-public 8520…
//! ```
//!
//! So no key is taken for another, whatever its file is called: half of all secrets would pass for a public key of one kind
//! and all for one of the other, and be shown to everybody. Files of secrets have mode 0600, those of public keys 0644.

use crate::{
    source::Source,
    whole_file::{NewFile, check_free, folder_of},
};
use anyhow::{Context, bail, ensure};
use e4::{
    C2PublicKey, C2SecretKey, ClientKey, KeyError, RootKey, SigningKey, StorageKey, SubtreeKey, TopicKey, VerifyingKey,
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// What a key file may be long, in bytes, with some room for comfort.
const MAX_LEN: usize = 4096;

/// Which key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Symmetric,
    Root,
    Ed25519Secret,
    Ed25519Public,
    X25519Secret,
    X25519Public,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Symmetric, Self::Root, Self::Ed25519Secret, Self::Ed25519Public, Self::X25519Secret, Self::X25519Public];

    /// The word before the digits; empty if there is none.
    const fn word(self) -> &'static str {
        match self {
            Self::Symmetric => "",
            Self::Root => "root",
            Self::Ed25519Secret => "ed25519-secret",
            Self::Ed25519Public => "ed25519-public",
            Self::X25519Secret => "x25519-secret",
            Self::X25519Public => "x25519-public",
        }
    }

    const fn is_public(self) -> bool {
        matches!(self, Self::Ed25519Public | Self::X25519Public)
    }

    /// As messages name it.
    const fn in_words(self) -> &'static str {
        match self {
            Self::Symmetric => "a symmetric key (of a client, a topic or a state file)",
            Self::Root => "a root key",
            Self::Ed25519Secret => "the secret Ed25519 key of a client",
            Self::Ed25519Public => "the public Ed25519 key of a client",
            Self::X25519Secret => "the secret X25519 key of a key server",
            Self::X25519Public => "the public X25519 key of a key server",
        }
    }

    /// The other half of its pair.
    const fn other_half(self) -> Option<Self> {
        match self {
            Self::Symmetric | Self::Root => None,
            Self::Ed25519Secret => Some(Self::Ed25519Public),
            Self::Ed25519Public => Some(Self::Ed25519Secret),
            Self::X25519Secret => Some(Self::X25519Public),
            Self::X25519Public => Some(Self::X25519Secret),
        }
    }

    /// Why a key of this kind is not to be used where one of another is needed.
    fn is_not(self, needed: Self) -> String {
        let (is, needs) = (self.in_words(), needed.in_words());
        let advice = match self {
            _ if self.other_half() == Some(needed) && needed.is_public() => {
                ": name the file of its public half".to_owned()
            }
            _ if self.other_half() == Some(needed) => ": name the file of its secret half".to_owned(),
            Self::Symmetric => {
                format!(
                    "; it says nothing before its digits, as a symmetric key does: if it is {needs}, write {} and a space there",
                    needed.word()
                )
            }
            _ => String::new(),
        };
        format!("this is {is}, and {needs} is needed{advice}")
    }
}

/// A key that can be read from a file.
pub(crate) trait FileKey: Sized {
    const KIND: Kind;
    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError>;
}

macro_rules! file_keys {
    ($($key:ident $from:ident $kind:ident),* $(,)?) => {$(
        impl FileKey for $key {
            const KIND: Kind = Kind::$kind;
            fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
                $key::$from(bytes)
            }
        }
    )*};
}

file_keys! {
    ClientKey from_bytes Symmetric,
    TopicKey from_bytes Symmetric,
    SubtreeKey from_bytes Symmetric,
    StorageKey from_bytes Symmetric,
    RootKey from_bytes Root,
    SigningKey from_seed Ed25519Secret,
    VerifyingKey from_bytes Ed25519Public,
    C2SecretKey from_bytes X25519Secret,
    C2PublicKey from_bytes X25519Public,
}

impl Source {
    /// Reads a key. No error shows any of it.
    pub(crate) fn key<K: FileKey>(&self) -> anyhow::Result<K> {
        let text = if K::KIND.is_public() { self.bytes(MAX_LEN) } else { self.secret_bytes(MAX_LEN) }?;
        parse(&text).with_context(|| self.to_string())
    }
}

fn parse<K: FileKey>(text: &[u8]) -> anyhow::Result<K> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (word, digits) = match (words.next(), words.next(), words.next()) {
        (Some(digits), None, None) => (&b""[..], digits),
        (Some(word), Some(digits), None) => (word, digits),
        _ => bail!("a key is one line with 64 hexadecimal digits, and before them which key it is"),
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.word().as_bytes() == word);
    let kind = kind.context("before the digits of a key is a word that names no kind of key")?;
    ensure!(digits.len() == 64, "a key is 64 hexadecimal digits, and here are {} characters", digits.len());
    let mut key = Zeroizing::new([0; 32]);
    // Its own error would show a character.
    if hex::decode_to_slice(digits, &mut *key).is_err() {
        bail!("a key is 64 hexadecimal digits, and here are other characters as well");
    }
    ensure!(kind == K::KIND, kind.is_not(K::KIND));
    Ok(K::from_bytes(&key)?)
}

/// The name of the public half.
pub(crate) fn with_pub(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".pub");
    name.into()
}

/// Writes a key file, whole or not at all. An existing one is replaced only with `force`.
pub(crate) fn write_key(path: &Path, kind: Kind, key: &[u8; 32], force: bool) -> anyhow::Result<()> {
    check_free(path, force)?;
    let written = fs::symlink_metadata(path).or_else(|_| fs::metadata(folder_of(path))).and_then(|owner| {
        let mode = if kind.is_public() { 0o644 } else { 0o600 };
        // Whoever sends the key next relies on finding it here after a power failure.
        NewFile { path, mode, owner, replaces: force, to_the_disk: true }.write(&line(kind, key))
    });
    written.with_context(|| format!("could not write {}", path.display()))
}

/// Writes a key to standard output, which its user asked for.
pub(crate) fn print_key(kind: Kind, key: &[u8; 32]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line(kind, key))?;
    Ok(stdout.flush()?)
}

fn line(kind: Kind, key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let word = kind.word();
    // All that it will have, so that it does not move and leave a copy.
    let mut line = Zeroizing::new(Vec::with_capacity(word.len() + 66));
    line.extend(word.bytes());
    line.extend((!word.is_empty()).then_some(b' '));
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    line.extend(key.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a line as each kind of key, and returns as which it was taken.
    fn taken_as(line: &[u8]) -> Vec<Kind> {
        fn one<K: FileKey>(line: &[u8]) -> Option<Kind> {
            parse::<K>(line).is_ok().then_some(K::KIND)
        }
        let all = [
            one::<TopicKey>(line),
            one::<RootKey>(line),
            one::<SigningKey>(line),
            one::<VerifyingKey>(line),
            one::<C2SecretKey>(line),
            one::<C2PublicKey>(line),
        ];
        all.into_iter().flatten().collect()
    }

    #[test]
    fn f44_a_key_is_taken_for_what_its_line_says_and_for_nothing_else() {
        // A public key of all kinds, and so a secret one.
        let key = *SigningKey::from_seed(&[5; 32]).unwrap().verifying_key().as_bytes();
        for kind in Kind::ALL {
            let written = line(kind, &key);
            assert_eq!(taken_as(&written), [kind], "{kind:?}");
            let text = str::from_utf8(&written).unwrap();
            for same in [text.trim_end().to_owned(), format!(" {text}\r\n"), text.replace(' ', "\t ")] {
                assert_eq!(taken_as(same.as_bytes()), [kind], "{same:?}");
            }
            for bad in [
                text.to_uppercase().replace(&hex::encode_upper(key), &hex::encode(key)),
                text.replace(&hex::encode(key), ""),
                format!("{text}{text}"),
                format!("x{text}"),
                format!("secret {text}"),
                text.replacen(char::is_numeric, "g", 99),
            ] {
                let is_the_same = bad == text;
                assert!(is_the_same || taken_as(bad.as_bytes()).is_empty(), "{bad:?}");
            }
        }
        assert_eq!(*line(Kind::Symmetric, &key), format!("{}\n", hex::encode(key)).into_bytes());
    }

    #[test]
    fn of_several_that_write_one_key_file_at_once_only_one_does() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = folder.path().join(format!("key {round}"));
            let start = std::sync::Barrier::new(8);
            let write = |n| {
                start.wait();
                write_key(&path, Kind::Symmetric, &[n; 32], false).is_ok().then_some(n)
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
