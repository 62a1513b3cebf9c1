/// What a key version is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyRole {
    /// Members open under it already; nobody seals under it yet.
    Next,
    /// Members seal under it.
    Current,
    /// It was current or next once.
    Retired,
}

impl KeyRole {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Next, Self::Current, Self::Retired];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Next => 0,
            Self::Current => 1,
            Self::Retired => 2,
        }
    }

    /// From the number that is stored.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }

    /// As it is written in the API and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retired => "retired",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Why a key version was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The topic is new.
    New,
    /// Somebody asked for it.
    Asked,
    /// Somebody lost access.
    Left,
    /// A device that could read it was withdrawn.
    Withdrawn,
    /// Somebody was given access, and is not to read what came before.
    Joined,
    /// A rule or a schedule.
    Rule,
    /// It was in use before this server.
    Imported,
}

impl Reason {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] =
        [Self::New, Self::Asked, Self::Left, Self::Withdrawn, Self::Joined, Self::Rule, Self::Imported];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::New => 0,
            Self::Asked => 1,
            Self::Left => 2,
            Self::Withdrawn => 3,
            Self::Joined => 4,
            Self::Rule => 5,
            Self::Imported => 6,
        }
    }

    /// From the number that is stored.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }

    /// As it is written in the API and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new topic",
            Self::Asked => "asked for",
            Self::Left => "member left",
            Self::Withdrawn => "device withdrawn",
            Self::Joined => "member joined",
            Self::Rule => "rule",
            Self::Imported => "imported",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}
