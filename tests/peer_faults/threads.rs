//! Shared use from several threads.

use crate::{
    common::{Device, bytes, set_topic_key, topic_hash, topic_key},
    refused,
};
use e4::{Command, KeyRole, MaxAge, Refusal, SealError, Subtree, SubtreeKey, Topic, TopicKey};
use std::{
    sync::{Barrier, RwLock},
    thread,
};

const KEYS: usize = 5;
const SEALERS: usize = 3;
const MESSAGES: usize = 80;
const COMMANDS: usize = 80;

/// One topic has a key of its own, the other one gets its key from a subtree.
const TOPICS: [&str; 2] = ["exact", "tree/leaf"];
const SUBTREE: &str = "tree/#";

/// The keys that the two topics have at a time, by their number.
type Current = [Option<usize>; 2];

/// Commands change the keys in one thread, while others seal and open. Whatever is sealed is sealed under exactly the
/// key that the topic has at that moment, and whatever is opened is opened under the right one.
#[test]
fn g2_g3_g13_threads_seal_and_open_under_whole_keys_while_commands_change_them() {
    let mut device = Device::symmetric("pump");
    let mut current = [None; 2];
    for step in 0..2 {
        device.clock.advance(1);
        change_keys(&mut device, &mut current, step);
    }
    assert_eq!(current, [Some(0), Some(1)]);
    let arriving: Vec<_> = (0..MESSAGES).map(Arriving::new).collect();
    let shared = RwLock::new((device, current));
    let start = Barrier::new(SEALERS + 2);

    let sealed = thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            for step in 2..COMMANDS {
                {
                    let (device, current) = &mut *shared.write().unwrap();
                    device.clock.advance(1);
                    change_keys(device, current, step);
                }
                thread::yield_now();
            }
        });
        scope.spawn(|| {
            start.wait();
            for message in &arriving {
                let (device, current) = &mut *shared.write().unwrap();
                message.arrive(device, current);
            }
        });
        let start_sealing = |sealer| {
            let (shared, start) = (&shared, &start);
            scope.spawn(move || {
                start.wait();
                (0..MESSAGES).map(|n| Sealed::new(&shared.read().unwrap(), sealer, n)).collect::<Vec<_>>()
            })
        };
        let sealers: Vec<_> = (0..SEALERS).map(start_sealing).collect();
        sealers.into_iter().flat_map(|sealer| sealer.join().unwrap()).collect::<Vec<_>>()
    });

    let mut reference = reference();
    assert_eq!(sealed.len(), SEALERS * MESSAGES);
    for sealed in sealed {
        sealed.check(&mut reference);
    }
}

/// Keeps the two topics' keys changing: each of them is set, replaced, removed, and reset with all others.
fn change_keys(device: &mut Device, current: &mut Current, step: usize) {
    let key = step % KEYS;
    let subtree = Subtree::new(SUBTREE).unwrap();
    let command = match step % 11 {
        0 | 3 | 6 | 8 => {
            current[0] = Some(key);
            set_topic_key(TOPICS[0], &exact_key(key))
        }
        1 | 4 | 5 | 9 => {
            current[1] = Some(key);
            Command::set_subtree_key(&subtree, &subtree_key(key))
        }
        2 => {
            current[0] = None;
            Command::RemoveTopic(topic_hash(TOPICS[0]))
        }
        7 => {
            current[1] = None;
            Command::RemoveTopic(*subtree.hash())
        }
        _ => {
            *current = [None; 2];
            Command::ResetTopics
        }
    };
    device.command(&command).unwrap();
}

fn exact_key(n: usize) -> TopicKey {
    topic_key(&format!("exact key {n}"))
}

fn subtree_key(n: usize) -> SubtreeKey {
    SubtreeKey::from_bytes(&bytes(&format!("subtree key {n}"))).unwrap()
}

/// The topic key that a topic has under key `n`.
fn effective_key(topic: usize, n: usize) -> TopicKey {
    match topic {
        0 => exact_key(n),
        _ => subtree_key(n).topic_key(&Subtree::new(SUBTREE).unwrap(), &Topic::new(TOPICS[1]).unwrap()).unwrap(),
    }
}

/// A client that holds all keys ever set, each for a topic of its own: what a topic is called does not enter a message.
fn reference() -> Device {
    let mut reference = Device::symmetric("reference");
    for topic in 0..TOPICS.len() {
        for n in 0..KEYS {
            reference.command(&set_topic_key(&reference_topic(topic, n), &effective_key(topic, n))).unwrap();
        }
    }
    let mut options = *reference.client.options();
    (options.max_age, options.max_ahead) = (MaxAge::Any, 10 * COMMANDS as u64);
    reference.client.set_options(options).unwrap();
    reference
}

fn reference_topic(topic: usize, n: usize) -> String {
    format!("{topic}/{n}")
}

/// What came of sealing, and the key that the topic had.
struct Sealed {
    topic: usize,
    payload: String,
    current: Option<usize>,
    result: Result<Vec<u8>, SealError>,
}

impl Sealed {
    fn new((device, current): &(Device, Current), sealer: usize, n: usize) -> Self {
        let topic = n % TOPICS.len();
        let payload = format!("message {n} of sealer {sealer}");
        let result = device.client.seal(TOPICS[topic], payload.as_bytes());
        Self { topic, payload, current: current[topic], result }
    }

    fn check(self, reference: &mut Device) {
        let Some(current) = self.current else {
            assert_eq!(self.result, Err(SealError::NoTopicKey));
            return;
        };
        let message = self.result.unwrap();
        for n in 0..KEYS {
            let opened = reference.open(&reference_topic(self.topic, n), &message);
            if n == current {
                assert_eq!(opened.unwrap().payload, self.payload.as_bytes());
            } else {
                assert_eq!(opened, refused(Refusal::NotAuthentic));
            }
        }
    }
}

/// A message of a peer that has one of the keys.
struct Arriving {
    topic: usize,
    key: usize,
    payload: String,
    sealed: Vec<u8>,
}

impl Arriving {
    fn new(n: usize) -> Self {
        let (topic, key) = (n % TOPICS.len(), n % KEYS);
        let payload = format!("arriving {n}");
        let peer = Device::symmetric("peer").knowing(TOPICS[topic], &effective_key(topic, key));
        let sealed = peer.client.seal(TOPICS[topic], payload.as_bytes()).unwrap();
        Self { topic, key, payload, sealed }
    }

    fn arrive(&self, device: &mut Device, current: &Current) {
        let current = current[self.topic];
        match device.open(TOPICS[self.topic], &self.sealed) {
            Ok(message) => {
                assert_eq!(message.payload, self.payload.as_bytes());
                assert_eq!(message.key == KeyRole::Previous, current != Some(self.key));
            }
            Err(error) => {
                assert_ne!(current, Some(self.key), "{error}");
                let reason = if current.is_none() { Refusal::NoTopicKey } else { Refusal::NotAuthentic };
                assert_eq!(Err(error), refused::<()>(reason));
            }
        }
    }
}
