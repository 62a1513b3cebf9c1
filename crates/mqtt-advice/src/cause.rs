//! What keeps a connection from being made, in a sentence, and what to do about it.

use crate::{certificate::Distrust, failure::Failure};
use rustls::AlertDescription;
use std::{fmt, io};

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, whose protocol level is 4.
    V3_1_1,
    /// MQTT 5.
    V5,
}

impl Version {
    /// The byte in CONNECT.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V3_1_1 => 4,
            Self::V5 => 5,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::V3_1_1 => Self::V5,
            Self::V5 => Self::V3_1_1,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1_1 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5",
        })
    }
}

/// Why a connection is not made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// There is no connection of TCP.
    NoConnection(io::Error),
    /// What listens takes connections and says nothing.
    Silent,
    /// What listens closes the connection, whatever is said to it.
    Closes,
    /// The port speaks TLS, and was spoken to in the clear.
    WantsTls,
    /// The port speaks MQTT in the clear, and was spoken to in TLS.
    NoTls,
    /// Something else than a broker listens: what it looks like.
    NotMqtt(&'static str),
    /// The broker's certificate cannot be trusted: all that is wrong with it.
    Certificate(Vec<Distrust>),
    /// The broker wants a client certificate, and there was none to show.
    NoClientCertificate,
    /// The broker does not take the client certificate that was shown; its word, if it said one.
    ClientCertificate(Option<AlertDescription>),
    /// There is no TLS with it for another reason.
    Tls(Failure),
    /// The host is no name that a certificate can have.
    NoCertificateName,
    /// The broker does not speak the version of MQTT that was asked for, but this one, if any.
    Version {
        /// What was asked for.
        asked: Version,
        /// What it speaks.
        speaks: Option<Version>,
    },
    /// The broker refuses who shows no credentials, with this code of CONNACK.
    WantsCredentials(u8),
    /// The broker refuses a client of no special kind, with this code of CONNACK.
    Refuses(u8),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => f.write_str("nothing listens on this port (connection refused)"),
                io::ErrorKind::TimedOut => f.write_str("no answer in time (TCP)"),
                _ => write!(f, "no connection ({error})"),
            },
            Self::Silent => f.write_str("what listens there says nothing, neither in MQTT nor in TLS"),
            Self::Closes => f.write_str("what listens there closes the connection without a word"),
            Self::WantsTls => f.write_str("this port speaks TLS"),
            Self::NoTls => f.write_str("this port speaks MQTT without TLS"),
            Self::NotMqtt(what) => write!(f, "what answers there is no MQTT broker, but looks like {what}"),
            Self::Certificate(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                write!(f, "the broker's certificate cannot be trusted: {}", problems.join("; "))
            }
            Self::NoClientCertificate => f.write_str("the broker wants a client certificate"),
            Self::ClientCertificate(Some(alert)) => {
                write!(f, "the broker does not take the client certificate: {}", certificate_alert(*alert))
            }
            Self::ClientCertificate(None) => f.write_str("the broker does not take the client certificate"),
            Self::Tls(failure) => failure.fmt(f),
            Self::NoCertificateName => f.write_str("the host is no name that a certificate can have"),
            Self::Version { asked, speaks: Some(speaks) } => write!(f, "the broker speaks {speaks}, and not {asked}"),
            Self::Version { asked, speaks: None } => write!(f, "the broker does not speak {asked}"),
            Self::WantsCredentials(code) => write!(f, "the broker refuses who shows no credentials (0x{code:02x})"),
            Self::Refuses(code) => write!(f, "the broker refuses the connection ({})", code_in_words(*code)),
        }
    }
}

impl Cause {
    /// What to do about it. Options are named as mosquitto's tools, `e4` and `mqttinfo` name them.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::NoConnection(_) => "check that the broker runs there, and the host (-h) and the port (-p)".to_owned(),
            Self::Silent | Self::Closes => {
                "check the port (-p): 1883 is usual for MQTT, and 8883 for MQTT in TLS".to_owned()
            }
            Self::WantsTls => {
                "use --cafile with the certificate authority of the broker, or --tls for those that the system trusts"
                    .to_owned()
            }
            Self::NoTls => {
                "leave out --tls, --cafile and --cert, or choose the broker's port for TLS (-p), usually 8883".to_owned()
            }
            Self::NotMqtt(what) if what.contains("HTTP") => {
                "choose another port (-p), usually 1883, or 8883 with TLS; if this is a broker's port for WebSocket, its \
                 port for MQTT over TCP"
                    .to_owned()
            }
            Self::NotMqtt(_) => "choose another port (-p), usually 1883, or 8883 with TLS".to_owned(),
            Self::Certificate(problems) => {
                let mut advice: Vec<_> = problems.iter().filter_map(Distrust::advice).collect();
                advice.dedup();
                return (!advice.is_empty()).then(|| advice.join("; and "));
            }
            Self::NoClientCertificate => "show one with --cert and --key".to_owned(),
            Self::ClientCertificate(_) => {
                "give the certificate (--cert) that an authority of the broker has signed, with those between the two".to_owned()
            }
            Self::NoCertificateName => "give the host (-h) by a name that is in the broker's certificate".to_owned(),
            Self::Version { speaks: Some(Version::V3_1_1), .. } => "choose it with -V 311".to_owned(),
            Self::Version { speaks: Some(Version::V5), .. } => "choose it with -V 5".to_owned(),
            Self::WantsCredentials(_) => "check the user name (-u) and the password".to_owned(),
            Self::Version { speaks: None, .. } | Self::Tls(_) | Self::Refuses(_) => return None,
        })
    }
}

fn certificate_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "no authority that it trusts has signed it (unknown_ca)".to_owned(),
        AlertDescription::CertificateExpired => "it has expired (certificate_expired)".to_owned(),
        AlertDescription::CertificateRevoked => "it was revoked (certificate_revoked)".to_owned(),
        AlertDescription::UnsupportedCertificate => "it is not made for a client (unsupported_certificate)".to_owned(),
        AlertDescription::BadCertificate | AlertDescription::DecryptError => {
            "it is not in order (bad_certificate)".to_owned()
        }
        other => format!("alert {}", u8::from(other)),
    }
}

/// Codes of CONNACK, of both versions (MQTT 3.1.1, section 3.2.2.3; MQTT 5, section 3.2.2.2).
fn code_in_words(code: u8) -> String {
    let words = match code {
        0x02 | 0x85 => "the client id is not accepted",
        0x03 | 0x88 => "the server is not available",
        0x89 => "the server is busy",
        0x8a => "banned",
        0x97 => "a quota is exceeded",
        0x9c | 0x9d => "another server is to be used",
        0x9f => "too many connections at a time",
        code => return format!("0x{code:02x}"),
    };
    format!("0x{code:02x}, {words}")
}
