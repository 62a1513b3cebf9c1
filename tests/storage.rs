//! The state of a client on a real disk: what is refused, what survives, who may read it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e4::{
    C2SecretKey, Client, ClientId, ClientKey, Command, CreateError, FileStore, FixedKeyRing, Full, Identity, LoadError,
    MaxAge, MemoryStore, Options, Repeated, SigningKey, StateError, StorageKey, StoreError, SystemClock, Timestamp,
    Topic, TopicFilter, TopicHash, TopicKey, controller::Recipient,
};
use sha3::{Digest, Sha3_256};
use std::{fs, path::Path};

fn key(n: u8) -> TopicKey {
    TopicKey::from_bytes(&[n; 32]).unwrap()
}

fn id() -> ClientId {
    ClientId::from_name("pump-7").unwrap()
}

fn symmetric() -> Identity {
    Identity::symmetric(id(), ClientKey::from_bytes(&[1; 32]).unwrap())
}

/// A public-key client with something in every part of its state, saved in `store`.
fn create_full(store: FileStore) -> Client {
    let c2 = C2SecretKey::from_bytes(&[2; 32]).unwrap();
    let signing = SigningKey::from_seed(&[3; 32]).unwrap();
    let recipient = Recipient::public_key(id(), &c2, &signing.verifying_key()).unwrap();
    let mut options = Options::default();
    options.max_age = MaxAge::Seconds(77);
    options.max_ahead = 5;
    options.command_max_age = MaxAge::Any;
    options.repeated = Repeated::Report;
    let identity = Identity::public_key(id(), signing, c2.public_key()).unwrap();
    let peer = SigningKey::from_seed(&[4; 32]).unwrap().verifying_key();
    let now = Timestamp::now();
    let mut client = Client::builder(identity)
        .options(options)
        .max_age(&TopicFilter::new("status/+/#").unwrap(), MaxAge::Any)
        .unwrap()
        .max_age(&TopicFilter::new("a").unwrap(), MaxAge::Seconds(9))
        .unwrap()
        .topic_key(Topic::new("a").unwrap().hash(), key(5))
        .unwrap()
        .topic_key_with_previous(Topic::new("b").unwrap().hash(), key(6), key(7), now)
        .unwrap()
        .peer(ClientId::from_bytes([8; 16]), peer)
        .unwrap()
        .create(store)
        .unwrap();
    for command in [Command::RemoveTopic(TopicHash::from_bytes([9; 16])), Command::RemovePubKey(id())] {
        let sealed = recipient.seal_dated(&command, now).unwrap();
        client.open(client.control_topic().as_str(), sealed.as_bytes()).unwrap();
    }
    client
}

fn load_error(path: &Path) -> LoadError {
    Client::load(FileStore::new(path)).unwrap_err()
}

/// Puts a right checksum under changed bytes.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 32);
    let sum = Sha3_256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

#[test]
fn the_whole_state_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let client = create_full(FileStore::new(&path));
    let before = fs::read(&path).unwrap();
    let describe = |client: &Client| {
        let mut topics: Vec<_> = client.topics().map(|(topic, replaced)| (*topic, replaced)).collect();
        topics.sort_by_key(|(topic, _)| *topic);
        let ages: Vec<_> = client.max_ages().map(|(filter, age)| (filter.to_owned(), age)).collect();
        let peers: Vec<_> = client.peers().map(|(id, key)| (*id, *key)).collect();
        let keys = (client.verifying_key(), client.c2_key().copied());
        (*client.id(), client.mode(), keys, *client.options(), topics, ages, peers, client.newest_command())
    };
    let expected = describe(&client);
    drop(client);
    let mut loaded = Client::load(FileStore::new(&path)).unwrap();
    assert_eq!(describe(&loaded), expected);
    // Loading changed nothing, and saving what was loaded gives the same state again.
    assert_eq!(fs::read(&path).unwrap(), before);
    loaded.set_options(*loaded.options()).unwrap();
    drop(loaded);
    assert_eq!(describe(&Client::load(FileStore::new(&path)).unwrap()), expected);
}

#[test]
fn every_damaged_byte_and_every_truncation_of_a_plain_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(create_full(FileStore::new(&path)));
    let good = fs::read(&path).unwrap();
    let load = |bytes: Vec<u8>| Client::load(MemoryStore::from_bytes(bytes));
    assert!(load(good.clone()).is_ok());
    for at in 0..good.len() {
        for damage in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= damage;
            let error = load(bytes).unwrap_err();
            let expected = if at < 7 { StateError::NotAState } else { StateError::Damaged };
            assert_eq!(error, LoadError::State(expected), "byte {at}");
        }
        let error = load(good[..at].to_vec()).unwrap_err();
        let expected = if at < 7 { StateError::NotAState } else { StateError::Damaged };
        assert_eq!(error, LoadError::State(expected), "the first {at} bytes");
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(load(longer).unwrap_err(), LoadError::State(StateError::Damaged));
}

