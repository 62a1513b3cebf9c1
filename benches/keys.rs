//! Commands, derivation, and finding a key among many: `cargo bench --bench keys`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

mod kit;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use e4::{ClientKey, Command, MemoryStore, Mode, RootKey, Subtree, Timestamp, Topic, TopicKey, controller::Recipient};
use kit::{BenchClock, NOW, TOPIC, client, id, key, topic, topics};
use std::hint::black_box;

/// With the in-memory store, so that what is measured is the opening, checking and encoding.
fn commands(c: &mut Criterion) {
    let recipient = Recipient::symmetric(id(), &ClientKey::from_bytes(&[2; 32]).unwrap());
    let control = Topic::new(recipient.control_topic().as_str()).unwrap().into_owned();
    let mut group = c.benchmark_group("command");
    group.bench_function("seal", |b| {
        let command = Command::set_topic_key(&topic(), TopicKey::from_bytes(&[9; 32]).unwrap());
        b.iter(|| recipient.seal_dated(black_box(&command), Timestamp::from_unix(NOW)).unwrap());
    });
    for others in [10, 1000] {
        let others_topics = topics(others);
        group.bench_function(BenchmarkId::new("apply SetTopicKey, topics", others), |b| {
            let clock = BenchClock::new();
            let mut client = client(Mode::Symmetric, &others_topics, clock.clone());
            let mut sent = NOW;
            let next = || {
                sent += 1;
                clock.tick();
                let command = Command::set_topic_key(&topic(), key(sent));
                recipient.seal_dated(&command, Timestamp::from_unix(sent)).unwrap()
            };
            b.iter_batched(
                next,
                |command| client.open_into(&control, command.as_bytes(), &mut []).map(drop).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
}

/// A client's, which does not depend on how much it holds, and what reading it takes the key server.
fn reports(c: &mut Criterion) {
    let recipient = Recipient::symmetric(id(), &ClientKey::from_bytes(&[2; 32]).unwrap());
    let mut group = c.benchmark_group("report");
    for others in [10, 10_000] {
        let client = client(Mode::Symmetric, &topics(others), BenchClock::new());
        let mut report = [0; e4::REPORT_LEN];
        group.bench_function(BenchmarkId::new("make, topics", others), |b| {
            b.iter(|| client.report_in_place(black_box(&mut report)));
        });
        group.bench_function(BenchmarkId::new("open, topics", others), |b| {
            b.iter(|| recipient.open_report(black_box(&report)).unwrap());
        });
    }
}

fn derivation(c: &mut Criterion) {
    let root = RootKey::from_bytes(&[5; 32]).unwrap();
    let (subtree, topic) = (Subtree::new("plant/7/#").unwrap(), topic());
    let subtree_key = root.subtree_key(1, &subtree);
    let mut group = c.benchmark_group("derive");
    group.bench_function("topic key from root, 4 levels", |b| b.iter(|| root.topic_key(1, black_box(&topic))));
    group.bench_function("topic key from subtree, 2 levels", |b| {
        b.iter(|| subtree_key.topic_key(&subtree, black_box(&topic)).unwrap());
    });
    group.bench_function("topic handle", |b| b.iter(|| Topic::new(black_box(TOPIC)).unwrap()));
    group.bench_function("seal under a subtree key, 64 B", |b| {
        let client = e4::Client::builder(kit::identity(Mode::Symmetric))
            .subtree_key(&subtree, &subtree_key)
            .unwrap()
            .create_with(MemoryStore::new(), BenchClock::new())
            .unwrap();
        let mut message = vec![0; 64 + Mode::Symmetric.overhead()];
        b.iter(|| client.seal_in_place(&topic, black_box(&mut message)).unwrap());
    });
    group.bench_function("seal under a subtree key, prepared, 64 B", |b| {
        let mut client = e4::Client::builder(kit::identity(Mode::Symmetric))
            .subtree_key(&subtree, &subtree_key)
            .unwrap()
            .create_with(MemoryStore::new(), BenchClock::new())
            .unwrap();
        client.prepare(&topic).unwrap();
        let mut message = vec![0; 64 + Mode::Symmetric.overhead()];
        b.iter(|| client.seal_in_place(&topic, black_box(&mut message)).unwrap());
    });
}

/// The shortest message on one topic of many: next to the cipher call alone, what is left is finding the key.
fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    group.sample_size(20);
    for others in [10, 10_000, 1_000_000] {
        let topics = topics(others);
        let client = client(Mode::Symmetric, &topics, BenchClock::new());
        let mut message = vec![0; Mode::Symmetric.overhead()];
        let mut n = 0_usize;
        group.bench_function(BenchmarkId::new("seal an empty payload, topics", others), |b| {
            b.iter(|| {
                n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
                client.seal_in_place(&topics[n % others], black_box(&mut message)).unwrap();
            });
        });
    }
    group.bench_function("the same cipher call alone", |b| b.iter(|| kit::bare_seal(black_box(&mut []))));
}

criterion_group!(benches, commands, reports, derivation, lookup);
criterion_main!(benches);
