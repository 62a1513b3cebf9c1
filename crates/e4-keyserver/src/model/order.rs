/// What an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OrderKind {
    /// A topic gets a new key.
    RotateTopic,
    /// A device is out, and all that it could read gets new keys.
    Withdraw,
    /// Devices get new keys of their own.
    RotateClientKeys,
    /// The server gets a new key pair.
    RotateServerKey,
}

impl OrderKind {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::RotateTopic, Self::Withdraw, Self::RotateClientKeys, Self::RotateServerKey];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::RotateTopic => 0,
            Self::Withdraw => 1,
            Self::RotateClientKeys => 2,
            Self::RotateServerKey => 3,
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
            Self::RotateTopic => "rotate topic",
            Self::Withdraw => "withdraw",
            Self::RotateClientKeys => "rotate client keys",
            Self::RotateServerKey => "rotate server key",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// How a topic gets a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RotationKind {
    /// In two phases: nobody misses a message.
    Lossless,
    /// At once; the key before opens for an hour more.
    Soft,
    /// At once, and the key before opens nothing any more.
    Hard,
}

impl RotationKind {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Lossless, Self::Soft, Self::Hard];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Lossless => 0,
            Self::Soft => 1,
            Self::Hard => 2,
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
            Self::Lossless => "lossless",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OrderState {
    /// Another order on the same topic goes first.
    Waiting,
    /// First phase of a lossless rotation: members get the next key.
    Preparing,
    /// Members get the key to seal under.
    Switching,
    /// All members that are waited for have confirmed it.
    Done,
    /// The policy's time is over; some have not confirmed it.
    GivenUp,
    /// Somebody cancelled it before anything was sent that cannot be taken back.
    Cancelled,
    /// A later order does its work.
    Overtaken,
}

impl OrderState {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Preparing, Self::Switching, Self::Done, Self::GivenUp, Self::Cancelled, Self::Overtaken];

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Preparing => 1,
            Self::Switching => 2,
            Self::Done => 3,
            Self::GivenUp => 4,
            Self::Cancelled => 5,
            Self::Overtaken => 6,
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
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Switching => "switching",
            Self::Done => "done",
            Self::GivenUp => "given up",
            Self::Cancelled => "cancelled",
            Self::Overtaken => "overtaken",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

impl OrderState {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp | Self::Cancelled | Self::Overtaken)
    }
}
