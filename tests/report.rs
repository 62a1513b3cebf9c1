//! What a client reports of the commands that it took and refused, and of what it holds (protocol page, section 11).
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Device, NOW, Party, TestClock, TestStore, bytes, c2_key, seal_raw, signing_key, topic_hash, topic_key};
use e4::{
    Client, ClientBuilder, ClientId, ClientKey, Command, CommandError, FixedKeyRing, Full, GrowableKeyRing, KeyRing,
    MaxAge, OpenError, REPORT_LEN, Refusal, SealError, Snapshot, Store, StoreError, Timestamp, TopicKey,
    controller::{Recipient, RefusedCommand, Report, StateDigest, StateEntry, WhyRefused},
};
use std::{cell::Cell, rc::Rc};

fn unix(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn report<R: KeyRing>(device: &Device<R>) -> Report {
    device.recipient.open_report(&device.client.report()).unwrap()
}

fn set(topic: &str, label: &str) -> Command {
    Command::SetTopicKey { topic: topic_hash(topic), key: topic_key(label) }
}

fn refused(why: WhyRefused, sent: u64) -> Option<RefusedCommand> {
    Some(RefusedCommand { why, sent: unix(sent) })
}

/// `V` of a sealed command.
fn v(sealed: &[u8]) -> [u8; 16] {
    sealed[8..24].try_into().unwrap()
}

#[test]
fn a_new_client_reports_that_it_holds_nothing() {
    let report = report(&Device::symmetric("pump"));
    assert_eq!((report.sent, report.newest, report.newest_v), (unix(NOW), unix(0), [0; 16]));
    assert!(report.knows_next_keys && report.has_clock && !report.has_learned_time && !report.command_waits);
    assert_eq!((report.refused, report.digest, report.topics), (None, StateDigest::default(), 0));
    assert_eq!(report.room, None);
}

#[test]
fn each_of_the_calls_makes_the_same_report() {
    let device = Device::public_key("pump").knowing("a", &topic_key("a"));
    let expected = device.client.report();
    assert_eq!(expected.len(), REPORT_LEN);
    let mut exact = [0xaa; REPORT_LEN];
    device.client.report_in_place(&mut exact);
    assert_eq!(exact[..], expected);
    let mut longer = [0xaa; REPORT_LEN + 2];
    assert_eq!(device.client.report_into(&mut longer).unwrap(), expected);
    assert_eq!(longer[REPORT_LEN..], [0xaa; 2]);
    let too_small = device.client.report_into(&mut exact[1..]).map(drop);
    assert_eq!(too_small, Err(SealError::BufferTooSmall { needed: REPORT_LEN }));
}

#[test]
fn a_report_names_the_newest_accepted_command_by_its_time_and_its_v() {
    let mut device = Device::symmetric("pump");
    let commands = [set("a", "1"), set("a", "2"), Command::RemoveTopic(topic_hash("b"))];
    for (sent, command) in [(NOW, 0), (NOW, 1), (NOW + 3, 2)] {
        let sealed = device.recipient.seal_dated(&commands[command], unix(sent)).unwrap();
        device.deliver(sealed.as_bytes()).unwrap();
        for restart in [false, true] {
            device = if restart { device.restart() } else { device };
            let report = report(&device);
            assert_eq!((report.newest, report.newest_v), (unix(sent), v(sealed.as_bytes())), "{restart}");
        }
        // Once more is no refusal, and changes nothing.
        let before = device.client.report();
        assert_eq!(device.deliver(sealed.as_bytes()), Err(OpenError::Refused(Refusal::Repeated)));
        assert_eq!(device.client.report(), before);
    }
}

#[test]
fn the_digest_is_that_of_what_the_client_holds() {
    let mut device = Device::public_key("pump");
    let (peer, key) = (ClientId::from_bytes([7; 16]), signing_key("peer").verifying_key());
    let c2 = c2_key("c2").public_key();
    for command in [
        set("a", "1"),
        set("a", "2"),
        Command::SetNextTopicKey { topic: topic_hash("a"), key: topic_key("3") },
        set("b", "4"),
        Command::SetPubKey { client: peer, key },
    ] {
        device.command(&command).unwrap();
    }
    let (a, b, keys) = (topic_hash("a"), topic_hash("b"), ["2", "3", "4"].map(topic_key));
    let expected = StateDigest::of([
        StateEntry::C2Key(&c2),
        StateEntry::TopicKey(&a, &keys[0]),
        StateEntry::NextTopicKey(&a, &keys[1]),
        StateEntry::TopicKey(&b, &keys[2]),
        StateEntry::PubKey(&peer, &key),
    ]);
    assert_eq!((report(&device).digest, report(&device).topics), (expected, 2));
    device.command(&Command::ResetTopics).unwrap();
    let expected = StateDigest::of([StateEntry::C2Key(&c2), StateEntry::PubKey(&peer, &key)]);
    assert_eq!(report(&device).digest, expected);
    device.command(&Command::ResetPubKeys).unwrap();
    assert_eq!(report(&device).digest, StateDigest::of([StateEntry::C2Key(&c2)]));
    let new = c2_key("new").public_key();
    device.command(&Command::SetC2Key(new)).unwrap();
    device.recipient =
        Recipient::public_key(*device.client.id(), &c2_key("new"), &signing_key("pump").verifying_key()).unwrap();
    assert_eq!(report(&device).digest, StateDigest::of([StateEntry::C2Key(&new)]));
}

#[test]
fn a_client_whose_own_key_changes_reports_under_the_new_one() {
    let mut device = Device::symmetric("pump");
    let new = ClientKey::from_bytes(&bytes("new")).unwrap();
    device.command(&Command::SetClientKey(new.clone())).unwrap();
    let report = device.client.report();
    assert!(device.recipient.open_report(&report).is_err());
    let recipient = Recipient::symmetric(*device.client.id(), &new);
    assert_eq!(recipient.open_report(&report).unwrap().newest, unix(NOW));

    let mut device = Device::public_key("pump");
    device.command(&Command::SetSigningKey(signing_key("new"))).unwrap();
    let recipient = Recipient::public_key(*device.client.id(), &c2_key("c2"), &signing_key("new").verifying_key());
    assert!(recipient.unwrap().open_report(&device.client.report()).is_ok());
    assert!(device.recipient.open_report(&device.client.report()).is_err());
}

#[test]
fn a_device_without_a_clock_dates_its_report_as_well_as_it_can() {
    let party = Party::symmetric("pump");
    let mut device = Device::<GrowableKeyRing>::create(party, TestStore::memory(), &TestClock::uptime(5));
    let said = |device: &Device| {
        let report = report(device);
        (report.sent.as_unix(), report.has_clock, report.has_learned_time)
    };
    assert_eq!(said(&device), (0, false, false));
    device.command_at(NOW, &set("a", "1")).unwrap();
    device.clock.advance(9);
    assert_eq!(said(&device), (NOW + 9, false, true));
    let mut device = device.restart();
    assert_eq!(said(&device), (NOW, false, false), "the time of the newest command");
    device.command_at(NOW + 1, &Command::SetTime(unix(NOW - 1000))).unwrap();
    assert_eq!(said(&device), (NOW - 1000, false, true));
}

#[test]
fn a_fixed_key_ring_says_how_many_more_topics_it_has_room_for() {
    let party = Party::symmetric("pump");
    let mut device = Device::<FixedKeyRing<2, 0, 4>>::create(party, TestStore::memory(), &TestClock::time(NOW));
    let said = |device: &Device<_>| (report(device).topics, report(device).room);
    assert_eq!(said(&device), (0, Some(2)));
    for (topic, expected) in [("a", (1, Some(1))), ("b", (2, Some(0)))] {
        device.command(&set(topic, "1")).unwrap();
        assert_eq!(said(&device), expected);
    }
    device.command(&set("b", "2")).unwrap();
    assert_eq!(said(&device), (2, Some(0)), "a previous key takes no room");
    device.command(&Command::RemoveTopic(topic_hash("a"))).unwrap();
    assert_eq!(said(&device), (1, Some(1)));
}

/// A device with no room for more, and commands that it refuses, each for a reason of its own.
#[test]
fn each_refusal_is_reported_until_the_next_command_is_accepted() {
    type Small = FixedKeyRing<1, 1, 4>;
    let create = || {
        let mut device = Device::<Small>::create(Party::public_key("pump"), TestStore::memory(), &TestClock::time(NOW));
        device.command_at(NOW - 700, &set("a", "1")).unwrap();
        let key = signing_key("peer").verifying_key();
        device.command_at(NOW - 700, &Command::SetPubKey { client: ClientId::from_bytes([7; 16]), key }).unwrap();
        device
    };
    let another_peer =
        Command::SetPubKey { client: ClientId::from_bytes([8; 16]), key: signing_key("peer").verifying_key() };
    let wrong_mode = Command::SetClientKey(ClientKey::from_bytes(&[1; 32]).unwrap()).encode();
    let seal = |command: &Command, sent| seal_raw(&create().command_key, sent, command.encode().as_bytes());
    let raw = |body: &[u8], sent| seal_raw(&create().command_key, sent, body);
    for (sealed, why, sent, is_stored) in [
        (seal(&set("b", "1"), NOW), WhyRefused::NoRoomForTopics, NOW, true),
        (seal(&another_peer, NOW), WhyRefused::NoRoomForPeers, NOW, true),
        (raw(&[0x0b], NOW), WhyRefused::Content, NOW, true),
        (raw(&[0x01, 0x00], NOW + 1), WhyRefused::Content, NOW + 1, true),
        (raw(&[], NOW), WhyRefused::Content, NOW, true),
        (raw(wrong_mode.as_bytes(), NOW), WhyRefused::Content, NOW, true),
        (raw(&[0x01], 1 << 40), WhyRefused::Content, 1 << 40, true),
        (seal(&Command::ResetTopics, NOW - 601), WhyRefused::Age, NOW - 601, true),
        (seal(&Command::ResetTopics, NOW - 701), WhyRefused::Superseded, NOW - 701, false),
    ] {
        let mut device = create();
        let mut options = *device.client.options();
        options.command_max_age = MaxAge::Seconds(600);
        device.client.set_options(options).unwrap();
        assert_eq!(report(&device).refused, None);
        let before = report(&device);
        device.deliver(&sealed).unwrap_err();
        assert_eq!(report(&device), with_refusal(before, refused(why, sent)), "{why:?}");
        // What is refused again is reported once, after a restart too if it was stored.
        device.deliver(&sealed).unwrap_err();
        let mut device = device.restart();
        let after_restart = if is_stored { refused(why, sent) } else { None };
        assert_eq!(report(&device).refused, after_restart, "{why:?}");
        device.command(&Command::RemoveTopic(topic_hash("z"))).unwrap();
        assert_eq!(report(&device).refused, None, "{why:?}");
        assert_eq!(report(&device.restart()).refused, None, "{why:?}");
    }
}

fn with_refusal(mut report: Report, refused: Option<RefusedCommand>) -> Report {
    report.refused = refused;
    report
}

#[test]
fn too_many_commands_of_one_second_are_a_refusal_of_their_own() {
    let party = Party::symmetric("pump");
    let mut device = Device::<FixedKeyRing<1, 0, 4>>::create(party, TestStore::memory(), &TestClock::time(NOW));
    for n in 0..16 {
        device.command(&set("a", &n.to_string())).unwrap();
    }
    assert_eq!(device.command(&set("a", "17")), Err(OpenError::Full(Full::Commands)));
    assert_eq!(report(&device).refused, refused(WhyRefused::TooManyInOneSecond, NOW));
}

#[test]
fn a_command_that_could_not_be_stored_waits_and_says_so() {
    let mut device = Device::symmetric("pump").knowing("a", &topic_key("1"));
    let before = report(&device);
    device.store.set_failing(true);
    assert_eq!(device.command_at(NOW + 1, &set("a", "2")), Err(OpenError::Store(TestStore::FAILURE)));
    let mut waiting = with_refusal(before, refused(WhyRefused::NotStored, NOW + 1));
    waiting.command_waits = true;
    assert_eq!(report(&device), waiting);
    // In memory only.
    device.store.set_failing(false);
    let options = *device.client.options();
    device.client.set_options(options).unwrap();
    assert_eq!(report(&device), waiting);
    // Anybody can deliver what was recorded, and hides nothing with it.
    device.command_at(NOW, &set("a", "1")).unwrap_err();
    assert!(report(&device).command_waits);
    let mut device = device.restart();
    assert_eq!(report(&device), before);
    device.command_at(NOW + 1, &set("a", "2")).unwrap();
    assert!(!report(&device).command_waits && report(&device).refused.is_none());
}

#[test]
fn a_command_that_is_too_long_for_the_store_is_not_stored_and_does_not_wait() {
    #[derive(Clone)]
    struct Short(Rc<Cell<usize>>);
    impl Store for Short {
        fn load(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
            Err(StoreError::Empty)
        }
        fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
            let room = self.0.get();
            if state.byte_len() > room { Err(StoreError::TooLong(room)) } else { Ok(()) }
        }
    }
    let Party { identity, recipient, .. } = Party::symmetric("pump");
    let room = Rc::new(Cell::new(usize::MAX));
    let builder = ClientBuilder::<GrowableKeyRing>::new(identity).first_start();
    let mut client = builder.create_with(Short(room.clone()), TestClock::time(NOW)).unwrap();
    room.set(10);
    let sealed = recipient.seal_dated(&set("a", "1"), unix(NOW)).unwrap();
    assert_eq!(client.open(client.control_topic(), sealed.as_bytes()), Err(OpenError::Store(StoreError::TooLong(10))));
    let report = recipient.open_report(&client.report()).unwrap();
    assert_eq!((report.refused, report.command_waits), (refused(WhyRefused::NotStored, NOW), false));
}

