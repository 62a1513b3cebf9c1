use std::fmt;

/// Why the vault did not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultError {
    /// The operating system gives no random bytes.
    NoRandomness,
    /// What was given opens this slot not: a wrong passphrase or another key.
    WrongKey {
        /// The slot.
        slot: String,
    },
    /// No slot has this name, or none is of the kind that was given.
    NoSlot {
        /// What was looked for.
        wanted: String,
    },
    /// A slot has parameters that no program of this kind wrote, or whose work is out of bounds.
    BadSlot {
        /// The slot.
        slot: String,
        /// What about it.
        reason: String,
    },
    /// The slot opens, and another root key is in it than the one that the database is sealed with.
    OtherRoot {
        /// The root key that the database names.
        expected: String,
        /// The one that was found.
        found: String,
    },
    /// A sealed value is not what was once sealed at this place.
    NotAuthentic {
        /// Table, column and version.
        place: String,
    },
    /// A sealed value is under a root key that is not open.
    UnknownRoot {
        /// Table, column and version.
        place: String,
    },
    /// A sealed value is no key of 32 bytes.
    NotAKey,
    /// The database has no vault, or only a part of one.
    Incomplete {
        /// What is missing.
        missing: &'static str,
    },
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRandomness => f.write_str("the operating system gives no random bytes"),
            Self::WrongKey { slot } => {
                write!(f, "slot `{slot}` does not open with this: another passphrase or key is needed")
            }
            Self::NoSlot { wanted } => write!(f, "there is no slot {wanted}: `slots list` shows those there are"),
            Self::BadSlot { slot, reason } => write!(f, "slot `{slot}` cannot be used: {reason}"),
            Self::OtherRoot { expected, found } => write!(
                f,
                "the database is sealed with root key {expected}, and the slot holds {found}: slots and database do not belong together"
            ),
            Self::NotAuthentic { place } => {
                write!(
                    f,
                    "{place} was changed, moved or put back outside of the key server: what is sealed there does not open"
                )
            }
            Self::UnknownRoot { place } => {
                write!(
                    f,
                    "{place} is sealed with a root key that is not open: start the key server anew, or run `rekey` to its end"
                )
            }
            Self::NotAKey => {
                f.write_str("a key is 32 bytes, as they are, as 64 hexadecimal digits, or in base64; not all zero")
            }
            Self::Incomplete { missing } => write!(f, "the database holds no {missing}: `init` makes a new one"),
        }
    }
}

impl std::error::Error for VaultError {}
