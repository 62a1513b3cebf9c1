//! What a broker does about what a client does, right or wrong.

use serde::{Deserialize, Serialize};

/// What the broker did about something.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reaction {
    /// It went through as if it were right.
    Accepted {
        /// The packet that says so, and its code: `SUBACK 0x01`.
        by: String,
    },
    /// It said no.
    Refused {
        /// The packet that says so, and its code: `SUBACK 0x80`, `DISCONNECT 0x81`.
        by: String,
    },
    /// It closed the connection without a word.
    Closed,
    /// It went on as if nothing had come.
    Ignored,
    /// It cannot be said.
    Unclear {
        /// Why.
        reason: String,
    },
}

impl Reaction {
    /// Whether the broker turned it down, in words or by closing.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Closed)
    }

    /// Whether it went through.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }
}

/// Something that the standard forbids, and that is tried.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// A PUBLISH with both QoS bits set.
    PublishQos3,
    /// A SUBSCRIBE that asks for QoS 3.
    SubscribeQos3,
    /// The filter `A+`, whose wildcard is not a level of its own.
    InvalidFilter,
    /// The bytes C3 28, which begin a sequence and do not go on, in a filter.
    Utf8Truncated,
    /// C0 AF, a slash in more bytes than it needs, in a filter.
    Utf8Overlong,
    /// ED A0 80, half of a surrogate pair, in a filter.
    Utf8Surrogate,
    /// The character U+0000 in a filter.
    Utf8Null,
    /// A SUBSCRIBE whose reserved flag bits are not 0010.
    ReservedFlags,
    /// A second CONNECT on one connection.
    SecondConnect,
    /// An empty client id without clean session. MQTT 3.1.1 only; MQTT 5 allows it.
    EmptyIdWithoutCleanSession,
    /// A message on a topic that begins with `$`, to who has subscribed to `#`. A topic of our own: `$mqttinfo/…`.
    /// Only among the probes that write.
    WildcardDollar,
}

impl Oddity {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PublishQos3,
        Self::SubscribeQos3,
        Self::InvalidFilter,
        Self::Utf8Truncated,
        Self::Utf8Overlong,
        Self::Utf8Surrogate,
        Self::Utf8Null,
        Self::ReservedFlags,
        Self::SecondConnect,
        Self::EmptyIdWithoutCleanSession,
        Self::WildcardDollar,
    ];

    /// Its name in the JSON form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PublishQos3 => "publish_qos3",
            Self::SubscribeQos3 => "subscribe_qos3",
            Self::InvalidFilter => "invalid_filter",
            Self::Utf8Truncated => "utf8_truncated",
            Self::Utf8Overlong => "utf8_overlong",
            Self::Utf8Surrogate => "utf8_surrogate",
            Self::Utf8Null => "utf8_null",
            Self::ReservedFlags => "reserved_flags",
            Self::SecondConnect => "second_connect",
            Self::EmptyIdWithoutCleanSession => "empty_id_without_clean_session",
            Self::WildcardDollar => "wildcard_dollar",
        }
    }
}

/// Flows of QoS 1 and 2.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// PUBLISH of QoS 1: PUBACK, or what came instead. Nobody has subscribed to the topic.
    pub qos1_in: Reaction,
    /// PUBLISH of QoS 2: PUBREC and PUBCOMP.
    pub qos2_in: Reaction,
    /// The highest QoS at which a message came back from the broker, all its packets exchanged.
    pub qos_out: Option<u8>,
}

/// What happens to a connection whose client id a second one uses.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// By one like it. `Closed` or `Refused` (DISCONNECT): the first is thrown out, as the standard says.
    pub by_like: Reaction,
    /// By one without credentials, of a session that was made with credentials. Only if both may connect.
    pub by_stranger: Option<Reaction>,
}