#[test]
fn of_several_refused_commands_the_newest_is_reported() {
    let mut device = Device::symmetric("pump").knowing("a", &topic_key("1"));
    let recorded = device.recipient.seal_dated(&set("a", "0"), unix(NOW - 9)).unwrap();
    let bad = |device: &Device, code: u8, sent: u64| seal_raw(&device.command_key, sent, &[code]);
    for (code, sent, expected) in [(0x20, NOW + 5, NOW + 5), (0x21, NOW + 4, NOW + 5), (0x22, NOW + 6, NOW + 6)] {
        device.deliver(&bad(&device, code, sent)).unwrap_err();
        assert_eq!(report(&device).refused, refused(WhyRefused::Content, expected), "{code:#x}");
        // An old command that somebody has recorded takes no place of a new one.
        device.deliver(recorded.as_bytes()).unwrap_err();
        assert_eq!(report(&device).refused, refused(WhyRefused::Content, expected), "{code:#x}");
    }
    // Nor does a time that is none, in either order.
    device.deliver(&bad(&device, 0x23, u64::MAX)).unwrap_err();
    assert_eq!(report(&device).refused, refused(WhyRefused::Content, NOW + 6));
    device.command_at(NOW + 7, &set("a", "2")).unwrap();
    device.deliver(&bad(&device, 0x24, u64::MAX)).unwrap_err();
    assert_eq!(report(&device).refused, refused(WhyRefused::Content, u64::MAX));
    device.deliver(&bad(&device, 0x25, NOW + 8)).unwrap_err();
    assert_eq!(report(&device).refused, refused(WhyRefused::Content, NOW + 8));
    // What is not authentic is none of the key server's business.
    let before = device.client.report();
    device.deliver(&seal_raw(&bytes("mallory"), NOW + 9, &[0x01])).unwrap_err();
    assert_eq!(device.client.report(), before);
}

