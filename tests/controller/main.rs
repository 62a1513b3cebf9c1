//! The key server's end, with clients to see what becomes of its commands.
#![cfg(all(feature = "std", feature = "getrandom"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod lanes;
mod reports;
mod rotation;

const TOPIC: &str = "plant/7/pump";
