//! The time that commands carry.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestClock, TestStore, seal_raw, set_topic_key, topic_hash, topic_key},
    refused,
};
use e4::{
    ClientBuilder, Command, CommandError, CreateError, FixedKeyRing, GrowableKeyRing, MaxAge, Refusal, Timestamp,
    controller::{HardRotation, Lane},
};

const WEEK: u64 = 7 * 24 * 3600;

fn sensor() -> Device {
    Device::create(Party::symmetric("sensor"), TestStore::memory(), &TestClock::uptime(10))
}

/// The key server's clock was ahead for a moment. With a hard rotation in what comes behind.
#[test]
fn f1_a_command_that_is_dated_ahead_is_taken_at_once_and_so_are_those_behind_it() {
    for ahead in [1, 61, 300, WEEK, 100 * 52 * WEEK] {
        let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("old"));
        let sent = NOW + ahead;
        device.command_at(sent, &set_topic_key(TOPIC, &topic_key("ahead"))).unwrap();
        assert_eq!(device.client.newest_command(), Some(Timestamp::from_unix(sent)));
        // Nothing waits: the device goes on under the new key, by its own clock.
        let sealed = device.client.seal(TOPIC, b"4.2 bar").unwrap();
        assert_eq!(sealed[..8], NOW.to_le_bytes());
        let mut peer = Device::symmetric("peer").knowing(TOPIC, &topic_key("ahead"));
        peer.open(TOPIC, &sealed).unwrap();

        // The server never dates backwards, and its lane learns where the device is.
        let mut lane = Lane::new();
        lane.observe(device.client.newest_command().unwrap());
        let pair = HardRotation::RemoveAndSet.commands(topic_hash(TOPIC), topic_key("new")).unwrap();
        for command in device.recipient.seal(&pair, &mut lane, Timestamp::from_unix(NOW + 5)).unwrap() {
            device.deliver(command.as_bytes()).unwrap();
        }
        let old = peer.client.seal(TOPIC, b"5.0 bar").unwrap();
        assert_eq!(device.open(TOPIC, &old), refused(Refusal::NotAuthentic));
    }
}

#[test]
fn f2_a_time_that_is_none_in_seconds_is_refused_for_its_content_and_teaches_nothing() {
    let not_a_time = || refused(Refusal::Command(CommandError::NotATime));
    let limit = 1 << 33;
    for mut device in [Device::symmetric("pump"), Device::public_key("pump"), sensor()] {
        device.command_at(NOW, &Command::ResetTopics).unwrap();
        let bodies = [vec![0x01], [&[0x03][..], topic_key("bad").as_bytes(), &[7; 16]].concat(), vec![0x77]];
        for sent in [limit, limit + 1, NOW * 1000, NOW * 1_000_000, 1 << 63, u64::MAX - 1, u64::MAX] {
            for body in &bodies {
                let sealed = seal_raw(&device.command_key, sent, body);
                let result = device.unchanged_by(|device| device.deliver(&sealed));
                assert_eq!(result, not_a_time(), "{sent}");
            }
            assert_eq!(device.client.newest_command(), Some(Timestamp::from_unix(NOW)));
            assert_eq!(device.client.now(), Some(Timestamp::from_unix(NOW)));
            let sealed = device.recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(sent));
            assert_eq!(sealed.map(|_| ()), Err(CommandError::NotATime), "the key server seals none either");
            // Nor does one go before a command that waits.
            let bogus = seal_raw(&device.command_key, sent, &[0x01]);
            let waiting = seal_raw(&device.command_key, NOW + 1, &[0x01]);
            assert!(!device.client.may_overtake(&bogus, &waiting));
        }
        // The last second that is a time.
        device.command_at(limit - 1, &Command::ResetTopics).unwrap();
    }
}

/// A clock in milliseconds, or a mark of another program: the new client would take no command, ever.
#[test]
fn f2_no_client_is_made_that_refuses_every_command_for_ever() {
    let builder = || ClientBuilder::<GrowableKeyRing>::new(Party::symmetric("pump").identity);
    for time in [1 << 33, NOW * 1000, u64::MAX] {
        let made = builder().create_with(TestStore::memory(), TestClock::time(time));
        assert_eq!(made.err(), Some(CreateError::NotATime), "{time}");
        let until = builder().refuse_commands_until(Timestamp::from_unix(time - 1));
        let made = until.create_with(TestStore::memory(), TestClock::time(NOW));
        assert_eq!(made.err(), Some(CreateError::NotATime), "{time}");
    }
}

#[test]
fn f5_an_age_limit_of_commands_is_not_held_against_learned_time() {
    let mut device = sensor();
    let mut options = *device.client.options();
    options.command_max_age = MaxAge::Seconds(3600);
    device.client.set_options(options).unwrap();
    device.command_at(NOW, &Command::ResetTopics).unwrap();
    // Its uptime runs fast: what it takes for two hours was one second.
    device.clock.advance(7200);
    device.command_at(NOW + 1, &Command::ResetTopics).unwrap();
    device.command_at(NOW + WEEK, &Command::ResetTopics).unwrap();
}

#[test]
fn f5_a_device_whose_uptime_begins_anew_does_not_know_the_time_until_the_next_command() {
    let mut device = sensor();
    device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    device.clock.set(5000);
    device.client.seal(TOPIC, b"").unwrap();
    device.clock.set(0);
    assert_eq!(device.client.seal(TOPIC, b""), Err(e4::SealError::TimeUnknown));
    device.clock.set(6000);
    assert_eq!(device.client.now(), None);
    device.command_at(NOW + 9000, &Command::RemoveTopic(e4::TopicHash::from_bytes([1; 16]))).unwrap();
    assert_eq!(device.client.now(), Some(Timestamp::from_unix(NOW + 9000)));
}

/// The smallest clients remember 16 commands of a second.
#[test]
fn f12_no_hard_rotation_is_cut_in_two_by_what_was_sent_in_its_second() {
    for before in 0..40 {
        let party = Party::symmetric("pump");
        let mut device: Device<FixedKeyRing<4, 0, 8>> =
            Device::create(party, TestStore::memory(), &TestClock::time(NOW));
        let mut lane = Lane::new();
        let now = Timestamp::from_unix(NOW);
        for n in 0..before {
            let sent = lane.reserve(1, now).unwrap();
            let key = topic_key(&format!("{n}"));
            device.command_at(sent.as_unix(), &set_topic_key(TOPIC, &key)).unwrap();
        }
        let sent = lane.reserve(2, now).unwrap();
        for command in HardRotation::RemoveAndSet.commands(topic_hash(TOPIC), topic_key("new")).unwrap() {
            device.command_at(sent.as_unix(), &command).unwrap();
        }
        let held: Vec<_> = device.client.key_fingerprints().collect();
        assert_eq!((held.len(), held[0].key, held[0].previous), (1, topic_key("new").fingerprint(), None), "{before}");
    }
}
