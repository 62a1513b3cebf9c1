//! Keys that wait for their turn, keys that take the place of all others, and the time by command (protocol page, sections 7 and 8).
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Device, NOW, Party, TestClock, TestStore, bytes, seal_raw, topic_hash, topic_key};
use e4::{
    AppliedCommand, Client, ClientBuilder, ClientKey, Command, CommandError, FixedKeyRing, Full, GrowableKeyRing,
    KeyRing, KeyRole, OpenError, Refusal, Repeated, RootKey, SealError, Spare, Subtree, SubtreeKey, Timestamp, Topic,
};

const TOPIC: &str = "plant/7/pump";

fn set(label: &str) -> Command {
    Command::SetTopicKey { topic: topic_hash(TOPIC), key: topic_key(label) }
}

fn set_next(label: &str) -> Command {
    Command::SetNextTopicKey { topic: topic_hash(TOPIC), key: topic_key(label) }
}

fn replace(label: &str) -> Command {
    Command::ReplaceTopicKey { topic: topic_hash(TOPIC), key: topic_key(label) }
}

fn set_time(now: u64) -> Command {
    Command::SetTime(Timestamp::from_unix(now))
}

fn content(error: CommandError) -> Result<AppliedCommand, OpenError> {
    Err(OpenError::Refused(Refusal::Command(error)))
}

/// Which of the device's keys opens what is sealed under the key with this label.
fn role<R: KeyRing>(device: &mut Device<R>, label: &str, n: u64) -> Option<KeyRole> {
    let now = device.client.now().map_or(NOW, Timestamp::as_unix);
    let message = seal_raw(&bytes(label), now, &n.to_le_bytes());
    device.open(TOPIC, &message).ok().map(|message| message.key)
}

