//! Why something was not done.

use crate::{
    store::{StoreError, Transient},
    vault::VaultError,
};
use std::fmt;

/// Why something was not done, as a sentence for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of which kind.
    pub kind: RefusalKind,
    /// What is wrong, and what to do.
    pub detail: String,
    /// In which lines of a list of many, if it was one: the first of them.
    pub faults: Vec<Fault>,
    /// Whether it only met another transaction, so that the same may go well at once.
    pub(super) again: bool,
}

/// What is wrong with one line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong, and what to do.
    pub detail: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It contradicts what there is.
    Conflict,
    /// It was changed since the caller looked.
    Stale,
    /// It makes no sense, whatever there is.
    Invalid,
    /// The caller may not.
    NotAllowed,
    /// The server holds, and waits for somebody to say that it goes on.
    Held,
    /// Database or vault do not do their part now; the same request may work later.
    Unavailable,
    /// Something in the database is not as this program writes it.
    Damaged,
}

impl RefusalKind {
    /// A refusal of this kind.
    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Refusal {
        Refusal { kind: self, detail: detail.into(), faults: Vec::new(), again: false }
    }
}

impl Refusal {
    /// How many lines are told at most.
    pub const MAX_FAULTS: usize = 100;

    /// A list of which these lines are wrong: none of it was taken.
    #[must_use]
    pub fn of_lines(mut faults: Vec<Fault>) -> Self {
        let count = faults.len();
        faults.truncate(Self::MAX_FAULTS);
        let lines = if count == 1 { "1 line is".to_owned() } else { format!("{count} lines are") };
        Self {
            faults,
            ..RefusalKind::Invalid
                .because(format!("{lines} wrong, and nothing was taken: correct and send all of it again"))
        }
    }
}

impl Refusal {
    /// Something in the database that this program did not write so.
    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        RefusalKind::Damaged.because(detail)
    }

    /// Whether it lies with what was asked for, and not with the server.
    pub(super) const fn is_about_the_request(&self) -> bool {
        !matches!(self.kind, RefusalKind::Unavailable | RefusalKind::Damaged)
    }
}

impl Transient for Refusal {
    fn is_transient(&self) -> bool {
        self.again
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self { again: error.is_transient(), ..RefusalKind::Unavailable.because(error.to_string()) }
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        let kind = match error {
            VaultError::NoRandomness => RefusalKind::Unavailable,
            _ => RefusalKind::Damaged,
        };
        kind.because(error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        self.faults.iter().take(3).try_for_each(|fault| write!(f, "; line {}: {}", fault.line, fault.detail))
    }
}

impl std::error::Error for Refusal {}
