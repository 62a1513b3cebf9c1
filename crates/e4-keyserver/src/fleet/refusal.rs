//! Why something was not done.

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
        Refusal { kind: self, detail: detail.into(), faults: Vec::new() }
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        self.faults.iter().take(3).try_for_each(|fault| write!(f, "; line {}: {}", fault.line, fault.detail))
    }
}

impl std::error::Error for Refusal {}