/// Which key the device seals under.
fn seals_under<R: KeyRing>(device: &Device<R>, labels: &[&'static str]) -> Option<&'static str> {
    let sealed = device.client.seal(TOPIC, b"payload").ok()?;
    let sent = u64::from_le_bytes(sealed[..8].try_into().unwrap());
    labels.iter().copied().find(|label| seal_raw(&bytes(label), sent, b"payload") == sealed)
}

fn spare<R: KeyRing>(device: &Device<R>) -> Option<Spare> {
    let mut topics = device.client.topics().filter(|(topic, _)| **topic == topic_hash(TOPIC));
    topics.next().and_then(|(_, spare)| spare)
}

const PREVIOUS: Option<Spare> = Some(Spare::Previous { replaced: Timestamp::from_unix(NOW) });

#[test]
fn a_next_key_opens_and_does_not_seal_until_it_is_set() {
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("old"));
    assert_eq!(device.command(&set_next("new")), Ok(AppliedCommand::SetNextTopicKey(topic_hash(TOPIC))));
    for restart in [false, true] {
        device = if restart { device.restart() } else { device };
        assert_eq!(role(&mut device, "old", 1 + u64::from(restart)), Some(KeyRole::Current));
        assert_eq!(role(&mut device, "new", 3 + u64::from(restart)), Some(KeyRole::Next));
        assert_eq!((seals_under(&device, &["old", "new"]), spare(&device)), (Some("old"), Some(Spare::Next)));
        let keys = device.client.key_fingerprints().next().unwrap();
        assert_eq!((keys.key, keys.previous), (topic_key("old").fingerprint(), None));
        assert_eq!(keys.next, Some(topic_key("new").fingerprint()));
    }
    // However long it waits.
    device.clock.advance(1_000_000);
    assert_eq!(role(&mut device, "new", 5), Some(KeyRole::Next));
    let changed = Timestamp::from_unix(device.clock.seconds());
    device.command(&set("new")).unwrap();
    assert_eq!(seals_under(&device, &["old", "new"]), Some("new"));
    assert_eq!(spare(&device), Some(Spare::Previous { replaced: changed }));
    assert_eq!(role(&mut device, "new", 6), Some(KeyRole::Current));
    assert_eq!(role(&mut device, "old", 7), Some(KeyRole::Previous));
}

#[test]
fn a_next_key_opens_before_the_time_is_known() {
    let party = Party::symmetric("pump");
    let mut device = Device::<GrowableKeyRing>::create(party, TestStore::memory(), &TestClock::uptime(5));
    device.command_at(NOW, &set("old")).unwrap();
    device.command_at(NOW, &set_next("new")).unwrap();
    let mut device = device.restart();
    assert_eq!(device.client.now(), None);
    assert_eq!(role(&mut device, "new", 1), Some(KeyRole::Next));
}

/// Every command on every entry: what is current afterwards, and what is the spare.
#[test]
fn each_command_leaves_the_keys_that_the_protocol_page_says() {
    type Keys = (&'static str, Option<(&'static str, Spare)>);
    let previous = |label| Some((label, PREVIOUS.unwrap()));
    let next = |label| Some((label, Spare::Next));
    let cases: [(&[Command], Command, Keys); 15] = [
        (&[set("a")], set_next("b"), ("a", next("b"))),
        (&[set("a")], set_next("a"), ("a", None)),
        (&[set("a")], set("b"), ("b", previous("a"))),
        (&[set("a")], replace("b"), ("b", None)),
        (&[], replace("b"), ("b", None)),
        // With a previous key.
        (&[set("a"), set("b")], set_next("c"), ("b", next("c"))),
        (&[set("a"), set("b")], set_next("b"), ("b", previous("a"))),
        (&[set("a"), set("b")], replace("b"), ("b", None)),
        (&[set("a"), set("b")], replace("a"), ("a", None)),
        // With a next key.
        (&[set("a"), set_next("b")], set_next("c"), ("a", next("c"))),
        (&[set("a"), set_next("b")], set_next("a"), ("a", None)),
        (&[set("a"), set_next("b")], set("a"), ("a", next("b"))),
        (&[set("a"), set_next("b")], set("b"), ("b", previous("a"))),
        (&[set("a"), set_next("b")], set("c"), ("c", previous("a"))),
        (&[set("a"), set_next("b")], replace("a"), ("a", None)),
    ];
    for (before, command, (current, spare)) in &cases {
        for other_topic in [false, true] {
            let mut device = Device::symmetric("pump");
            if other_topic {
                device = device.knowing("another", &topic_key("z"));
            }
            for before in *before {
                device.command(before).unwrap();
            }
            let sealed = device.recipient.seal_dated(command, Timestamp::from_unix(NOW + 1)).unwrap();
            device.deliver(sealed.as_bytes()).unwrap();
            for device in [&device, &Device { client: reload(&device), ..Device::symmetric("pump") }] {
                let keys = device.client.key_fingerprints().find(|keys| keys.topic == topic_hash(TOPIC)).unwrap();
                let print = |label: &str| topic_key(label).fingerprint();
                let expected_next = spare.and_then(|(label, role)| (role == Spare::Next).then(|| print(label)));
                let expected_previous = spare.and_then(|(label, role)| match role {
                    Spare::Previous { replaced } => Some((print(label), replaced)),
                    Spare::Next => None,
                });
                assert_eq!(keys.key, print(current), "{before:?}, {command:?}");
                assert_eq!((keys.next, keys.previous), (expected_next, expected_previous), "{before:?}, {command:?}");
            }
        }
    }
}

fn reload(device: &Device) -> Client<GrowableKeyRing, TestStore, TestClock> {
    Client::load_with(device.store.clone(), device.clock.clone()).unwrap()
}

#[test]
fn a_next_key_without_a_current_one_is_refused() {
    let mut device = Device::symmetric("pump");
    for knows_another in [false, true] {
        if knows_another {
            device = device.knowing("another", &topic_key("z"));
        }
        let result = device.unchanged_by(|device| device.command_at(NOW + 1, &set_next("new")));
        assert_eq!(result, content(CommandError::NoCurrentKey));
    }
    device.command(&set("old")).unwrap();
    device.command(&set_next("new")).unwrap();
    device.command(&Command::RemoveTopic(topic_hash(TOPIC))).unwrap();
    assert_eq!((role(&mut device, "new", 1), spare(&device)), (None, None), "the next key goes with the topic");
}

