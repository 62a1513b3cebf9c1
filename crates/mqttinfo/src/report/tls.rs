//! What protects the connection.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
