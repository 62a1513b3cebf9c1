//! What the command does to state files and key files, and leaves alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use common::Folder;
use e4::{ClientId, ClientKey, Command, FileStore, Timestamp, Topic, TopicKey, controller::Recipient};
use std::{collections::BTreeMap, fs, time::SystemTime};

const CLIENT_KEY: [u8; 32] = [0xc1; 32];
const INIT: &str = "device init --state pump-7.state --name pump-7 --key-file pump-7.key";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write_key("pump-7.key", &CLIENT_KEY);
    folder
}

fn recipient() -> Recipient {
    Recipient::symmetric(ClientId::from_name("pump-7").unwrap(), &ClientKey::from_bytes(&CLIENT_KEY).unwrap())
}

/// A command that gives a topic key, sealed so many seconds from now.
fn command_in(seconds: u64) -> Vec<u8> {
    let command = Command::set_topic_key(&Topic::new("a").unwrap(), TopicKey::from_bytes(&[9; 32]).unwrap());
    recipient().seal_dated(&command, Timestamp::now().plus(seconds)).unwrap().as_bytes().to_vec()
}

fn open() -> String {
    format!("open --state pump-7.state --topic {}", recipient().control_topic())
}

/// All files of the folder, locks too, with their bytes and when they were last written.
fn everything(folder: &Folder) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let changed = entry.metadata().unwrap().modified().unwrap();
        (entry.file_name().into_string().unwrap(), (fs::read(entry.path()).unwrap(), changed))
    };
    fs::read_dir(folder.path()).unwrap().map(entry).collect()
}

#[test]
fn f42_device_show_changes_nothing_and_needs_no_lock() {
    let folder = folder();
    folder.run(INIT).ok();
    for is_locked in [true, false] {
        fs::remove_file(folder.path().join("pump-7.state.lock")).unwrap();
        // As on a disk where only this can be opened.
        let lock = is_locked.then(|| e4::Client::load(FileStore::new(folder.path().join("pump-7.state"))).unwrap());
        let before = everything(&folder);
        folder.run("device show --state pump-7.state").ok();
        assert_eq!(everything(&folder), before, "{is_locked}");
        drop(lock);
        if is_locked {
            continue;
        }
        assert!(!before.contains_key("pump-7.state.lock"));
    }
}

#[test]
fn f42_device_show_shows_what_the_state_holds_and_erases_nothing() {
    let folder = folder();
    let id = ClientId::from_name("pump-7").unwrap();
    let key = |n| TopicKey::from_bytes(&[n; 32]).unwrap();
    let topic = Topic::new("a").unwrap();
    let replaced = Timestamp::from_unix(Timestamp::now().as_unix() - 10_000);
    let identity = e4::Identity::symmetric(id, ClientKey::from_bytes(&CLIENT_KEY).unwrap());
    let client = e4::Client::builder(identity)
        .topic_key_with_previous(topic.hash(), key(1), key(2), replaced)
        .unwrap()
        .create(FileStore::new(folder.path().join("pump-7.state")));
    drop(client.unwrap());
    let before = everything(&folder);
    let shown = folder.run("device show --state pump-7.state --json").ok().json();
    assert_eq!(shown["topics"][0]["previous"]["fingerprint"], key(2).fingerprint().to_string());
    assert_eq!(shown["topics"][0]["previous"]["replaced"], replaced.as_unix());
    assert_eq!(everything(&folder), before);
}

