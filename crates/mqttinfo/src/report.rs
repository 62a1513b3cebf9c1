//! What was seen of a broker, as data. `docs/mqttinfo.md` describes the JSON form.
//!
//! The probes fill in what they saw and judge nothing. [`findings`](crate::findings) and
//! [`fingerprint`](crate::fingerprint) are made of this alone, so that they can be made again from a stored report.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form. A program that reads reports refuses others.
pub const SCHEMA: u32 = 1;

/// All about one target.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The target as a URL, without credentials: `mqtt://broker.example:1883`.
    pub target: String,
    /// The address that was connected to; none through a proxy.
    pub address: Option<String>,
    /// When the look began.
    pub started: jiff::Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Whether there is a broker.
    pub outcome: Outcome,
    /// MQTT 3.1, which is older than the standard: the answer to its CONNECT.
    pub mqtt_3_1: Option<Answer>,
    /// MQTT 3.1.1.
    pub mqtt_3_1_1: Option<LevelReport>,
    /// MQTT 5.
    pub mqtt_5: Option<LevelReport>,
    /// The answer to a CONNECT of a protocol level that does not exist.
    pub unknown_level: Option<Answer>,
    /// What the TLS of the target is like; none for one without TLS.
    pub tls: Option<TlsReport>,
    /// What the messages that a stranger could read looked like.
    pub payloads: PayloadCounts,
    /// What `$SYS` topics say about the product: the topics, and the text of those that name a version.
    pub sys: BTreeMap<String, Option<String>>,
    /// Whether the probes that write were run.
    pub intrusive: bool,
    /// Why not everything was looked at, if so: the time for the target was over, or it stopped answering.
    pub incomplete: Option<String>,
    /// Which products it may be, most likely first.
    pub products: Vec<ProductGuess>,
    /// What is good and bad about it.
    pub findings: Vec<Finding>,
}

impl Report {
    /// One in which nothing is known yet.
    #[must_use]
    pub fn blank(target: &crate::Target, intrusive: bool) -> Self {
        Self {
            schema: SCHEMA,
            target: target.to_string(),
            address: None,
            started: jiff::Timestamp::now(),
            seconds: 0.0,
            outcome: Outcome::Unreachable { reason: "not tried".into() },
            mqtt_3_1: None,
            mqtt_3_1_1: None,
            mqtt_5: None,
            unknown_level: None,
            tls: None,
            payloads: PayloadCounts::default(),
            sys: BTreeMap::new(),
            intrusive,
            incomplete: None,
            products: Vec::new(),
            findings: Vec::new(),
        }
    }
}

/// Whether there is a broker.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// It speaks MQTT.
    Broker,
    /// Something answers, and it is not MQTT.
    NotMqtt {
        /// What it seems to be, or what it did.
        reason: String,
    },
    /// No connection could be made, by TCP, TLS or WebSocket.
    Unreachable {
        /// Why.
        reason: String,
    },
}

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

/// What one version of MQTT showed.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LevelReport {
    /// Connecting without credentials.
    pub anonymous: Answer,
    /// Connecting with those that were given, if any.
    pub credentials: Option<Answer>,
    /// What a connection without credentials may do; none if there is no such connection.
    pub stranger: Option<Access>,
    /// What a connection with credentials may do.
    pub user: Option<Access>,
    /// Connecting with an empty client id and a clean session: the broker assigns one.
    pub empty_id: Option<Answer>,
    /// Flows of QoS 1 and 2, to the broker and back. None if nothing may be published.
    pub flows: Option<Flows>,
    /// What the broker does about what the standard forbids.
    pub oddities: BTreeMap<Oddity, Reaction>,
    /// What CONNACK says about limits. MQTT 5 only; in 3.1.1 a broker cannot say.
    pub limits: Option<Limits>,
    /// What happens to a connection whose client id another one takes.
    pub takeover: Option<Takeover>,
    /// Whether the answers to a wrong password and to an unknown user differ. Only with credentials given.
    pub login_errors: Option<LoginErrors>,
}

impl LevelReport {
    /// One in which only the answer to a stranger is known.
    #[must_use]
    pub const fn new(anonymous: Answer) -> Self {
        Self {
            anonymous,
            credentials: None,
            stranger: None,
            user: None,
            empty_id: None,
            flows: None,
            oddities: BTreeMap::new(),
            limits: None,
            takeover: None,
            login_errors: None,
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
}

impl Oddity {
    /// All of them.
    pub const ALL: [Self; 10] = [
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
        }
    }
}

/// What a connection may do.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// By filter: `#`, `+/#`, `$SYS/#`, `$share/mqttinfo/#`.
    pub read: BTreeMap<String, Reading>,
    /// Publishing to an ordinary topic with a random name, and whether it reaches a subscriber.
    pub write: Option<Writing>,
    /// Publishing below `$SYS`. Only among the probes that write.
    pub write_sys: Option<Writing>,
}

