//! The fleet file of `e4 control`, and what it sends: without a broker, as hexadecimal for other transports.
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
use e4::{Client, ClientId, ClientKey, Identity, MemoryStore, RootKey, SigningKey, Subtree, Topic, TopicKey};
use serde_json::{Value, json};

const CLIENT_KEY: [u8; 32] = [0xc1; 32];
const TOPIC_KEY: [u8; 32] = [0x71; 32];
const C2_KEY: [u8; 32] = [0xc2; 32];
const SEED: [u8; 32] = [0x5e; 32];
const VALVE_KEY: [u8; 32] = [0xba; 32];
const TABLET_SEED: [u8; 32] = [0x7a; 32];

/// Two symmetric devices and two in public-key mode.
const FLEET: &str = r#"
c2_key_file = "keys/c2.key"
[devices.pump]
mode = "symmetric"
key_file = "keys/pump.key"
groups = ["plant", "wet"]
[devices.valve]
mode = "symmetric"
key_file = "keys/valve.key"
id = "00112233445566778899aabbccddeeff"
[devices.panel]
mode = "public-key"
public_key_file = "keys/panel.key.pub"
groups = ["plant"]
[devices.tablet]
mode = "public-key"
public_key_file = "keys/tablet.key.pub"
"#;

/// The fleet in a folder below, and the keys in one below that.
fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path().join("site/keys")).unwrap();
    folder.write("site/fleet.toml", FLEET);
    for (name, key) in [("pump", &CLIENT_KEY), ("valve", &VALVE_KEY), ("topic", &TOPIC_KEY)] {
        folder.write_key(&format!("site/keys/{name}.key"), key);
    }
    folder.write_key_of("x25519-secret", "site/keys/c2.key", &C2_KEY);
    for (name, seed) in [("panel", &SEED), ("tablet", &TABLET_SEED)] {
        let public = SigningKey::from_seed(seed).unwrap().verifying_key();
        folder.write_key_of("ed25519-secret", &format!("site/keys/{name}.key"), seed);
        folder.write_key_of("ed25519-public", &format!("site/keys/{name}.key.pub"), public.as_bytes());
    }
    folder
}

/// Runs a subcommand of `e4 control` that prints what it would send.
fn print(folder: &Folder, args: &str) -> Run {
    folder.run(&format!("control {args} --fleet site/fleet.toml --print-hex"))
}

