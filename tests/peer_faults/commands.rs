//! Commands: their order, their lengths, what they remove, and the control topic.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestClock, TestStore, c2_key, set_topic_key, signing_key, topic_hash, topic_key},
    refused,
};
use e4::{
    ClientBuilder, ClientId, Command, CommandError, CreateError, FixedKeyRing, Full, GrowableKeyRing, KeyRing,
    MemoryStore, OpenError, Refusal, SealError, Subtree, SubtreeKey, Timestamp, TopicHash, VerifyingKey,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn g1_a_recorded_command_cannot_bring_an_old_key_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::file(&folder.path().join("state"));
    let mut device: Device = Device::create(Party::symmetric("pump"), store, &TestClock::time(NOW));
    let seal = |device: &Device, sent, key| {
        device.recipient.seal_dated(&set_topic_key(TOPIC, &topic_key(key)), Timestamp::from_unix(sent)).unwrap()
    };
    // The broker delivers the first and the third, and keeps the second back.
    let first = seal(&device, NOW, "old");
    let delayed = seal(&device, NOW + 1, "between");
    let last = seal(&device, NOW + 2, "new");
    device.clock.advance(2);
    device.deliver(first.as_bytes()).unwrap();
    device.deliver(last.as_bytes()).unwrap();

    let newest = Timestamp::from_unix(NOW + 2);
    let mut holder = Device::symmetric("holder of the new key").knowing(TOPIC, &topic_key("new"));
    // Within ten minutes, after them, and after restarts in between.
    for later in [0, 1, 600, 100_000] {
        device.clock.set(NOW + 2 + later);
        holder.clock.set(NOW + 2 + later);
        device = device.restart();
        for recorded in [&first, &delayed] {
            let result = device.unchanged_by(|device| device.deliver(recorded.as_bytes()));
            assert_eq!(result, refused(Refusal::Superseded { newest }));
        }
        let result = device.unchanged_by(|device| device.deliver(last.as_bytes()));
        assert_eq!(result, refused(Refusal::Repeated));
        let sealed = device.client.seal(TOPIC, b"4.2 bar").unwrap();
        assert!(holder.open(TOPIC, &sealed).is_ok(), "sealed under the new key");
    }
}

/// Within one second it is not the time that tells commands apart.
#[test]
fn g1_of_several_commands_of_one_second_each_is_taken_once() {
    let mut device = Device::symmetric("pump");
    let sealed: Vec<_> = ["a", "b", "c"]
        .map(|key| {
            device.recipient.seal_dated(&set_topic_key(TOPIC, &topic_key(key)), Timestamp::from_unix(NOW)).unwrap()
        })
        .into();
    for command in &sealed {
        device.deliver(command.as_bytes()).unwrap();
    }
    let mut device = device.restart();
    for command in &sealed {
        assert_eq!(device.unchanged_by(|device| device.deliver(command.as_bytes())), refused(Refusal::Repeated));
    }
}

fn peer_id(n: u8) -> ClientId {
    // Ids that differ in one byte only are the easiest to mix up.
    let mut bytes = [0x11; 16];
    bytes[15] = n;
    ClientId::from_bytes(bytes)
}

fn peer_key(n: u8) -> VerifyingKey {
    signing_key(&format!("peer {n}")).verifying_key()
}

fn peers<R: KeyRing>(device: &Device<R>) -> BTreeMap<ClientId, [u8; 32]> {
    device.client.peers().map(|(id, key)| (*id, *key.as_bytes())).collect()
}

#[test]
fn l3_l4_the_messages_of_a_removed_peer_and_of_no_other_are_refused() {
    let senders = ["a", "b", "c"].map(|name| Device::public_key(name).knowing(TOPIC, &topic_key("topic")));
    for removed in &senders {
        let mut device = Device::public_key("pump").knowing(TOPIC, &topic_key("topic"));
        for sender in &senders {
            device = device.trusting(sender);
        }
        device.command(&Command::RemovePubKey(*removed.client.id())).unwrap();
        opens_all_but_those_of(removed, &senders, &mut device);
        opens_all_but_those_of(removed, &senders, &mut device.restart());
    }
}

