//! What opens the vault: files, credentials, variables, and people at the terminal.

use anyhow::{Context, anyhow, bail, ensure};
use e4_keyserver::vault::{Unlock, read_key};
use serde::Deserialize;
use std::{
    env, fmt, fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::Zeroizing;

/// What a file with a key or a passphrase may be long, in bytes.
const MAX_LEN: u64 = 4096;

/// Where something is that opens a slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Source {
    KeyFile(PathBuf),
    /// A key file that systemd puts into `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    Environment(String),
    PassphraseFile(PathBuf),
    /// At the terminal.
    Passphrase,
}

impl FromStr for Source {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        Ok(match (kind, name.is_empty()) {
            ("passphrase", true) => Self::Passphrase,
            ("key-file", false) => Self::KeyFile(name.into()),
            ("credential", false) => {
                ensure!(!name.contains('/'), "a credential is a name, and no path");
                Self::Credential(name.to_owned())
            }
            ("env", false) => Self::Environment(name.to_owned()),
            ("passphrase-file", false) => Self::PassphraseFile(name.into()),
            _ => bail!(
                "`{kind}` is not one of key-file:PATH, credential:NAME, env:NAME, passphrase-file:PATH and passphrase"
            ),
        })
    }
}

impl TryFrom<String> for Source {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile(path) => write!(f, "key-file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::PassphraseFile(path) => write!(f, "passphrase-file:{}", path.display()),
            Self::Passphrase => f.write_str("passphrase"),
        }
    }
}

impl Source {
    pub(crate) fn resolve(&mut self, folder: &Path) {
        if let Self::KeyFile(path) | Self::PassphraseFile(path) = self {
            *path = folder.join(&*path);
        }
    }

    /// Reads it; at the terminal once.
    pub(crate) fn read(&self) -> anyhow::Result<Unlock> {
        self.read_asking(false)
    }

    /// Reads what is to open a new slot; at the terminal twice, since a mistyped one would never open it.
    pub(crate) fn read_new(&self) -> anyhow::Result<Unlock> {
        self.read_asking(true)
    }

    fn read_asking(&self, twice: bool) -> anyhow::Result<Unlock> {
        let unlock = match self {
            Self::KeyFile(path) => read_file(path).and_then(|bytes| Ok(Unlock::KeyFile(read_key(&bytes)?))),
            Self::Credential(name) => credential(name)
                .and_then(|path| read_file(&path))
                .and_then(|bytes| Ok(Unlock::KeyFile(read_key(&bytes)?))),
            Self::Environment(name) => env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| anyhow!("the variable is not set"))
                .and_then(|text| Ok(Unlock::Environment(read_key(text.as_bytes())?))),
            Self::PassphraseFile(path) => read_file(path).and_then(|bytes| {
                let text = str::from_utf8(&bytes).map_err(|_shows_a_part| anyhow!("it is no text in UTF-8"))?;
                Ok(Unlock::Passphrase(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
            }),
            Self::Passphrase => ask(twice).map(Unlock::Passphrase),
        };
        unlock.with_context(|| self.to_string())
    }

    /// Whether it is there, in words.
    pub(crate) fn state(&self) -> String {
        match self {
            Self::Passphrase => "is asked for at start".to_owned(),
            source => match source.read() {
                Ok(_) => "can be read".to_owned(),
                Err(error) => format!("cannot be read: {}", error.root_cause()),
            },
        }
    }
}

fn credential(name: &str) -> anyhow::Result<PathBuf> {
    let folder =
        env::var_os("CREDENTIALS_DIRECTORY").context("CREDENTIALS_DIRECTORY is not set: this is not run by systemd")?;
    Ok(Path::new(&folder).join(name))
}

pub(crate) fn read_file(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let file = fs::File::open(path)?;
    check_mode(&file)?;
    // Room for all of it: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_LEN + 1).unwrap_or(4097)));
    file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    ensure!(u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_LEN), "it is longer than {MAX_LEN} bytes");
    Ok(bytes)
}

#[cfg(unix)]
fn check_mode(file: &fs::File) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode();
    ensure!(mode & 0o027 == 0, "others can read or replace it: `chmod 600` changes that");
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &fs::File) -> anyhow::Result<()> {
    Ok(())
}

fn ask(twice: bool) -> anyhow::Result<Zeroizing<String>> {
    ensure!(io::stdin().is_terminal(), "there is no terminal to ask for the passphrase at");
    let prompt = |text| rpassword::prompt_password(text).map(Zeroizing::new).context("could not read it");
    let passphrase = prompt("Passphrase of the vault: ")?;
    if twice {
        ensure!(*passphrase == *prompt("The same again: ")?, "the two passphrases are not the same");
    }
    Ok(passphrase)
}
