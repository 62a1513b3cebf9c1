//! What becomes of a command that cannot be stored, and what may go before it.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Device, NOW, Party, TestClock, TestStore, bytes, set_topic_key, topic_hash, topic_key};
use e4::{AppliedCommand, ClientId, ClientKey, Command, Full, OpenError, Refusal, StoreError, Timestamp, VerifyingKey};

const TOPIC: &str = "plant/7/pump/pressure";

fn seal(device: &Device, command: &Command, sent: u64) -> Vec<u8> {
    device.recipient.seal_dated(command, Timestamp::from_unix(sent)).unwrap().as_bytes().to_vec()
}

fn peer_key() -> VerifyingKey {
    common::signing_key("peer").verifying_key()
}

#[test]
fn f11_a_state_that_is_too_long_is_final_like_a_full_key_ring_and_other_failures_of_the_store_are_not() {
    assert!(OpenError::Store(StoreError::TooLong(4096)).is_final());
    assert!(OpenError::Full(Full::Topics).is_final());
    let disk_full = StoreError::File { action: "write", kind: std::io::ErrorKind::StorageFull };
    for error in [disk_full, StoreError::InUse, StoreError::Other("the flash is worn out")] {
        assert!(!OpenError::Store(error).is_final(), "{error:?}");
    }
}

#[test]
fn f11_what_only_removes_may_overtake_what_cannot_be_stored_and_is_applied_for_good() {
    let mut device = Device::symmetric("pump").knowing("a", &topic_key("old"));
    let waiting = seal(&device, &set_topic_key(TOPIC, &topic_key("new")), NOW + 1);
    device.store.set_failing(true);
    assert_eq!(device.deliver(&waiting), Err(OpenError::Store(TestStore::FAILURE)));

    let reset = seal(&device, &Command::ResetTopics, NOW + 2);
    device.store.set_failing(false);
    device.unchanged_by(|device| assert!(device.client.may_overtake(&reset, &waiting)));
    assert_eq!(device.deliver(&reset), Ok(AppliedCommand::ResetTopics));
    // What was taken away does not come back with what waited.
    let newest = Timestamp::from_unix(NOW + 2);
    assert_eq!(device.deliver(&waiting), Err(OpenError::Refused(Refusal::Superseded { newest })));
    assert_eq!(device.client.topics().count(), 0);
}

#[test]
fn f11_only_a_later_authentic_command_that_brings_no_key_may_overtake() {
    let party = |name| Party::public_key(name);
    let device: Device = Device::create(party("pump"), TestStore::memory(), &TestClock::time(NOW));
    let other: Device = Device::create(party("other"), TestStore::memory(), &TestClock::time(NOW));
    let peer = ClientId::from_name("peer").unwrap();
    let waiting = seal(&device, &set_topic_key(TOPIC, &topic_key("new")), NOW);
    let removals = [
        Command::RemoveTopic(topic_hash(TOPIC)),
        Command::ResetTopics,
        Command::RemovePubKey(peer),
        Command::ResetPubKeys,
    ];
    for command in &removals {
        let may = |sent| device.client.may_overtake(&seal(&device, command, sent), &waiting);
        assert!(may(NOW + 1), "{command:?}");
        // In one second the order of arrival decides, and earlier commands are out of order.
        assert!(!may(NOW), "{command:?}");
        assert!(!may(NOW - 1), "{command:?}");
        assert!(!device.client.may_overtake(&seal(&other, command, NOW + 1), &waiting), "not authentic");
    }
    for command in [
        set_topic_key(TOPIC, &topic_key("newer")),
        Command::SetSigningKey(common::signing_key("new")),
        Command::SetC2Key(common::c2_key("another").public_key()),
        Command::SetPubKey { client: peer, key: peer_key() },
    ] {
        assert!(!device.client.may_overtake(&seal(&device, &command, NOW + 1), &waiting), "{command:?}");
    }
    let symmetric = Device::symmetric("pump");
    let new_key = Command::SetClientKey(ClientKey::from_bytes(&bytes("new")).unwrap());
    assert!(!symmetric.client.may_overtake(&seal(&symmetric, &new_key, NOW + 1), &waiting));
}

#[test]
fn f11_what_is_no_command_or_was_accepted_does_not_overtake() {
    let mut device = Device::symmetric("pump");
    let waiting = seal(&device, &set_topic_key(TOPIC, &topic_key("new")), NOW);
    let reset = seal(&device, &Command::ResetTopics, NOW + 1);
    for length in [0, 23, 24, reset.len() - 1] {
        assert!(!device.client.may_overtake(reset.get(..length).unwrap(), &waiting));
    }
    assert!(!device.client.may_overtake(&vec![0; 10_000], &waiting));
    assert!(!device.client.may_overtake(&reset, b"too short"));
    device.deliver(&reset).unwrap();
    assert!(!device.client.may_overtake(&reset, &waiting), "a second delivery");
}
