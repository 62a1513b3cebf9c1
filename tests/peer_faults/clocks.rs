//! Time: senders ahead, retained messages, queued commands, devices without a clock.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestClock, TestStore, seal_raw, set_topic_key, topic_hash, topic_key},
    refused,
};
use e4::{
    AppliedCommand, Command, CommandError, KeyRole, MaxAge, OpenError, Refusal, SealError, Timestamp, TopicFilter,
};

const WEEK: u64 = 7 * 24 * 3600;

fn device_with_key(name: &str) -> Device {
    Device::symmetric(name).knowing(TOPIC, &topic_key("topic"))
}

/// A message that was sealed at a time.
fn sealed_at(sent: u64, topic: &str) -> Vec<u8> {
    let sender = Device::symmetric("sender").knowing(topic, &topic_key("topic"));
    sender.clock.set(sent);
    sender.client.seal(topic, b"4.2 bar").unwrap()
}

fn device_without_clock() -> Device {
    Device::create(Party::symmetric("sensor"), TestStore::memory(), &TestClock::uptime(10))
}

#[test]
fn g12_a_sender_may_be_ahead_by_max_ahead_and_no_more() {
    let mut device = device_with_key("pump");
    for ahead in [1, 2, 60] {
        let message = device.open(TOPIC, &sealed_at(NOW + ahead, TOPIC)).unwrap();
        assert_eq!((message.payload.as_slice(), message.age), (&b"4.2 bar"[..], Some(0)));
    }
    assert_eq!(device.open(TOPIC, &sealed_at(NOW + 61, TOPIC)), refused(Refusal::FromTheFuture { ahead: 61 }));

    let mut options = *device.client.options();
    options.max_ahead = 61;
    device.client.set_options(options).unwrap();
    assert!(device.open(TOPIC, &sealed_at(NOW + 61, TOPIC)).is_ok());
    let next = sealed_at(NOW + 62, TOPIC);
    assert_eq!(device.open(TOPIC, &next), refused(Refusal::FromTheFuture { ahead: 62 }));
}

#[test]
fn g18_a_retained_message_of_any_age_opens_where_that_is_allowed_and_only_there() {
    let mut device = device_with_key("pump").knowing("status/pump", &topic_key("topic"));
    let sent = NOW - 52 * WEEK;
    let retained = sealed_at(sent, "status/pump");
    let too_old = Refusal::TooOld { age: 52 * WEEK, max_age: 600 };
    assert_eq!(device.open("status/pump", &retained), refused(too_old));

    device.client.set_max_age(&TopicFilter::new("status/#").unwrap(), MaxAge::Any).unwrap();
    // The broker sends it again with every subscription.
    for _ in 0..2 {
        let message = device.open("status/pump", &retained).unwrap();
        assert_eq!((message.sent, message.age), (Timestamp::from_unix(sent), Some(52 * WEEK)));
    }
    assert_eq!(device.open(TOPIC, &sealed_at(sent, TOPIC)), refused(too_old));
}

/// They waited in the broker, in a persistent session.
#[test]
fn g18_a_device_that_was_offline_for_a_week_takes_all_commands_that_waited_for_it_in_their_order() {
    let mut device = Device::symmetric("pump");
    let queued: Vec<_> = (0..5)
        .map(|day| {
            let command = set_topic_key(TOPIC, &topic_key(&format!("day {day}")));
            device.recipient.seal_dated(&command, Timestamp::from_unix(NOW + day * 24 * 3600)).unwrap()
        })
        .collect();
    device.clock.advance(WEEK);
    for command in &queued {
        assert_eq!(device.deliver(command.as_bytes()), Ok(AppliedCommand::SetTopicKey(topic_hash(TOPIC))));
    }
    let newest = Timestamp::from_unix(NOW + 4 * 24 * 3600);
    for command in &queued[..4] {
        assert_eq!(device.deliver(command.as_bytes()), refused(Refusal::Superseded { newest }));
    }
    assert_eq!(device.deliver(queued[4].as_bytes()), refused(Refusal::Repeated));

    let sealed = device.client.seal(TOPIC, b"4.2 bar").unwrap();
    let mut peer = Device::symmetric("peer").knowing(TOPIC, &topic_key("day 4"));
    peer.clock.advance(WEEK);
    assert!(peer.open(TOPIC, &sealed).is_ok(), "the newest key is the current one");
}

#[test]
fn g18_a_maximum_age_of_commands_can_be_set() {
    let mut device = Device::symmetric("pump");
    let mut options = *device.client.options();
    options.command_max_age = MaxAge::Seconds(600);
    device.client.set_options(options).unwrap();
    let old = device.unchanged_by(|device| device.command_at(NOW - 601, &Command::ResetTopics));
    assert_eq!(old, refused(Refusal::TooOld { age: 601, max_age: 600 }));
    assert!(device.command_at(NOW - 600, &Command::ResetTopics).is_ok());
}

