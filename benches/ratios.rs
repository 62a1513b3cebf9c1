//! The crate's performance targets as ratios against the bare calls in the same run: `cargo bench --bench ratios`.
//!
//! Machines are noisy, so each figure is the median over many rounds in which the two sides take turns. A round is short
//! enough that both see the same weather. With `--quick` there are fewer rounds.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

mod kit;

use e4::{
    ClientKey, Command, Mode, OpenError, Refusal, SIGNED_OVERHEAD, SYMMETRIC_OVERHEAD, Timestamp, Topic,
    controller::Recipient,
};
use ed25519_dalek::Signer;
use kit::{BenchClock, allow_any_age, bare_open, bare_seal, client, topic, topics};
use sha3::{Digest, Sha3_256};
use std::{hint::black_box, time::Instant};

/// Calls of each side in a round.
const BATCH: usize = 64;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags of their own.
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let rounds = if quick { 20 } else { 400 };
    println!("{:<52} {:>10} {:>10} {:>8}  limit", "", "bare", "e4", "ratio");
    for size in [64, 1024] {
        seal(size, rounds);
        open(size, rounds);
        seal_signed(size, rounds);
        open_signed(size, rounds);
    }
    forged(rounds);
    for others in [10, 10_000, 1_000_000] {
        lookup_and_replay(others, rounds);
    }
    for topics in [1, 10] {
        digest(topics, rounds);
    }
}

/// Median nanoseconds for a call of either side.
fn compare(rounds: usize, mut bare: impl FnMut(usize), mut e4: impl FnMut(usize)) -> (f64, f64) {
    let (mut bare_times, mut e4_times) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for side in [round % 2, (round + 1) % 2] {
            let start = Instant::now();
            for n in round * BATCH..(round + 1) * BATCH {
                if side == 0 { bare(n) } else { e4(n) }
            }
            let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / BATCH as f64;
            if side == 0 { &mut bare_times } else { &mut e4_times }.push(nanoseconds);
        }
    }
    (median(bare_times), median(e4_times))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn report(what: &str, (bare, e4): (f64, f64), limit: f64) {
    let ratio = e4 / bare;
    let verdict = if ratio <= limit { "met" } else { "MISSED" };
    println!("{what:<52} {bare:>7.0} ns {e4:>7.0} ns {ratio:>8.3}  {limit:.3} {verdict}");
}

fn seal(size: usize, rounds: usize) {
    let (client, topic) = (client(Mode::Symmetric, &[], BenchClock::new()), topic());
    let (mut text, mut message) = (vec![0x5a; size], vec![0x5a; size + SYMMETRIC_OVERHEAD]);
    let times = compare(
        rounds,
        |_| {
            black_box(bare_seal(&mut text));
        },
        |_| client.seal_in_place(&topic, black_box(&mut message)).unwrap(),
    );
    report(&format!("seal in place, {size} B"), times, 1.10);

    let (payload, mut text) = (vec![0x5a; size], vec![0; size]);
    let times = compare(
        rounds,
        |_| {
            text.copy_from_slice(&payload);
            black_box(bare_seal(&mut text));
        },
        |_| {
            client.seal_into(&topic, &payload, black_box(&mut message)).unwrap();
        },
    );
    report(&format!("seal into a slice, {size} B"), times, 1.10);
}