/// What a subscription brought.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The broker's word on the subscription.
    pub reaction: Reaction,
    /// Messages that came while listening.
    pub messages: u64,
    /// Of these, retained ones.
    pub retained: u64,
    /// Bytes of all payloads.
    pub bytes: u64,
    /// Different topics.
    pub topics: u64,
    /// The topics themselves with the bytes of their last payload, if asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub names: Option<BTreeMap<String, u64>>,
    /// Whether listening ended early because more came than is counted.
    pub cut_short: bool,
}

/// What publishing did.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    /// The broker's word on the message.
    pub reaction: Reaction,
    /// Whether a subscriber got it.
    pub delivered: bool,
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

/// What happens to a connection whose client id a second one uses.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// By one like it. `Closed` or `Refused` (DISCONNECT): the first is thrown out, as the standard says.
    pub by_like: Reaction,
    /// By one without credentials, of a session that was made with credentials. Only if both may connect.
    pub by_stranger: Option<Reaction>,
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

/// What the TLS of a target is like.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsReport {
    /// Versions and whether they are spoken: `1.0`, `1.1`, `1.2`, `1.3`.
    pub versions: BTreeMap<String, bool>,
    /// Suites that were accepted, by their IANA names, in the order in which they were tried.
    pub suites: Vec<String>,
    /// The chain that the server sent, its own certificate first.
    pub chain: Vec<Certificate>,
    /// Whether the system's certificate authorities, or those given, vouch for it and its name; if not, why.
    pub trust: Option<Trust>,
    /// Whether it asks for a client certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether it chose `mqtt` when that was offered by ALPN.
    pub alpn_mqtt: bool,
    /// Why nothing more is known, if so.
    pub error: Option<String>,
}

/// Whether a certificate is trusted.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trust {
    /// It is.
    Trusted,
    /// It is not.
    Untrusted {
        /// Why.
        reason: String,
    },
}

/// Whether a server wants to see a client's certificate.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificate {
    /// It does not ask.
    NotAsked,
    /// It asks, and goes on without.
    Optional,
    /// It asks, and ends the connection of who shows none.
    Required,
}

/// A certificate of a chain.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Distinguished name of whom it is for.
    pub subject: String,
    /// Distinguished name of who made it.
    pub issuer: String,
    /// DNS names and addresses that it is valid for.
    pub names: Vec<String>,
    /// Valid from.
    pub not_before: jiff::Timestamp,
    /// Valid until.
    pub not_after: jiff::Timestamp,
    /// Signed by its own key.
    pub self_signed: bool,
    /// Kind and size of its public key: `RSA 2048`, `EC 256`, `Ed25519`.
    pub key: String,
    /// How it is signed: `sha256WithRSAEncryption`.
    pub signature: String,
    /// SHA-256 of the certificate in hexadecimal.
    pub sha256: String,
}

/// What payloads look like. A message counts once.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadCounts {
    /// As E4 seals: a plausible time in front, and the rest without structure.
    pub e4: u64,
    /// Otherwise without structure: encrypted or compressed.
    pub random: u64,
    /// JSON objects and arrays.
    pub json: u64,
    /// Numbers as text.
    pub number: u64,
    /// Other text.
    pub text: u64,
    /// Binary with structure.
    pub binary: u64,
    /// Nothing.
    pub empty: u64,
}

impl PayloadCounts {
    /// All messages that were looked at.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.e4 + self.random + self.json + self.number + self.text + self.binary + self.empty
    }
}

/// A product that it may be.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductGuess {
    /// Its name.
    pub product: String,
    /// Its version, as far as it shows: `2.0.11`, `2.1 or later`.
    pub version: Option<String>,
    /// Between 0 and 1.
    pub confidence: f64,
    /// What speaks for it, and against it, in words.
    pub evidence: Vec<String>,
}

/// How bad something is.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Against the standard, or weaker than it has to be.
    Low,
    /// Helps whoever wants to do harm.
    Medium,
    /// A stranger can read or write what is not his.
    High,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Good, Self::Note, Self::Low, Self::Medium, Self::High];

    /// As it stands in JSON, and behind `--fail-on`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Something good or bad about a broker.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is looked at, the same for all brokers: `anonymous-access`.
    pub id: String,
    /// How bad it is here.
    pub severity: Severity,
    /// The versions of MQTT that show it; empty if it does not depend on them.
    pub levels: Vec<Level>,
    /// A sentence.
    pub title: String,
    /// More of it: what was seen, what follows.
    pub detail: Option<String>,
    /// How to mend it, for the product that it seems to be.
    pub remedy: Option<String>,
    /// Where the standard says so.
    pub reference: Option<String>,
}
