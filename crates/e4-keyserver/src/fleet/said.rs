//! What a device said of itself last, as it is stored and shown.

use e4::controller::Report;
use serde::{Deserialize, Serialize};

/// What the last accepted report of a device says, apart from what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// When it was made, by the device's time; 0: it does not know.
    pub sent: u64,
    /// The second that the newest command carries that it took; 0: it took none.
    pub newest: u64,
    /// Why it refused a command, if it did since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How many keys of topics and subtrees it holds.
    pub topics: u32,
    /// How many more it has room for, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<u32>,
    /// Whether it knows next keys, `ReplaceTopicKey` and `SetTime`.
    pub knows_next_keys: bool,
    /// Whether it has a clock of its own.
    pub has_clock: bool,
    /// Whether a command waits with it because it could not be stored.
    pub command_waits: bool,
}

impl From<&Report> for Said {
    fn from(report: &Report) -> Self {
        Self {
            sent: report.sent.as_unix(),
            newest: report.newest.as_unix(),
            refused: report.refused.map(|refused| refused.why.to_string()),
            topics: report.topics,
            room: report.room,
            knows_next_keys: report.knows_next_keys,
            has_clock: report.has_clock,
            command_waits: report.command_waits,
        }
    }
}
