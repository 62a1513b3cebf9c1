//! Sealing and opening, next to the bare calls on the same input: `cargo bench --bench messages`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

mod kit;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use e4::{Mode, SIGNED_OVERHEAD};
use ed25519_dalek::Signer;
use kit::{BenchClock, TOPIC, allow_any_age, bare_open, bare_seal, client, topic};
use std::hint::black_box;

const SIZES: [usize; 5] = [16, 64, 1024, 16_384, 65_536];

fn seal(c: &mut Criterion) {
    let topic = topic();
    for (mode, name) in [(Mode::Symmetric, "seal"), (Mode::PublicKey, "seal signed")] {
        let client = client(mode, &[], BenchClock::new());
        let mut group = c.benchmark_group(name);
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let payload = vec![0x5a; size];
            let mut message = vec![0; size + SIGNED_OVERHEAD];
            let len = size + mode.overhead();
            bare(&mut group, mode, size, &payload);
            group.bench_function(BenchmarkId::new("in place by handle", size), |b| {
                b.iter(|| client.seal_in_place(&topic, black_box(&mut message[..len])).unwrap());
            });
            group.bench_function(BenchmarkId::new("into a slice by handle", size), |b| {
                b.iter(|| {
                    client.seal_into(&topic, &payload, black_box(&mut message)).map(|sealed| sealed.len()).unwrap()
                });
            });
            group.bench_function(BenchmarkId::new("into a slice by text", size), |b| {
                b.iter(|| {
                    client.seal_into(TOPIC, &payload, black_box(&mut message)).map(|sealed| sealed.len()).unwrap()
                });
            });
            group.bench_function(BenchmarkId::new("into a new Vec by handle", size), |b| {
                b.iter(|| client.seal(&topic, black_box(&payload)).unwrap());
            });
        }
    }
}

type Group<'c> = criterion::BenchmarkGroup<'c, criterion::measurement::WallTime>;

/// The cipher with its key set-up, and the signature where there is one.
fn bare(group: &mut Group<'_>, mode: Mode, size: usize, payload: &[u8]) {
    let mut text = payload.to_vec();
    group.bench_function(BenchmarkId::new("bare cipher", size), |b| b.iter(|| bare_seal(black_box(&mut text))));
    if mode == Mode::PublicKey {
        let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
        let signed = vec![0x5a; size + 40];
        group.bench_function(BenchmarkId::new("bare signature", size), |b| b.iter(|| key.sign(black_box(&signed))));
    }
}

/// Without the replay memory, so that one message can be opened again and again; `ratios` measures with it.
fn open(c: &mut Criterion) {
    let topic = topic();
    for (mode, name) in [(Mode::Symmetric, "open"), (Mode::PublicKey, "open signed")] {
        let mut client = client(mode, &[], BenchClock::new());
        allow_any_age(&mut client);
        let mut group = c.benchmark_group(name);
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let message = client.seal(&topic, &vec![0x5a; size]).unwrap();
            let mut out = vec![0; size];
            let header = mode.header_len();
            group.bench_function(BenchmarkId::new("bare cipher", size), |b| {
                b.iter(|| {
                    out.copy_from_slice(&message[header..header + size]);
                    assert!(bare_open(&message, header - 16, black_box(&mut out)));
                });
            });
            if mode == Mode::PublicKey {
                let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key();
                let (signed, signature) = message.split_last_chunk().unwrap();
                let signature = ed25519_dalek::Signature::from_bytes(signature);
                group.bench_function(BenchmarkId::new("bare signature", size), |b| {
                    b.iter(|| key.verify_strict(black_box(signed), &signature).unwrap());
                });
            }
            group.bench_function(BenchmarkId::new("into a slice by handle", size), |b| {
                b.iter(|| client.open_into(&topic, black_box(&message), &mut out).map(drop).unwrap());
            });
            group.bench_function(BenchmarkId::new("into a slice by text", size), |b| {
                b.iter(|| client.open_into(TOPIC, black_box(&message), &mut out).map(drop).unwrap());
            });
            group.bench_function(BenchmarkId::new("in place by handle", size), |b| {
                b.iter_batched_ref(
                    || message.clone(),
                    |message| client.open_in_place(&topic, message).map(drop).unwrap(),
                    BatchSize::SmallInput,
                );
            });
            group.bench_function(BenchmarkId::new("into a new Vec by handle", size), |b| {
                b.iter(|| client.open(&topic, black_box(&message)).unwrap());
            });
        }
    }
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
