//! The planner against `e4::Client`: whatever is lost, repeated, put in another order, delayed, killed or put back, the device
//! ends at what it is to hold, or at a state with a name that a person sees.
//!
//! The stories are the same in each run. `PROPTEST_CASES` sets a number of others, for longer runs.

mod device;
mod fleet;
mod server;
mod world;

use e4::{FixedKeyRing, GrowableKeyRing};
use e4_keyserver::model::Mode;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use world::{Event, Kind, World, events};

/// Plays stories with devices of one kind.
fn hold<R: e4::KeyRing>(kind: Kind) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(64),
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    };
    let mut runner = match cases {
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config),
    };
    runner
        .run(&events(), |events: Vec<Event>| {
            let mut world = World::<R>::new(kind);
            for event in &events {
                world.play(event)?;
            }
            world.heal()
        })
        .unwrap();
}

const KIND: Kind = Kind { mode: Mode::Symmetric, has_clock: true, reports: true, is_old: false };

#[test]
fn a_symmetric_device_ends_at_what_it_is_to_hold() {
    hold::<GrowableKeyRing>(KIND);
}

#[test]
fn a_device_that_signs_ends_at_what_it_is_to_hold() {
    hold::<GrowableKeyRing>(Kind { mode: Mode::PublicKey, ..KIND });
}

#[test]
fn a_small_device_without_a_clock_ends_at_what_it_is_to_hold_or_has_no_room() {
    hold::<FixedKeyRing<4, 2, 8>>(Kind { mode: Mode::PublicKey, has_clock: false, ..KIND });
}

#[test]
fn a_device_that_does_not_know_next_keys_ends_at_what_it_is_to_hold() {
    hold::<GrowableKeyRing>(Kind { mode: Mode::PublicKey, is_old: true, ..KIND });
}

#[test]
fn a_device_that_does_not_report_ends_at_what_it_is_to_hold() {
    hold::<GrowableKeyRing>(Kind { reports: false, is_old: true, ..KIND });
}
