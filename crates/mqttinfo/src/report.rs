//! What was seen of a broker, as data. `docs/mqttinfo.md` describes the JSON form.
//!
//! The probes fill in what they saw and judge nothing. [`findings`](crate::findings) and
//! [`fingerprint`](crate::fingerprint) are made of this alone, so that they can be made again from a stored report.

mod access;
mod connecting;
mod reactions;
mod tls;
mod verdict;

pub use access::{Access, PayloadCounts, Reading, Writing};
pub use connecting::{Answer, Connack, Level, Limits, LoginErrors, Property};
pub use reactions::{Flows, Oddity, Reaction, Takeover};
pub use tls::{Certificate, ClientCertificate, TlsReport, Trust};
pub use verdict::{Finding, ProductGuess, Severity};

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
    /// What the messages looked like that could be read.
    pub payloads: PayloadCounts,
    /// Who could read these.
    #[serde(default)]
    pub payloads_by: Reader,
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
            payloads_by: Reader::default(),
            sys: BTreeMap::new(),
            intrusive,
            incomplete: None,
            products: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The parts that are about versions of MQTT, as far as there are any.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (Level, &LevelReport)> {
        let older = self.mqtt_3_1_1.as_ref().map(|seen| (Level::V3_1_1, seen));
        let newer = self.mqtt_5.as_ref().map(|seen| (Level::V5, seen));
        older.into_iter().chain(newer)
    }

    /// The part that is about a version of MQTT, if there is one.
    pub(crate) const fn level_mut(&mut self, level: Level) -> Option<&mut LevelReport> {
        match level {
            Level::V3_1_1 => self.mqtt_3_1_1.as_mut(),
            Level::V5 => self.mqtt_5.as_mut(),
        }
    }
}

/// Who was let in.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// Who has no credentials.
    #[default]
    Stranger,
    /// Who has those that were given.
    User,
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
