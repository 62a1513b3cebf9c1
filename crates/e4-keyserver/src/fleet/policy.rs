//! How long what is waited for. All times are in seconds.

use serde::{Deserialize, Serialize};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What holds for the fleet unless a topic or a group says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long a lossless rotation waits in its first phase for those that were seen lately.
    pub lossless_wait: i64,
    /// Seen lately is who reported within this time.
    pub seen_lately: i64,
    /// After this time an order ends without those that have not confirmed it.
    pub give_up: i64,
    /// Who has not confirmed after this time is late.
    pub late: i64,
    /// Who was silent for this long is dormant, and is no longer waited for.
    pub dormant: i64,
    /// Who was silent for this long is lapsed: keys rotate without it.
    pub lapsed: i64,
    /// Whether one that lapsed still gets everything at its next report.
    pub lapsed_come_back: bool,
    /// What happens to a topic when somebody loses it.
    pub on_leave: Leave,
    /// Those who leave within this time make one rotation.
    pub leave_window: i64,
    /// The shortest time between two rotations of one topic that nobody asked for.
    pub between_rotations: i64,
    /// Client keys move on after a rotation, and not sooner than this after the last time; 0: not by themselves.
    pub client_keys: i64,
    /// A clock that jumped further than this since the server last looked makes it hold.
    pub clock_jump: i64,
    /// More devices than these that took commands of another server make this one hold.
    pub most_ahead: i64,
    /// How long the audit is kept; 0: for ever.
    pub audit_kept: i64,
    /// How long an invitation can be used, unless it says otherwise.
    pub invitation: i64,
}

/// What happens to a topic when somebody loses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Leave {
    /// A new key at once, and the one before opens nothing any more.
    #[default]
    Hard,
    /// A new key at once; the one before opens for an hour more.
    Soft,
    /// A new key in two phases: who left reads on until the second.
    Lossless,
    /// Nothing: who left keeps reading until somebody rotates.
    Nothing,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lossless_wait: HOUR,
            seen_lately: DAY,
            give_up: 30 * DAY,
            late: HOUR,
            dormant: 30 * DAY,
            lapsed: 180 * DAY,
            lapsed_come_back: true,
            on_leave: Leave::Hard,
            leave_window: 10,
            between_rotations: MINUTE,
            client_keys: DAY,
            clock_jump: DAY,
            most_ahead: 3,
            audit_kept: 400 * DAY,
            invitation: DAY,
        }
    }
}

/// What a topic has otherwise than the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct TopicPolicy {
    /// It gets a new key this often. Kept for the rules; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_every: Option<i64>,
    /// [`Policy::lossless_wait`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lossless_wait: Option<i64>,
    /// [`Policy::on_leave`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_leave: Option<Leave>,
    /// Whether a device that joins makes a rotation, so that it does not read what came before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rotate_on_join: bool,
}

/// What the devices of a group have otherwise than the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct GroupPolicy {
    /// [`Policy::late`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<i64>,
    /// [`Policy::dormant`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dormant: Option<i64>,
    /// [`Policy::lapsed`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<i64>,
}
