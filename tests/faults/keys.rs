//! Which keys go together, and which key a device seals under.

use crate::{
    TOPIC,
    common::{
        Device, NOW, Party, TestClock, TestStore, bytes, c2_key, set_topic_key, signing_key, topic_hash, topic_key,
    },
    refused,
};
use e4::{
    Client, ClientBuilder, ClientKey, Command, CommandError, CreateError, GrowableKeyRing, KeyRole, LoadError,
    MemoryStore, OpenError, Refusal, RootKey, StateError, Subtree, Timestamp, Topic, TopicKey,
    controller::HardRotation,
};

fn shared<T>() -> Result<T, OpenError> {
    refused(Refusal::Command(CommandError::SharedKey))
}

fn as_topic_key(key: &[u8; 32]) -> TopicKey {
    TopicKey::from_bytes(key).unwrap()
}

/// Those of a client that a member of a topic must not have for a topic key.
fn own_keys(device: &Device) -> Vec<[u8; 32]> {
    let mut keys = vec![device.command_key];
    if let (Some(public), Some(c2)) = (device.client.verifying_key(), device.client.c2_key()) {
        keys.extend([*public.as_bytes(), *signing_key("pump").as_seed(), *c2.as_bytes()]);
    }
    keys
}

#[test]
fn f7_a_topic_key_that_is_a_key_of_the_client_is_refused() {
    for mut device in [Device::symmetric("pump"), Device::public_key("pump")] {
        for key in own_keys(&device) {
            for topic in [topic_hash(TOPIC), *Subtree::new("#").unwrap().hash()] {
                let body = [&[0x03][..], &key, topic.as_bytes()].concat();
                assert_eq!(device.unchanged_by(|device| device.raw_command(&body)), shared());
            }
        }
        let command = set_topic_key(TOPIC, &as_topic_key(&device.command_key));
        let sealed = device.recipient.seal_dated(&command, Timestamp::from_unix(NOW));
        assert_eq!(sealed.map(|_| ()), Err(CommandError::SharedKey), "the key server seals none either");
        device.command(&set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    }
}

/// Also when it is the previous one, which removed members have.
#[test]
fn f7_a_client_key_that_is_the_key_of_a_topic_is_refused() {
    let (current, previous) = (bytes("current"), bytes("previous"));
    let with_topic = |device: Device| {
        device
            .knowing(TOPIC, &as_topic_key(&previous))
            .knowing(TOPIC, &as_topic_key(&current))
            .knowing("x", &topic_key("x"))
    };
    let mut device = with_topic(Device::symmetric("pump"));
    for key in [current, previous] {
        let command = Command::SetClientKey(ClientKey::from_bytes(&key).unwrap());
        assert_eq!(device.unchanged_by(|device| device.command(&command)), shared());
    }
    let mut device = with_topic(Device::public_key("pump"));
    for key in ["current", "previous"] {
        let command = Command::SetSigningKey(signing_key(key));
        assert_eq!(device.unchanged_by(|device| device.command(&command)), shared());
    }
    // What the new pair agrees on, and the key server's key.
    let c2 = c2_key("another");
    let party = Party::with_keys("pump", signing_key("pump"), &c2);
    for key in [party.command_key, *c2.public_key().as_bytes()] {
        let mut device = Device::public_key("pump").knowing(TOPIC, &as_topic_key(&key));
        let result = device.unchanged_by(|device| device.command(&Command::SetC2Key(c2.public_key())));
        assert_eq!(result, shared());
    }
    // Once the topic is gone, nobody is a member.
    device.command(&Command::RemoveTopic(topic_hash(TOPIC))).unwrap();
    device.command(&Command::SetSigningKey(signing_key("current"))).unwrap();
}

#[test]
fn f7_no_client_is_made_or_loaded_with_a_topic_key_that_is_its_own() {
    for (party, device) in
        [(Party::symmetric("pump"), Device::symmetric("pump")), (Party::public_key("pump"), Device::public_key("pump"))]
    {
        for key in own_keys(&device) {
            let (topic, key, other) = (topic_hash(TOPIC), as_topic_key(&key), topic_key("other"));
            let builder = || ClientBuilder::<GrowableKeyRing>::new(party.identity.clone());
            assert_eq!(builder().topic_key(&topic, key.clone()).err(), Some(CreateError::SharedKey));
            let previous = builder().topic_key_with_previous(&topic, other, key.clone(), Timestamp::from_unix(NOW));
            assert_eq!(previous.err(), Some(CreateError::SharedKey));

            // A state that says so, from wherever it is.
            let store = TestStore::memory();
            let made = builder().topic_key(&topic, topic_key("to be replaced")).unwrap();
            drop(made.create_with(store.clone(), TestClock::time(NOW)).unwrap());
            let state = with_other_key(&store.saved(), topic_key("to be replaced").as_bytes(), key.as_bytes());
            let loaded = Client::load(MemoryStore::from_bytes(state));
            assert_eq!(loaded.err(), Some(LoadError::State(StateError::SharedKey)));
        }
    }
}

/// The state with one key instead of another, and the checksum that goes with it.
fn with_other_key(state: &[u8], old: &[u8; 32], new: &[u8; 32]) -> Vec<u8> {
    use sha3::{Digest, Sha3_256};
    let mut body = state[..state.len() - 32].to_vec();
    let at = body.windows(32).position(|window| window == old).unwrap();
    body[at..at + 32].copy_from_slice(new);
    let sum = Sha3_256::digest(&body);
    [&body[..], &sum[..]].concat()
}

/// A device with the key of a subtree, and an exact one for a topic below it that only few have.
fn device_below_a_subtree() -> (Device, Device) {
    let root = RootKey::from_bytes(&bytes("root")).unwrap();
    let subtree = Subtree::new("plant/#").unwrap();
    let mut devices = [Device::symmetric("pump"), Device::symmetric("outsider")];
    for device in &mut devices {
        device.command(&Command::set_subtree_key(&subtree, &root.subtree_key(1, &subtree))).unwrap();
    }
    let [device, outsider] = devices;
    (device.knowing(TOPIC, &topic_key("few")), outsider)
}

/// The rotation of others is what the pages warn of.
#[test]
fn f6_a_hard_rotation_below_a_subtree_never_falls_back_to_the_wider_circle() {
    let seal = |device: &Device| device.client.seal(TOPIC, b"4.2 bar").unwrap();

    let (mut device, mut outsider) = device_below_a_subtree();
    let pair = HardRotation::RemoveAndSet.commands(topic_hash(TOPIC), topic_key("new")).unwrap();
    device.command_at(NOW + 1, &pair[0]).unwrap();
    outsider.open(TOPIC, &seal(&device)).unwrap();

    let (mut device, mut outsider) = device_below_a_subtree();
    let old = Device::symmetric("member").knowing(TOPIC, &topic_key("few")).client.seal(TOPIC, b"5.0 bar").unwrap();
    let pair = HardRotation::for_client(false, true).commands(topic_hash(TOPIC), topic_key("new")).unwrap();
    let mut member = Device::symmetric("member").knowing(TOPIC, &topic_key("new"));
    for (command, is_done) in pair.iter().zip([false, true]) {
        device.command_at(NOW + 1, command).unwrap();
        let sealed = seal(&device);
        assert_eq!(outsider.open(TOPIC, &sealed), refused(Refusal::NotAuthentic));
        assert_eq!(member.open(TOPIC, &sealed).is_ok(), is_done);
    }
    assert_eq!(device.open(TOPIC, &old), refused(Refusal::NotAuthentic), "as hard as the other one");
    assert!(device.client.has_key_for(&Topic::new(TOPIC).unwrap()));

    // Twice in one second it is as hard.
    for command in HardRotation::PushOut.commands(topic_hash(TOPIC), topic_key("newest")).unwrap() {
        device.command_at(NOW + 1, &command).unwrap();
    }
    let late = member.client.seal(TOPIC, b"6.0 bar").unwrap();
    assert_eq!(device.open(TOPIC, &late), refused(Refusal::NotAuthentic));
}

const HOUR: u64 = 3600;

/// A device in a transition that began at a time, and what opens under the previous key.
fn in_transition() -> Device {
    Device::symmetric("pump").knowing(TOPIC, &topic_key("old")).knowing(TOPIC, &topic_key("new"))
}

fn opens_under_previous_key(device: &mut Device, n: u64) -> bool {
    let sender = Device::symmetric("sender").knowing(TOPIC, &topic_key("old"));
    sender.clock.set(device.clock.seconds());
    let sealed = sender.client.seal(TOPIC, &n.to_le_bytes()).unwrap();
    device.open(TOPIC, &sealed).is_ok_and(|message| message.key == KeyRole::Previous)
}

#[test]
fn f4_a_clock_that_is_set_back_in_steps_does_not_prolong_the_life_of_a_previous_key() {
    for restarts in [false, true] {
        for (forward, back) in [(100, 100), (1000, 900), (1200, 2400), (300, 1), (3000, 3000)] {
            let mut device = in_transition();
            let mut passed = 0;
            while passed + forward <= HOUR {
                device.clock.advance(forward);
                passed += forward;
                assert!(opens_under_previous_key(&mut device, passed), "{forward}, {back}, {passed}");
                if restarts {
                    device = device.restart();
                }
                device.clock.set(device.clock.seconds() - back);
                assert!(opens_under_previous_key(&mut device, passed + 1), "{forward}, {back}, {passed}");
            }
            device.clock.advance(forward);
            // What was not stored when the client was restarted is five minutes each time at most.
            let is_over = !opens_under_previous_key(&mut device, passed + 2);
            assert!(is_over || (restarts && forward < 300), "{forward}, {back}, {passed}");
            assert_eq!(device.client.topics().any(|(_, spare)| spare.is_some()), !is_over, "erased");
        }
    }
}

#[test]
fn f4_a_clock_set_back_to_more_than_an_hour_before_a_change_ends_the_previous_key() {
    let mut device = in_transition();
    device.clock.set(NOW - HOUR - 1);
    assert!(!opens_under_previous_key(&mut device, 0));
    assert!(device.client.topics().all(|(_, spare)| spare.is_none()));
}

#[test]
fn f4_a_device_that_is_restarted_while_its_clock_is_set_back_gains_five_minutes_at_most() {
    let mut device = in_transition();
    let mut rounds = 0;
    while opens_under_previous_key(&mut device, rounds) {
        rounds += 1;
        assert!(rounds < 100, "a previous key lives for ever");
        // Ten minutes of messages, one a minute.
        for _ in 0..10 {
            device.clock.advance(60);
            opens_under_previous_key(&mut device, rounds);
        }
        device = device.restart();
        device.clock.set(device.clock.seconds() - 600);
    }
    assert!((6..=13).contains(&rounds), "{rounds}");
}
