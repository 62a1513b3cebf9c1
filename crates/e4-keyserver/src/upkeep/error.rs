use crate::{fleet::Refusal, store::StoreError, vault::VaultError};
use std::{fmt, io};

/// Why something on the server's own data was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The database.
    Store(StoreError),
    /// The vault.
    Vault(VaultError),
    /// A file that is written or read.
    File(io::Error),
    /// What is in a backup.
    Backup(String),
    /// What is in the database, or that it is not as it must be for this.
    State(String),
}

impl fmt::Display for UpkeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Vault(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::Backup(reason) => write!(f, "the backup cannot be used: {reason}"),
            Self::State(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for UpkeepError {}

impl From<StoreError> for UpkeepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for UpkeepError {
    fn from(refusal: Refusal) -> Self {
        Self::State(refusal.to_string())
    }
}

impl From<VaultError> for UpkeepError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<io::Error> for UpkeepError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}
