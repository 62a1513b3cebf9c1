//! Which rule on the age of a message counts.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Device, NOW, topic_key};
use e4::{Command, MaxAge, OpenError, Refusal, Subtree, SubtreeKey, Topic, TopicFilter};

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

/// The greatest age at which the device opens messages of a topic.
fn limit(device: &mut Device, topic: &str) -> MaxAge {
    let sender = Device::symmetric("sender").knowing(topic, &topic_key("topic"));
    sender.clock.set(NOW - 1_000_000);
    let ancient = sender.client.seal(topic, b"4.2 bar").unwrap();
    match device.open(topic, &ancient) {
        Ok(_) => MaxAge::Any,
        Err(OpenError::Refused(Refusal::TooOld { max_age, .. })) => MaxAge::Seconds(max_age),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_rule_of_the_topic_itself_counts_and_then_that_of_the_closest_filter() {
    let topics = ["plant/7/pump", "plant/8/pump", "plant/7", "office", "door/7/status"];
    let mut device =
        topics.iter().fold(Device::symmetric("pump"), |device, topic| device.knowing(topic, &topic_key("topic")));
    for (text, max_age) in [
        ("#", MaxAge::Seconds(1)),
        ("plant/7/#", MaxAge::Seconds(3)),
        ("plant/#", MaxAge::Seconds(2)),
        ("plant/7", MaxAge::Any),
        // Equally close: a broad pattern does not switch off what guards the doors.
        ("door/#", MaxAge::Seconds(4)),
        ("+/+/status", MaxAge::Any),
    ] {
        device.client.set_max_age(&filter(text), max_age).unwrap();
    }
    let limits = topics.map(|topic| limit(&mut device, topic));
    let seconds = MaxAge::Seconds;
    assert_eq!(limits, [seconds(3), seconds(2), MaxAge::Any, seconds(1), seconds(4)]);
}

#[test]
fn a_rule_can_be_replaced_and_taken_back_and_both_survive_a_restart() {
    let mut device = Device::symmetric("pump").knowing("plant/7", &topic_key("topic"));
    device.client.set_max_age(&filter("plant/+"), MaxAge::Seconds(1)).unwrap();
    device.client.set_max_age(&filter("plant/+"), MaxAge::Seconds(2)).unwrap();
    let mut device = device.restart();
    assert_eq!(limit(&mut device, "plant/7"), MaxAge::Seconds(2));
    device.client.remove_max_age(&filter("plant/+")).unwrap();
    device.client.remove_max_age(&filter("absent")).unwrap();
    let mut device = device.restart();
    assert_eq!(limit(&mut device, "plant/7"), MaxAge::Seconds(600));
}

#[test]
fn a_rule_that_cannot_be_stored_is_neither_set_nor_taken_back() {
    let mut device = Device::symmetric("pump").knowing("plant/7", &topic_key("topic"));
    device.client.set_max_age(&filter("plant/7"), MaxAge::Seconds(1)).unwrap();
    device.store.set_failing(true);
    device.client.set_max_age(&filter("plant/7"), MaxAge::Any).unwrap_err();
    device.client.set_max_age(&filter("plant/#"), MaxAge::Any).unwrap_err();
    device.client.remove_max_age(&filter("plant/7")).unwrap_err();
    assert_eq!(device.client.max_ages().collect::<Vec<_>>(), [("plant/7", MaxAge::Seconds(1))]);
    assert_eq!(limit(&mut device, "plant/7"), MaxAge::Seconds(1));
}

#[test]
fn a_client_knows_what_it_has_a_key_for() {
    let mut device = Device::symmetric("pump").knowing("plant/7", &topic_key("topic"));
    let subtree_key = SubtreeKey::from_bytes(&[7; 32]).unwrap();
    device.command(&Command::set_subtree_key(&Subtree::new("a/#").unwrap(), &subtree_key)).unwrap();
    for (topic, expected) in [("plant/7", true), ("plant/7/pump", false), ("a", true), ("a/b", true), ("ab", false)] {
        assert_eq!(device.client.has_key_for(&Topic::new(topic).unwrap()), expected, "{topic}");
    }
}

#[test]
fn f43_a_rule_for_now_holds_for_this_client_and_is_never_stored() {
    let mut device = Device::symmetric("pump").knowing("a/b", &topic_key("topic"));
    device.client.set_max_age(&filter("a/#"), MaxAge::Seconds(7)).unwrap();
    let before = device.store.saved();
    device.client.set_max_age_for_now(&filter("a/#"), MaxAge::Any).unwrap();
    device.client.set_max_age_for_now(&filter("c"), MaxAge::Seconds(1)).unwrap();
    assert_eq!(device.store.saved(), before, "nothing is stored at once");
    assert_eq!(limit(&mut device, "a/b"), MaxAge::Any);
    assert_eq!(device.client.max_ages().collect::<Vec<_>>(), [("a/#", MaxAge::Any), ("c", MaxAge::Seconds(1))]);
    // Nor with what is stored later: a command, another rule.
    device.command(&Command::ResetTopics).unwrap();
    device.client.set_max_age(&filter("d"), MaxAge::Any).unwrap();
    let device = device.restart();
    assert_eq!(device.client.max_ages().collect::<Vec<_>>(), [("a/#", MaxAge::Seconds(7)), ("d", MaxAge::Any)]);
}

#[test]
fn f43_rules_for_now_survive_a_failing_store_and_go_with_the_stored_ones() {
    let mut device = Device::symmetric("pump");
    device.client.set_max_age(&filter("a"), MaxAge::Seconds(7)).unwrap();
    device.client.set_max_age_for_now(&filter("a"), MaxAge::Seconds(8)).unwrap();
    device.client.set_max_age_for_now(&filter("b"), MaxAge::Seconds(9)).unwrap();
    let rules = |device: &Device| {
        let mut rules: Vec<_> = device.client.max_ages().map(|(filter, age)| (filter.to_owned(), age)).collect();
        rules.sort_unstable();
        rules
    };
    let before = rules(&device);
    device.store.set_failing(true);
    for text in ["a", "b"] {
        device.client.set_max_age(&filter(text), MaxAge::Any).unwrap_err();
        assert_eq!(rules(&device), before);
    }
    device.client.remove_max_age(&filter("a")).unwrap_err();
    assert_eq!(rules(&device), before);
    // Only in memory, so no store is asked.
    device.client.remove_max_age(&filter("b")).unwrap();
    device.store.set_failing(false);
    device.client.remove_max_age(&filter("a")).unwrap();
    assert_eq!(rules(&device), []);
}
