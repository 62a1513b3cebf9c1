//! Random sequences of commands, messages, replays, clock jumps, store failures and restarts do to a client exactly what
//! a plain model of the protocol page says: in every result, in all that can be seen, and in what is stored.
//!
//! `PROPTEST_CASES` sets the number of sequences, for longer runs.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod body;
mod cast;
mod command;
mod model;
mod strategy;
mod wire;
mod world;

use e4::{FixedKeyRing, GrowableKeyRing, KeyRing, Mode};
use model::Room;
use proptest::{prelude::*, test_runner::TestRunner};
use strategy::{Start, Step};
use world::World;

type SmallKeyRing = FixedKeyRing<3, 2, 8>;

const SMALL: Room = Room {
    topics: 3,
    peers: 2,
    opened_messages: 8,
    age_rules: 4,
    filter_len: SmallKeyRing::MAX_FILTER_LEN,
    commands_of_a_second: 16,
};

/// More than any sequence needs.
const GROWABLE: Room = Room {
    topics: usize::MAX,
    peers: usize::MAX,
    opened_messages: usize::MAX,
    age_rules: usize::MAX,
    filter_len: usize::MAX,
    commands_of_a_second: usize::MAX,
};

#[test]
fn a_symmetric_client_does_what_the_model_does() {
    check::<GrowableKeyRing>(Mode::Symmetric, GROWABLE, 200, 60);
}

#[test]
fn a_small_symmetric_client_does_what_the_model_does() {
    check::<SmallKeyRing>(Mode::Symmetric, SMALL, 256, 60);
}

#[test]
fn a_public_key_client_does_what_the_model_does() {
    check::<GrowableKeyRing>(Mode::PublicKey, GROWABLE, 64, 60);
}

#[test]
fn a_small_public_key_client_does_what_the_model_does() {
    check::<SmallKeyRing>(Mode::PublicKey, SMALL, 64, 60);
}

fn check<R: KeyRing>(mode: Mode, room: Room, cases: u32, max_steps: usize) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    // A failure prints its shortest sequence in full: there is nothing to keep in a file.
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() };
    let sequences = (strategy::starts(), strategy::steps(max_steps, mode == Mode::PublicKey));
    let play = |(start, steps): (Start, Vec<Step>)| {
        let mut world = World::<R>::new(mode, &start, room);
        steps.iter().try_for_each(|step| world.play(step))
    };
    if let Err(error) = TestRunner::new(config).run(&sequences, play) {
        panic!("{error}");
    }
}
