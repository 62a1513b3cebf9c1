//! Faults that were seen in this project, by the numbers of the list that they were kept in: what is right instead.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod keys;
mod replay;
mod thief;

use e4::{OpenError, Refusal};

const TOPIC: &str = "plant/7/pump";

fn refused<T>(refusal: Refusal) -> Result<T, OpenError> {
    Err(OpenError::Refused(refusal))
}