fn devices(run: &Run) -> Vec<String> {
    run.stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["device"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn devices_are_named_by_name_by_group_or_all_at_once() {
    let folder = folder();
    for (whom, expected) in [
        ("--to panel", &["panel"][..]),
        ("--to pump,panel", &["panel", "pump"]),
        ("--to pump --to panel --to pump", &["panel", "pump"]),
        ("--group plant", &["panel", "pump"]),
        ("--group wet --to tablet", &["pump", "tablet"]),
        ("--all", &["panel", "pump", "tablet", "valve"]),
    ] {
        let run = print(&folder, &format!("reset-topics {whom} --json")).ok();
        assert_eq!(devices(&run), expected, "{whom}");
    }
    // Those of the other mode do not take it; to name one is an error.
    let run = print(&folder, "reset-pub-keys --all --json").ok();
    assert_eq!(devices(&run), ["panel", "tablet"]);
    let run = print(&folder, "set-pub-key tablet --group plant --group wet --json").ok();
    assert_eq!(devices(&run), ["panel"]);
    let run = print(&folder, "reset-pub-keys --to pump,panel");
    assert_eq!((run.code(), run.stdout().lines().count()), (1, 1), "{}", run.stderr());
    assert!(run.stderr().contains("pump: "), "{}", run.stderr());
}

#[test]
fn who_is_not_in_the_fleet_gets_nothing() {
    let folder = folder();
    for (args, code, reason) in [
        ("reset-topics", 2, "--to"),
        ("reset-topics --all --to pump", 2, "cannot be used with"),
        ("reset-topics --to pomp", 1, "there is no device pomp in site/fleet.toml"),
        ("reset-topics --to pump --to panel,pomp", 1, "there is no device pomp"),
        ("reset-topics --group plants", 1, "is in the group plants"),
        ("reset-pub-keys --group wet", 1, "none of these devices"),
        ("set-pub-key visitor --all", 1, "give it with --public-key-file"),
        ("set-pub-key pump --all", 1, "has no public key"),
        ("remove-pub-key panel --peer-id 00112233445566778899aabbccddeeff --all", 1, "has another id for panel"),
        ("set-id-key --key-file site/keys/topic.key --to pump,panel", 1, "name one device"),
        ("set-topic-key a/+ --topic-key-file site/keys/topic.key --all", 2, "the filter has no key"),
        ("set-topic-key a --topic-key-file missing --all", 1, "could not read missing"),
        ("reset-topics --to pump, --to panel", 1, "an empty name"),
        ("reset-topics --group plant,,", 1, "an empty name"),
        ("reset-topics --to pump -p 0", 2, "0 is not in 1..=65535"),
        (
            "set-topic-key a --topic-key-file site/keys/panel.key.pub --all",
            1,
            "this is the public Ed25519 key of a client",
        ),
        (
            "set-c2-key --public-key-file site/keys/panel.key --all",
            1,
            "this is the secret Ed25519 key of a client, and the public X25519 key of a key server is needed",
        ),
        ("set-topic-key CONTROL --topic-key-file site/keys/topic.key --all", 1, "no topic key belongs there"),
        ("set-topic-key CONTROL/report --topic-key-file site/keys/topic.key --all", 1, "no topic key belongs there"),
        ("rotate CONTROL --all --out x", 1, "no topic key belongs there"),
        ("rotate CONTROL/# --all --out x", 1, "no topic key belongs there"),
        ("rotate e4/# --all --out x", 1, "no topic key belongs there"),
        ("rotate a --all", 2, "--out"),
        ("rotate a --all --out x --topic-key-file site/keys/topic.key", 2, "cannot be used with"),
        ("rotate a --all --root-file site/keys/topic.key", 2, "--epoch"),
        ("rotate a --all --out site/keys/topic.key", 1, "--force"),
    ] {
        // Of a device that is in the fleet; that of any other is one too.
        let args = args.replace("CONTROL", "e4/00112233445566778899aabbccddeeff");
        print(&folder, &args).fails(code, reason).hides(&SEED);
    }
    assert!(!folder.path().join("x").exists());
    assert_eq!(folder.read("site/keys/topic.key").trim(), hex::encode(TOPIC_KEY));
}

#[test]
fn a_fleet_file_that_is_wrong_is_refused_as_a_whole_and_not_shown() {
    let folder = folder();
    let device = "[devices.x]\nmode = \"symmetric\"\nkey_file = \"k\"\n";
    let secret = hex::encode(CLIENT_KEY);
    for (file, reason) in [
        (String::new(), "there are no devices"),
        ("[devices.x".into(), "line 1: "),
        (format!("{device}key = \"{secret}\"\n"), "line 4: unknown field `key`"),
        (format!("c2_key = \"{secret}\"\n{device}"), "line 1: unknown field `c2_key`"),
        ("[devices.x]\nkey_file = \"k\"\n".into(), "missing field `mode`"),
        (device.replace("symmetric", "secret"), "line 2: unknown variant `secret`"),
        (device.replace("\"k\"", "nozzle.key"), "line 3: the value is not in quotes: write text as \"text\""),
        (device.replace("\"k\"", "keys/k"), "line 3: the value is not in quotes"),
        (device.replace("\"k\"", "1e.key"), "line 3: the value is not in quotes"),
        (device.replace("\"k\"", "12"), "line 3: the value is not in quotes"),
        (device.replace("\"k\"", "inf"), "line 3: the value is not in quotes"),
        (device.replace("\"symmetric\"", "symmetric"), "line 2: the value is not in quotes"),
        (format!("{device}groups = [a]\n"), "line 4: the value is not in quotes"),
        (format!("{device}groups = \"a\"\n"), "line 4: invalid type: string (not shown), expected a sequence"),
        (device.replace("key_file", "public_key_file"), "the device x: in symmetric mode a device has a key_file"),
        (device.replace("symmetric", "public-key"), "in public-key mode a device has a public_key_file"),
        (format!("{device}public_key_file = \"p\"\n"), "and no public_key_file"),
        (format!("{device}id = \"0011\"\n"), "the device x: its id: the id or hash is not written as 32"),
        (format!("{device}[devices.\"\"]\nmode = \"symmetric\"\nkey_file = \"k\"\n"), "the device "),
        (device.replace("devices.x", "devices.\"x,y\""), "has a comma in its name"),
        (format!("{device}[topics.a]\n"), "line 4: missing field `key_file`"),
        (format!("{device}[topics.a]\nkey_file = \"t\"\nto = [\"y\"]\n"), "the topic a: there is no device y"),
        (
            format!("{device}[topics.a]\nkey_file = \"t\"\ngroups = [\"y\"]\n"),
            "the topic a: no device is in the group y",
        ),
        (format!("{device}[topics.\"a/+\"]\nkey_file = \"t\"\n"), "the topic a/+: "),
        (format!("{device}[topics.\"e4/#\"]\nkey_file = \"t\"\n"), "no topic key belongs there"),
        (
            format!("{}[topics.a]\nkey_file = \"keys/pump.key\"\n", device.replace("\"k\"", "\"keys/pump.key\"")),
            "the topic a: the topic key is that of the device x",
        ),
        (
            format!("{device}[devices.y]\nmode = \"symmetric\"\nkey_file = \"k\"\nid = \"{}\"\n", id("x")),
            "the devices x and y have the same id",
        ),
    ] {
        folder.write("site/fleet.toml", &file);
        let run = print(&folder, "reset-topics --to x").fails(1, reason);
        run.hides(&CLIENT_KEY);
    }
    folder.run("control reset-topics --all --print-hex").fails(1, "could not read the fleet file fleet.toml");
}

fn id(name: &str) -> ClientId {
    ClientId::from_name(name).unwrap()
}

#[test]
fn a_key_that_cannot_be_used_is_reported_for_its_device_and_not_shown() {
    let folder = folder();
    folder.write("site/keys/pump.key", hex::encode(CLIENT_KEY).replacen("c1c1", "c1cx", 1));
    let run = print(&folder, "reset-topics --all --json");
    assert_eq!(run.code(), 1);
    run.hides(&CLIENT_KEY);
    let reports: Vec<Value> = run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = reports.iter().filter(|report| !report["error"].is_null()).collect();
    assert_eq!(failed.len(), 1, "{reports:?}");
    assert!(failed[0]["error"].as_str().unwrap().contains("64 hexadecimal digits"), "{failed:?}");
    assert!(run.stderr().contains("could be sealed for 3 of 4 devices only"), "{}", run.stderr());

    let without_c2 = FLEET.replace("c2_key_file", "# c2_key_file");
    folder.write("site/fleet.toml", without_c2);
    let run = print(&folder, "reset-topics --to panel").fails(1, "names no c2_key_file");
    run.hides(&C2_KEY);
}

#[test]
fn commands_reach_devices_by_other_transports() {
    let folder = folder();
    folder.run("keygen x25519 --out c2-new.key").ok();
    folder.run("keygen ed25519 --out panel-new.key").ok();
    folder.run("keygen symmetric --out pump-new.key").ok();
    let c2 = e4::C2SecretKey::from_bytes(&C2_KEY).unwrap();
    folder.write_key_of("x25519-public", "c2.pub", c2.public_key().as_bytes());
    folder.run("device init --state pump.state --name pump --key-file site/keys/pump.key").ok();
    let keys = "--signing-key-file site/keys/panel.key --c2-key-file c2.pub";
    folder.run(&format!("device init --state panel.state --name panel {keys}")).ok();

    let topic_key = "--topic-key-file site/keys/topic.key";
    for (device, args, applied) in [
        ("pump", format!("set-topic-key a/b {topic_key}"), format!("set-topic-key, topic {}", hash("a/b"))),
        ("pump", format!("set-topic-key a/# {topic_key}"), format!("set-topic-key, topic {}", hash("a/#"))),
        ("pump", "remove-topic a/b".into(), format!("remove-topic, topic {}", hash("a/b"))),
        ("pump", "remove-topic a/#".into(), format!("remove-topic, topic {}", hash("a/#"))),
        ("pump", "reset-topics".into(), "reset-topics".into()),
        ("pump", "set-id-key --key-file pump-new.key".into(), "set-id-key".into()),
        ("panel", format!("set-topic-key a/b {topic_key}"), format!("set-topic-key, topic {}", hash("a/b"))),
        ("panel", "set-pub-key tablet".into(), format!("set-pub-key, client {}", id("tablet"))),
        ("panel", "remove-pub-key tablet".into(), format!("remove-pub-key, client {}", id("tablet"))),
        (
            "panel",
            "set-pub-key x --peer-id 00112233445566778899aabbccddeeff --public-key-file panel-new.key.pub".into(),
            "set-pub-key, client 00112233445566778899aabbccddeeff".into(),
        ),
        ("panel", "remove-pub-key visitor".into(), format!("remove-pub-key, client {}", id("visitor"))),
        ("panel", "reset-pub-keys".into(), "reset-pub-keys".into()),
        ("panel", "set-id-key --key-file panel-new.key".into(), "set-id-key".into()),
    ] {
        let run = print(&folder, &format!("{args} --to {device}")).ok();
        run.hides(&TOPIC_KEY);
        assert_eq!(apply(&folder, device, &run), [applied], "{args}");
    }
    let shown = folder.run("device show --state panel.state --json").ok().json();
    assert_eq!(shown["public_key"], folder.digits("panel-new.key.pub"));
    assert_eq!((&shown["peers"], &shown["topics"][0]["name"]), (&json!([]), &Value::Null));

    // The fleet file follows, and the panel takes what is sealed for its new key.
    folder.write("site/fleet.toml", FLEET.replacen("keys/panel.key.pub", "../panel-new.key.pub", 1));
    let run = print(&folder, "set-c2-key --public-key-file c2-new.key.pub --to panel").ok();
    assert!(run.stderr().contains("as c2_key_file in site/fleet.toml"), "{}", run.stderr());
    assert_eq!(apply(&folder, "panel", &run), ["set-c2-key"]);
    let shown = folder.run("device show --state panel.state --json").ok().json();
    assert_eq!(shown["c2_public_key"], folder.digits("c2-new.key.pub"));
}

fn hash(name: &str) -> String {
    if name.contains('#') {
        Subtree::new(name).unwrap().hash().to_string()
    } else {
        Topic::new(name).unwrap().hash().to_string()
    }
}

/// Has a device open what was printed, line by line, and returns what it applied.
fn apply(folder: &Folder, device: &str, printed: &Run) -> Vec<String> {
    let lines = printed.stdout().lines();
    lines
        .map(|line| {
            let (control_topic, sealed) = line.split_once(' ').unwrap();
            assert_eq!(control_topic, id(device).control_topic().as_str());
            let open = format!("open --state {device}.state --topic {control_topic} --hex");
            let opened = folder.run_with(&open, sealed).ok();
            opened.stderr().trim().strip_prefix("Applied the command ").unwrap().to_owned()
        })
        .collect()
}

#[test]
fn a_hard_rotation_pushes_the_old_key_out_and_never_twice_in_one_second() {
    let folder = folder();
    folder.run("device init --state pump.state --name pump --key-file site/keys/pump.key").ok();
    let (mut seconds, mut fingerprints) = (Vec::new(), Vec::new());
    for n in 0..2 {
        let run = print(&folder, &format!("rotate a/b --out k{n}.key --hard --to pump")).ok();
        let key: [u8; 32] = hex::decode(folder.read(&format!("k{n}.key")).trim()).unwrap().try_into().unwrap();
        run.hides(&key);
        #[cfg(unix)]
        assert_eq!(folder.mode(&format!("k{n}.key")), 0o600);
        let sent = run.stdout().lines().map(|line| hex::decode(line.split_once(' ').unwrap().1).unwrap()[..8].to_vec());
        seconds.extend(sent);
        let topic = hash("a/b");
        assert_eq!(
            apply(&folder, "pump", &run),
            ["set-topic-key", "set-topic-key"].map(|c| format!("{c}, topic {topic}"))
        );
        let shown = folder.run("device show --state pump.state --json").ok().json();
        let fingerprint = TopicKey::from_bytes(&key).unwrap().fingerprint().to_string();
        assert_eq!(shown["topics"][0]["fingerprint"], fingerprint);
        // The key before is neither the current one nor the previous one.
        fingerprints.push(fingerprint);
        let previous = shown["topics"][0]["previous"]["fingerprint"].as_str().unwrap().to_owned();
        assert!(!fingerprints.contains(&previous), "{shown}");
    }
    seconds.dedup();
    assert_eq!(seconds.len(), 2, "the commands of a rotation are of one second, those of two rotations of two");
}

#[test]
fn keys_of_a_rotation_come_from_the_root_key_if_it_is_given() {
    let folder = folder();
    folder.write_key_of("root", "plant.root", &[7; 32]);
    let root = RootKey::from_bytes(&[7; 32]).unwrap();
    for (name, expected) in [
        ("a/b", root.topic_key(5, &Topic::new("a/b").unwrap())),
        ("a/#", root.subtree_key(5, &Subtree::new("a/#").unwrap()).to_topic_key()),
    ] {
        let run =
            print(&folder, &format!("rotate {name} --root-file plant.root --epoch 5 --out out.key --force --to pump"));
        let run = run.ok();
        assert_eq!(folder.read("out.key").trim(), hex::encode(expected.as_bytes()));
        let (_, sealed) = run.stdout().trim().split_once(' ').unwrap();
        // What the device gets is that key.
        let key = ClientKey::from_bytes(&CLIENT_KEY).unwrap();
        let mut device = Client::builder(Identity::symmetric(id("pump"), key)).create(MemoryStore::new()).unwrap();
        device.open(device.control_topic(), &hex::decode(sealed).unwrap()).unwrap();
        assert_eq!(device.key_fingerprints().next().unwrap().key, expected.fingerprint());
    }
}
