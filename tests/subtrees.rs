//! A client that has the keys of subtrees: which one serves a topic, and what a command changes.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Device, set_topic_key, topic_key};
use e4::{Command, KeyRole, OpenError, Refusal, RootKey, SealError, Subtree, SubtreeKey, Topic};

const TOPIC: &str = "plant/7/pump";

fn root() -> RootKey {
    RootKey::from_bytes(&[0x70; 32]).unwrap()
}

fn topic() -> Topic<'static> {
    Topic::new(TOPIC).unwrap()
}

/// The key of a subtree in an epoch, as a command.
fn subtree_key(filter: &str, epoch: u64) -> (Command, SubtreeKey) {
    let subtree = Subtree::new(filter).unwrap();
    let key = root().subtree_key(epoch, &subtree);
    (Command::set_subtree_key(&subtree, &key), key)
}

/// A device that has the topic's key of an epoch, and nothing else.
fn peer(epoch: u64) -> Device {
    Device::symmetric("peer").knowing(TOPIC, &root().topic_key(epoch, &topic()))
}

#[test]
fn a_prepared_topic_follows_its_subtree_into_the_next_epoch() {
    let mut device = Device::symmetric("pump");
    device.command(&subtree_key("plant/#", 1).0).unwrap();
    device.client.prepare(TOPIC).unwrap();
    assert!(peer(1).open(TOPIC, &device.client.seal(TOPIC, b"4.2 bar").unwrap()).is_ok());

    device.clock.advance(1);
    device.command(&subtree_key("plant/#", 2).0).unwrap();
    let sealed = device.client.seal(TOPIC, b"4.3 bar").unwrap();
    let mut next = peer(2);
    next.clock.advance(1);
    assert!(next.open(TOPIC, &sealed).is_ok());
    let opened = device.open(TOPIC, &peer(1).client.seal(TOPIC, b"4.4 bar").unwrap());
    assert_eq!(opened.unwrap().key, KeyRole::Previous);

    device.clock.advance(1);
    device.command(&Command::remove_subtree(&Subtree::new("plant/#").unwrap())).unwrap();
    assert_eq!(device.client.seal(TOPIC, b""), Err(SealError::NoTopicKey));
    assert_eq!(device.client.prepare(TOPIC), Err(SealError::NoTopicKey));
}

#[test]
fn a_key_that_is_closer_goes_before_one_that_was_derived_earlier() {
    let mut device = Device::symmetric("pump");
    device.command(&subtree_key("#", 1).0).unwrap();
    // Derived and kept.
    device.open(TOPIC, &peer(1).client.seal(TOPIC, b"4.2 bar").unwrap()).unwrap();

    device.clock.advance(1);
    device.command(&subtree_key("plant/7/#", 2).0).unwrap();
    assert_eq!(
        device.open(TOPIC, &peer(1).client.seal(TOPIC, b"4.3 bar").unwrap()),
        Err(OpenError::Refused(Refusal::NotAuthentic))
    );
    assert!(device.open(TOPIC, &peer(2).client.seal(TOPIC, b"4.4 bar").unwrap()).is_ok());

    device.clock.advance(1);
    device.command(&set_topic_key(TOPIC, &topic_key("of its own"))).unwrap();
    let own = Device::symmetric("peer").knowing(TOPIC, &topic_key("of its own"));
    assert!(device.open(TOPIC, &own.client.seal(TOPIC, b"4.5 bar").unwrap()).is_ok());
    assert_eq!(
        device.open(TOPIC, &peer(2).client.seal(TOPIC, b"4.6 bar").unwrap()),
        Err(OpenError::Refused(Refusal::NotAuthentic))
    );
}

#[test]
fn the_key_of_everything_serves_no_topic_that_begins_with_a_dollar_sign() {
    let mut device = Device::symmetric("pump");
    device.command(&subtree_key("#", 1).0).unwrap();
    assert_eq!(device.client.seal("$SYS/load", b""), Err(SealError::NoTopicKey));
    assert!(!device.client.has_key_for(&Topic::new("$SYS/load").unwrap()));
    assert!(device.client.seal("SYS/load", b"").is_ok());
}