#[test]
fn l11_a_clock_is_a_clock_whatever_it_shows() {
    // Every power of two there is, and what lies around it.
    let around = |shift: u32| [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 12_345];
    for now in [0].into_iter().chain((1..33).flat_map(around)).filter(|now| now.abs_diff(NOW) > 700) {
        let clock = TestClock::time(now);
        let mut device: Device = Device::create(Party::symmetric("sensor"), TestStore::memory(), &clock);
        device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
        let expected = if now < NOW {
            Refusal::FromTheFuture { ahead: NOW - now }
        } else {
            Refusal::TooOld { age: now - NOW, max_age: 600 }
        };
        assert_eq!(device.open(TOPIC, &sealed_at(NOW, TOPIC)), refused(expected));
        device.open(TOPIC, &sealed_at(now, TOPIC)).unwrap();
        // No command sets it.
        device.command_at(NOW + 1, &Command::ResetTopics).unwrap();
        assert_eq!(device.client.now(), Some(Timestamp::from_unix(now)));
    }
}

#[test]
fn l11_a_device_without_a_clock_learns_the_time_from_a_command_and_counts_on() {
    let mut device = device_without_clock();
    assert_eq!(device.client.now(), None);
    device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    let mut device = device.restart();
    assert_eq!(device.client.now(), None, "the uptime of another start says nothing");

    assert_eq!(device.client.seal(TOPIC, b""), Err(SealError::TimeUnknown));
    for sent in [NOW - 52 * WEEK, NOW + 52 * WEEK] {
        let message = device.open(TOPIC, &sealed_at(sent, TOPIC)).unwrap();
        assert_eq!((message.sent, message.age), (Timestamp::from_unix(sent), None));
    }

    device.command_at(NOW + 5, &Command::RemoveTopic(topic_hash("another"))).unwrap();
    device.clock.advance(100);
    assert_eq!(device.client.now(), Some(Timestamp::from_unix(NOW + 105)));
    assert_eq!(device.open(TOPIC, &sealed_at(NOW, TOPIC)).unwrap().age, Some(105));
    let old = device.open(TOPIC, &sealed_at(NOW - 500, TOPIC));
    assert_eq!(old, refused(Refusal::TooOld { age: 605, max_age: 600 }));
    let ahead = device.open(TOPIC, &sealed_at(NOW + 200, TOPIC));
    assert_eq!(ahead, refused(Refusal::FromTheFuture { ahead: 95 }));
    let sealed = device.client.seal(TOPIC, b"").unwrap();
    assert_eq!(sealed[..8], (NOW + 105).to_le_bytes());
}

#[test]
fn l11_a_command_that_is_not_applied_teaches_no_time() {
    let mut device = device_without_clock();
    device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    let old = device.recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(NOW - 1)).unwrap();
    let same =
        device.recipient.seal_dated(&set_topic_key(TOPIC, &topic_key("topic")), Timestamp::from_unix(NOW)).unwrap();
    let mut device = device.restart();

    let newest = Timestamp::from_unix(NOW);
    assert_eq!(device.deliver(old.as_bytes()), refused(Refusal::Superseded { newest }));
    assert_eq!(device.deliver(same.as_bytes()), refused(Refusal::Repeated));
    let forged = seal_raw(&[7; 32], NOW + WEEK, &[1]);
    assert_eq!(device.deliver(&forged), refused(Refusal::NotAuthentic));
    let unknown = seal_raw(&device.command_key, NOW + WEEK, &[0x77]);
    assert_eq!(device.deliver(&unknown), refused(Refusal::Command(CommandError::UnknownCode(0x77))));
    device.store.set_failing(true);
    let unstored = device.command_at(NOW + WEEK, &Command::ResetTopics);
    assert_eq!(unstored, Err(OpenError::Store(TestStore::FAILURE)));
    assert_eq!(device.client.now(), None);

    device.store.set_failing(false);
    device.command_at(NOW + WEEK, &Command::ResetTopics).unwrap();
    assert_eq!(device.client.now(), Some(Timestamp::from_unix(NOW + WEEK)));
}

#[test]
fn l11_a_device_whose_uptime_stood_still_keeps_the_whole_hour_of_a_key_transition() {
    let mut device = device_without_clock();
    device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("old"))).unwrap();
    // Two hours of deep sleep, which the uptime does not count.
    let rotated = NOW + 7200;
    device.command_at(rotated, &set_topic_key(TOPIC, &topic_key("new"))).unwrap();
    let late = Device::symmetric("sender").knowing(TOPIC, &topic_key("old"));
    late.clock.set(rotated);
    let message = device.open(TOPIC, &late.client.seal(TOPIC, b"4.2 bar").unwrap()).unwrap();
    assert_eq!(message.key, KeyRole::Previous);
}
