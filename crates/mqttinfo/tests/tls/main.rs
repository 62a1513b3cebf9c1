//! What is found out about the TLS of servers of all kinds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod certificates;
mod hostile;
mod server;
mod versions;
