//! Looks at an MQTT broker from outside: who may connect, what a stranger may read and write, what the standard forbids
//! and the broker does anyway, and which product it probably is.
//!
//! ```
//! use mqttinfo::{Settings, Target, examine, report::{Outcome, Severity}, tls::TlsSettings};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // As a stranger, who trusts the authorities of this system and shows no certificate.
//! let settings = Settings::new(Arc::new(TlsSettings::load(None, None, None, false)?));
//! # // Nothing listens there.
//! # let place = "127.0.0.1:1";
//! # /*
//! let place = "mqtts://broker.example";
//! # */
//! let report = examine(&place.parse::<Target>()?, &settings).await;
//!
//! match &report.outcome {
//!     Outcome::Broker => println!("{} findings", report.findings.len()),
//!     Outcome::NotMqtt { reason } | Outcome::Unreachable { reason } => println!("no broker: {reason}"),
//! }
//! for finding in report.findings.iter().filter(|finding| finding.severity >= Severity::Medium) {
//!     println!("{}: {}", finding.id, finding.title);
//! }
//! # assert!(matches!(report.outcome, Outcome::Unreachable { .. }));
//! # Ok(())
//! # }
//! ```
//!
//! Only look at brokers that you may look at. What a look does and leaves behind is in the
//! [README](https://github.com/e4-rs/e4/tree/main/crates/mqttinfo).
//!
//! # The model
//!
//! A [`Target`] is looked at by [`examine()`], which runs the probes, each on a short connection of its own, and returns a
//! [`Report`]. It never fails: what could not be found out is missing in the report, which says why. The probes note what
//! they [saw](report) and judge nothing; which product that [fits](fingerprint), and what is [good and bad](findings)
//! about it, follows from the report alone. So both can be made again from a stored one.
//!
//! | | |
//! |---|---|
//! | [`Settings`], [`tls`], [`session`], [`dial`] | how to look: time limits, TLS, credentials, proxy |
//! | [`report`] | what was seen, as data; `docs/mqttinfo.md` describes its JSON form |
//! | [`fingerprint`], [`findings`] | what follows from it |
//! | [`payload`] | what a payload looks like: sealed, encrypted, or readable by anybody |
//! | [`output`] | a report as a table, JSON, SARIF or JUnit |
//! | [`scan`], [`summary`] | many targets; what their reports say together |
//!
//! The futures need a runtime of tokio with its timer and its network on.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod dial;
pub mod examine;
#[cfg(test)]
mod example;
pub mod findings;
pub mod fingerprint;
pub mod output;
// For the tests, whose scripted brokers cut what they get as the probes do.
#[doc(hidden)]
pub mod packets;
pub mod payload;
mod probe;
pub mod report;
pub mod scan;
#[cfg(test)]
mod schema;
pub mod session;
mod settings;
pub mod summary;
pub mod target;
pub mod tls;
mod words;

pub use examine::examine;
pub use report::Report;
pub use settings::Settings;
pub use target::Target;
