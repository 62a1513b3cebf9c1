//! The key server from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod api;
mod deliver;
mod intent;
mod kill;
mod kit;
mod planner;
mod round;
mod store;
mod upkeep;
