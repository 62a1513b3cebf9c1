//! Looks at an MQTT broker from outside: who may connect, what a stranger may read and write, what the standard forbids
//! and the broker does anyway, and which product it probably is.
//!
//! ```no_run
//! use mqttinfo::{Settings, Target, examine::examine, output::table, tls::TlsSettings};
//! use std::sync::Arc;
//!
//! # async fn look() -> Result<(), Box<dyn std::error::Error>> {
//! let target: Target = "mqtts://broker.example".parse()?;
//! let settings = Settings::new(Arc::new(TlsSettings::load(None, None, None, false)?));
//! let report = examine(&target, &settings).await;
//! print!("{}", table::render(&report, table::Style::of_stdout()));
//! # Ok(())
//! # }
//! ```
//!
//! [`examine`](examine::examine) runs the probes, each on short connections of its own, and returns a [`Report`]: what was
//! [seen](report), which product that [fits](fingerprint), and what is [good and bad](findings) about it. [`output`] shows a
//! report, [`scan`] makes many, [`summary`] counts them.
//!
//! Only look at brokers that you may look at.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod dial;
pub mod examine;
#[cfg(test)]
mod example;
pub mod findings;
pub mod fingerprint;
pub mod output;
pub mod packets;
pub mod payload;
mod probe;
pub mod report;
#[cfg(test)]
mod sample;
pub mod scan;
#[cfg(test)]
mod schema;
pub mod session;
pub mod summary;
pub mod target;
pub mod tls;

pub use examine::{Settings, examine};
pub use report::Report;
pub use target::Target;
