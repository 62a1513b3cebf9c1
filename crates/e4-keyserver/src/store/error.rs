//! What a database fails with.

use std::fmt;

/// What a database fails with, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    kind: StoreErrorKind,
    detail: String,
}

/// Kinds of failures of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached, or went away: the same may work later.
    Unavailable,
    /// There is no room on its disk.
    Full,
    /// A row like this is there already.
    Taken,
    /// Another transaction stood in the way: the same may work if it is begun anew.
    Busy,
    /// It is of a newer program.
    Newer,
    /// Statement, value or address are wrong, or the database holds what this program does not write.
    Wrong,
}

impl StoreErrorKind {
    pub(crate) fn because(self, detail: impl Into<String>) -> StoreError {
        StoreError { kind: self, detail: detail.into() }
    }
}

impl StoreError {
    /// Of which kind.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same may work if it is begun anew at once.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Busy)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for StoreError {}