fn opens_all_but_those_of(removed: &Device, senders: &[Device], device: &mut Device) {
    for sender in senders {
        let id = *sender.client.id();
        let opened = device.open(TOPIC, &sender.client.seal(TOPIC, b"4.2 bar").unwrap());
        if id == *removed.client.id() {
            assert_eq!(opened, refused(Refusal::UnknownSigner(id)));
        } else {
            assert_eq!(opened.unwrap().signer, Some(id));
        }
    }
}

#[derive(Debug, Clone)]
enum PeerCommand {
    Set { peer: u8, key: u8 },
    Remove(u8),
    Reset,
}

fn peer_command() -> impl Strategy<Value = PeerCommand> {
    prop_oneof![
        6 => (0..5u8, 0..3u8).prop_map(|(peer, key)| PeerCommand::Set { peer, key }),
        4 => (0..5u8).prop_map(PeerCommand::Remove),
        1 => Just(PeerCommand::Reset),
    ]
}

fn peers_follow_a_map<R: KeyRing>(commands: &[PeerCommand]) {
    let clock = TestClock::time(NOW);
    let mut device = Device::<R>::create(Party::public_key("pump"), TestStore::memory(), &clock);
    let mut map = BTreeMap::new();
    for command in commands {
        clock.advance(1);
        let command = match *command {
            PeerCommand::Set { peer, key } => {
                map.insert(peer_id(peer), *peer_key(key).as_bytes());
                Command::SetPubKey { client: peer_id(peer), key: peer_key(key) }
            }
            PeerCommand::Remove(peer) => {
                map.remove(&peer_id(peer));
                Command::RemovePubKey(peer_id(peer))
            }
            PeerCommand::Reset => {
                map.clear();
                Command::ResetPubKeys
            }
        };
        device.command(&command).unwrap();
        assert_eq!(peers(&device), map);
    }
    assert_eq!(peers(&device.restart()), map);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l3_l4_any_sequence_of_peer_commands_does_what_it_does_to_a_plain_map(
        commands in proptest::collection::vec(peer_command(), 0..24)
    ) {
        peers_follow_a_map::<GrowableKeyRing>(&commands);
        peers_follow_a_map::<FixedKeyRing<0, 5, 1>>(&commands);
    }
}

fn numbered_topic(n: usize) -> String {
    format!("topic/{n}")
}

fn set_numbered(n: usize) -> Command {
    set_topic_key(&numbered_topic(n), &topic_key(&format!("key {n}")))
}

fn topics<R: KeyRing>(device: &Device<R>) -> BTreeSet<TopicHash> {
    device.client.topics().map(|(topic, _)| *topic).collect()
}

fn numbered(range: impl IntoIterator<Item = usize>) -> BTreeSet<TopicHash> {
    range.into_iter().map(|n| topic_hash(&numbered_topic(n))).collect()
}

/// A key ring for `N` topics: filled, overfilled, and emptied again from each of its places.
fn exercise_topics<const N: usize>() {
    let clock = TestClock::time(NOW);
    for removed in 0..N.max(1) {
        let mut device = Device::<FixedKeyRing<N, 0, 4>>::create(Party::symmetric("pump"), TestStore::memory(), &clock);
        for n in 0..N {
            clock.advance(1);
            device.command(&set_numbered(n)).unwrap();
        }
        assert_eq!(topics(&device), numbered(0..N));

        clock.advance(1);
        let one_more = device.unchanged_by(|device| device.command(&set_numbered(N)));
        assert_eq!(one_more, Err(OpenError::Full(Full::Topics)));
        // Removing what is not there succeeds, and removes nothing.
        device.command(&Command::RemoveTopic(topic_hash(&numbered_topic(N)))).unwrap();
        assert_eq!(topics(&device), numbered(0..N));
        if N == 0 {
            return;
        }
        // A new key for a topic that has one needs no room.
        device.command(&set_topic_key(&numbered_topic(removed), &topic_key("replaced"))).unwrap();
        device.command(&Command::RemoveTopic(topic_hash(&numbered_topic(removed)))).unwrap();
        assert_eq!(topics(&device), numbered((0..N).filter(|n| *n != removed)));
        // The same command as the one that was refused for want of room.
        device.command(&set_numbered(N)).unwrap();
        assert_eq!(topics(&device), numbered((0..=N).filter(|n| *n != removed)));
        let mut device = device.restart();
        for n in (0..=N).filter(|n| *n != removed) {
            let mut peer = Device::symmetric("peer").knowing(&numbered_topic(n), &topic_key(&format!("key {n}")));
            peer.clock.set(clock.seconds());
            let sealed = device.client.seal(numbered_topic(n), b"4.2 bar").unwrap();
            assert!(peer.open(&numbered_topic(n), &sealed).is_ok(), "topic {n} has its own key");
        }
        device.command(&Command::ResetTopics).unwrap();
        assert_eq!(topics(&device), BTreeSet::new());
    }
}

