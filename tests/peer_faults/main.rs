//! Shows that the known faults of other E4 software do not exist here: a test or a few for each, named after its number.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod clocks;
mod commands;
mod keys;
mod messages;
mod state;
mod threads;

use e4::{OpenError, Refusal};

/// A topic that most tests use.
const TOPIC: &str = "plant/7/pump/pressure";

/// The result of opening what was refused.
fn refused<T>(refusal: Refusal) -> Result<T, OpenError> {
    Err(OpenError::Refused(refusal))
}

/// Whether any eight bytes of `needle` stand in `haystack`.
fn holds_part_of(haystack: &[u8], needle: &[u8]) -> bool {
    needle.windows(8).any(|part| haystack.windows(8).any(|window| window == part))
}
