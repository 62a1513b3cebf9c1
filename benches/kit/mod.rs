//! What the benchmarks share: clients with fixed keys and a clock that stands still.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "each benchmark uses a part, and fails by panicking"
)]

use aes_siv::{KeyInit, siv::Aes256Siv};
use e4::{
    C2SecretKey, Client, ClientId, ClientKey, Clock, ClockReading, GrowableKeyRing, Identity, MaxAge, MemoryStore,
    Mode, SigningKey, Timestamp, Topic, TopicKey,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub const NOW: u64 = 1_800_000_000;
pub const TOPIC: &str = "plant/7/pump/pressure";

/// A clock that the benchmark moves.
#[derive(Clone)]
pub struct BenchClock(pub Arc<AtomicU64>);

impl BenchClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    /// Another second in which no message was opened yet.
    pub fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clock for BenchClock {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::from_unix(self.0.load(Ordering::Relaxed)))
    }
}

pub type BenchClient = Client<GrowableKeyRing, MemoryStore, BenchClock>;

pub fn topic() -> Topic<'static> {
    Topic::new(TOPIC).unwrap()
}

pub fn topic_key() -> TopicKey {
    TopicKey::from_bytes(&[7; 32]).unwrap()
}

/// Different ones for different numbers.
pub fn key(n: u64) -> TopicKey {
    TopicKey::from_bytes(&core::array::from_fn(|at| (n + 1).to_le_bytes()[at % 8])).unwrap()
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[3; 32]).unwrap()
}

pub fn id() -> ClientId {
    ClientId::from_bytes([1; 16])
}

pub fn identity(mode: Mode) -> Identity {
    match mode {
        Mode::Symmetric => Identity::symmetric(id(), ClientKey::from_bytes(&[2; 32]).unwrap()),
        Mode::PublicKey => {
            let c2 = C2SecretKey::from_bytes(&[4; 32]).unwrap().public_key();
            Identity::public_key(id(), signing_key(), c2).unwrap()
        }
    }
}

/// A client with the key of [`TOPIC`] and `others` more topics; in public-key mode it knows its own public key, so that
/// it opens what it seals.
pub fn client(mode: Mode, others: &[Topic<'_>], clock: BenchClock) -> BenchClient {
    let mut builder = Client::builder(identity(mode)).topic_key(topic().hash(), topic_key()).unwrap();
    for other in others {
        builder = builder.topic_key(other.hash(), topic_key()).unwrap();
    }
    if mode == Mode::PublicKey {
        builder = builder.peer(id(), signing_key().verifying_key()).unwrap();
    }
    builder.create_with(MemoryStore::new(), clock).unwrap()
}

/// `n` topics, by handle.
pub fn topics(n: usize) -> Vec<Topic<'static>> {
    (0..n).map(|n| Topic::new(&format!("plant/{}/sensor/{n}", n % 97)).unwrap().into_owned()).collect()
}

/// The bare cipher call that sealing is measured against, with its key set-up.
pub fn bare_seal(text: &mut [u8]) -> [u8; 16] {
    Aes256Siv::new(std::hint::black_box(&[7; 64]).into())
        .encrypt_inout_detached([&NOW.to_le_bytes()], text.into())
        .unwrap()
        .into()
}

/// The bare cipher call that opening is measured against, with its key set-up. `text` holds the body of the message,
/// whose tag stands at `tag_at`.
pub fn bare_open(message: &[u8], tag_at: usize, text: &mut [u8]) -> bool {
    let tag: &[u8; 16] = message[tag_at..].first_chunk().unwrap();
    Aes256Siv::new(std::hint::black_box(&[7; 64]).into())
        .decrypt_inout_detached([&message[..8]], text.into(), tag.into())
        .is_ok()
}

/// Switches the replay check off, so that one message can be opened again and again.
pub fn allow_any_age(client: &mut BenchClient) {
    let mut options = *client.options();
    options.max_age = MaxAge::Any;
    client.set_options(options).unwrap();
}