#[test]
fn a_subtree_has_a_next_key_like_a_topic() {
    let subtree = Subtree::new("plant/#").unwrap();
    let key = |n| SubtreeKey::from_bytes(&[n; 32]).unwrap();
    let peer = |n| {
        let builder = ClientBuilder::<GrowableKeyRing>::new(Party::symmetric("peer").identity).first_start();
        let builder = builder.subtree_key(&subtree, &key(n)).unwrap();
        builder.create_with(TestStore::memory(), TestClock::time(NOW)).unwrap()
    };
    let mut device = Device::symmetric("pump");
    device.command(&Command::set_subtree_key(&subtree, &key(1))).unwrap();
    let opened = |device: &mut Device, peer: &Client<_, _, _>, payload: &[u8]| {
        device.open(TOPIC, &peer.seal(TOPIC, payload).unwrap()).map(|message| message.key)
    };
    let (first, second, third) = (peer(1), peer(2), peer(3));
    assert_eq!(opened(&mut device, &first, b"1"), Ok(KeyRole::Current));
    device.command(&Command::set_next_subtree_key(&subtree, &key(2))).unwrap();
    // Before the key of the topic is derived anew, and afterwards.
    for payload in [b"2", b"3"] {
        assert_eq!(opened(&mut device, &second, payload), Ok(KeyRole::Next));
        assert_eq!(opened(&mut device, &first, payload), Ok(KeyRole::Current));
    }
    device.command(&Command::set_subtree_key(&subtree, &key(2))).unwrap();
    assert_eq!(opened(&mut device, &second, b"4"), Ok(KeyRole::Current));
    assert_eq!(opened(&mut device, &first, b"4"), Ok(KeyRole::Previous));
    device.command(&Command::replace_subtree_key(&subtree, &key(3))).unwrap();
    assert_eq!(opened(&mut device, &third, b"5"), Ok(KeyRole::Current));
    for old in [&first, &second] {
        assert_eq!(opened(&mut device, old, b"5"), Err(OpenError::Refused(Refusal::NotAuthentic)));
    }
}

#[test]
fn f7_a_next_key_is_a_key_of_the_topic_where_keys_must_not_be_shared() {
    // A topic key that is the client's own key, by each of the commands, from a key server that does not look.
    for code in [0x03, 0x08, 0x09] {
        let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("old"));
        let body = [&[code][..], &device.command_key, topic_hash(TOPIC).as_bytes()].concat();
        let result = device.unchanged_by(|device| device.raw_command(&body));
        assert_eq!(result, content(CommandError::SharedKey), "{code}");
    }
    let shared = topic_key("pump");
    let seals = Party::symmetric("pump").recipient;
    for command in [
        Command::SetNextTopicKey { topic: topic_hash(TOPIC), key: shared.clone() },
        Command::ReplaceTopicKey { topic: topic_hash(TOPIC), key: shared },
    ] {
        let sealed = seals.seal_dated(&command, Timestamp::from_unix(NOW)).map(drop);
        assert_eq!(sealed, Err(CommandError::SharedKey), "nor is it sealed");
    }
    // A new key of the client that a topic is to have next.
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("old"));
    device.command(&set_next("new")).unwrap();
    let command = Command::SetClientKey(ClientKey::from_bytes(&bytes("new")).unwrap());
    let result = device.unchanged_by(|device| device.command_at(NOW + 1, &command));
    assert_eq!(result, content(CommandError::SharedKey));
}

#[test]
fn a_full_key_ring_takes_new_keys_for_the_topics_that_it_has() {
    let party = Party::symmetric("pump");
    let mut device = Device::<FixedKeyRing<1, 0, 4>>::create(party, TestStore::memory(), &TestClock::time(NOW));
    device.command(&set("a")).unwrap();
    for command in [set_next("b"), replace("c"), set_next("d"), set("d")] {
        device.command(&command).unwrap();
    }
    let other = topic_hash("another");
    let replace_other = Command::ReplaceTopicKey { topic: other, key: topic_key("z") };
    assert_eq!(device.unchanged_by(|device| device.command(&replace_other)), Err(OpenError::Full(Full::Topics)));
    let next_of_other = Command::SetNextTopicKey { topic: other, key: topic_key("z") };
    let result = device.unchanged_by(|device| device.command(&next_of_other));
    assert_eq!(result, content(CommandError::NoCurrentKey));
}

fn without_a_clock() -> Device {
    Device::create(Party::symmetric("pump"), TestStore::memory(), &TestClock::uptime(1000)).knowing_at(NOW)
}

trait KnowingAt {
    fn knowing_at(self, sent: u64) -> Self;
}

impl KnowingAt for Device {
    fn knowing_at(mut self, sent: u64) -> Self {
        self.command_at(sent, &set("old")).unwrap();
        self
    }
}

fn time_of(device: &Device) -> Option<u64> {
    device.client.now().map(Timestamp::as_unix)
}