#[test]
fn l5_topics_at_capacity_0_1_and_more_are_refused_when_full_and_removed_cleanly() {
    exercise_topics::<0>();
    exercise_topics::<1>();
    exercise_topics::<4>();
}

fn exercise_peers<const N: u8, const CAPACITY: usize>() {
    let set = |n| Command::SetPubKey { client: peer_id(n), key: peer_key(n) };
    let expected: BTreeMap<_, _> = (0..N).map(|n| (peer_id(n), *peer_key(n).as_bytes())).collect();
    let mut device = Device::<FixedKeyRing<0, CAPACITY, 4>>::create(
        Party::public_key("pump"),
        TestStore::memory(),
        &TestClock::time(NOW),
    );
    for n in 0..N {
        device.command(&set(n)).unwrap();
    }
    let one_more = device.unchanged_by(|device| device.command(&set(N)));
    assert_eq!(one_more, Err(OpenError::Full(Full::Peers)));
    device.command(&Command::RemovePubKey(peer_id(N))).unwrap();
    assert_eq!(peers(&device), expected);
    for n in 0..N {
        // A new key for a peer that has one needs no room.
        device.command(&Command::SetPubKey { client: peer_id(n), key: peer_key(N) }).unwrap();
    }
    assert!(peers(&device).values().all(|key| key == peer_key(N).as_bytes()));
    assert_eq!(peers(&device).len(), CAPACITY);
    for n in 0..N {
        device.command(&Command::RemovePubKey(peer_id(n))).unwrap();
        assert!(peers(&device).into_keys().eq((n + 1..N).map(peer_id)));
    }
}

#[test]
fn l5_peers_at_capacity_0_1_and_more_are_refused_when_full_and_removed_cleanly() {
    exercise_peers::<0, 0>();
    exercise_peers::<1, 1>();
    exercise_peers::<4, 4>();
}

#[test]
fn l6_a_command_of_another_length_than_its_own_changes_nothing() {
    let mut device = Device::public_key("pump").knowing(TOPIC, &topic_key("topic"));
    let peer = peer_id(1);
    let commands = [
        Command::RemoveTopic(topic_hash(TOPIC)),
        Command::ResetTopics,
        Command::SetSigningKey(signing_key("new")),
        Command::SetTopicKey { topic: topic_hash(TOPIC), key: topic_key("new") },
        Command::RemovePubKey(peer),
        Command::ResetPubKeys,
        Command::SetPubKey { client: peer, key: peer_key(1) },
        Command::SetC2Key(c2_key("new").public_key()),
        Command::SetNextTopicKey { topic: topic_hash(TOPIC), key: topic_key("new") },
        Command::ReplaceTopicKey { topic: topic_hash(TOPIC), key: topic_key("new") },
        Command::SetTime(Timestamp::from_unix(NOW)),
    ];
    for command in &commands {
        let encoded = command.encode();
        let whole = encoded.as_bytes();
        let longer = (1..=65 - whole.len()).map(|more| [whole, &vec![0; more][..]].concat());
        for body in (0..whole.len()).map(|len| whole[..len].to_vec()).chain(longer) {
            let result = device.unchanged_by(|device| device.raw_command(&body));
            // A whole key of the other mode is one of the other mode.
            let expected =
                if whole[0] == 2 && body.len() == 33 { CommandError::WrongMode } else { CommandError::WrongLength };
            assert_eq!(result, refused(Refusal::Command(expected)), "{command:?}, {} bytes", body.len());
        }
    }
}

