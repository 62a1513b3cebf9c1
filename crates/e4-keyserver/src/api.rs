//! The HTTP interface: who asks and whether they may, and each endpoint as one intention or one list of the fleet.

#[allow(dead_code, reason = "endpoints follow")]
mod extract;
#[allow(dead_code, reason = "endpoints follow")]
mod limits;
mod listen;
#[allow(dead_code, reason = "endpoints follow")]
mod problem;
#[allow(dead_code, reason = "endpoints follow")]
mod table;
mod tls;

pub use listen::serve;
pub use problem::Problem;
pub use tls::{TlsError, server_config};

use std::{net::SocketAddr, num::NonZeroU32};

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether `/metrics` needs no token.
    pub open_metrics: bool,
    /// How many requests a principal may make in a minute.
    pub requests_per_minute: NonZeroU32,
}

/// From where a request comes.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The common name of its certificate, if it has one that was checked.
    pub certificate: Option<String>,
}