#[test]
fn a_device_without_a_clock_takes_the_time_that_it_is_told_forwards_and_backwards() {
    let mut device = without_a_clock();
    // The key server's clock has slipped.
    device.command_at(NOW + 100_000, &set("new")).unwrap();
    assert_eq!(time_of(&device), Some(NOW + 100_000));
    assert_eq!(
        device.command_at(NOW + 100_001, &set_time(NOW + 7)),
        Ok(AppliedCommand::SetTime(Timestamp::from_unix(NOW + 7)))
    );
    assert_eq!(time_of(&device), Some(NOW + 7));
    device.clock.advance(3);
    assert_eq!(time_of(&device), Some(NOW + 10));
    // The times of commands give the order now, and nothing else.
    device.command_at(NOW + 100_002, &set("newer")).unwrap();
    assert_eq!(time_of(&device), Some(NOW + 10));
    let replaced = Timestamp::from_unix(NOW + 10);
    assert_eq!(spare(&device), Some(Spare::Previous { replaced }), "the change is dated by the time told");
    device.command_at(NOW + 100_002, &set_time(NOW + 20)).unwrap();
    assert_eq!(time_of(&device), Some(NOW + 20));
    // Until the next start.
    let mut device = device.restart();
    assert_eq!(time_of(&device), None);
    device.command_at(NOW + 100_003, &set("old")).unwrap();
    assert_eq!(time_of(&device), Some(NOW + 100_003));
    assert_eq!(
        device.command_at(NOW + 1, &set_time(NOW + 1)),
        Err(OpenError::Refused(Refusal::Superseded { newest: Timestamp::from_unix(NOW + 100_003) }))
    );
}

#[test]
fn a_device_with_a_clock_accepts_the_time_and_goes_by_its_clock() {
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("old"));
    let command = set_time(NOW + 1_000_000);
    device.command_at(NOW + 5, &command).unwrap();
    assert_eq!(time_of(&device), Some(NOW));
    assert_eq!(device.client.newest_command(), Some(Timestamp::from_unix(NOW + 5)));
    assert_eq!(device.command_at(NOW + 5, &command), Err(OpenError::Refused(Refusal::Repeated)));
}

#[test]
fn f2_a_time_that_is_none_is_not_taken_for_the_time() {
    let limit = Timestamp::LIMIT.as_unix();
    for now in [limit, limit + 1, NOW * 1000, u64::MAX] {
        for mut device in [without_a_clock(), Device::symmetric("pump")] {
            let body = [&[0x0a][..], &now.to_le_bytes()].concat();
            let sealed = seal_raw(&device.command_key, NOW + 1, &body);
            let result = device.unchanged_by(|device| device.deliver(&sealed));
            assert_eq!(result, content(CommandError::NotATime));
            let sealed = device.recipient.seal_dated(&set_time(now), Timestamp::from_unix(NOW + 1));
            assert_eq!(sealed.map(drop), Err(CommandError::NotATime), "nor is it sealed");
        }
    }
    let mut device = without_a_clock();
    device.command_at(NOW + 1, &set_time(limit - 1)).unwrap();
    assert_eq!(time_of(&device), Some(limit - 1));
}

/// What was opened while the time was ahead is not opened once more when its time has come.
#[test]
fn a_time_that_is_told_backwards_brings_no_message_back() {
    for ahead in [30, 500, 100_000] {
        let mut device = without_a_clock();
        device.command_at(NOW + ahead, &set("old")).unwrap();
        let (sent, payload) = (NOW + ahead - 10, b"payload");
        let message = seal_raw(&bytes("old"), sent, payload);
        device.open(TOPIC, &message).unwrap();
        device.command_at(NOW + ahead, &set_time(NOW)).unwrap();
        // The present is opened.
        device.open(TOPIC, &seal_raw(&bytes("old"), NOW, payload)).unwrap();
        for now in [NOW, sent - 60, sent, sent + 600] {
            device
                .command_at(NOW + ahead + 1, &set_time(now))
                .or_else(|error| match error {
                    // Told this very time before.
                    OpenError::Refused(Refusal::Repeated) => Ok(AppliedCommand::ResetTopics),
                    error => Err(error),
                })
                .unwrap();
            let Err(OpenError::Refused(refusal)) = device.open(TOPIC, &message) else {
                panic!("{ahead} s ahead, opened again at {now}");
            };
            let is_due = now.abs_diff(sent) <= 60 || now > sent;
            assert!(refusal == Refusal::Repeated || !is_due, "{ahead}, {now}: {refusal:?}");
        }
    }
}

