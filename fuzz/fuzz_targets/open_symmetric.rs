//! Messages and commands for a symmetric client: see `src/open.rs`.
#![no_main]

use e4::Mode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| e4_fuzz::open::run(Mode::Symmetric, input));
