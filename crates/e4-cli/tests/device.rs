//! The state files of devices: made, shown, and used to seal and open.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Folder, Run};
use e4::{
    C2SecretKey, ClientId, ClientKey, Command, SigningKey, Subtree, SubtreeKey, Timestamp, Topic, TopicKey,
    controller::Recipient,
};
use serde_json::json;

const CLIENT_KEY: [u8; 32] = [0xc1; 32];
const TOPIC_KEY: [u8; 32] = [0x71; 32];
const SUBTREE_KEY: [u8; 32] = [0x5b; 32];
const STORAGE_KEY: [u8; 32] = [0x57; 32];
const C2_KEY: [u8; 32] = [0xc2; 32];

/// A folder with the keys that the tests use: of pump-7, panel-1, a topic, a subtree, and the key server.
fn folder() -> Folder {
    let folder = Folder::new();
    for (name, key) in [
        ("pump-7.key", &CLIENT_KEY),
        ("topic.key", &TOPIC_KEY),
        ("subtree.key", &SUBTREE_KEY),
        ("storage.key", &STORAGE_KEY),
    ] {
        folder.write_key(name, key);
    }
    for name in ["pump-7", "panel-1"] {
        folder.write_key_of("ed25519-secret", &format!("{name}.seed"), &seed(name));
        folder.write_key_of("ed25519-public", &format!("{name}.pub"), &verifying_key(name));
    }
    let c2 = C2SecretKey::from_bytes(&C2_KEY).unwrap();
    folder.write_key_of("x25519-public", "c2.pub", c2.public_key().as_bytes());
    folder
}

fn seed(name: &str) -> [u8; 32] {
    *ClientId::from_name(name).unwrap().as_bytes().map(|byte| [byte, 7]).as_flattened().first_chunk().unwrap()
}

fn verifying_key(name: &str) -> [u8; 32] {
    *SigningKey::from_seed(&seed(name)).unwrap().verifying_key().as_bytes()
}

/// A symmetric device in `NAME.state` with the key of the topic `a/b`.
fn init_symmetric(folder: &Folder, name: &str) -> Run {
    folder.run(&format!(
        "device init --state {name}.state --name {name} --key-file pump-7.key --topic-key a/b=topic.key --json"
    ))
}

fn init_public_key(folder: &Folder, name: &str, peer: &str) -> Run {
    folder.run(&format!(
        "device init --state {name}.state --name {name} --signing-key-file {name}.seed --c2-key-file c2.pub \
         --peer {peer}={peer}.pub --topic-key a/b=topic.key --topic-key plant/7/#=subtree.key \
         --max-age plant/+/state=any --json"
    ))
}

#[test]
fn a_symmetric_device_is_made_and_shown_without_its_secrets() {
    let folder = folder();
    let before = Timestamp::now();
    let made = init_symmetric(&folder, "pump-7").ok();
    made.hides(&CLIENT_KEY);
    made.hides(&TOPIC_KEY);
    let id = ClientId::from_name("pump-7").unwrap();
    assert_eq!((made.json()["mode"].as_str(), made.json()["id"].as_str()), (Some("symmetric"), Some(&*id.to_string())));
    #[cfg(unix)]
    assert_eq!(folder.mode("pump-7.state"), 0o600);

    let shown = folder.run("device show --state pump-7.state --topic a/b --topic x/y --json").ok();
    shown.hides(&CLIENT_KEY);
    shown.hides(&TOPIC_KEY);
    let mut shown = shown.json();
    // Commands from before its making may be recorded ones.
    let commands_from = shown["newest_command"].take().as_u64().unwrap();
    assert!((before.as_unix()..=Timestamp::now().as_unix()).contains(&commands_from), "{commands_from}");
    let fingerprint = TopicKey::from_bytes(&TOPIC_KEY).unwrap().fingerprint().to_string();
    let hash = Topic::new("a/b").unwrap().hash().to_string();
    let expected = json!({
        "mode": "symmetric", "id": id.to_string(), "control_topic": id.control_topic().to_string(),
        "public_key": null, "c2_public_key": null, "newest_command": null, "max_age": 600, "max_ages": [],
        "topics": [{ "hash": hash, "name": "a/b", "fingerprint": fingerprint, "previous": null }],
        "without_own_key": [{ "name": "x/y", "key_of_subtree": false }], "peers": [],
    });
    assert_eq!(shown, expected);

    let text = folder.run("device show --state pump-7.state").ok();
    text.hides(&CLIENT_KEY);
    text.hides(&TOPIC_KEY);
    assert!(text.stdout().contains(&format!("{hash}  key {fingerprint}  (name not known)")), "{}", text.stdout());
}

