//! Who and what the sequences are about: few of each, so that they meet often.

use crate::wire::{Key, Name, control_key, control_topic, ed25519_public, short_hash, x25519_public};
use e4::{FixedKeyRing, KeyError};
use std::sync::LazyLock;

/// The time at which every sequence begins.
pub(crate) const START: u64 = 1_700_000_000;

pub(crate) const CLIENT: Name = [0xc1; 16];

/// Topics to seal and open on.
pub(crate) const TOPICS: [&str; 6] = ["p/7", "p/7/x", "p", "p/", "q", "$s/a"];
/// Subtrees that have keys.
pub(crate) const SUBTREES: [&str; 5] = ["p/#", "p/7/#", "#", "$s/#", "p/7/x/#"];
/// Filters of rules on the age of messages: several match one topic, and the last is too long for a fixed key ring.
pub(crate) fn filters() -> Vec<String> {
    let longest = FixedKeyRing::<0, 0, 0>::MAX_FILTER_LEN;
    let long = [longest, longest + 1].map(|len| format!("p/{}", "x".repeat(len - 2)));
    ["p/7", "p/7/#", "p/+", "p/#", "#", "+/a"].map(str::to_owned).into_iter().chain(long).collect()
}

/// Every text of which commands name the hash: topics, subtrees, and last the client's own control topic.
pub(crate) fn places() -> Vec<String> {
    let all = TOPICS.into_iter().chain(SUBTREES).map(str::to_owned);
    all.chain([control_topic(&CLIENT)]).collect()
}

/// Where things are delivered and sealed: the topics, the client's and another's control topic, and no topics at all.
pub(crate) fn delivery_topics() -> Vec<String> {
    let others = [control_topic(&CLIENT), control_topic(&peer(0)), "p/+".to_owned(), String::new()];
    TOPICS.into_iter().map(str::to_owned).chain(others).collect()
}

pub(crate) const KEYS: usize = 3;

/// Keys of topics, subtrees and symmetric clients.
pub(crate) fn key(n: usize) -> Key {
    core::array::from_fn(|i| 0x10 + (n * 40 + i) as u8)
}

pub(crate) const PEERS: usize = 4;

/// Ids of peers; the last of them is the client itself.
pub(crate) fn peer(n: usize) -> Name {
    if n == PEERS - 1 { CLIENT } else { short_hash(&format!("peer {n}")) }
}

pub(crate) const SEEDS: usize = 4;

/// Seeds of Ed25519 key pairs; the last one is the client's at the start.
pub(crate) fn seed(n: usize) -> Key {
    [0xe0 + n as u8; 32]
}

pub(crate) const C2_SECRETS: usize = 2;

pub(crate) fn c2_secret(n: usize) -> Key {
    [0x50 + n as u8; 32]
}

static PUBLIC: LazyLock<Vec<Key>> = LazyLock::new(|| (0..SEEDS).map(|n| ed25519_public(&seed(n))).collect());
static C2_PUBLIC: LazyLock<Vec<Key>> =
    LazyLock::new(|| (0..C2_SECRETS).map(|n| x25519_public(&c2_secret(n))).collect());
/// By seed, then by C2 key.
static CONTROL_KEYS: LazyLock<Vec<Vec<Key>>> = LazyLock::new(|| {
    let of_seed = |s| (0..C2_SECRETS).map(|c| control_key(&c2_secret(c), &seed(s))).collect();
    (0..SEEDS).map(of_seed).collect()
});

pub(crate) fn public(n: usize) -> Key {
    PUBLIC[n]
}

pub(crate) fn c2_public(n: usize) -> Key {
    C2_PUBLIC[n]
}

/// Whose public key this is.
pub(crate) fn seed_of_public(key: &Key) -> Option<usize> {
    PUBLIC.iter().position(|public| public == key)
}

pub(crate) fn seed_number(wanted: &Key) -> Option<usize> {
    (0..SEEDS).find(|n| seed(*n) == *wanted)
}

pub(crate) fn c2_number(key: &Key) -> Option<usize> {
    C2_PUBLIC.iter().position(|public| public == key)
}

pub(crate) fn control_key_of(client_seed: usize, c2: usize) -> Key {
    CONTROL_KEYS[client_seed][c2]
}

/// Ed25519 public keys that must be refused, and why.
pub(crate) fn bad_publics() -> [(Key, KeyError); 6] {
    [
        (number(0, 0), KeyError::SmallOrder),       // order 4
        (number(1, 0), KeyError::SmallOrder),       // the identity
        (number(0xec, 0x7f), KeyError::SmallOrder), // order 2: y = -1
        (number(0xee, 0x7f), KeyError::SmallOrder), // the identity as y = p + 1
        (number(2, 0), KeyError::NotAPoint),        // no x belongs to this y
        (number(0xf0, 0x7f), KeyError::NotAPoint),  // y = p + 3 instead of y = 3
    ]
}

/// X25519 public keys that agree with every secret on all zeros.
pub(crate) fn bad_c2_publics() -> [Key; 4] {
    [
        number(0, 0),
        number(1, 0),
        number(0xec, 0x7f), // order 4: u = -1
        number(0xee, 0x7f), // u = p + 1
    ]
}

/// A field element, little-endian: a lowest byte, and 2^255 - 256 above it when `highest` is 0x7f.
fn number(lowest: u8, highest: u8) -> Key {
    let mut bytes = if highest == 0 { [0; 32] } else { [0xff; 32] };
    bytes[0] = lowest;
    bytes[31] = highest;
    bytes
}