/// Counts what is written.
#[derive(Clone)]
struct Counting(TestStore, Rc<Cell<usize>>);

impl Store for Counting {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.0.load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        self.1.set(self.1.get() + 1);
        self.0.save(state)
    }
}

/// Whoever carries the commands can deliver all that it ever recorded, in any order and as often as it likes.
#[test]
fn recorded_commands_wear_out_no_flash() {
    let Party { identity, recipient, command_key } = Party::symmetric("pump");
    let store = Counting(TestStore::memory(), Rc::default());
    let written = store.1.clone();
    let builder = ClientBuilder::<FixedKeyRing<1, 0, 4>>::new(identity).first_start();
    let mut client = builder.create_with(store, TestClock::time(NOW)).unwrap();
    let seal = |command: &Command, sent| recipient.seal_dated(command, unix(sent)).unwrap().as_bytes().to_vec();
    let accepted: Vec<_> = (0..50).map(|n| seal(&set("a", &n.to_string()), NOW + n)).collect();
    let mut deliver = |sealed: &[u8]| {
        let before = written.get();
        let _ = client.open(recipient.control_topic(), sealed);
        written.get() - before
    };
    for sealed in &accepted {
        assert_eq!(deliver(sealed), 1);
    }
    let refused: Vec<_> = (0..50)
        .map(|n| {
            if n % 2 == 0 { seal(&set("b", "1"), NOW + 60 + n) } else { seal_raw(&command_key, NOW + 60 + n, &[0x33]) }
        })
        .collect();
    // Each of the key server's own once, whether it is taken or not.
    for sealed in &refused {
        assert_eq!(deliver(sealed), 1);
    }
    for sealed in accepted.iter().chain(&refused).rev().chain(&accepted).chain(&refused) {
        assert_eq!(deliver(sealed), 0);
    }
}

