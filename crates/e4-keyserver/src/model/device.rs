/// How a device is keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mode {
    /// Its commands come under a key that it shares with the server.
    Symmetric,
    /// It signs, and its commands come under a key agreed with the server's.
    PublicKey,
}

impl Mode {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 2] = [Self::Symmetric, Self::PublicKey];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Symmetric => 0,
            Self::PublicKey => 1,
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
            Self::Symmetric => "symmetric",
            Self::PublicKey => "public-key",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Where a device stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Status {
    /// Its key is known; it was never heard.
    Enrolled,
    /// It was heard.
    Active,
    /// It is out for ever: its id is never used again.
    Withdrawn,
}

impl Status {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Enrolled, Self::Active, Self::Withdrawn];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Enrolled => 0,
            Self::Active => 1,
            Self::Withdrawn => 2,
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
            Self::Enrolled => "enrolled",
            Self::Active => "active",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}
