//! What garbage costs its receiver, in both modes: `cargo bench --bench refusals`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

mod kit;

use criterion::{Criterion, criterion_group, criterion_main};
use e4::{Mode, Topic};
use kit::{BenchClock, NOW, client, id, topic};
use std::hint::black_box;

fn refusals(c: &mut Criterion) {
    let (topic, unknown) = (topic(), Topic::new("plant/7/pump/temperature").unwrap());
    for (mode, name) in [(Mode::Symmetric, "refuse"), (Mode::PublicKey, "refuse signed")] {
        let mut client = client(mode, &[], BenchClock::new());
        let mut forged = vec![0x5a; 168];
        forged[..8].copy_from_slice(&NOW.to_le_bytes());
        forged[8..24].copy_from_slice(id().as_bytes());
        let mut too_old = forged.clone();
        too_old[..8].copy_from_slice(&(NOW - 601).to_le_bytes());
        let replayed = client.seal(&topic, &vec![0x5a; 168 - mode.overhead()]).unwrap();
        client.open(&topic, &replayed).unwrap();
        let too_short = &replayed[..20];
        let mut out = vec![0; 168];
        let mut group = c.benchmark_group(name);
        for (what, topic, message) in [
            ("forged", &topic, &forged[..]),
            ("too old", &topic, &too_old),
            ("too short", &topic, too_short),
            ("replayed", &topic, &replayed),
            ("unknown topic", &unknown, &forged),
        ] {
            group.bench_function(what, |b| {
                b.iter(|| client.open_into(topic, black_box(message), &mut out).map(drop).unwrap_err());
            });
        }
        let control = client.control_topic();
        group.bench_function("forged command", |b| {
            b.iter(|| client.open_into(control.as_str(), black_box(&forged[..73]), &mut []).map(drop).unwrap_err());
        });
    }
}

criterion_group!(benches, refusals);
criterion_main!(benches);
