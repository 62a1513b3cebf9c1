//! Devices that are taken over from e4go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::Folder;
use e4::{ClientId, ClientKey, Command, Timestamp, Topic, TopicKey, controller::Recipient};
use serde_json::{Value, json};

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
    let old = recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(now - 700)).unwrap();
    folder.run_with(&format!("open --state s --topic {control}"), old.as_bytes()).fails(3, "older");
    let recent = recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(now - 300)).unwrap();
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
        let entry = BASE64_STANDARD.encode(entry);
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
    let data = "/Key/keyData";
    for (state, pointer, value, reason) in [
        (&symmetric, "/ID", short(), "ID has 31 bytes, and not 16"),
        (&symmetric, "/ID", json!("AAAAAAAAAAAAAAAAAAAAAA=="), "ReceivingTopic is not e4/0000"),
        (&symmetric, "/ReceivingTopic", json!("e4/0"), "ReceivingTopic is not e4/a7dc"),
        (&symmetric, "/TopicKeys", json!([]), "another kind of value"),
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

#[test]
fn f35_a_file_with_the_rest_of_an_older_state_is_taken_over() {
    let [longer, _] = e4go_states();
    let mut shorter = longer.clone();
    let removed = Topic::new("sensors/door").unwrap().hash().to_string();
    shorter["json"]["TopicKeys"].as_object_mut().unwrap().remove(&removed).unwrap();
    let (longer, shorter) = (longer["json"].to_string(), shorter["json"].to_string());
    // As e4go 1.1 does: over the old state, and not cut.
    let rest = longer.get(shorter.len()..).unwrap();
    for rest in [rest, "}", "\n}}"] {
        let folder = Folder::new();
        let run = folder.run_with("device import-e4go --from - --state s --json", format!("{shorter}{rest}")).ok();
        assert_eq!(run.json()["topics"], 1);
        assert!(run.stderr().contains("the rest of an older one, which may hold keys"), "{}", run.stderr());
    }
    let folder = Folder::new();
    let run = folder.run_with("device import-e4go --from - --state s", format!(" {shorter}\n \n")).ok();
    assert!(!run.stderr().contains("an older one"), "{}", run.stderr());
}

#[test]
fn f36_an_entry_that_cannot_be_used_is_left_out_and_named() {
    let [symmetric, public_key] = e4go_states();
    let short = || json!("BQv+SRcIStB0s2W9CorAUaqPBjgWTRJCyeUCfOF1JA==");
    let zero = || json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let temp = "/TopicKeys/d582ab3f5d844c7a4ce73d7b7dd36fc0";
    let before = "/TopicKeys/1278d10ad84c58d3a07b9097899c7b70";
    let bob = "/Key/keyData/PubKeys/b5d577dc9ce59725e29886632e69ecdf";
    let future = [&[1; 32][..], &(Timestamp::now().as_unix() + 300).to_le_bytes()].concat();
    let bad_name = "b6XBu1ez0zyEu8H1PFAM8Vy8uECtv+EX8djT6cvHBRA=";
    let control = ClientId::from_name("alice").unwrap().control_topic().hash().to_string();
    let client_key = symmetric["json"]["Key"]["keyData"]["Key"].clone();
    let bytes = |key: &Value| hex::decode(key.as_str().unwrap()).unwrap();
    let seed = json!(BASE64_STANDARD.encode(bytes(&public_key["ed25519_seed"])));
    let own_before = [&bytes(&symmetric["id_key"])[..], &1_700_000_000_u64.to_le_bytes()].concat();
    for (state, pointer, value, left, reason) in [
        (&symmetric, temp, short(), 1, "TopicKeys, d582ab3f5d844c7a4ce73d7b7dd36fc0: has 31 bytes"),
        (&symmetric, temp, zero(), 1, "all zero"),
        (&symmetric, temp, json!(5), 1, "not bytes in base64"),
        (&symmetric, temp, json!([[1], { "a": null }]), 1, "not bytes in base64"),
        (&symmetric, temp, json!({ "a": 1.5 }), 1, "not bytes in base64"),
        (&symmetric, temp, Value::Null, 1, "not bytes in base64"),
        (&symmetric, temp, json!("b6XBu1ez0zyEu8H1PFAM8Vy8uECt!"), 1, "not bytes in base64"),
        (&symmetric, temp, client_key, 1, "it is a key of the device's own"),
        (&public_key, temp, seed, 0, "it is a key of the device's own"),
        (&public_key, temp, public_key["json"]["Key"]["keyData"]["C2PubKey"].clone(), 0, "of the device's own"),
        (&symmetric, before, json!(BASE64_STANDARD.encode(own_before)), 2, "of the device's own"),
        (&symmetric, before, zero(), 2, "its previous key: it has 32 bytes, and not 40"),
        (&symmetric, before, json!(BASE64_STANDARD.encode(future)), 2, "still to come"),
        (&symmetric, "/TopicKeys", json!({ "plant": short() }), 0, "TopicKeys, plant: "),
        (&symmetric, "/TopicKeys", json!({ bad_name: short() }), 0, "not shown"),
        (&symmetric, "/TopicKeys", json!({ control: short() }), 0, "has 31 bytes"),
        (&public_key, bob, short(), 1, "PubKeys, b5d577dc9ce59725e29886632e69ecdf: the key has 31 bytes"),
        (&public_key, bob, zero(), 1, "small order"),
        (&public_key, bob, json!(true), 1, "not bytes in base64"),
        (&public_key, "/Key/keyData/PubKeys", json!({ "bob": short() }), 1, "PubKeys, bob: "),
    ] {
        let folder = Folder::new();
        let mut file = state["json"].clone();
        *file.pointer_mut(pointer).unwrap() = value;
        let run = folder.run_with("device import-e4go --from - --state s --json", file.to_string()).ok();
        let all = run.json();
        // A previous key that is 32 bytes long is one more topic, by its look.
        let is_bad_previous = pointer == before && reason.contains("32 bytes");
        assert_eq!(all["topics"], if is_bad_previous { 2 } else { left }, "{reason}: {all}");
        let [named] = &all["left_out"].as_array().unwrap()[..] else {
            assert!(is_bad_previous, "{all}");
            continue;
        };
        assert!(named.as_str().unwrap().contains(reason), "{reason}: {named}");
        assert!(run.stderr().contains("Left out: "), "{}", run.stderr());
        for secret in secrets_of(state) {
            run.hides(&secret);
        }
        assert!(!run.stdout().contains(bad_name), "{}", run.stdout());
    }
    let folder = Folder::new();
    let all = folder.run_with("device import-e4go --from - --state s --json", symmetric["json"].to_string()).ok();
    assert_eq!((&all.json()["left_out"], &all.json()["topics"]), (&json!([]), &json!(2)));
}

#[test]
fn f37_times_in_the_file_speak_against_a_wrong_clock() {
    let [mut state, _] = e4go_states();
    let now = Timestamp::now().as_unix();
    let mut with_mark = |replaced: u64| {
        let entry = BASE64_STANDARD.encode([&[1; 32][..], &replaced.to_le_bytes()].concat());
        state["json"]["TopicKeys"]["1278d10ad84c58d3a07b9097899c7b70"] = json!(entry);
        state["json"].to_string()
    };
    let import = "device import-e4go --from - --state s --json";
    // The clock is behind.
    for ahead in [700, 100_000, 400_000_000] {
        let folder = Folder::new();
        folder.run_with(import, with_mark(now + ahead)).fails(1, "set the clock first");
        assert_eq!(folder.names(), [""; 0]);
        let run = folder.run_with(&format!("{import} --trust-clock"), with_mark(now + ahead)).ok();
        assert_eq!((&run.json()["previous_keys"], run.json()["left_out"].as_array().unwrap().len()), (&json!(0), 1));
    }
    // Clocks differ, and what is no time says nothing.
    for ahead in [100, u64::MAX - now] {
        let folder = Folder::new();
        folder.run_with(import, with_mark(now + ahead)).ok();
    }
    // It is ahead, as far as one can tell.
    let folder = Folder::new();
    let run = folder.run_with(import, with_mark(now - 40_000_000)).ok();
    assert!(run.stderr().contains("nothing in the file is newer"), "{}", run.stderr());
    let until = run.json()["refuses_commands_until"].as_u64().unwrap();
    assert!(until.abs_diff(now - 600) < 300, "{until}");
    let folder = Folder::new();
    let run = folder.run_with(&import.replace(" --json", ""), with_mark(now - 1000)).ok();
    assert_eq!(run.stderr(), "");
    assert!(run.stdout().contains("refused if sent at or before 20"), "{}", run.stdout());

    let shifted = |args: &str, seconds: i64| folder.run_at(args, seconds);
    folder.write("e4go.json", with_mark(now - 1000));
    folder.set_mode("e4go.json", 0o600);
    let import = "device import-e4go --from e4go.json --state";
    // 1970, without and with a word of the file; years behind; years ahead.
    let Some(epoch) = shifted(&format!("{import} a"), 1000 - i64::try_from(now).unwrap()) else { return };
    epoch.fails(1, "when there was no e4go: set the clock first");
    shifted(&format!("{import} b"), -100_000_000).unwrap().fails(1, "and the file is newer");
    let run = shifted(&format!("{import} c"), 400_000_000).unwrap().ok();
    assert!(run.stderr().contains("nothing in the file is newer"), "{}", run.stderr());
}

#[test]
fn f38_it_is_said_how_to_fetch_what_waits_in_the_session_of_e4go() {
    let [state, _] = e4go_states();
    let folder = Folder::new();
    let fetch = "e4 pub --state s --only-connect -i THE-MQTT-ID-OF-THAT-CLIENT";
    let run = folder.run_with("device import-e4go --from - --state s", state["json"].to_string()).ok();
    assert!(run.stdout().contains(fetch), "{}", run.stdout());
    let run = folder.run_with("device import-e4go --from - --state s --force --json", state["json"].to_string()).ok();
    assert_eq!(run.json()["fetch_commands"], fetch);
    let help = folder.run("device import-e4go --help").ok();
    assert!(help.stdout().contains("--only-connect -i "), "{}", help.stdout());
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