#[test]
fn l6_every_command_has_exact_lengths() {
    let lengths: [&[usize]; 11] = [&[17], &[1], &[33, 65], &[49], &[17], &[1], &[49], &[33], &[49], &[49], &[9]];
    for (code, right) in (0..).zip(lengths) {
        for len in (1..=100).filter(|len| !right.contains(len)) {
            let mut body = vec![0x5a; len];
            body[0] = code;
            assert_eq!(Command::decode(&body), Err(CommandError::WrongLength), "{code} of {len} bytes");
        }
    }
    assert_eq!(Command::decode(&[]), Err(CommandError::WrongLength));
    for code in 11..=255 {
        assert_eq!(Command::decode(&[code; 17]), Err(CommandError::UnknownCode(code)));
    }
}

#[test]
fn l8_l9_a_topic_key_for_the_control_topic_is_refused() {
    for mut device in [Device::symmetric("pump"), Device::public_key("pump")] {
        let control = device.client.control_topic().hash();
        for code in [0x03, 0x08, 0x09] {
            let body = [&[code][..], topic_key("topic").as_bytes(), control.as_bytes()].concat();
            let result = device.unchanged_by(|device| device.raw_command(&body));
            assert_eq!(result, refused(Refusal::Command(CommandError::ControlTopic)));
        }
        // The device is not blind: it takes the next command.
        device.command(&set_topic_key(TOPIC, &topic_key("topic"))).unwrap();

        let command = Command::SetTopicKey { topic: control, key: topic_key("topic") };
        let sealed = device.recipient.seal_dated(&command, Timestamp::from_unix(NOW));
        assert_eq!(sealed.map(|_| ()), Err(CommandError::ControlTopic), "the key server seals none either");
    }
    let control = Party::symmetric("pump").recipient.control_topic().hash();
    let builder = e4::Client::builder(Party::symmetric("pump").identity);
    assert_eq!(builder.topic_key(&control, topic_key("topic")).err(), Some(CreateError::ControlTopic));
}

#[test]
fn l8_l9_nothing_is_sealed_on_the_own_control_topic() {
    for mut device in [Device::symmetric("pump"), Device::public_key("pump")] {
        // Keys that would serve the control topic.
        for filter in ["e4/#", "#"] {
            let key = SubtreeKey::from_bytes(topic_key(filter).as_bytes()).unwrap();
            device.command(&Command::set_subtree_key(&Subtree::new(filter).unwrap(), &key)).unwrap();
        }
        assert!(device.client.seal("e4/anything else", b"\x01").is_ok());
        let control = device.client.control_topic();
        let mut out = [0; 128];
        assert_eq!(device.client.seal(control.as_str(), b"\x01"), Err(SealError::ControlTopic));
        assert_eq!(device.client.seal_into(control.as_str(), b"\x01", &mut out), Err(SealError::ControlTopic));
        assert_eq!(device.client.seal_in_place(control.as_str(), &mut out), Err(SealError::ControlTopic));
    }
}

#[test]
fn g1_a_client_that_is_made_anew_can_refuse_the_commands_from_before() {
    let party = Party::symmetric("pump");
    let old =
        party.recipient.seal_dated(&set_topic_key(TOPIC, &topic_key("old")), Timestamp::from_unix(NOW - 10)).unwrap();
    let new =
        party.recipient.seal_dated(&set_topic_key(TOPIC, &topic_key("new")), Timestamp::from_unix(NOW + 1)).unwrap();
    let builder = ClientBuilder::<GrowableKeyRing>::new(party.identity.clone());
    let mut client = builder
        .refuse_commands_until(Timestamp::from_unix(NOW))
        .create_with(MemoryStore::new(), TestClock::time(NOW))
        .unwrap();
    let control = client.control_topic();
    let refused = client.open(control, old.as_bytes());
    let newest = Timestamp::from_unix(NOW + 1);
    assert_eq!(refused, Err(OpenError::Refused(Refusal::Superseded { newest })));
    client.open(control, new.as_bytes()).unwrap();
}
