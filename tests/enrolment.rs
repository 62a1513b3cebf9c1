//! Who a stored state belongs to, and what a client that is made takes of what was sent before.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{NOW, TestClock, TestStore, c2_key, signing_key, topic_key};
use e4::{
    AppliedCommand, Client, ClientBuilder, ClientId, ClientKey, Command, CreateError, GrowableKeyRing, Identity, Mode,
    OpenError, Opened, Refusal, SigningKey, StoreError, Timestamp, Topic, controller::Recipient,
};

type TestClient = Client<GrowableKeyRing, TestStore, TestClock>;

fn id() -> ClientId {
    ClientId::from_name("pump-7").unwrap()
}

fn client_key(n: u8) -> ClientKey {
    ClientKey::from_bytes(&[n; 32]).unwrap()
}

fn symmetric(n: u8) -> Identity {
    Identity::symmetric(id(), client_key(n))
}

fn public_key(signing: &str, c2: &str) -> Identity {
    Identity::public_key(id(), signing_key(signing), c2_key(c2).public_key()).unwrap()
}

fn builder(identity: Identity) -> ClientBuilder<GrowableKeyRing> {
    ClientBuilder::new(identity)
}

fn start(identity: Identity, store: &TestStore) -> Result<TestClient, CreateError> {
    builder(identity).load_or_create_with(store.clone(), TestClock::time(NOW))
}

fn deliver(client: &mut TestClient, sealed: &[u8]) -> Result<AppliedCommand, OpenError> {
    match client.open(client.control_topic(), sealed)? {
        Opened::Command(command) => Ok(command),
        Opened::Message(_) => panic!("a message on the control topic"),
    }
}

fn seal(to: &Recipient, command: &Command, sent: u64) -> Vec<u8> {
    to.seal_dated(command, Timestamp::from_unix(sent)).unwrap().as_bytes().to_vec()
}

fn superseded(newest: u64) -> Result<AppliedCommand, OpenError> {
    Err(OpenError::Refused(Refusal::Superseded { newest: Timestamp::from_unix(newest) }))
}

fn set_key(n: u8) -> Command {
    Command::set_topic_key(&Topic::new("a").unwrap(), topic_key(&n.to_string()))
}

#[test]
fn f8_a_state_of_another_mode_or_enrolled_with_another_key_is_refused_and_the_error_says_which() {
    let (of_symmetric, of_public_key) = (TestStore::memory(), TestStore::memory());
    start(symmetric(1), &of_symmetric).unwrap();
    start(public_key("pump", "c2"), &of_public_key).unwrap();
    for (store, identity, expected) in [
        (&of_symmetric, symmetric(2), CreateError::OtherClientKey),
        (&of_symmetric, public_key("pump", "c2"), CreateError::OtherMode(Mode::Symmetric)),
        (&of_public_key, symmetric(1), CreateError::OtherMode(Mode::PublicKey)),
        (&of_public_key, public_key("other", "c2"), CreateError::OtherClientKey),
        (&of_public_key, public_key("other", "other"), CreateError::OtherClientKey),
        (&of_public_key, public_key("pump", "other"), CreateError::OtherC2Key),
    ] {
        let before = store.saved();
        assert_eq!(start(identity, store).unwrap_err(), expected);
        assert_eq!(store.saved(), before, "{expected:?}");
    }
    start(symmetric(1), &of_symmetric).unwrap();
    start(public_key("pump", "c2"), &of_public_key).unwrap();
}

