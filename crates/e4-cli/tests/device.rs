//! The state files of devices: made, shown, taken over from e4go, and used to seal and open.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "not every test uses all of the common part")]

mod common;

use common::{Folder, Run};
use e4::{
    C2SecretKey, ClientId, ClientKey, Command, SigningKey, Subtree, SubtreeKey, Timestamp, Topic, TopicKey,
    controller::Recipient,
};
use serde_json::{Value, json};

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
        ("pump-7.seed", &seed("pump-7")),
        ("panel-1.seed", &seed("panel-1")),
    ] {
        folder.write_key(name, key);
    }
    for name in ["pump-7", "panel-1"] {
        folder.write(&format!("{name}.pub"), hex::encode(verifying_key(name)));
    }
    let c2 = C2SecretKey::from_bytes(&C2_KEY).unwrap();
    folder.write("c2.pub", hex::encode(c2.public_key().as_bytes()));
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
    let fingerprint = TopicKey::from_bytes(&TOPIC_KEY).unwrap().fingerprint().to_string();
    let hash = Topic::new("a/b").unwrap().hash().to_string();
    let expected = json!({
        "mode": "symmetric", "id": id.to_string(), "control_topic": id.control_topic().to_string(),
        "public_key": null, "c2_public_key": null, "newest_command": null, "max_age": 600, "max_ages": [],
        "topics": [{ "hash": hash, "name": "a/b", "fingerprint": fingerprint, "previous": null }],
        "without_own_key": [{ "name": "x/y", "key_of_subtree": false }], "peers": [],
    });
    assert_eq!(shown.json(), expected);

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
    assert_eq!(shown["c2_public_key"], folder.read("c2.pub"));
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
    folder.write("no-point.pub", format!("02{}", "00".repeat(31)));
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
    folder.run(&format!("{args} server")).fails(1, "server.pub");
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
    let recorded = recipient.seal(&command, Timestamp::from_unix(Timestamp::now().as_unix() - 5)).unwrap();
    let open = format!("open --state pump-7.state --topic {control}");
    folder.run_with(&open, recorded.as_bytes()).ok();

    folder.run("device init --state pump-7.state --name pump-7 --key-file pump-7.key --force").ok().hides(&CLIENT_KEY);
    folder.run_with(&open, recorded.as_bytes()).fails(3, "older than the newest accepted command");
    let fresh = recipient.seal(&command, Timestamp::now()).unwrap();
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
    let command = recipient.seal(&Command::set_topic_key(&topic, new_key.clone()), sent).unwrap();
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

    let command = recipient.seal(&Command::ResetTopics, Timestamp::now()).unwrap();
    let json = folder.run_with(&format!("{open} --json"), command.as_bytes()).ok().json();
    assert_eq!(json, json!({ "command": "reset-topics" }));
    assert_eq!(folder.run("device show --state pump-7.state --json").ok().json()["topics"], json!([]));
}

