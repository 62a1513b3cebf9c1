//! Faults that were seen in this project, by the numbers of the list that they were kept in: what is right instead.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod commands;

use e4::{OpenError, Refusal};

const TOPIC: &str = "plant/7/pump";

fn refused<T>(refusal: Refusal) -> Result<T, OpenError> {
    Err(OpenError::Refused(refusal))
}
