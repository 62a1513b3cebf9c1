//! What a connection does on a real broker: the embedded one, and mosquitto where it is installed; in both versions of
//! MQTT. `E4_REQUIRE_MOSQUITTO=1` makes it a failure when mosquitto is missing.
#![cfg(all(feature = "v4", feature = "v5", feature = "tls"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod clear;
mod commands;
mod load;
mod messages;
mod queues;
mod reports;
mod restarts;
mod rotation;
mod wills;
