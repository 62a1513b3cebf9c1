//! How much of a server a look at its TLS may take.

use std::time::Duration;

/// How long a look may take, and how much of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one connection, from dialling to its end.
    pub attempt: Duration,
    /// For all of them.
    pub total: Duration,
    /// Connections at once.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(5), total: Duration::from_secs(20), at_once: 4 }
    }
}
