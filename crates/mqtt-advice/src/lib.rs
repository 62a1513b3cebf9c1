//! Why a connection to an MQTT broker cannot be made, in sentences that say what to do.
//!
//! ```
//! use mqtt_advice::{Connection, Version, diagnose};
//! use std::time::Duration;
//! use tokio::net::TcpStream;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let tried = Connection { host: "localhost", tls: None, version: Version::V5 };
//! # // Nothing listens there.
//! # let port = 1;
//! # /*
//! let port = 1883;
//! # */
//! let cause = diagnose(&tried, || TcpStream::connect(("127.0.0.1", port)), Duration::from_secs(5)).await;
//! if let Some(cause) = cause {
//!     println!("could not connect: {cause}");
//!     println!("{}", cause.advice().unwrap_or_default());
//! }
//! # }
//! ```
//!
//! # The model
//!
//! An error of a library says what went wrong in its own words, and often something that is far from the cause: a port
//! that speaks TLS is a connection that was closed. So [`diagnose`] looks for the [`Cause`] where it is, with connections of
//! its own that show no credentials and take any certificate. What is wrong with a certificate, and with files, is told by
//! what it is made of ([`certificate`], [`LoadError`]).
//!
//! | | |
//! |---|---|
//! | [`diagnose`], [`Cause`] | what keeps a connection from being made |
//! | [`Target`] | where a broker is, in any notation |
//! | [`TlsSettings`], [`LoadError`] | whom to trust and what to show, from files |
//! | [`certificate`] | what keeps a certificate from being trusted |
//! | [`handshake`], [`Failure`] | a single handshake, and what is seen in it |
//! | [`first_bytes`] | what a server is, by how it begins |

pub mod certificate;
pub mod first_bytes;
pub mod handshake;

mod cause;
mod diagnosis;
mod failure;
mod files;
mod settings;
mod target;
mod verify;

pub use cause::{Cause, Version};
pub use diagnosis::{Connection, diagnose, speaks_tls};
pub use failure::Failure;
pub use files::{Instead, LoadError};
pub use settings::{Shape, TlsSettings, server_name};
pub use target::{InvalidTarget, Target, Transport};
