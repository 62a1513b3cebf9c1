//! What the TLS of a broker is like, and how to speak it.
//!
//! [`look`] finds out versions, suites, the certificate chain and whether it is trusted, whether a client certificate
//! is asked for, and whether `mqtt` is chosen by ALPN. [`TlsSettings`] makes the configurations for whoever then speaks
//! MQTT through it: [`lenient`](TlsSettings::lenient) to look at any server, [`strict`](TlsSettings::strict) for
//! credentials.

mod attempt;
mod chain;
mod client_hello;
mod limits;
mod look;
mod server_hello;
mod suites;

pub use limits::Limits;
pub use look::look;
pub use mqtt_advice::{LoadError, TlsSettings, server_name};
#[doc(hidden)]
pub use server_hello::{Answer, parse_server_hello};