#[test]
fn a_public_key_device_is_made_and_shown_without_its_secrets() {
    let folder = folder();
    let made = init_public_key(&folder, "pump-7", "panel-1").ok();
    assert_eq!(made.json()["public_key"], hex::encode(verifying_key("pump-7")));
    folder.write("names", "plant/7/#\n\nplant/7/pump\n");
    let shown = folder.run("device show --state pump-7.state --topics-file names --json").ok();
    let text = folder.run("device show --state pump-7.state --topics-file names").ok();
    for run in [&made, &shown, &text] {
        for secret in [&TOPIC_KEY, &SUBTREE_KEY, &seed("pump-7")] {
            run.hides(secret);
        }
    }
    let shown = shown.json();
    let peer = json!([{
        "id": ClientId::from_name("panel-1").unwrap().to_string(), "public_key": hex::encode(verifying_key("panel-1")),
    }]);
    assert_eq!(shown["peers"], peer);
    assert_eq!(shown["c2_public_key"], folder.digits("c2.pub"));
    assert_eq!(shown["max_ages"], json!([{ "filter": "plant/+/state", "max_age": null }]));
    assert_eq!(shown["topics"].as_array().unwrap().len(), 2);
    let subtree = shown["topics"].as_array().unwrap().iter().find(|topic| topic["name"] == "plant/7/#").unwrap();
    let key = SubtreeKey::from_bytes(&SUBTREE_KEY).unwrap();
    assert_eq!(subtree["fingerprint"], key.fingerprint().to_string());
    assert_eq!(subtree["hash"], Subtree::new("plant/7/#").unwrap().hash().to_string());
    assert_eq!(shown["without_own_key"], json!([{ "name": "plant/7/pump", "key_of_subtree": true }]));
}

#[test]
fn bad_devices_are_not_made() {
    let folder = folder();
    folder.write("no-point.pub", format!("ed25519-public 02{}", "00".repeat(31)));
    let before = folder.names();
    let who = "device init --state s --name pump-7";
    for (args, code, reason) in [
        (who.to_owned(), 2, "--key-file"),
        ("device init --state s --key-file pump-7.key".to_owned(), 2, "--name"),
        (format!("{who} --id {} --key-file pump-7.key", "0".repeat(32)), 2, "cannot be used with"),
        ("device init --state s --id 12 --key-file pump-7.key".to_owned(), 2, "32 hexadecimal digits"),
        (format!("{who} --signing-key-file pump-7.seed"), 2, "--c2-key-file"),
        (format!("{who} --key-file pump-7.key --c2-key-file c2.pub"), 2, "cannot be used with"),
        (format!("{who} --key-file pump-7.key --peer panel-1=panel-1.pub"), 1, "checks no signatures"),
        (format!("{who} --key-file pump-7.key --topic-key a"), 2, "= is missing"),
        (format!("{who} --key-file pump-7.key --topic-key a="), 2, "the file is missing"),
        (format!("{who} --key-file pump-7.key --topic-key a/+=topic.key"), 2, "no key"),
        (format!("{who} --key-file pump-7.key --topic-key a=absent"), 1, "could not read absent"),
        (format!("{who} --key-file pump-7.key --topic-key a=topic.key --topic-key a=pump-7.key"), 1, "given twice"),
        (format!("{who} --key-file pump-7.key --max-age a=old"), 2, "number of seconds"),
        (format!("{who} --signing-key-file pump-7.seed --c2-key-file c2.pub --peer x=no-point.pub"), 1, "not a point"),
        ("device init --state absent/s --name a --key-file pump-7.key".to_owned(), 1, "its folder does not exist"),
    ] {
        folder.run(&args).fails(code, reason).hides(&CLIENT_KEY);
    }
    let control = ClientId::from_name("pump-7").unwrap().control_topic();
    folder.run(&format!("{who} --key-file pump-7.key --topic-key {control}=topic.key")).fails(1, "control topic");
    assert_eq!(folder.names(), before);
}