#[test]
fn a_damaged_file_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(create_full(FileStore::new(&path)));
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(load_error(&path), LoadError::State(StateError::Damaged));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn every_damaged_byte_and_every_truncation_of_a_sealed_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let storage_key = StorageKey::from_bytes(&[0x33; 32]).unwrap();
    let store = || FileStore::sealed(&path, storage_key.clone(), id());
    drop(create_full(store()));
    let good = fs::read(&path).unwrap();
    assert!(Client::load(store()).is_ok());
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        assert_eq!(Client::load(store()).unwrap_err(), LoadError::Store(StoreError::NotAuthentic));
    };
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        refused(&bytes);
        refused(&good[..at]);
    }
    refused(&[&good[..], &[0]].concat());
}

#[test]
fn a_sealed_state_shows_nothing_and_opens_for_its_client_and_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let storage_key = StorageKey::from_bytes(&[0x33; 32]).unwrap();
    drop(create_full(FileStore::sealed(&path, storage_key.clone(), id())));
    let bytes = fs::read(&path).unwrap();
    for secret in [[3_u8; 8], [5; 8], [6; 8], [7; 8], [8; 8]] {
        assert!(!bytes.windows(8).any(|window| window == secret), "{secret:?}");
    }
    let other_key = StorageKey::from_bytes(&[0x34; 32]).unwrap();
    let other_client = ClientId::from_name("pump-8").unwrap();
    for store in [FileStore::sealed(&path, other_key, id()), FileStore::sealed(&path, storage_key, other_client)] {
        assert_eq!(Client::load(store).unwrap_err(), LoadError::Store(StoreError::NotAuthentic));
    }
    assert_eq!(load_error(&path), LoadError::State(StateError::NotAState));
}

#[test]
fn a_newer_version_is_named_and_its_file_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(Client::builder(symmetric()).create(FileStore::new(&path)).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] = 9;
    let bytes = with_checksum(bytes);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(load_error(&path), LoadError::State(StateError::NewerVersion(9)));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let mut older = bytes;
    older[7] = 0;
    fs::write(&path, with_checksum(older)).unwrap();
    assert_eq!(load_error(&path), LoadError::State(StateError::Invalid));
}

#[test]
fn a_whole_state_that_makes_no_sense_is_refused() {
    let mut store = MemoryStore::new();
    let client = Client::builder(symmetric()).topic_key(&TopicHash::from_bytes([4; 16]), key(5)).unwrap();
    drop(client.create_with(&mut store, SystemClock).unwrap());
    let good = store.as_bytes().unwrap().to_vec();
    let load = |bytes: Vec<u8>| Client::load(MemoryStore::from_bytes(with_checksum(bytes))).map(drop);
    load(good.clone()).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let topic = [&[0x82, 0x50][..], &[4; 16], &[0x58, 32], &[5; 32]].concat();
    let control = [&[0x82, 0x50][..], id().control_topic().hash().as_bytes(), &[0x58, 32], &[5; 32]].concat();
    let zero_key = [&[0x82, 0x50][..], &[4; 16], &[0x58, 32], &[0; 32]].concat();
    let (twice, extra) = ([&topic[..], &topic].concat(), [&good[..good.len() - 32], &[0xf6], &[0; 32]].concat());
    for (what, bytes) in [
        ("an all-zero client key", replaced(&[1; 32], &[0; 32])),
        ("an all-zero topic key", replaced(&topic, &zero_key)),
        ("a key for the control topic", replaced(&topic, &control)),
        ("a topic twice", replaced(&topic, &twice)),
        ("an unknown entry", extra),
        (
            "a client id of 15 bytes",
            replaced(&[&[0x50][..], id().as_bytes()].concat(), &[&[0x4f][..], &[1; 15]].concat()),
        ),
    ] {
        assert_eq!(load(bytes).unwrap_err(), LoadError::State(StateError::Invalid), "{what}");
    }
}

