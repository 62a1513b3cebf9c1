/// What somebody may do with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Looks.
    Viewer,
    /// Adds devices, and looks.
    Enroller,
    /// Changes devices, groups, topics and access, rotates and withdraws; and what an enroller may.
    Operator,
    /// Tokens and settings; and what an operator may.
    Administrator,
    /// Reads payloads, which nobody else may; nothing more.
    PayloadReader,
}

impl Role {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Enroller, Self::Operator, Self::Administrator, Self::PayloadReader];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Viewer => 0,
            Self::Enroller => 1,
            Self::Operator => 2,
            Self::Administrator => 3,
            Self::PayloadReader => 4,
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
            Self::Viewer => "viewer",
            Self::Enroller => "enroller",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
            Self::PayloadReader => "payload reader",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// Whether somebody of this role may do what another role is for.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        match self {
            Self::PayloadReader => matches!(other, Self::PayloadReader),
            Self::Administrator => !matches!(other, Self::PayloadReader),
            Self::Operator => matches!(other, Self::Operator | Self::Enroller | Self::Viewer),
            Self::Enroller => matches!(other, Self::Enroller | Self::Viewer),
            Self::Viewer => matches!(other, Self::Viewer),
        }
    }
}
