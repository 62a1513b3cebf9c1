//! The state file: what stands in it, what must not, and what is no state.

use crate::{
    TOPIC,
    common::{
        Device, NOW, Party, TestClock, TestStore, bytes, c2_key, set_topic_key, signing_key, topic_hash, topic_key,
    },
    holds_part_of, refused,
};
use e4::{
    Client, ClientId, ClientKey, Command, FileStore, KeyRole, LoadError, MaxAge, Mode, OpenError, Options, Refusal,
    Repeated, StateError, StoreError, TopicFilter, controller::Recipient,
};
use sha3::{Digest, Sha3_256};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A folder of its own, and the path of a state file in it.
fn state_path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    (folder, path)
}

fn device_at(path: &Path, party: Party) -> Device {
    Device::create(party, TestStore::file(path), &TestClock::time(NOW))
}

/// Whether any file of the folder holds a part of a secret.
fn any_file_holds(folder: &TempDir, secret: &[u8]) -> bool {
    files_of(folder).iter().any(|path| holds_part_of(&fs::read(path).unwrap(), secret))
}

fn files_of(folder: &TempDir) -> Vec<PathBuf> {
    fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn load_error(path: &Path) -> LoadError {
    let before = fs::read(path).unwrap();
    let error = Client::load(FileStore::new(path)).unwrap_err();
    assert_eq!(fs::read(path).unwrap(), before, "a state that is refused is not touched");
    error
}

#[test]
fn g6_l15_a_smaller_state_leaves_nothing_of_removed_keys_in_any_file() {
    let (folder, path) = state_path();
    let mut device = device_at(&path, Party::symmetric("pump"));
    let topic = |n| format!("topic/{n}");
    let key = |n| topic_key(&format!("key {n}"));
    for n in 0..40 {
        device.command(&set_topic_key(&topic(n), &key(n))).unwrap();
    }
    assert!((0..40).all(|n| any_file_holds(&folder, key(n).as_bytes())));

    device.command(&Command::RemoveTopic(topic_hash(&topic(20)))).unwrap();
    assert!((0..40).all(|n| any_file_holds(&folder, key(n).as_bytes()) == (n != 20)));
    device.clock.advance(1);
    device.command(&Command::ResetTopics).unwrap();
    assert!((0..40).all(|n| !any_file_holds(&folder, key(n).as_bytes())));
}

#[cfg(unix)]
#[test]
fn g6_l15_every_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = state_path();
    let mut device = device_at(&path, Party::symmetric("pump"));
    for _ in 0..2 {
        let files = files_of(&folder);
        assert!(files.contains(&path));
        for file in files {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
        device.clock.advance(1);
        device.command(&Command::ResetTopics).unwrap();
    }
}

/// A save that never came to its end, of a longer state than any that follows.
fn save_cut_short(path: &Path) -> Vec<u8> {
    [&fs::read(path).unwrap()[..50], &bytes("half a key")[..], &[0; 4096]].concat()
}

/// Where a device writes its next state: the lock file says it.
fn next_state(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap();
    folder.join(format!("state.{}.new", fs::read_to_string(folder.join("state.lock")).unwrap()))
}

#[test]
fn g6_l15_a_file_that_a_crash_left_beside_the_state_goes_with_the_next_load() {
    let (folder, path) = state_path();
    let mut device = device_at(&path, Party::symmetric("pump"));
    device.command(&set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    fs::write(next_state(&path), save_cut_short(&path)).unwrap();

    let device = device.restart();
    assert!(device.client.seal(TOPIC, b"").is_ok(), "the old state is whole");
    assert!(!any_file_holds(&folder, &bytes("half a key")));
}

#[test]
fn g6_l15_what_a_failed_save_left_leaves_nothing_of_itself_in_the_state() {
    let (folder, path) = state_path();
    let mut device = device_at(&path, Party::symmetric("pump"));
    device.command(&set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    fs::write(next_state(&path), save_cut_short(&path)).unwrap();

    device.command(&Command::ResetTopics).unwrap();
    assert!(!any_file_holds(&folder, &bytes("half a key")));
    assert_eq!(device.restart().client.topics().count(), 0, "the new state is whole");
}

#[test]
fn g7_an_empty_file_or_one_that_is_no_state_is_refused_on_load() {
    let (_folder, path) = state_path();
    assert_eq!(Client::load(FileStore::new(&path)).unwrap_err(), LoadError::Store(StoreError::Empty));
    for content in ["", "null", "{}", "\0", "e4stat"] {
        fs::write(&path, content).unwrap();
        assert_eq!(load_error(&path), LoadError::State(StateError::NotAState), "{content:?}");
    }
    for content in [&b"e4state"[..], b"e4state\x01", &[&b"e4state\x01\xa7"[..], &[0; 64]].concat()] {
        fs::write(&path, content).unwrap();
        assert_eq!(load_error(&path), LoadError::State(StateError::Damaged), "{content:?}");
    }
}

/// Puts other bytes into a saved state, in place of some that stand in it once, and mends the checksum.
fn forge(saved: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let framed = saved.split_last_chunk::<32>().unwrap().0;
    let places: Vec<_> = (0..framed.len()).filter(|at| framed[*at..].starts_with(from)).collect();
    let [at] = places[..] else { panic!("{} places", places.len()) };
    let forged = [&framed[..at], to, &framed[at + from.len()..]].concat();
    let sum: [u8; 32] = Sha3_256::digest(&forged).into();
    [&forged[..], &sum].concat()
}

/// The CBOR head of a byte string of 32 bytes, and its bytes.
fn cbor(key: &[u8; 32]) -> Vec<u8> {
    [&[0x58, 32], &key[..]].concat()
}

#[test]
fn g7_a_state_with_nothing_in_the_place_of_a_key_is_refused_on_load() {
    let peer = ClientId::from_name("peer").unwrap();
    let (_folder, path) = state_path();
    let mut symmetric = device_at(&path, Party::symmetric("pump"));
    symmetric.command(&set_topic_key(TOPIC, &topic_key("old"))).unwrap();
    symmetric.command(&set_topic_key(TOPIC, &topic_key("new"))).unwrap();
    let (_folder, other_path) = state_path();
    let mut signing = device_at(&other_path, Party::public_key("pump"));
    let public = signing_key("peer").verifying_key();
    signing.command(&Command::SetPubKey { client: peer, key: public }).unwrap();
    let (symmetric, signing) = (symmetric.store.saved(), signing.store.saved());

    let (_folder, path) = state_path();
    let secret_keys = [("pump", &symmetric), ("old", &symmetric), ("new", &symmetric), ("pump", &signing)];
    let public_keys = [(*public.as_bytes(), &signing), (*c2_key("c2").public_key().as_bytes(), &signing)];
    for (key, saved) in secret_keys.map(|(label, saved)| (bytes(label), saved)).into_iter().chain(public_keys) {
        // The same key again makes a state that loads, so it is the replacement that is refused.
        fs::write(&path, forge(saved, &cbor(&key), &cbor(&key))).unwrap();
        Client::load(FileStore::new(&path)).unwrap();
        let (null, empty, short, zero) = (vec![0xf6], vec![0x40], [&[0x58, 31], &key[1..]].concat(), cbor(&[0; 32]));
        for replacement in [null, empty, short, zero] {
            fs::write(&path, forge(saved, &cbor(&key), &replacement)).unwrap();
            assert_eq!(load_error(&path), LoadError::State(StateError::Invalid), "{replacement:02x?}");
        }
    }
}

/// Neither does a state bring in what no command may.
#[test]
fn g7_a_state_with_a_key_for_the_control_topic_is_refused_on_load() {
    let mut device = Device::symmetric("pump");
    device.command(&set_topic_key(TOPIC, &topic_key("topic"))).unwrap();
    let control = device.client.control_topic().hash();
    let forged = forge(&device.store.saved(), topic_hash(TOPIC).as_bytes(), control.as_bytes());
    let (_folder, path) = state_path();
    fs::write(&path, forged).unwrap();
    assert_eq!(load_error(&path), LoadError::State(StateError::Invalid));
}

#[test]
fn g8_options_outlive_a_restart() {
    let (_folder, path) = state_path();
    let mut options = Options::default();
    options.max_age = MaxAge::Seconds(7);
    options.max_ahead = 8;
    options.command_max_age = MaxAge::Seconds(9);
    options.repeated = Repeated::Report;
    let rules = [("a/#", MaxAge::Any), ("b/+/c", MaxAge::Seconds(11)), ("a/b", MaxAge::Seconds(0))];

    let mut builder = Client::builder(Party::symmetric("pump").identity).options(options);
    for (filter, max_age) in rules {
        builder = builder.max_age(&TopicFilter::new(filter).unwrap(), max_age).unwrap();
    }
    drop(builder.create(FileStore::new(&path)).unwrap());

    let mut client = Client::load(FileStore::new(&path)).unwrap();
    assert_eq!(*client.options(), options);
    assert_eq!(client.max_ages().collect::<Vec<_>>(), rules);

    // The same for what is set later.
    options.max_age = MaxAge::Any;
    client.set_options(options).unwrap();
    client.set_max_age(&TopicFilter::new("d").unwrap(), MaxAge::Any).unwrap();
    drop(client);
    let client = Client::load(FileStore::new(&path)).unwrap();
    assert_eq!(*client.options(), options);
    assert_eq!(client.max_ages().last(), Some(("d", MaxAge::Any)));
}

/// A device at a path that has just changed from the key `old` to the key `new`.
fn in_transition(path: &Path) -> Device {
    let mut device = device_at(path, Party::symmetric("pump"));
    device.command(&set_topic_key(TOPIC, &topic_key("old"))).unwrap();
    device.command(&set_topic_key(TOPIC, &topic_key("new"))).unwrap();
    device
}

fn message_under(key: &str, sent: u64) -> Vec<u8> {
    let sender = Device::symmetric("sender").knowing(TOPIC, &topic_key(key));
    sender.clock.set(sent);
    sender.client.seal(TOPIC, b"4.2 bar").unwrap()
}

#[test]
fn g16_a_previous_key_opens_messages_for_an_hour_and_is_then_erased_from_the_file() {
    let (folder, path) = state_path();
    let mut device = in_transition(&path);
    device.clock.set(NOW + 3600);
    assert_eq!(device.open(TOPIC, &message_under("old", NOW + 3600)).unwrap().key, KeyRole::Previous);
    assert!(any_file_holds(&folder, topic_key("old").as_bytes()));

    device.clock.set(NOW + 3601);
    assert_eq!(device.open(TOPIC, &message_under("old", NOW + 3600)), refused(Refusal::NotAuthentic));
    assert!(!any_file_holds(&folder, topic_key("old").as_bytes()));
    assert_eq!(device.open(TOPIC, &message_under("new", NOW + 3601)).unwrap().key, KeyRole::Current);
    // Not only ignored: it does not come back when the clock does.
    device.clock.set(NOW);
    assert_eq!(device.open(TOPIC, &message_under("old", NOW)), refused(Refusal::NotAuthentic));
}

#[test]
fn g16_loading_erases_an_expired_previous_key() {
    let (folder, path) = state_path();
    let device = in_transition(&path);
    device.clock.set(NOW + 3601);
    assert!(any_file_holds(&folder, topic_key("old").as_bytes()));
    device.restart();
    assert!(!any_file_holds(&folder, topic_key("old").as_bytes()));
}

#[test]
fn g16_a_command_erases_an_expired_previous_key() {
    let (folder, path) = state_path();
    let mut device = in_transition(&path);
    device.clock.set(NOW + 3601);
    device.command_at(NOW + 3601, &Command::RemoveTopic(topic_hash("another"))).unwrap();
    assert!(!any_file_holds(&folder, topic_key("old").as_bytes()));
}

#[test]
fn g16_a_device_without_a_clock_erases_an_expired_previous_key_when_it_learns_the_time() {
    let (folder, path) = state_path();
    let mut device: Device = Device::create(Party::symmetric("sensor"), TestStore::file(&path), &TestClock::uptime(0));
    device.command_at(NOW, &set_topic_key(TOPIC, &topic_key("old"))).unwrap();
    device.command_at(NOW + 1, &set_topic_key(TOPIC, &topic_key("new"))).unwrap();
    let mut device = device.restart();
    assert!(any_file_holds(&folder, topic_key("old").as_bytes()));
    device.command_at(NOW + 3602, &Command::RemoveTopic(topic_hash("another"))).unwrap();
    assert!(!any_file_holds(&folder, topic_key("old").as_bytes()));
}

#[test]
fn g16_a_client_that_only_publishes_erases_an_expired_previous_key_when_told_to() {
    let (folder, path) = state_path();
    let mut device = in_transition(&path);
    device.clock.set(NOW + 3600);
    device.client.erase_expired_keys().unwrap();
    assert!(any_file_holds(&folder, topic_key("old").as_bytes()));
    device.clock.set(NOW + 3601);
    device.client.erase_expired_keys().unwrap();
    assert!(!any_file_holds(&folder, topic_key("old").as_bytes()));
    assert!(any_file_holds(&folder, topic_key("new").as_bytes()));
}

/// The client with its new key, as the key server sees it.
fn recipient_of_new_key(device: &Device) -> (Command, Recipient) {
    let id = *device.client.id();
    match device.client.mode() {
        Mode::Symmetric => {
            let key = ClientKey::from_bytes(&bytes("new")).unwrap();
            let recipient = Recipient::symmetric(id, &key);
            (Command::SetClientKey(key), recipient)
        }
        Mode::PublicKey => {
            let key = signing_key("new");
            let recipient = Recipient::public_key(id, &c2_key("c2"), &key.verifying_key()).unwrap();
            (Command::SetSigningKey(key), recipient)
        }
    }
}

#[test]
fn l7_a_new_client_key_is_stored_before_it_is_reported() {
    for party in [Party::symmetric("pump"), Party::public_key("pump")] {
        let (_folder, path) = state_path();
        let mut device = device_at(&path, party);
        let (set_id_key, recipient) = recipient_of_new_key(&device);
        device.command(&set_id_key).unwrap();
        let mut device = device.restart();
        let under_old_key = device.command(&Command::ResetTopics);
        assert_eq!(under_old_key, refused(Refusal::NotAuthentic));
        device.recipient = recipient;
        device.command(&Command::ResetTopics).unwrap();
    }
}

#[test]
fn l7_a_new_client_key_that_cannot_be_stored_is_not_taken() {
    for party in [Party::symmetric("pump"), Party::public_key("pump")] {
        let (_folder, path) = state_path();
        let mut device = device_at(&path, party);
        let (set_id_key, recipient) = recipient_of_new_key(&device);
        let unstored = device.unchanged_by(|device| {
            device.store.set_failing(true);
            let result = device.command(&set_id_key);
            device.store.set_failing(false);
            result
        });
        assert_eq!(unstored, Err(OpenError::Store(TestStore::FAILURE)));
        // The broker delivers it again.
        device.command(&set_id_key).unwrap();
        device.recipient = recipient;
        device.command(&Command::ResetTopics).unwrap();
    }
}