#[test]
fn a_state_that_is_too_large_for_a_fixed_key_ring_is_refused() {
    let mut store = MemoryStore::new();
    let builder = (0..3).fold(Client::builder(symmetric()), |builder, n| {
        builder.topic_key(&TopicHash::from_bytes([n; 16]), key(n + 0x40)).unwrap()
    });
    drop(builder.create_with(&mut store, SystemClock).unwrap());
    type Fixed<'s, const TOPICS: usize> = Client<FixedKeyRing<TOPICS, 0, 1>, &'s mut MemoryStore, SystemClock>;
    assert_eq!(Fixed::<3>::load_with(&mut store, SystemClock).unwrap().topics().count(), 3);
    let error = Fixed::<2>::load_with(&mut store, SystemClock).unwrap_err();
    assert_eq!(error, LoadError::State(StateError::Full(Full::Topics)));
}

#[test]
fn an_existing_state_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(create_full(FileStore::new(&path)));
    let before = fs::read(&path).unwrap();
    let error = Client::builder(symmetric()).create(FileStore::new(&path)).unwrap_err();
    assert_eq!(error, CreateError::Exists);
    fs::write(&path, b"not a state at all").unwrap();
    let error = Client::builder(symmetric()).create(FileStore::new(&path)).unwrap_err();
    assert_eq!(error, CreateError::Exists);
    fs::write(&path, before).unwrap();
}

#[test]
fn a_state_is_used_by_one_client_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let client = Client::builder(symmetric()).create(FileStore::new(&path)).unwrap();
    assert_eq!(load_error(&path), LoadError::Store(StoreError::InUse));
    drop(client);
    assert!(Client::load(FileStore::new(&path)).is_ok());
}

#[test]
fn a_missing_state_and_an_unreadable_one_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load_error(&folder.path().join("none")), LoadError::Store(StoreError::Empty));
    let error = load_error(&folder.path().join("no folder").join("state"));
    assert!(matches!(error, LoadError::Store(StoreError::File { kind: std::io::ErrorKind::NotFound, .. })), "{error}");
    let is_a_folder = folder.path().join("folder");
    fs::create_dir(&is_a_folder).unwrap();
    assert!(matches!(load_error(&is_a_folder), LoadError::Store(StoreError::File { .. })));
}

#[test]
fn a_client_is_made_at_its_first_start_and_taken_up_at_every_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let start = |identity| Client::builder(identity).load_or_create(FileStore::new(&path));
    let mut client = start(symmetric()).unwrap();
    let recipient = Recipient::symmetric(id(), &ClientKey::from_bytes(&[1; 32]).unwrap());
    let command = Command::set_topic_key(&Topic::new("a").unwrap(), key(5));
    client.open(client.control_topic(), recipient.seal_dated(&command, Timestamp::now()).unwrap().as_bytes()).unwrap();
    drop(client);
    assert!(start(symmetric()).unwrap().has_key_for(&Topic::new("a").unwrap()));

    let other = Identity::symmetric(ClientId::from_name("pump-8").unwrap(), ClientKey::from_bytes(&[1; 32]).unwrap());
    assert_eq!(start(other).unwrap_err(), CreateError::OtherClient(id()));
    fs::write(&path, b"e4state, but not really").unwrap();
    assert_eq!(start(symmetric()).unwrap_err(), CreateError::State(StateError::Damaged));
    assert_eq!(fs::read(&path).unwrap(), b"e4state, but not really");
}

#[test]
fn a_sealed_store_takes_the_state_of_its_own_client_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let storage_key = StorageKey::from_bytes(&[0x33; 32]).unwrap();
    let store = FileStore::sealed(&path, storage_key, ClientId::from_name("pump-8").unwrap());
    assert_eq!(Client::builder(symmetric()).create(store).unwrap_err(), CreateError::Store(StoreError::OtherClient));
    assert!(!path.exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_a_state_is_locked_with_it_and_leads_to_it_after_a_save() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("state"), folder.path().join("link"));
    drop(Client::builder(symmetric()).create(FileStore::new(&path)).unwrap());
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut client = Client::load(FileStore::new(&link)).unwrap();
    assert_eq!(load_error(&path), LoadError::Store(StoreError::InUse));
    let mut options = Options::default();
    options.max_ahead = 7;
    client.set_options(options).unwrap();
    drop(client);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Client::load(FileStore::new(&path)).unwrap().options().max_ahead, 7);
}

#[test]
fn a_path_that_names_no_file_is_refused() {
    for path in ["", "/", ".."] {
        let error = load_error(Path::new(path));
        assert!(matches!(error, LoadError::Store(StoreError::File { .. })), "{path:?}: {error}");
    }
}