#[test]
fn a_secret_half_is_not_taken_for_a_public_key() {
    let folder = folder();
    folder.run("keygen x25519 --out server").ok();
    let args = "device init --state s --name pump-7 --signing-key-file pump-7.seed --c2-key-file";
    folder.run(&format!("{args} server")).fails(1, "name the file of its public half");
    folder.run(&format!("{args} server.pub")).ok();
}

#[test]
fn an_existing_state_is_replaced_only_by_force_and_then_takes_no_recorded_command() {
    let folder = folder();
    init_symmetric(&folder, "pump-7").ok();
    let state = std::fs::read(folder.path().join("pump-7.state")).unwrap();
    init_symmetric(&folder, "pump-7").fails(1, "pump-7.state exists");
    assert!(std::fs::read(folder.path().join("pump-7.state")).unwrap() == state);

    let topic = Topic::new("new").unwrap();
    let command = Command::set_topic_key(&topic, TopicKey::from_bytes(&[9; 32]).unwrap());
    let (control, recipient) = symmetric_recipient("pump-7");
    let recorded = recipient.seal_dated(&command, Timestamp::now()).unwrap();
    let open = format!("open --state pump-7.state --topic {control}");
    folder.run_with(&open, recorded.as_bytes()).ok();
    // Recorded ones are of an earlier second.
    std::thread::sleep(std::time::Duration::from_millis(1100));

    folder.run("device init --state pump-7.state --name pump-7 --key-file pump-7.key --force").ok().hides(&CLIENT_KEY);
    folder.run_with(&open, recorded.as_bytes()).fails(3, "older than the newest accepted command");
    let fresh = recipient.seal_dated(&command, Timestamp::now()).unwrap();
    folder.run_with(&open, fresh.as_bytes()).ok();
}

#[test]
fn a_sealed_state_opens_with_its_storage_key_and_client_only() {
    let folder = folder();
    let init = "device init --name pump-7 --key-file pump-7.key --storage-key-file storage.key --state s";
    folder.run(init).ok().hides(&STORAGE_KEY);
    let state = std::fs::read(folder.path().join("s")).unwrap();
    assert!(!state.windows(32).any(|window| window == CLIENT_KEY), "the client key is in the file in plain");
    folder.run("device show --state s --storage-key-file storage.key --name pump-7").ok().hides(&CLIENT_KEY);
    folder.run("device show --state s").fails(1, "needs its storage key");
    folder.run("device show --state s --storage-key-file storage.key").fails(2, "--name");
    folder.run("device show --state s --storage-key-file storage.key --name other").fails(1, "cannot be opened");
    folder.run("device show --state s --storage-key-file topic.key --name pump-7").fails(1, "cannot be opened");
    // Whatever it holds, it can be replaced.
    folder.run(&init.replace("storage.key", "topic.key")).fails(1, "--force");
    folder.run(&format!("{} --force", init.replace("storage.key", "topic.key"))).ok();
    folder.run("device show --state s --storage-key-file topic.key --name pump-7").ok();
}

#[test]
fn what_is_no_state_is_not_shown() {
    let folder = folder();
    init_symmetric(&folder, "pump-7").ok();
    let before = folder.names();
    folder.run("device show --state absent").fails(1, "e4 device init");
    folder.run("device show --state topic.key").fails(1, "not the state of an E4 client").hides(&TOPIC_KEY);
    folder.run("device show --state pump-7.state --name pump-8").fails(1, "is the state of client");
    folder.run("device show --state pump-7.state --topic a+").fails(2, "misplaced");
    folder.run("device show --state pump-7.state --topics-file absent").fails(1, "could not read absent");
    folder.write("names", "a\n+\n");
    folder.run("device show --state pump-7.state --topics-file names").fails(1, "names, line 2");
    assert_eq!(folder.names().len(), before.len() + 1);
}

