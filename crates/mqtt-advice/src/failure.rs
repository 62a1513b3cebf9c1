//! Why a handshake of TLS went no further.

use crate::first_bytes::connack;
use rustls::AlertDescription;
use std::fmt;

/// Why there is no more to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There was none.
    Connect(String),
    /// Nothing more came in time.
    Silent,
    /// The server ended it without a word.
    Closed,
    /// The server ended it with this word of TLS.
    Alert(AlertDescription),
    /// What came is no TLS: its first bytes.
    NotTls(Vec<u8>),
    /// The server speaks only what rustls does not.
    Incompatible(String),
    /// The server made a mistake.
    Broken(String),
    /// The time for the whole target is over.
    OutOfTime,
}

impl Failure {
    /// What came is no TLS; its beginning is kept.
    #[must_use]
    pub fn not_tls(input: &[u8]) -> Self {
        Self::NotTls(input.iter().take(32).copied().collect())
    }

    /// Whether the server may still speak TLS, just not like this.
    #[must_use]
    pub const fn may_be_tls(&self) -> bool {
        matches!(self, Self::Alert(_) | Self::Closed | Self::Incompatible(_) | Self::Broken(_))
    }

    /// Whether the server said no, in its way, and did not just take too long.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        !matches!(self, Self::Connect(_) | Self::Silent | Self::OutOfTime)
    }
}

/// A sentence for a person.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection could be made: {why}"),
            Self::Silent => f.write_str("the server did not finish the handshake in time"),
            Self::Closed => f.write_str("the server closed the connection when TLS began: it may speak no TLS"),
            Self::Alert(alert) => write!(f, "the server refused the handshake: {}", alert_in_words(*alert)),
            Self::NotTls(bytes) => write!(f, "the server speaks no TLS: {}", answers(bytes)),
            Self::Incompatible(why) => write!(f, "the server speaks only what is no longer safe: {why}"),
            Self::Broken(why) => write!(f, "the handshake failed: {why}"),
            Self::OutOfTime => f.write_str("the time for it was over"),
        }
    }
}

fn alert_in_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure => "nothing in common (handshake_failure)".to_owned(),
        AlertDescription::ProtocolVersion => "it does not speak this version (protocol_version)".to_owned(),
        AlertDescription::UnrecognisedName => "it does not know this name (unrecognized_name)".to_owned(),
        AlertDescription::InternalError => "something is wrong with it (internal_error)".to_owned(),
        AlertDescription::Unknown(number) => format!("alert {number}"),
        other => format!("alert {} ({other:?})", u8::from(other)),
    }
}

fn answers(bytes: &[u8]) -> String {
    if connack(bytes).is_some() {
        return "it answers with a CONNACK of MQTT".to_owned();
    }
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', ..] => "it answers with HTTP".to_owned(),
        [b'S', b'S', b'H', b'-', ..] => "it answers with SSH".to_owned(),
        bytes => match core::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
                format!("it answers with the text {:?}", text.trim())
            }
            _ => format!("it answers with the bytes {}", hex::encode(bytes)),
        },
    }
}