#[test]
fn f8_a_client_whose_keys_were_changed_by_commands_is_still_the_one_that_was_enrolled() {
    let store = TestStore::memory();
    let mut client = start(symmetric(1), &store).unwrap();
    let at_first = Recipient::symmetric(id(), &client_key(1));
    deliver(&mut client, &seal(&at_first, &Command::SetClientKey(client_key(2)), NOW)).unwrap();
    drop(client);
    // As it was enrolled, and as it is now; nothing else.
    start(symmetric(1), &store).unwrap();
    assert_eq!(start(symmetric(3), &store).unwrap_err(), CreateError::OtherClientKey);
    let mut client = start(symmetric(2), &store).unwrap();
    // Whoever has put the present key into its configuration keeps it there over the next change.
    let second = Recipient::symmetric(id(), &client_key(2));
    deliver(&mut client, &seal(&second, &Command::SetClientKey(client_key(3)), NOW)).unwrap();
    drop(client);
    for (n, is_known) in [(1, false), (2, true), (3, true)] {
        assert_eq!(start(symmetric(n), &store).is_ok(), is_known, "{n}");
    }

    let store = TestStore::memory();
    let mut client = start(public_key("pump", "c2"), &store).unwrap();
    let at_first = Recipient::public_key(id(), &c2_key("c2"), &signing_key("pump").verifying_key()).unwrap();
    deliver(&mut client, &seal(&at_first, &Command::SetSigningKey(signing_key("new")), NOW)).unwrap();
    let second = Recipient::public_key(id(), &c2_key("c2"), &signing_key("new").verifying_key()).unwrap();
    deliver(&mut client, &seal(&second, &Command::SetC2Key(c2_key("new").public_key()), NOW)).unwrap();
    drop(client);
    for (signing, c2) in [("pump", "c2"), ("new", "new"), ("pump", "new"), ("new", "c2")] {
        start(public_key(signing, c2), &store).unwrap();
    }
    assert_eq!(start(public_key("pump", "other"), &store).unwrap_err(), CreateError::OtherC2Key);
}

#[test]
fn f8_enrolling_anew_takes_the_new_keys_and_no_recorded_command() {
    let store = TestStore::memory();
    let mut client = start(symmetric(1), &store).unwrap();
    let key_server = Recipient::symmetric(id(), &client_key(1));
    let recorded = seal(&key_server, &set_key(5), NOW + 5);
    deliver(&mut client, &recorded).unwrap();
    drop(client);

    let enrol = |identity| builder(identity).enrol_anew_with(store.clone(), TestClock::time(NOW + 10));
    // Under the same key once more: what was accepted stays accepted, and what was on its way still comes.
    let mut client = enrol(symmetric(1)).unwrap();
    assert_eq!(client.topics().count(), 0);
    assert_eq!(deliver(&mut client, &recorded), Err(OpenError::Refused(Refusal::Repeated)));
    assert_eq!(deliver(&mut client, &seal(&key_server, &set_key(6), NOW + 4)), superseded(NOW + 5));
    deliver(&mut client, &seal(&key_server, &set_key(6), NOW + 6)).unwrap();
    drop(client);

    let client = enrol(public_key("pump", "c2")).unwrap();
    assert_eq!((client.mode(), client.newest_command()), (Mode::PublicKey, Some(Timestamp::from_unix(NOW + 6))));
    drop(client);
    start(public_key("pump", "c2"), &store).unwrap();
    assert_eq!(start(symmetric(1), &store).unwrap_err(), CreateError::OtherMode(Mode::PublicKey));

    // What is not the state of this client is left alone.
    let before = store.saved();
    let other = Identity::symmetric(ClientId::from_name("pump-8").unwrap(), client_key(1));
    assert_eq!(enrol(other).unwrap_err(), CreateError::OtherClient(id()));
    assert_eq!(store.saved(), before);
    let empty = builder(symmetric(1)).enrol_anew_with(TestStore::memory(), TestClock::time(NOW));
    assert_eq!(empty.unwrap_err(), CreateError::Store(StoreError::Empty));
}

/// States that version 1 saved, of the client `pump-7` with the client key 01…01, and with the seed 03…03 and a key server
/// of the secret 02…02.
const VERSION_1: [&str; 2] = [
    "6534737461746501a700509809650043cf9b8f22a1e4f4093dc49501815820010101010101010101010101010101010101010101010101 \
     01010101010101010284190258183cf6f4039fff049f825080084bf2fba02475726feb2cab2d8215582005050505050505050505050505 \
     05050505050505050505050505050505050505ff059fff06821a684ee1809f5020a03f7d20ea8f27d4c00585c0bc251dff18c5eb602328 \
     a5e7794559c6b0b55ed0d8240524db09ec6c821fa55ffa8ee324",
    "6534737461746501a700509809650043cf9b8f22a1e4f4093dc49501825820030303030303030303030303030303030303030303030303 \
     03030303030303035820ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d590284190258183cf6f4039fff04 \
     9fff059fff06f625e733b55a7d9c1c6a77dc55522ff3870a9df8790dfbd418e95e31a052185a85",
];