/// Messages that all differ, as many as a comparison takes; a thousand of them in each second.
fn sealed(mode: Mode, topics: &[Topic<'_>], size: usize, rounds: usize) -> Vec<Vec<u8>> {
    let clock = BenchClock::new();
    let client = client(mode, topics, clock.clone());
    let mut payload = vec![0x5a; size];
    (0..rounds * BATCH)
        .map(|n| {
            payload[..8].copy_from_slice(&n.to_le_bytes());
            if n % 1000 == 999 {
                clock.tick();
            }
            client.seal(pick(topics, n), &payload).unwrap()
        })
        .collect()
}

/// A topic of many, in no order that a cache could guess.
fn pick<'t>(topics: &'t [Topic<'_>], n: usize) -> &'t Topic<'t> {
    &topics[n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % topics.len()]
}

fn open(size: usize, rounds: usize) {
    let topics = [topic()];
    let messages = sealed(Mode::Symmetric, &topics, size, rounds);
    let mut client = client(Mode::Symmetric, &[], BenchClock::new());
    let (mut text, mut out) = (vec![0; size], vec![0; size]);
    let times = compare(
        rounds,
        |n| {
            text.copy_from_slice(&messages[n][24..]);
            assert!(bare_open(&messages[n], 8, black_box(&mut text)));
        },
        |n| {
            client.open_into(&topics[0], &messages[n], black_box(&mut out)).unwrap();
        },
    );
    report(&format!("open into a slice, {size} B"), times, 1.10);
}

fn seal_signed(size: usize, rounds: usize) {
    let (client, topic) = (client(Mode::PublicKey, &[], BenchClock::new()), topic());
    let bare_key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let (mut text, mut message) = (vec![0x5a; size], vec![0x5a; size + SIGNED_OVERHEAD]);
    let signed = vec![0x5a; size + 40];
    let rounds = rounds / 4 + 1;
    let (cipher, _) = compare(rounds * 4, |_| assert_ne!(bare_seal(black_box(&mut text)), [0; 16]), |_| {});
    let (signature, e4) = compare(
        rounds,
        |_| {
            black_box(bare_key.sign(black_box(&signed)));
        },
        |_| client.seal_in_place(&topic, black_box(&mut message)).unwrap(),
    );
    let limit = (1.10 * cipher + 1.02 * signature) / (cipher + signature);
    report(&format!("seal and sign in place, {size} B"), (cipher + signature, e4), limit);
}

fn open_signed(size: usize, rounds: usize) {
    let topics = [topic()];
    let rounds = rounds / 4 + 1;
    let messages = sealed(Mode::PublicKey, &topics, size, rounds);
    let bare_key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key();
    let mut text = vec![0; size];
    for in_place in [false, true] {
        let mut client = client(Mode::PublicKey, &[], BenchClock::new());
        let (mut out, mut copies) = (vec![0; size], messages.clone());
        let (cipher, _) = compare(
            rounds,
            |n| {
                text.copy_from_slice(&messages[n][40..40 + size]);
                assert!(bare_open(&messages[n], 24, black_box(&mut text)));
            },
            |_| {},
        );
        let (signature, e4) = compare(
            rounds,
            |n| {
                let (signed, signature) = messages[n].split_last_chunk().unwrap();
                bare_key.verify_strict(signed, &ed25519_dalek::Signature::from_bytes(signature)).unwrap();
            },
            |n| {
                if in_place {
                    client.open_in_place(&topics[0], &mut copies[n]).unwrap();
                } else {
                    client.open_into(&topics[0], &messages[n], black_box(&mut out)).unwrap();
                }
            },
        );
        let limit = (1.10 * cipher + 1.02 * signature) / (cipher + signature);
        let how = if in_place { "in place" } else { "into a slice" };
        report(&format!("open and verify {how}, {size} B"), (cipher + signature, e4), limit);
    }
}

/// A message that somebody without the topic key made up: refused before its signature is looked at.
fn forged(rounds: usize) {
    let topic = topic();
    for len in [168, 1128] {
        let (mut symmetric, mut signed) =
            (client(Mode::Symmetric, &[], BenchClock::new()), client(Mode::PublicKey, &[], BenchClock::new()));
        let mut message = vec![0x5a; len];
        message[..8].copy_from_slice(&kit::NOW.to_le_bytes());
        message[8..24].copy_from_slice(kit::id().as_bytes());
        let (mut out_a, mut out_b) = (vec![0; len], vec![0; len]);
        let refused = |result| assert_eq!(result, Err(OpenError::Refused(Refusal::NotAuthentic)));
        let times = compare(
            rounds,
            |_| refused(symmetric.open_into(&topic, black_box(&message), &mut out_a).map(drop)),
            |_| refused(signed.open_into(&topic, black_box(&message), &mut out_b).map(drop)),
        );
        report(&format!("refuse a forged signed one against symmetric, {len} B"), times, 1.20);
    }
}

/// What keeping the digest adds to applying a command: the old key goes out of it and the new one in, which are two hashes.
/// Against the same command without these, in a client that holds so many topics and keeps its state in memory.
fn digest(held: usize, rounds: usize) {
    let (others, topic) = (topics(held - 1), topic());
    let recipient = Recipient::symmetric(kit::id(), &ClientKey::from_bytes(&[2; 32]).unwrap());
    let control = Topic::new(recipient.control_topic().as_str()).unwrap().into_owned();
    let commands: Vec<_> = (0..(rounds * BATCH) as u64)
        .map(|n| {
            let command = Command::set_topic_key(&topic, kit::key(n));
            recipient.seal_dated(&command, Timestamp::from_unix(kit::NOW + n)).unwrap()
        })
        .collect();
    let mut client = client(Mode::Symmetric, &others, BenchClock::new());
    let keys = [kit::key(0), kit::key(1)];
    let (kept, applied) = compare(
        rounds,
        |_| {
            for key in &keys {
                let hash = Sha3_256::new().chain_update([0x03]).chain_update(topic.hash().as_bytes());
                black_box(hash.chain_update(black_box(key).as_bytes()).finalize());
            }
        },
        |n| {
            client.open_into(&control, commands[n].as_bytes(), &mut []).unwrap();
        },
    );
    report(&format!("apply SetTopicKey, {held} topics, without and with digest"), (applied - kept, applied), 1.15);
}

/// What finding the key among many and the replay check take: against a client with one topic and no replay check.
fn lookup_and_replay(others: usize, rounds: usize) {
    let topics = topics(others);
    let size = 64;
    // All topics have the same key, so that either client opens every message.
    let messages = sealed(Mode::Symmetric, &topics, size, rounds);
    let mut plain = client(Mode::Symmetric, &topics[..1], BenchClock::new());
    allow_any_age(&mut plain);
    let mut client = client(Mode::Symmetric, &topics, BenchClock::new());
    let (mut out_a, mut out_b) = (vec![0; size], vec![0; size]);
    let (plain, full) = compare(
        rounds,
        |n| {
            black_box(*pick(&topics, n).hash());
            plain.open_into(&topics[0], &messages[n], black_box(&mut out_a)).unwrap();
        },
        |n| {
            client.open_into(pick(&topics, n), &messages[n], black_box(&mut out_b)).unwrap();
        },
    );
    let difference = full - plain;
    let verdict = match others {
        0..=10_000 if difference <= 60.0 => "60 ns met",
        0..=10_000 => "60 ns MISSED",
        _ => "cache misses only",
    };
    let what = format!("lookup among {others} topics, and replay check");
    println!("{what:<52} {plain:>7.0} ns {full:>7.0} ns {difference:>5.0} ns  {verdict}");
}
