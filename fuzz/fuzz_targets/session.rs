//! Whole sessions of one client: see `src/session.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| e4_fuzz::session::run(input));