/// Nor where more was opened while the time was ahead than a small memory holds: it refuses rather than open twice.
#[test]
fn a_small_memory_that_ran_over_while_the_time_was_ahead_opens_nothing_twice() {
    const SLOTS: u64 = 4;
    for opened in [SLOTS, SLOTS + 3] {
        let party = Party::symmetric("pump");
        let mut device = Device::<FixedKeyRing<1, 0, 4>>::create(party, TestStore::memory(), &TestClock::uptime(1000));
        device.command_at(NOW + 3600, &set("old")).unwrap();
        let messages: Vec<_> = (0..opened).map(|n| seal_raw(&bytes("old"), NOW + 3600 + n, b"payload")).collect();
        for message in &messages {
            device.open(TOPIC, message).unwrap();
        }
        device.command_at(NOW + 3600, &set_time(NOW)).unwrap();
        let present = device.open(TOPIC, &seal_raw(&bytes("old"), NOW, b"payload")).map(|message| message.payload);
        let expected =
            if opened > SLOTS { Err(OpenError::Refused(Refusal::BeyondReplayMemory)) } else { Ok(b"payload".to_vec()) };
        assert_eq!(present, expected, "{opened}");
        device.clock.advance(3600);
        for message in &messages {
            device.open(TOPIC, message).unwrap_err();
        }
        device.open(TOPIC, &seal_raw(&bytes("old"), NOW + 3600 + opened, b"payload")).unwrap();
    }
}

#[test]
fn f4_a_time_that_is_told_backwards_does_not_prolong_the_life_of_a_previous_key() {
    let mut device = without_a_clock();
    device.command_at(NOW, &set("new")).unwrap();
    // In steps: a quarter of an hour of uptime, and 100 s back.
    let (mut passed, mut told, mut sent) = (0, NOW, NOW);
    while passed <= 3600 {
        assert_eq!(role(&mut device, "old", passed), Some(KeyRole::Previous), "{passed}");
        device.clock.advance(900);
        (passed, told, sent) = (passed + 900, told.saturating_sub(100), sent + 1);
        device.command_at(sent, &set_time(told)).unwrap();
    }
    assert_eq!((role(&mut device, "old", passed), spare(&device)), (None, None), "{passed}");
    assert_eq!(seals_under(&device, &["old", "new"]), Some("new"));
}

#[test]
fn time_that_is_told_for_the_first_time_erases_what_has_expired() {
    let mut device = without_a_clock();
    device.command_at(NOW, &set("new")).unwrap();
    let mut device = device.restart();
    assert!(matches!(device.client.seal(TOPIC, b""), Err(SealError::TimeUnknown)));
    device.command_at(NOW, &set_time(NOW + 3601)).unwrap();
    assert_eq!(spare(&device), None);
    assert!(device.client.seal(TOPIC, b"").is_ok());
}

#[test]
fn a_repeated_message_under_the_next_key_is_one() {
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("old"));
    device.command(&set_next("new")).unwrap();
    let message = seal_raw(&bytes("new"), NOW, b"payload");
    device.open(TOPIC, &message).unwrap();
    device.command(&set("new")).unwrap();
    assert_eq!(device.open(TOPIC, &message).map(drop), Err(OpenError::Refused(Refusal::Repeated)));
    device.client.set_repeated_for_now(Repeated::Report);
    assert!(device.open(TOPIC, &message).unwrap().repeated);
}

#[test]
fn the_constructors_name_the_right_hash_and_key() {
    let (topic, subtree) = (Topic::new(TOPIC).unwrap(), Subtree::new("plant/#").unwrap());
    let subtree_key = RootKey::from_bytes(&bytes("root")).unwrap().subtree_key(1, &subtree);
    let (hash, key) = (*subtree.hash(), subtree_key.to_topic_key());
    assert_eq!(Command::set_next_topic_key(&topic, topic_key("a")), set_next("a"));
    assert_eq!(Command::replace_topic_key(&topic, topic_key("a")), replace("a"));
    assert_eq!(
        Command::set_next_subtree_key(&subtree, &subtree_key),
        Command::SetNextTopicKey { topic: hash, key: key.clone() }
    );
    assert_eq!(Command::replace_subtree_key(&subtree, &subtree_key), Command::ReplaceTopicKey { topic: hash, key });
}