#[test]
fn a_refusal_that_cannot_be_stored_is_reported_all_the_same() {
    let mut device = Device::symmetric("pump").knowing("a", &topic_key("1"));
    device.store.set_failing(true);
    let unknown = seal_raw(&device.command_key, NOW + 1, &[0x0b]);
    let expected = Err(OpenError::Refused(Refusal::Command(CommandError::UnknownCode(0x0b))));
    assert_eq!(device.deliver(&unknown), expected, "and it is the same error");
    assert_eq!(report(&device).refused, refused(WhyRefused::Content, NOW + 1));
    device.store.set_failing(false);
    device.client.set_options(*device.client.options()).unwrap();
    assert_eq!(report(&device.restart()).refused, refused(WhyRefused::Content, NOW + 1));
}

#[test]
fn a_client_that_was_enrolled_anew_reports_nothing_from_before() {
    let store = TestStore::memory();
    let mut device = Device::<GrowableKeyRing>::create(Party::symmetric("pump"), store.clone(), &TestClock::time(NOW));
    device.command(&set("a", "1")).unwrap();
    let Party { identity, recipient, .. } = Party::symmetric("pump");
    let client = ClientBuilder::<GrowableKeyRing>::new(identity).enrol_anew_with(store, TestClock::time(NOW)).unwrap();
    let report = recipient.open_report(&client.report()).unwrap();
    assert_eq!((report.digest, report.topics, report.newest), (StateDigest::default(), 0, unix(NOW)));
}