/// Only root can give files away, so this says nothing where the tests are run by somebody else.
#[cfg(unix)]
#[test]
fn f42_what_root_writes_in_the_folder_of_a_service_belongs_to_the_service() {
    use std::os::unix::fs::{MetadataExt, chown};
    const SERVICE: u32 = 12_345;
    let folder = folder();
    if chown(folder.path(), Some(SERVICE), Some(SERVICE)).is_err() {
        return;
    }
    folder.run(INIT).ok();
    folder.run("keygen ed25519 --out pair").ok();
    let owner = |name: &str| fs::metadata(folder.path().join(name)).unwrap().uid();
    for name in ["pump-7.state", "pump-7.state.lock", "pair", "pair.pub"] {
        assert_eq!(owner(name), SERVICE, "{name}");
    }
    // What is replaced goes to whom it belonged.
    chown(folder.path().join("pair"), Some(SERVICE + 1), None).unwrap();
    chown(folder.path().join("pump-7.state"), Some(SERVICE + 1), None).unwrap();
    folder.run("keygen ed25519 --out pair --force").ok();
    folder.run(&format!("{INIT} --force")).ok();
    assert_eq!([owner("pair"), owner("pump-7.state")], [SERVICE + 1; 2]);
}

#[cfg(unix)]
#[test]
fn f42_a_planted_link_in_the_place_of_the_lock_is_refused() {
    let folder = folder();
    folder.run(INIT).ok();
    folder.write("precious", "precious");
    let lock = folder.path().join("pump-7.state.lock");
    fs::remove_file(&lock).unwrap();
    for target in ["precious", "absent"] {
        std::os::unix::fs::symlink(folder.path().join(target), &lock).unwrap();
        folder.run_with(&open(), command_in(0)).fails(1, "a link");
        folder.run("device show --state pump-7.state").ok();
        fs::remove_file(&lock).unwrap();
    }
    assert_eq!(folder.read("precious"), "precious");
    assert!(!folder.path().join("absent").exists());
}

#[test]
fn f9_a_device_that_is_made_anew_takes_no_command_from_before() {
    let folder = folder();
    let recorded = command_in(0);
    // Recorded ones are of an earlier second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    folder.run(INIT).ok();
    folder.run_with(&open(), recorded.clone()).fails(3, "older than the newest accepted command");
    folder.run_with(&open(), command_in(0)).ok();
}

#[test]
fn f47_a_state_that_is_replaced_hands_on_the_order_of_commands() {
    let folder = folder();
    folder.run(INIT).ok();
    let (recorded, earlier, later) = (command_in(50), command_in(20), command_in(90));
    folder.run_with(&open(), recorded.clone()).ok();
    let told = folder.run(&format!("{INIT} --force")).ok();
    assert!(told.stderr().contains("took commands up to"), "{}", told.stderr());
    for recorded in [&recorded, &earlier] {
        folder.run_with(&open(), recorded.clone()).fails(3, "older than the newest accepted command");
    }
    folder.run_with(&open(), later).ok();
    // Nor by a way around, over a device of another name, sealed or not.
    folder.write_key("storage.key", &[0x57; 32]);
    let (recorded, later) = (command_in(500), command_in(900));
    folder.run_with(&open(), recorded.clone()).ok();
    let other = INIT.replace("--name pump-7", "--name other");
    for (there, back) in [(other.clone(), INIT.to_owned()), (other, format!("{INIT} --storage-key-file storage.key"))] {
        let told = folder.run(&format!("{there} --force")).ok();
        assert!(told.stderr().contains("took commands up to"), "{}", told.stderr());
        folder.run(&format!("{back} --force")).ok();
        let unlock = if back == INIT { "" } else { "--storage-key-file storage.key --name pump-7" };
        let open = format!("{} {unlock}", open());
        folder.run_with(&open, recorded.clone()).fails(3, "older than the newest accepted command");
    }
    let open_sealed = format!("{} --storage-key-file storage.key --name pump-7", open());
    folder.run_with(&open_sealed, later).ok();
    // A key from a stream is there once.
    let from_stdin = format!("{INIT} --force --storage-key-file -");
    folder.run_with(&from_stdin, folder.read("storage.key")).ok();
    folder.run(&format!("{INIT} --force")).ok();
    // What cannot be read is replaced too, and the user is told what that means.
    folder.write("pump-7.state", "no state");
    let replaced = folder.run(&format!("{INIT} --force")).ok();
    assert!(replaced.stderr().contains("replaced unread"), "{}", replaced.stderr());
    folder.run_with(&open(), command_in(0)).ok();
}
