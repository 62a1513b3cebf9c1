//! `examples/microcontroller` builds without an allocator and without the standard library, and does what it shows.
//!
//! The build itself is the proof: a program that has no allocator cannot be linked once anything in it uses `alloc`,
//! and one that has a panic handler of its own cannot be compiled once anything in it uses `std`. How much code it has
//! is printed: `cargo test --test no_std -- --nocapture`.
// The program is linked with the C library of this system, in place of the start-up code of a chip.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/microcontroller");

#[test]
fn a_program_without_std_and_allocator_runs_a_client() {
    let program = build();
    let status = Command::new(&program).status().unwrap();
    assert_eq!(status.code(), Some(0), "the number of the step that failed, see `Step` in {PACKAGE}/src/main.rs");

    let imports_malloc = fs::read(&program).unwrap().windows(6).any(|bytes| bytes == b"malloc");
    assert!(!imports_malloc, "the program takes memory from the C library");

    match code_size(&program) {
        Some(bytes) => println!("code and constants of the microcontroller program: {bytes} bytes"),
        None => println!("size of the microcontroller program: {} bytes", fs::metadata(&program).unwrap().len()),
    }
}

/// Builds the program in release mode, into a folder of its own, and returns its path.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("microcontroller");
    let mut cargo = Command::new(env!("CARGO"));
    // The folder decides which settings of cargo count, and the program has some of its own.
    cargo.current_dir(PACKAGE).args(["build", "--release", "--locked", "--target-dir"]).arg(&target);
    for setting in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(setting);
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("release/microcontroller")
}

/// Bytes of the sections `.text` and `.rodata`, if the tool that tells them is there.
fn code_size(program: &Path) -> Option<u64> {
    let output = Command::new("size").arg("-A").arg(program).output().ok().filter(|output| output.status.success())?;
    let table = String::from_utf8(output.stdout).ok()?;
    let section = |name| {
        let mut fields = table.lines().map(str::split_whitespace).find(|fields| fields.clone().next() == Some(name))?;
        fields.nth(1)?.parse::<u64>().ok()
    };
    Some(section(".text")? + section(".rodata")?)
}
