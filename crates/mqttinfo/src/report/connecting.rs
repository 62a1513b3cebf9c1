//! Versions of MQTT, and the answers to a CONNECT.

use serde::{Deserialize, Serialize};

/// A version of MQTT that is looked at in full.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// MQTT 3.1.1, whose protocol level is 4.
    #[serde(rename = "3.1.1")]
    V3_1_1,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
}

impl Level {
    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_1_1 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5",
        }
    }

    /// The byte in CONNECT.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::V3_1_1 => 4,
            Self::V5 => 5,
        }
    }
}

/// The answer to a CONNECT.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// A CONNACK that lets the client in.
    Accepted(Connack),
    /// A CONNACK that does not.
    Refused(Connack),
    /// The connection was closed without an answer.
    Closed,
    /// Nothing came in time.
    Silent,
    /// What came is no CONNACK: its first bytes in hexadecimal, and what they look like.
    Other {
        /// Hexadecimal, 32 bytes at most.
        bytes: String,
        /// In words.
        looks_like: String,
    },
    /// The connection could not be made.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Answer {
    /// Whether the client was let in.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// The CONNACK, if there was one.
    #[must_use]
    pub const fn connack(&self) -> Option<&Connack> {
        match self {
            Self::Accepted(connack) | Self::Refused(connack) => Some(connack),
            _ => None,
        }
    }

    /// Whether the version of MQTT is spoken: a CONNACK came, and it does not say that the version is not supported.
    #[must_use]
    pub const fn speaks(&self) -> bool {
        match self {
            Self::Accepted(_) => true,
            Self::Refused(connack) => !matches!(connack.code, 0x01 | 0x84),
            _ => false,
        }
    }
}

/// A CONNACK.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connack {
    /// The return code (3.1.1) or reason code (5).
    pub code: u8,
    /// The whole packet in hexadecimal, 512 bytes at most.
    pub bytes: String,
    /// The properties of MQTT 5 in the order in which they came: identifier and value, both in hexadecimal.
    pub properties: Vec<Property>,
    /// The client id that the broker assigned.
    pub assigned_id: Option<String>,
    /// Why it refuses, in its own words.
    pub reason: Option<String>,
}

/// A property of MQTT 5.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Its identifier (MQTT 5, section 2.2.2.2).
    pub id: u8,
    /// Its value in hexadecimal, as on the wire.
    pub value: String,
}

/// Limits that CONNACK names; the standard's default where it does not.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "the broker says them one by one")]
pub struct Limits {
    /// Seconds of keep alive that the broker dictates; the client's own if none.
    pub server_keep_alive: Option<u16>,
    /// Bytes of the largest packet that it takes; no limit if none.
    pub maximum_packet_size: Option<u32>,
    /// How many publishes of QoS 1 and 2 may be under way to it.
    pub receive_maximum: u16,
    /// Seconds that it keeps the session, where it dictates that.
    pub session_expiry: Option<u32>,
    /// How many topic aliases it takes.
    pub topic_alias_maximum: u16,
    /// The highest QoS that it takes.
    pub maximum_qos: u8,
    /// Whether it retains messages.
    pub retain_available: bool,
    /// Whether filters may have wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_identifiers: bool,
    /// Whether subscriptions may be shared.
    pub shared_subscriptions: bool,
}

/// Answers to two failing logins.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginErrors {
    /// To the given user name with a wrong password.
    pub wrong_password: Answer,
    /// To a user name that does not exist.
    pub unknown_user: Answer,
}