#[test]
fn clients_of_e4go_are_taken_over() {
    let folder = Folder::new();
    for state in e4go_states() {
        let mode = state["mode"].as_str().unwrap();
        folder.write("e4go.json", state["json"].to_string());
        folder.set_mode("e4go.json", 0o600);
        let run = folder.run(&format!("device import-e4go --from e4go.json --state {mode} --json")).ok();
        assert_eq!(run.stderr(), "");
        let text = folder.run(&format!("device import-e4go --from e4go.json --state {mode} --force")).ok();
        for secret in secrets_of(&state) {
            run.hides(&secret);
            text.hides(&secret);
        }
        let id = ClientId::from_name("alice").unwrap();
        assert_eq!(
            (run.json()["id"].as_str(), run.json()["mode"].as_str()),
            (Some(&*id.to_string()), Some(&*mode.replace('_', "-")),)
        );
        assert_eq!(run.json()["control_topic"], state["json"]["ReceivingTopic"]);

        let topics = "--topic sensors/temp --topic sensors/door";
        let shown = folder.run(&format!("device show --state {mode} {topics} --json")).ok().json();
        let fingerprints: Vec<_> =
            shown["topics"].as_array().unwrap().iter().map(|topic| (&topic["name"], &topic["fingerprint"])).collect();
        let expected: Vec<(Value, Value)> = state["topic_keys"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, key)| (json!(name), json!(topic_key(key).fingerprint().to_string())))
            .collect();
        assert_eq!(fingerprints, expected.iter().map(|(name, key)| (name, key)).collect::<Vec<_>>(), "{mode}");
        let peers: Vec<_> = shown["peers"].as_array().unwrap().iter().map(|peer| &peer["public_key"]).collect();
        let expected = state["public_keys"].as_object().into_iter().flatten().map(|(_, key)| key);
        assert_eq!(peers, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_client_taken_over_opens_messages_and_obeys_its_key_server() {
    let folder = Folder::new();
    let [symmetric, public_key] = e4go_states();
    folder.run_with("device import-e4go --from - --state s", symmetric["json"].to_string()).ok();
    for (topic, key) in symmetric["topic_keys"].as_object().unwrap() {
        folder.write_key("topic.key", topic_key(key).as_bytes());
        let sealed = folder.run_with("seal --topic-key-file topic.key", "x").ok().0.stdout;
        assert_eq!(folder.run_with(&format!("open --state s --topic {topic}"), sealed).ok().stdout(), "x");
    }
    let key: [u8; 32] = hex::decode(symmetric["id_key"].as_str().unwrap()).unwrap().try_into().unwrap();
    let id = ClientId::from_name("alice").unwrap();
    let recipient = Recipient::symmetric(id, &ClientKey::from_bytes(&key).unwrap());
    let control = id.control_topic();
    // What e4go took in its ten minutes is taken, and nothing that is older.
    let now = Timestamp::now().as_unix();
    let old = recipient.seal(&Command::ResetTopics, Timestamp::from_unix(now - 700)).unwrap();
    folder.run_with(&format!("open --state s --topic {control}"), old.as_bytes()).fails(3, "older");
    let recent = recipient.seal(&Command::ResetTopics, Timestamp::from_unix(now - 300)).unwrap();
    folder.run_with(&format!("open --state s --topic {control}"), recent.as_bytes()).ok();

    folder
        .e4("device import-e4go --from env:STATE --state p")
        .env("STATE", public_key["json"].to_string())
        .assert()
        .success();
    let sealed = folder.run_with("seal --state p --topic sensors/temp", "x").ok().0.stdout;
    let inspected = folder.run_with("inspect --json", sealed).ok().json();
    assert_eq!(inspected["modes"][1]["signer"], id.to_string());
}

#[test]
fn a_previous_key_of_e4go_opens_messages_for_the_rest_of_its_hour() {
    let [mut state, _] = e4go_states();
    let current = Topic::new("sensors/temp").unwrap();
    let previous = topic_key(&state["previous_topic_keys"]["sensors/temp"]);
    for (age, opens) in [(60, true), (3500, true), (3700, false)] {
        let folder = Folder::new();
        let replaced = Timestamp::now().as_unix() - age;
        let entry = [&previous.as_bytes()[..], &replaced.to_le_bytes()].concat();
        let entry = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, entry);
        let topics = state["json"]["TopicKeys"].as_object_mut().unwrap();
        let (name, _) = topics.iter().find(|(_, key)| key.as_str().unwrap().len() > 44).unwrap();
        let name = name.clone();
        topics.insert(name, json!(entry));

        let run = folder.run_with("device import-e4go --from - --state s --json", state["json"].to_string()).ok();
        assert_eq!(run.json()["previous_keys"], u64::from(opens));
        let shown = folder.run("device show --state s --topic sensors/temp --json").ok().json();
        let topic = shown["topics"].as_array().unwrap().iter().find(|topic| topic["name"] == current.as_str()).unwrap();
        let expected = json!({ "fingerprint": previous.fingerprint().to_string(), "replaced": replaced });
        assert_eq!(topic["previous"], if opens { expected } else { Value::Null });
        folder.write_key("previous.key", previous.as_bytes());
        let sealed = folder.run_with("seal --topic-key-file previous.key", "x").ok().0.stdout;
        let opened = folder.run_with("open --state s --topic sensors/temp -v", sealed);
        if opens {
            assert!(opened.ok().stderr().contains("under the previous key"));
        } else {
            opened.fails(3, "not authentic");
        }
    }
}

#[test]
fn a_previous_key_without_its_topic_is_left_out() {
    let folder = Folder::new();
    let [mut state, _] = e4go_states();
    let topics = state["json"]["TopicKeys"].as_object_mut().unwrap();
    topics.remove(&Topic::new("sensors/temp").unwrap().hash().to_string()).unwrap();
    let run = folder.run_with("device import-e4go --from - --state s --json", state["json"].to_string()).ok();
    assert_eq!((&run.json()["topics"], &run.json()["previous_keys"]), (&json!(1), &json!(0)));
}

#[test]
fn states_of_e4go_without_topics_and_peers_are_taken_over() {
    let folder = Folder::new();
    let [_, mut state] = e4go_states();
    state["json"]["TopicKeys"] = Value::Null;
    state["json"]["Key"]["keyData"]["PubKeys"] = Value::Null;
    let run = folder.run_with("device import-e4go --from - --state s --json", state["json"].to_string()).ok();
    assert_eq!((&run.json()["topics"], &run.json()["peers"]), (&json!(0), &json!(0)));
}

#[test]
fn bad_states_of_e4go_are_refused_without_a_trace_and_without_showing_keys() {
    let folder = Folder::new();
    let [symmetric, public_key] = e4go_states();
    let short = || json!("BQv+SRcIStB0s2W9CorAUaqPBjgWTRJCyeUCfOF1JA==");
    let zero = || json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let temp = "/TopicKeys/d582ab3f5d844c7a4ce73d7b7dd36fc0";
    let data = "/Key/keyData";
    let bob = "/Key/keyData/PubKeys/b5d577dc9ce59725e29886632e69ecdf";
    for (state, pointer, value, reason) in [
        (&symmetric, "/ID", short(), "ID has 31 bytes, and not 16"),
        (&symmetric, "/ID", json!("AAAAAAAAAAAAAAAAAAAAAA=="), "ReceivingTopic is not e4/0000"),
        (&symmetric, "/ReceivingTopic", json!("e4/0"), "ReceivingTopic is not e4/a7dc"),
        (&symmetric, temp, short(), "TopicKeys, d582ab3f5d844c7a4ce73d7b7dd36fc0: has 31 bytes"),
        (&symmetric, temp, zero(), "all zero"),
        (&symmetric, temp, json!(5), "another kind of value"),
        (&symmetric, temp, json!("b6XBu1ez0zyEu8H1PFAM8Vy8uECt!"), "another kind of value"),
        (
            &symmetric,
            "/TopicKeys",
            json!({ "plant": "b6XBu1ez0zyEu8H1PFAM8Vy8uECtv+EX8djT6cvHBRA=" }),
            "32 hexadecimal",
        ),
        (&symmetric, "/Key/keyType", json!(2), "keyType is 2"),
        (&symmetric, "/Key/keyType", json!(1), "SignerID is missing"),
        (&symmetric, data, json!({}), "Key is missing in keyData"),
        (&symmetric, data, json!({ "Key": short() }), "Key has 31 bytes, and not 32"),
        (&symmetric, data, json!({ "Key": ["hh7hHFqsOOgrlsIAjv94ZjoxejxlU60LRfxaPzWX/Mo="] }), "another kind of value"),
        (&symmetric, "/Key", json!({}), "missing field `keyType`"),
        (&public_key, "/Key/keyType", json!(0), "Key is missing"),
        (&public_key, "/Key/keyData/SignerID", json!("AAAAAAAAAAAAAAAAAAAAAA=="), "are not the same"),
        (&public_key, "/Key/keyData/PrivateKey", short(), "PrivateKey has 31 bytes, and not 64"),
        (
            &public_key,
            "/Key/keyData/PrivateKey",
            json!(format!("{}A==", "B".repeat(85))),
            "does not belong to its seed",
        ),
        (&public_key, "/Key/keyData/C2PubKey", zero(), "small order"),
        (&public_key, bob, short(), "PubKeys, b5d577dc9ce59725e29886632e69ecdf has 31 bytes"),
        (&public_key, bob, zero(), "small order"),
    ] {
        let mut file = state["json"].clone();
        *file.pointer_mut(pointer).unwrap() = value;
        let run = folder.run_with("device import-e4go --from - --state s", file.to_string()).fails(1, reason);
        for secret in secrets_of(state) {
            run.hides(&secret);
        }
    }
    let text = symmetric["json"].to_string();
    folder.run_with("device import-e4go --from - --state s", text.get(..text.len() - 9).unwrap()).fails(1, "cut short");
    folder.run_with("device import-e4go --from - --state s", "no JSON").fails(1, "not JSON");
    folder.run_with("device import-e4go --from - --state s", "{}").fails(1, "missing field `ID`");
    folder.run("device import-e4go --from absent --state s").fails(1, "could not read absent");
    folder.run("device import-e4go --state s").fails(2, "--from");
    assert_eq!(folder.names(), [""; 0]);

    folder.write("s", "precious");
    folder.run_with("device import-e4go --from - --state s", text).fails(1, "--force");
    assert_eq!(folder.read("s"), "precious");
}

fn symmetric_recipient(name: &str) -> (e4::ControlTopic, Recipient) {
    let id = ClientId::from_name(name).unwrap();
    (id.control_topic(), Recipient::symmetric(id, &ClientKey::from_bytes(&CLIENT_KEY).unwrap()))
}

/// A symmetric client's, and a public-key client's.
fn e4go_states() -> [Value; 2] {
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/e4go.json")).unwrap();
    let states: [Value; 2] = vectors["saved_state"].as_array().unwrap().clone().try_into().unwrap();
    assert_eq!([&states[0]["mode"], &states[1]["mode"]], ["symmetric", "public_key"]);
    states
}

fn topic_key(digits: &Value) -> TopicKey {
    TopicKey::from_bytes(&hex::decode(digits.as_str().unwrap()).unwrap().try_into().unwrap()).unwrap()
}

fn secrets_of(state: &Value) -> Vec<[u8; 32]> {
    let topics = state["topic_keys"].as_object().unwrap().values();
    let own = [&state["id_key"], &state["ed25519_seed"]].into_iter().filter(|key| !key.is_null());
    topics.chain(own).map(|key| hex::decode(key.as_str().unwrap()).unwrap().try_into().unwrap()).collect()
}
