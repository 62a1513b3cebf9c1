use serde::{Deserialize, Serialize};

/// Where a device stands, as a person sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Standing {
    /// Its last report says that it holds what it should.
    Confirmed,
    /// Commands are on their way.
    UnderWay,
    /// It was sent what it lacks, and has not answered yet.
    Waiting,
    /// It has been silent for longer than such a device should be.
    Late,
    /// It has been silent for so long that nobody waits for it any more.
    Dormant,
    /// It has been silent for so long that keys are changed without it.
    Lapsed,
    /// It does not report: what it was sent is never confirmed.
    Unconfirmed,
    /// It has no room for all the keys that it is to have.
    NoRoom,
    /// It could not store what it was sent.
    CannotStore,
    /// It refuses what it was sent.
    Refuses,
    /// It reports in a later version of the protocol.
    NotUnderstood,
    /// It took commands that this server does not know of: another server sends as well, or this one goes on from an old copy
    /// of its database. Nothing is sent to it until somebody says so.
    Ahead,
    /// What it holds is not known, and it is being given everything anew.
    Unknown,
    /// What arrives on its report topic does not open: somebody else writes there, or it has another key.
    OtherKey,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Confirmed,
        Self::UnderWay,
        Self::Waiting,
        Self::Late,
        Self::Dormant,
        Self::Lapsed,
        Self::Unconfirmed,
        Self::NoRoom,
        Self::CannotStore,
        Self::Refuses,
        Self::NotUnderstood,
        Self::Ahead,
        Self::Unknown,
        Self::OtherKey,
    ];

    /// As it is stored, and written in the API and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::UnderWay => "under way",
            Self::Waiting => "waiting",
            Self::Late => "late",
            Self::Dormant => "dormant",
            Self::Lapsed => "lapsed",
            Self::Unconfirmed => "never confirmed",
            Self::NoRoom => "no room",
            Self::CannotStore => "cannot store",
            Self::Refuses => "refuses",
            Self::NotUnderstood => "not understood",
            Self::Ahead => "ahead",
            Self::Unknown => "unknown",
            Self::OtherKey => "other key",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// Whether a person is needed: it does not come right by itself when the device is there.
    #[must_use]
    pub const fn needs_a_person(self) -> bool {
        match self {
            Self::Confirmed | Self::UnderWay | Self::Waiting | Self::Dormant | Self::Unconfirmed | Self::Unknown => {
                false
            }
            Self::Late
            | Self::Lapsed
            | Self::NoRoom
            | Self::CannotStore
            | Self::Refuses
            | Self::NotUnderstood
            | Self::Ahead
            | Self::OtherKey => true,
        }
    }

    /// What it means, and what to do, in a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Confirmed => "its last report says that it holds what it should",
            Self::UnderWay => "commands are on their way to it",
            Self::Waiting => "it was sent what it lacks, and has not answered yet; it is sent to again until it does",
            Self::Late => "it has been silent for long: see whether it has power and a connection",
            Self::Dormant => {
                "it has been silent for so long that nobody waits for it; it gets all it lacks when it reports"
            }
            Self::Lapsed => {
                "keys are changed without it: it gets them when it reports; withdraw it if it is gone for good"
            }
            Self::Unconfirmed => "it does not report, so whether it has what it was sent is not known",
            Self::NoRoom => "it has no room for all its keys: take some of its access away, or use a subtree",
            Self::CannotStore => "it could not store what it was sent: see to its disk",
            Self::Refuses => "it refuses what it was sent: see its report for the reason, and update its software",
            Self::NotUnderstood => "it reports in a later version than this server knows: update the server",
            Self::Ahead => {
                "it took commands that this server did not send: stop the other server, or release this one if its database was restored"
            }
            Self::Unknown => "what it holds fits nothing that is known: it is being given everything anew",
            Self::OtherKey => {
                "what arrives on its report topic does not open under its key: check who may write there, or enrol it anew"
            }
        }
    }

    /// Where a device stands that was silent for so many seconds while something is to be confirmed.
    #[must_use]
    pub const fn of_silence(seconds: i64, limits: &Limits) -> Self {
        if seconds >= limits.lapsed {
            Self::Lapsed
        } else if seconds >= limits.dormant {
            Self::Dormant
        } else if seconds >= limits.late {
            Self::Late
        } else {
            Self::Waiting
        }
    }
}

/// After how many seconds of silence a device stands differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// It is listed.
    pub late: i64,
    /// It is not waited for.
    pub dormant: i64,
    /// Keys are changed without it.
    pub lapsed: i64,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: i64 = 86_400;
        Self { late: DAY, dormant: 30 * DAY, lapsed: 180 * DAY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for standing in Standing::ALL {
            assert_eq!(Standing::from_word(standing.word()), Some(standing));
        }
        assert_eq!(Standing::from_word("fine"), None);
    }

    #[test]
    fn silence_has_a_name_from_each_limit_on() {
        let limits = Limits { late: 10, dormant: 20, lapsed: 30 };
        let names = [0, 9, 10, 19, 20, 29, 30].map(|seconds| Standing::of_silence(seconds, &limits).word());
        assert_eq!(names, ["waiting", "waiting", "late", "late", "dormant", "dormant", "lapsed"]);
    }
}
