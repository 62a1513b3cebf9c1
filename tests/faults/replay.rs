//! What was opened is not opened again.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestClock, TestStore, set_topic_key, topic_key},
    refused,
};
use e4::{Command, FixedKeyRing, Refusal, Repeated, Timestamp};

fn sealed_at(sent: u64, payload: &[u8]) -> Vec<u8> {
    let sender = Device::symmetric("sender").knowing(TOPIC, &topic_key("topic"));
    sender.clock.set(sent);
    sender.client.seal(TOPIC, payload).unwrap()
}

#[test]
fn f3_nothing_that_was_opened_before_a_restart_is_opened_after_it_if_the_application_minds() {
    for max_ahead in [0, 60, 300] {
        let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("topic"));
        let mut options = *device.client.options();
        options.max_ahead = max_ahead;
        device.client.set_options(options).unwrap();
        let opened: Vec<_> = [0, 1, max_ahead].map(|ahead| sealed_at(NOW + ahead.min(max_ahead), b"4.2 bar")).into();
        for message in &opened {
            let _ = device.open(TOPIC, message);
        }
        let mut device = device.restart();
        device.clock.advance(1);
        device.client.refuse_sent_until(Timestamp::from_unix(NOW + 1));
        for passed in [0, 30, max_ahead, 400] {
            device.clock.set(NOW + 1 + passed);
            for message in &opened {
                assert_eq!(device.open(TOPIC, message), refused(Refusal::BeyondReplayMemory), "{max_ahead}, {passed}");
            }
        }
        // And no longer than that.
        device.clock.set(NOW + 2 + max_ahead);
        device.open(TOPIC, &sealed_at(NOW + 2 + max_ahead, b"4.2 bar")).unwrap();
    }
}

#[test]
fn f14_messages_from_before_the_time_was_known_do_not_keep_the_memory_full() {
    let clock = TestClock::uptime(10);
    let mut device: Device<FixedKeyRing<2, 0, 8>> =
        Device::create(Party::symmetric("sensor"), TestStore::memory(), &clock);
    device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    let mut device = device.restart();
    assert_eq!(device.client.now(), None);
    // More than the memory holds, dated years ahead, and one of the present.
    for n in 0..20_u8 {
        device.open(TOPIC, &sealed_at(NOW * 2 + u64::from(n), &[n])).unwrap();
    }
    device.command_at(NOW + 5, &Command::RemoveTopic(e4::TopicHash::from_bytes([1; 16]))).unwrap();
    // Refused is what may have been opened before the time was known, and nothing after that.
    device.clock.advance(61);
    for n in 0..8 {
        let message = sealed_at(NOW + 66, &[n]);
        device.open(TOPIC, &message).unwrap();
        assert_eq!(device.open(TOPIC, &message), refused(Refusal::Repeated));
    }
}

#[test]
fn f19_to_report_what_was_opened_before_may_hold_for_now_and_is_never_stored() {
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("topic"));
    let message = sealed_at(NOW, b"ON");
    let before = device.store.saved();
    device.client.set_repeated_for_now(Repeated::Report);
    assert!(!device.open(TOPIC, &message).unwrap().repeated);
    assert!(device.open(TOPIC, &message).unwrap().repeated);
    assert_eq!(device.store.saved(), before, "nothing is stored at once");
    device.command(&Command::RemoveTopic(e4::TopicHash::from_bytes([1; 16]))).unwrap();
    let mut device = device.restart();
    device.open(TOPIC, &message).unwrap();
    assert_eq!(device.open(TOPIC, &message), refused(Refusal::Repeated), "nor with a command");
}