#[test]
fn f8_states_of_version_1_load_and_are_those_of_any_key_until_the_next_enrolment() {
    let saved = VERSION_1.map(|state| hex::decode(state.replace(char::is_whitespace, "")).unwrap());
    let signing = |n: u8| SigningKey::from_seed(&[n; 32]).unwrap();
    let c2 = |n: u8| e4::C2SecretKey::from_bytes(&[n; 32]).unwrap().public_key();
    let public_key = |n| Identity::public_key(id(), signing(n), c2(2)).unwrap();
    let given: [[Identity; 3]; 2] = [[1, 7, 9].map(symmetric), [3, 7, 9].map(public_key)];
    for (saved, [same, other, another]) in saved.iter().zip(given) {
        let store = || e4::MemoryStore::from_bytes(saved.clone());
        let load = |identity, store| builder(identity).load_or_create_with(store, TestClock::time(NOW));
        let expected = same.mode();
        // A command may have changed the key since.
        assert_eq!(load(other.clone(), store()).unwrap().mode(), expected);
        // With the key that it has, it is known from the next save on.
        let mut client = load(same, store()).unwrap();
        client.set_options(*client.options()).unwrap();
        assert_eq!(load(another, client.into_store()).unwrap_err(), CreateError::OtherClientKey);
        // What does not match for certain is refused.
        let other_mode = match expected {
            Mode::Symmetric => public_key(3),
            Mode::PublicKey => symmetric(1),
        };
        assert_eq!(load(other_mode, store()).unwrap_err(), CreateError::OtherMode(expected));
        // It stays unknown when it is saved.
        let mut client = load(other.clone(), store()).unwrap();
        client.set_options(*client.options()).unwrap();
        load(other, client.into_store()).unwrap();
    }
    let client = Client::load(e4::MemoryStore::from_bytes(saved.into_iter().next().unwrap())).unwrap();
    assert!(client.has_key_for(&Topic::new("a").unwrap()));
    assert_eq!(client.newest_command(), Some(Timestamp::from_unix(1_750_000_000)));
}

#[test]
fn f9_a_client_whose_state_was_lost_takes_no_command_from_before() {
    let key_server = Recipient::symmetric(id(), &client_key(1));
    let recorded = [NOW - 1000, NOW - 1].map(|sent| seal(&key_server, &set_key(5), sent));
    let create = |store: TestStore| builder(symmetric(1)).create_with(store, TestClock::time(NOW));
    for made in [start(symmetric(1), &TestStore::memory()), create(TestStore::memory())] {
        let mut client = made.unwrap();
        for recorded in &recorded {
            assert_eq!(deliver(&mut client, recorded), superseded(NOW));
        }
        deliver(&mut client, &seal(&key_server, &set_key(6), NOW)).unwrap();
    }
}

#[test]
fn f9_a_first_start_that_is_said_takes_commands_of_any_time() {
    let key_server = Recipient::symmetric(id(), &client_key(1));
    let clock = TestClock::time(NOW);
    let builder = || builder(symmetric(1)).first_start();
    let store = TestStore::memory();
    let mut client = builder().load_or_create_with(store.clone(), clock.clone()).unwrap();
    deliver(&mut client, &seal(&key_server, &set_key(5), NOW - 1000)).unwrap();
    drop(client);
    // Said again, it changes nothing: the state is there.
    let mut client = builder().load_or_create_with(store, clock.clone()).unwrap();
    assert_eq!(deliver(&mut client, &seal(&key_server, &set_key(6), NOW - 1001)), superseded(NOW - 1000));
    // A time that is given goes before both.
    let until = Timestamp::from_unix(NOW - 7);
    let mut client = builder().refuse_commands_until(until).create_with(TestStore::memory(), clock).unwrap();
    assert_eq!(deliver(&mut client, &seal(&key_server, &set_key(6), NOW - 7)), superseded(NOW - 6));
}

#[test]
fn f9_a_device_without_a_clock_has_to_say_what_was_before() {
    let clock = TestClock::uptime(5);
    let make = |builder: ClientBuilder<_>| builder.load_or_create_with(TestStore::memory(), clock.clone()).map(drop);
    assert_eq!(make(builder(symmetric(1))), Err(CreateError::TimeUnknown));
    assert_eq!(make(builder(symmetric(1)).first_start()), Ok(()));
    assert_eq!(make(builder(symmetric(1)).refuse_commands_until(Timestamp::from_unix(NOW))), Ok(()));
    // What is in the store is taken up without a word.
    let store = TestStore::memory();
    builder(symmetric(1)).first_start().create_with(store.clone(), clock.clone()).unwrap();
    builder(symmetric(1)).load_or_create_with(store, clock.clone()).unwrap();
}