#[test]
fn devices_seal_and_open_for_each_other_in_their_mode() {
    let folder = folder();
    init_public_key(&folder, "pump-7", "panel-1").ok();
    init_public_key(&folder, "panel-1", "pump-7").ok();
    for topic in ["a/b", "plant/7/pump"] {
        let sealed = folder.run_with(&format!("seal --state pump-7.state --topic {topic}"), "4.2 \0 bar").ok().0.stdout;
        assert_eq!(sealed.len(), 104 + 9);
        let run = folder.run_with(&format!("open --state panel-1.state --topic {topic} --json"), sealed.clone()).ok();
        assert_eq!(run.json()["signer"], ClientId::from_name("pump-7").unwrap().to_string());
        let run = folder.run_with(&format!("open --state panel-1.state -t {topic} -v"), sealed.clone()).ok();
        assert_eq!(run.stdout(), "4.2 \0 bar");
        assert!(run.stderr().contains("signed by"), "{}", run.stderr());
        // Nobody gave pump-7 its own public key.
        folder.run_with(&format!("open --state pump-7.state --topic {topic}"), sealed.clone()).fails(3, "public key");
        folder.run_with("open --state panel-1.state --topic other", sealed).fails(3, "no key for this topic");
    }
    folder.run_with("seal --state pump-7.state --topic other", "x").fails(1, "no key for this topic");
    folder.run_with("seal --state absent --topic a/b", "x").fails(1, "e4 device init");
    let control = ClientId::from_name("pump-7").unwrap().control_topic();
    folder.run_with(&format!("seal --state pump-7.state --topic {control}"), "x").fails(1, "control topic");
}

#[test]
fn a_device_follows_its_rules_on_age() {
    let folder = folder();
    init_symmetric(&folder, "pump-7").ok();
    let sealed = folder.run_with("seal --topic-key-file topic.key", "x").ok().0.stdout;
    folder.run_with("open --state pump-7.state --topic a/b", sealed.clone()).ok();
    folder
        .run("device init --state strict --name p --key-file pump-7.key --topic-key a/b=topic.key --max-age a/b=0")
        .ok();
    // Sealed in an earlier second than it is opened in.
    let sent = u64::from_le_bytes(*sealed.first_chunk().unwrap());
    let deadline = sent + 60;
    while Timestamp::now().as_unix() <= sent {
        assert!(Timestamp::now().as_unix() < deadline);
        std::thread::yield_now();
    }
    folder.run_with("open --state strict --topic a/b", sealed).fails(3, "more than the 0 s");
}

#[test]
fn a_command_on_the_control_topic_is_applied_to_the_state_once() {
    let folder = folder();
    init_symmetric(&folder, "pump-7").ok();
    let (control, recipient) = symmetric_recipient("pump-7");
    let topic = Topic::new("a/b").unwrap();
    let new_key = TopicKey::from_bytes(&[9; 32]).unwrap();
    let sent = Timestamp::now();
    let command = recipient.seal_dated(&Command::set_topic_key(&topic, new_key.clone()), sent).unwrap();
    let open = format!("open --state pump-7.state --topic {control}");
    let run = folder.run_with(&open, command.as_bytes()).ok();
    assert_eq!(run.stdout(), "");
    assert!(run.stderr().contains(&format!("Applied the command set-topic-key, topic {}", topic.hash())));
    run.hides(new_key.as_bytes());
    folder.run_with(&open, command.as_bytes()).fails(3, "accepted before");

    let shown = folder.run("device show --state pump-7.state --json").ok().json();
    let old = TopicKey::from_bytes(&TOPIC_KEY).unwrap().fingerprint().to_string();
    assert_eq!(shown["newest_command"], sent.as_unix());
    assert_eq!(shown["topics"][0]["fingerprint"], new_key.fingerprint().to_string());
    assert_eq!(shown["topics"][0]["previous"]["fingerprint"], old);
    let text = folder.run("device show --state pump-7.state").ok();
    assert!(text.stdout().contains(&format!("previous key {old}, replaced 20")), "{}", text.stdout());

    let command = recipient.seal_dated(&Command::ResetTopics, Timestamp::now()).unwrap();
    let json = folder.run_with(&format!("{open} --json"), command.as_bytes()).ok().json();
    assert_eq!(json, json!({ "command": "reset-topics" }));
    assert_eq!(folder.run("device show --state pump-7.state --json").ok().json()["topics"], json!([]));
}

fn symmetric_recipient(name: &str) -> (e4::ControlTopic, Recipient) {
    let id = ClientId::from_name(name).unwrap();
    (id.control_topic(), Recipient::symmetric(id, &ClientKey::from_bytes(&CLIENT_KEY).unwrap()))
}