#[test]
fn f10_nothing_beside_a_state_is_touched_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let other = Client::builder(symmetric()).create(FileStore::new(path("state.new"))).unwrap();
    let mine = ["state.0123456789abcdef.new", "state.tmp", ".state.new", "state.new~"];
    for name in mine {
        fs::write(path(name), name).unwrap();
    }
    let before = fs::read(path("state.new")).unwrap();

    let mut client = Client::builder(symmetric()).create(FileStore::new(path("state"))).unwrap();
    client.set_options(Options::default()).unwrap();
    drop(client);
    let mut client = Client::load(FileStore::new(path("state"))).unwrap();
    client.set_options(Options::default()).unwrap();

    for name in mine {
        assert_eq!(fs::read_to_string(path(name)).unwrap(), name);
    }
    assert_eq!(fs::read(path("state.new")).unwrap(), before);
    assert_eq!(load_error(&path("state.new")), LoadError::Store(StoreError::InUse));
    drop(other);
    Client::load(FileStore::new(path("state.new"))).unwrap();
}

#[test]
fn f10_the_name_of_a_new_state_is_another_one_at_each_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(Client::builder(symmetric()).create(FileStore::new(&path)).unwrap());
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        Client::load(FileStore::new(&path)).unwrap().set_options(Options::default()).unwrap();
        names.insert(fs::read_to_string(folder.path().join("state.lock")).unwrap());
    }
    assert_eq!(names.len(), 20);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the state and its lock");
}

#[cfg(unix)]
#[test]
fn f42_what_leads_elsewhere_is_not_taken_for_a_lock_file() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("precious"), "precious").unwrap();
    for target in ["precious", "absent"] {
        symlink(path(target), path("state.lock")).unwrap();
        let error = Client::builder(symmetric()).create(FileStore::new(path("state"))).unwrap_err();
        assert!(error.to_string().contains("a link"), "{error}");
        fs::remove_file(path("state.lock")).unwrap();
    }
    fs::create_dir(path("state.lock")).unwrap();
    Client::builder(symmetric()).create(FileStore::new(path("state"))).unwrap_err();
    fs::remove_dir(path("state.lock")).unwrap();
    // Another name of a file of somebody's is not written to.
    fs::hard_link(path("precious"), path("state.lock")).unwrap();
    drop(Client::builder(symmetric()).create(FileStore::new(path("state"))).unwrap());
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");
    assert!(!path("absent").exists());
}

/// Only root can give files away, so this says nothing where the tests are run by somebody else.
#[cfg(unix)]
#[test]
fn f42_what_root_does_to_a_state_leaves_it_to_its_owner() {
    use std::os::unix::fs::{MetadataExt, chown};
    const SERVICE: u32 = 12_345;
    const GROUP: u32 = 12_346;
    let folder = tempfile::tempdir().unwrap();
    if chown(folder.path(), Some(SERVICE), Some(GROUP)).is_err() {
        return;
    }
    let path = folder.path().join("state");
    let owners = || {
        ["state", "state.lock"].map(|name| fs::metadata(folder.path().join(name)).map(|m| (m.uid(), m.gid())).unwrap())
    };
    let mut client = Client::builder(symmetric()).create(FileStore::new(&path)).unwrap();
    assert_eq!(owners(), [(SERVICE, GROUP); 2], "those of the folder");
    // The state's own owner goes before that of the folder.
    chown(&path, Some(SERVICE + 5), Some(GROUP)).unwrap();
    client.set_options(Options::default()).unwrap();
    drop(client);
    fs::remove_file(folder.path().join("state.lock")).unwrap();
    Client::load(FileStore::new(&path)).unwrap().set_options(Options::default()).unwrap();
    assert_eq!(owners(), [(SERVICE + 5, GROUP); 2]);
}

#[test]
fn f42_a_state_that_is_only_looked_at_stays_as_it_is_also_while_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let storage_key = || StorageKey::from_bytes(&[0x33; 32]).unwrap();
    let client = create_full(FileStore::sealed(&path, storage_key(), id()));
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let (before, mut count) = (fs::read(&path).unwrap(), names());
    for in_use in [true, false] {
        let mut looking = Client::load(FileStore::sealed(&path, storage_key(), id()).read_only()).unwrap();
        assert_eq!(looking.topics().count(), 2, "{in_use}");
        assert_eq!(looking.set_options(Options::default()), Err(StoreError::ReadOnly));
        assert_eq!((fs::read(&path).unwrap(), names()), (before.clone(), count), "{in_use}");
        if in_use {
            fs::remove_file(folder.path().join("state.lock")).unwrap();
            count -= 1;
        }
    }
    drop(client);
    let absent = Client::load(FileStore::new(folder.path().join("absent")).read_only());
    assert_eq!(absent.unwrap_err(), LoadError::Store(StoreError::Empty));
}