/// States that version 2 saved, of the client `pump-7` with the client key 01…01, and with the seed 03…03 and a key server of
/// the secret 02…02. The topic `a` has the key 06…06 and the previous key 05…05, and the second one knows the peer 08…08.
const VERSION_2: [&str; 2] = [
    "6534737461746502a900509809650043cf9b8f22a1e4f4093dc49501815820010101010101010101010101010101010101010101010101 \
     01010101010101010284190258183cf6f4039fff049f845080084bf2fba02475726feb2cab2d8215582006060606060606060606060606 \
     06060606060606060606060606060606060606582005050505050505050505050505050505050505050505050505050505050505051a68 \
     4ee180ff059fff06821a684ee1809f5000e665c39ff223d08c7fba5f415c4c7f50a3352abdd8de83e2c01723cb2ad1e075ff0748acfcb5 \
     460000000008f690e8e0b4a07e27305f9d8531a9250f616f0ddb7e9b0e16505bcc1c8bdd754ec6",
    "6534737461746502a900509809650043cf9b8f22a1e4f4093dc49501825820030303030303030303030303030303030303030303030303 \
     03030303030303035820ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d590284190258183cf6f4039fff04 \
     9f845080084bf2fba02475726feb2cab2d8215582006060606060606060606060606060606060606060606060606060606060606065820 \
     05050505050505050505050505050505050505050505050505050505050505051a684ee180ff059f825008080808080808080808080808 \
     0808085820ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1ff06821a684ee1809f502bc81d833d5e6052 \
     fefd54acfd22954450407d13a85d6aa5fc8b9a5eba33e766ac5028c0d8bfd0ccc4da58ea307e984e6624ff07484ca04804c7cad869081a \
     684ee18053a0bc58f38b6272399f7bea7b30ca2981865c06d18cc67006cedb1e6acf6d16",
];

#[test]
fn states_of_version_2_load_and_report_what_is_in_them() {
    let id = ClientId::from_name("pump-7").unwrap();
    let (a, key) = (topic_hash("a"), TopicKey::from_bytes(&[6; 32]).unwrap());
    let signing = e4::SigningKey::from_seed(&[3; 32]).unwrap();
    let c2 = e4::C2SecretKey::from_bytes(&[2; 32]).unwrap();
    let (peer, peer_key, c2_key) = (ClientId::from_bytes([8; 16]), signing.verifying_key(), c2.public_key());
    let recipients = [
        Recipient::symmetric(id, &ClientKey::from_bytes(&[1; 32]).unwrap()),
        Recipient::public_key(id, &c2, &peer_key).unwrap(),
    ];
    let others = [vec![], vec![StateEntry::C2Key(&c2_key), StateEntry::PubKey(&peer, &peer_key)]];
    let newest_v = ["a3352abdd8de83e2c01723cb2ad1e075", "28c0d8bfd0ccc4da58ea307e984e6624"];
    for (((saved, recipient), others), newest_v) in VERSION_2.iter().zip(recipients).zip(others).zip(newest_v) {
        let saved = hex::decode(saved.replace(char::is_whitespace, "")).unwrap();
        let mut store = e4::MemoryStore::from_bytes(saved);
        for _ in 0..2 {
            let mut client = Client::<GrowableKeyRing, _, _>::load_with(store, TestClock::time(1_750_000_001)).unwrap();
            let report = recipient.open_report(&client.report()).unwrap();
            let expected = StateDigest::of(others.iter().copied().chain([StateEntry::TopicKey(&a, &key)]));
            assert_eq!((report.digest, report.topics, report.refused), (expected, 1, None));
            assert_eq!((report.newest, hex::encode(report.newest_v).as_str()), (unix(1_750_000_000), newest_v));
            // And once more from a state of this version.
            client.set_options(*client.options()).unwrap();
            store = client.into_store();
        }
    }
}
