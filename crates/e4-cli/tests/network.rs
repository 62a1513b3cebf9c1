//! `e4 pub`, `e4 sub` and `e4 control` together, on real brokers: in both versions of MQTT, plain and with TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "not every test uses all of the common part")]

mod broker_kit;
mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use broker_kit::{Background, Broker, DEADLINE, PASSWORD, USER, brokers, dead_port};
use common::{Folder, Run};
use e4::{
    Client, ClientId, ClientKey, Command, Identity, MemoryStore, Timestamp, Topic, TopicKey,
    controller::{Recipient, SealedCommand},
};
use e4_mqtt::Connection;
use serde_json::Value;
use std::fmt::Write;

/// A folder with symmetric devices `NAME.state`, and a fleet file.
fn fleet(names: &[&str]) -> Folder {
    let folder = Folder::new();
    let mut file = String::new();
    for name in names {
        folder.run(&format!("keygen symmetric --out {name}.key")).ok();
        folder.run(&format!("device init --state {name}.state --name {name} --key-file {name}.key")).ok();
        writeln!(file, "[devices.{name}]\nmode = \"symmetric\"\nkey_file = \"{name}.key\"").unwrap();
    }
    folder.write("fleet.toml", file);
    folder
}

/// As [`fleet`], with devices in public-key mode.
fn signing_fleet(names: &[&str]) -> Folder {
    let folder = Folder::new();
    folder.run("keygen x25519 --out c2.key").ok();
    let mut file = "c2_key_file = \"c2.key\"\n".to_owned();
    for name in names {
        folder.run(&format!("keygen ed25519 --out {name}.key")).ok();
        let keys = format!("--signing-key-file {name}.key --c2-key-file c2.key.pub");
        folder.run(&format!("device init --state {name}.state --name {name} {keys}")).ok();
        writeln!(file, "[devices.{name}]\nmode = \"public-key\"\npublic_key_file = \"{name}.key.pub\"").unwrap();
    }
    folder.write("fleet.toml", file);
    folder
}

/// Has the broker know the session of a device's subscriber, so that it keeps what comes.
fn meet(folder: &Folder, name: &str, to: &str) {
    folder.run(&format!("sub --state {name}.state -t plant/# -q 1 -E {to}")).ok();
}

fn lines(run: &Run) -> Vec<Value> {
    run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn id(name: &str) -> String {
    ClientId::from_name(name).unwrap().to_string()
}

fn key(folder: &Folder, name: &str) -> [u8; 32] {
    hex::decode(folder.read(name).trim()).unwrap().try_into().unwrap()
}

#[test]
fn a_new_fleet_talks_in_every_version_plain_and_with_tls() {
    for broker in brokers() {
        for (way, to) in broker.ways().into_iter().enumerate() {
            println!("{} {to}", broker.name);
            // The broker remembers devices.
            let (pump, panel) = (format!("pump-{way}"), format!("panel-{way}"));
            let folder = fleet(&[&pump, &panel]);
            meet(&folder, &panel, &to);
            let rotated = folder.run(&format!("control rotate plant/7/pump --out topic.key --all {to}")).ok();
            assert_eq!(rotated.stdout().lines().count(), 2, "{}", rotated.stdout());
            for file in [&format!("{pump}.key"), &format!("{panel}.key"), "topic.key"] {
                rotated.hides(&key(&folder, file));
            }
            #[cfg(unix)]
            assert_eq!(folder.mode("topic.key"), 0o600);

            // The pump was never here: the broker had no session to keep its key in.
            let send = format!("pub --state {pump}.state -t plant/7/pump -q 1 {to}");
            folder.run(&format!("{send} -m 4.2")).fails(1, "the client has no key for this topic");
            let again = format!("control set-topic-key plant/7/pump --topic-key-file topic.key --to {pump} {to}");
            folder.run(&again).ok().hides(&key(&folder, "topic.key"));
            // Now it has, and the key comes first.
            let sent = folder.run(&format!("{send} -m 4.2")).ok();
            assert!(sent.stderr().contains("set-topic-key"), "{}", sent.stderr());

            let got = folder.run(&format!("sub --json --state {panel}.state -t plant/# -q 1 -C 1 -W 20 {to}")).ok();
            let [message] = &lines(&got)[..] else { panic!("{}", got.stdout()) };
            assert_eq!((&message["topic"], &message["payload"]), (&"plant/7/pump".into(), &"4.2".into()));
            assert_eq!((&message["payload_encoding"], &message["clear"]), (&"utf-8".into(), &false.into()));
            assert_eq!((&message["signer"], &message["qos"]), (&Value::Null, &1.into()));
            assert!(message["sent"].as_str().unwrap().ends_with('Z'), "{message}");
            assert!(got.stderr().contains("Applied the command set-topic-key"), "{}", got.stderr());
        }
    }
}

#[test]
fn lines_and_binary_payloads_arrive_as_they_are() {
    let binary: Vec<u8> = (0..=255).rev().collect();
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let names = ["pump", "lines", "raw", "line", "json", "empty"];
        let folder = fleet(&names);
        folder.run("keygen symmetric --out topic.key").ok();
        give_key(&folder, "topic.key", &names);
        folder.write("binary", &binary);
        // What a new subscriber prints of what `e4 pub` is given.
        let pass = |name: &str, how_out: &str, how_in: &str, stdin: &[u8]| {
            let receive = format!("sub --state {name}.state -t plant/7/pump -q 2 {how_out} {to}");
            let mut receiver = Background::subscriber(folder.path(), &receive);
            folder.run_with(&format!("pub --state pump.state -t plant/7/pump -q 2 {how_in} {to}"), stdin).ok();
            assert_eq!(receiver.code(), Some(0), "{}", receiver.stderr());
            receiver.all_of_stdout()
        };
        let lines = pass("lines", "-C 4", "-l", b"first line\nsecond\x1b[2J\n\nlast");
        let lines: Vec<_> = str::from_utf8(&lines).unwrap().lines().collect();
        // What would steer the terminal is shown, not sent to it.
        let expected = ["first line", r"second\u{1b}[2J", "", "last"];
        assert_eq!(lines.len(), expected.len());
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("plant/7/pump {expected}  (20")), "{line}");
        }
        assert_eq!(pass("raw", "-C 1 -N", "-f binary", b""), binary);
        assert_eq!(pass("line", "-C 1 --payload-only", "-f -", &binary), [&binary[..], b"\n"].concat());
        let json: Value = serde_json::from_slice(&pass("json", "-C 1 --json", "-s", &binary)).unwrap();
        assert_eq!(json["payload_encoding"], "base64");
        assert_eq!(BASE64_STANDARD.decode(json["payload"].as_str().unwrap()).unwrap(), binary);
        let json: Value = serde_json::from_slice(&pass("empty", "-C 1 --json", "-n", b"")).unwrap();
        assert_eq!((&json["payload"], &json["payload_encoding"]), (&"".into(), &"utf-8".into()));
    }
}

/// A fleet whose devices all have the key of plant/7/pump, in `pump-1.key`, and were connected.
fn ready(to: &str, names: &[&str]) -> Folder {
    let folder = fleet(names);
    folder.run("keygen symmetric --out pump-1.key").ok();
    give_key(&folder, "pump-1.key", names);
    for name in names {
        meet(&folder, name, to);
    }
    folder
}

/// Gives devices a key for plant/7/pump, by another way than the broker.
fn give_key(folder: &Folder, file: &str, names: &[&str]) {
    for name in names {
        let give = format!("control set-topic-key plant/7/pump --topic-key-file {file} --to {name} --print-hex");
        let line = folder.run(&give).ok();
        let (control_topic, sealed) = line.stdout().trim().split_once(' ').unwrap();
        assert_eq!(control_topic, format!("e4/{}", id(name)));
        folder.run_with(&format!("open --state {name}.state --topic {control_topic} --hex"), sealed).ok();
    }
}

#[test]
fn who_was_left_out_of_a_hard_rotation_reads_nothing_more_and_who_was_away_does() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = ready(&to, &["pump", "panel", "guest"]);
        let rotate = format!("control rotate plant/7/pump --hard --out pump-2.key --to pump --to panel {to}");
        folder.run(&rotate).ok();
        let guest = Background::subscriber(folder.path(), &format!("sub --state guest.state -t plant/# {to}"));
        // The publisher's own session was never there, so the key comes by the other way.
        give_key(&folder, "pump-2.key", &["pump"]);
        folder.run(&format!("pub --state pump.state -t plant/7/pump -m secret -q 1 {to}")).ok();
        guest.until_stderr("Refused on plant/7/pump: not authentic");
        assert_eq!(guest.stdout(), "");

        let got = folder.run(&format!("sub --state panel.state -t plant/# -q 1 -C 1 -W 20 {to}")).ok();
        assert!(got.stdout().starts_with("plant/7/pump secret  ("), "{}", got.stdout());
        for command in ["remove-topic", "set-topic-key"] {
            assert!(got.stderr().contains(&format!("Applied the command {command}")), "{}", got.stderr());
        }
        let shown = folder.run("device show --json --state panel.state").ok().json();
        assert_eq!(shown["topics"][0]["previous"], Value::Null, "a hard rotation leaves no previous key");
    }
}

#[test]
fn all_commands_that_waited_are_carried_out_before_a_message_is_sealed() {
    for broker in brokers() {
        for version in ["311", "5"] {
            let to = format!("-p {} -V {version}", broker.port);
            let name = format!("pump-{version}");
            let folder = fleet(&[&name]);
            folder.run(&format!("pub --state {name}.state --only-connect {to}")).ok();
            let recipient = Recipient::symmetric(
                ClientId::from_name(&name).unwrap(),
                &ClientKey::from_bytes(&key(&folder, &format!("{name}.key"))).unwrap(),
            );
            // Several times what a broker has under way at once; mosquitto: 20. The last one brings the key.
            let topics = (0..120).map(|n| format!("plant/{n}")).chain(["plant/7/pump".into()]);
            let commands = topics.map(|topic| {
                let command = Command::set_topic_key(&Topic::new(&topic).unwrap(), TopicKey::generate().unwrap());
                recipient.seal(&command, Timestamp::now()).unwrap()
            });
            send(broker.port, &recipient, commands.collect());
            let sent = folder.run(&format!("pub --state {name}.state -t plant/7/pump -m x {to}")).ok();
            assert_eq!(sent.stderr().lines().count(), 121, "{}", sent.stderr());
        }
    }
}

/// Sends commands as a key server of its own.
fn send(port: u16, to: &Recipient, commands: Vec<SealedCommand>) {
    let identity = Identity::symmetric(ClientId::from_bytes([7; 16]), ClientKey::generate().unwrap());
    let nobody = Client::builder(identity).create(MemoryStore::new()).unwrap();
    let options = e4_mqtt::rumqttc_v5::MqttOptions::new("key server", ("127.0.0.1", port));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (connection, _events) = Connection::builder(options, nobody).clean_session().connect().unwrap();
        for command in &commands {
            connection.send_command(&to.control_topic(), command).await.unwrap();
        }
        connection.flush().await;
        connection.shutdown(DEADLINE).await.unwrap();
    });
}

#[test]
fn a_soft_rotation_lets_messages_under_the_previous_key_through() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = ready(&to, &["pump", "panel"]);
    folder.run(&format!("control rotate plant/7/pump --out pump-2.key --to panel {to}")).ok();
    let panel = Background::subscriber(folder.path(), &format!("sub --json --state panel.state -t plant/# {to}"));
    folder.run(&format!("pub --state pump.state -t plant/7/pump -m late {to}")).ok();
    panel.until_stdout("late");
    assert!(panel.stdout().contains(r#""previous_key":true"#), "{}", panel.stdout());
}

#[test]
fn a_rotation_that_failed_is_repeated_with_the_same_key() {
    let folder = fleet(&["pump", "panel"]);
    let dead = dead_port();
    let run = folder.run(&format!("control rotate plant/7/pump --out pump-2.key --all -p {dead}"));
    let run = run.fails(1, "could not connect to the broker");
    assert!(run.stderr().contains("--topic-key-file pump-2.key"), "{}", run.stderr());
    run.hides(&key(&folder, "pump-2.key"));
    let before = folder.read("pump-2.key");
    folder.run(&format!("control rotate plant/7/pump --out pump-2.key --all -p {dead}")).fails(1, "--force");
    assert_eq!(folder.read("pump-2.key"), before);

    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    meet(&folder, "panel", &to);
    let run = folder.run(&format!("control rotate plant/7/pump --topic-key-file pump-2.key --hard --all --json {to}"));
    let reports = lines(&run.ok());
    let devices: Vec<_> = reports.iter().map(|report| report["device"].as_str().unwrap()).collect();
    assert_eq!((&devices[..], &reports[0]["sent"]), (&["panel", "pump"][..], &true.into()));
    meet(&folder, "panel", &to);
    let shown = folder.run("device show --state panel.state").ok();
    let fingerprint = TopicKey::from_bytes(&key(&folder, "pump-2.key")).unwrap().fingerprint().to_string();
    assert!(shown.stdout().contains(&fingerprint), "{}", shown.stdout());
}

#[test]
fn a_namespace_rotates_by_its_epoch_for_a_whole_subtree() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["pump", "panel"]);
    folder.run("keygen root --out plant.root").ok();
    let rotate = "control rotate plant/7/# --root-file plant.root --epoch 3 --all";
    // The publisher by the other way, the subscriber over the broker.
    let printed = folder.run(&format!("{rotate} --print-hex")).ok();
    let line = printed.stdout().lines().find(|line| line.starts_with(&format!("e4/{}", id("pump")))).unwrap();
    let (control_topic, sealed) = line.split_once(' ').unwrap();
    folder.run_with(&format!("open --state pump.state --topic {control_topic} --hex"), sealed).ok();
    meet(&folder, "panel", &to);
    folder.run(&format!("{rotate} {to}")).ok();
    folder.run(&format!("pub --state pump.state -t plant/7/any/depth -m hello -q 1 {to}")).ok();
    let got = folder.run(&format!("sub --state panel.state -t plant/7/# -q 1 -C 1 -W 20 {to}")).ok();
    assert!(got.stdout().starts_with("plant/7/any/depth hello"), "{}", got.stdout());
    let fingerprint = folder.run("key subtree plant/7/# --root-file plant.root --epoch 3 --json").ok().json();
    let shown = folder.run("device show --state panel.state --json").ok().json();
    assert_eq!(shown["topics"][0]["fingerprint"], fingerprint["fingerprint"]);
}

#[test]
fn signed_messages_are_taken_from_peers_whose_keys_the_key_server_sent() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = signing_fleet(&["pump", "panel"]);
        let control = |args: &str| folder.run(&format!("control {args} {to}"));
        for name in ["pump", "panel"] {
            meet(&folder, name, &to);
        }
        control("rotate plant/7/pump --out pump-1.key --all").ok();
        meet(&folder, "pump", &to);
        let panel = Background::subscriber(folder.path(), &format!("sub --json --state panel.state -t plant/# {to}"));
        panel.until_stderr("Applied the command set-topic-key");
        let send = |text: &str| folder.run(&format!("pub --state pump.state -t plant/7/pump -m {text} {to}"));
        send("unknown").ok();
        panel.until_stderr("whose public key this client does not have");

        let all = control("set-pub-key pump --all").ok();
        assert_eq!(all.stdout(), "panel: set-pub-key pump\n", "a device needs no key of its own");
        panel.until_stderr("Applied the command set-pub-key");
        send("known").ok();
        panel.until_stdout("known");
        assert!(panel.stdout().contains(&format!(r#""signer":"{}""#, id("pump"))), "{}", panel.stdout());

        control("remove-pub-key pump --to panel").ok();
        panel.until_stderr("Applied the command remove-pub-key");
        control("set-pub-key visitor --public-key-file panel.key.pub --to panel").ok();
        panel.until_stderr(&format!("Applied the command set-pub-key, client {}", id("visitor")));
        control("reset-pub-keys --all").ok();
        panel.until_stderr("Applied the command reset-pub-keys");
        control("remove-topic plant/7/pump --to panel").ok();
        panel.until_stderr("Applied the command remove-topic");
        control("reset-topics --to panel").ok();
        panel.until_stderr("Applied the command reset-topics");
        send("gone").ok();
        panel.until_stderr("Refused on plant/7/pump: no key for this topic");
        assert_eq!(panel.stdout().lines().count(), 1, "{}", panel.stdout());
    }
}

#[test]
fn devices_follow_their_own_new_keys_and_the_key_servers() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    for (folder, kind) in [(fleet(&["panel", "pump"]), "symmetric"), (signing_fleet(&["panel", "pump"]), "ed25519")] {
        let control = |args: &str| folder.run(&format!("control {args} {to}"));
        let panel = Background::subscriber(folder.path(), &format!("sub --state panel.state -t plant/# {to}"));
        folder.run(&format!("keygen {kind} --out new.key")).ok();
        control("set-id-key --key-file new.key --all").fails(1, "name one device");
        let run = control("set-id-key --key-file new.key --to panel").ok();
        assert!(run.stderr().contains("new key as "), "{}", run.stderr());
        run.hides(&key(&folder, "new.key"));
        panel.until_stderr("Applied the command set-id-key");

        // Sealed for the old key.
        control("reset-topics --to panel").ok();
        panel.until_stderr("Refused on e4/");
        folder.write("fleet.toml", folder.read("fleet.toml").replace("\"panel.key", "\"new.key"));
        control("reset-topics --to panel").ok();
        panel.until_stderr("Applied the command reset-topics");
        if kind == "ed25519" {
            folder.run("keygen x25519 --out c2-new.key").ok();
            let run = control("set-c2-key --public-key-file c2-new.key.pub --to panel").ok();
            assert!(run.stderr().contains("put the new secret key as c2_key_file"), "{}", run.stderr());
            panel.until_stderr("Applied the command set-c2-key");
            folder.write("fleet.toml", folder.read("fleet.toml").replace("\"c2.key", "\"c2-new.key"));
            control("reset-pub-keys --to panel").ok();
            panel.until_stderr("Applied the command reset-pub-keys");
        }
    }
}

#[test]
fn what_fails_for_one_device_does_not_keep_the_others_from_theirs() {
    let broker = Broker::embedded();
    let folder = fleet(&["panel", "pump", "spare"]);
    std::fs::remove_file(folder.path().join("panel.key")).unwrap();
    folder.write_key("spare.key", &[0; 32]);
    let run = folder.run(&format!("control reset-topics --all -p {}", broker.port));
    assert_eq!((run.code(), run.stdout()), (1, "pump: reset-topics\n"));
    for reason in ["panel: could not read panel.key", "spare: spare.key", "for 1 of 3 devices only"] {
        assert!(run.stderr().contains(reason), "{reason}: {}", run.stderr());
    }
    let reports = folder.run(&format!("control reset-topics --all --json -p {}", broker.port));
    assert_eq!(reports.code(), 1);
    let sent: Vec<_> = lines(&reports).iter().map(|report| report["sent"].as_bool().unwrap()).collect();
    assert_eq!(sent, [false, true, false]);
}

#[test]
fn retained_messages_are_read_by_late_joiners_until_they_are_cleared() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = fleet(&["pump", "panel"]);
        folder.run("keygen symmetric --out topic.key").ok();
        give_key(&folder, "topic.key", &["pump", "panel"]);
        let send = format!("pub --state pump.state -t plant/7/pump -q 1 {to}");
        folder.run(&format!("{send} -r -m kept")).ok();
        let listen = |args: &str| folder.run(&format!("sub --json --state panel.state -t plant/7/pump {to} {args}"));
        assert_eq!(listen("-C 1 -W 20 --max-age plant/7/pump=any").ok().json()["retained"], true);
        // Again: where any age is allowed there are no replays. And the rule was for one run.
        assert_eq!(listen("-C 1 -W 20 --max-age plant/#=any").ok().json()["payload"], "kept");
        let shown = folder.run("device show --state panel.state --json").ok().json();
        assert_eq!(shown["max_ages"], serde_json::json!([]));
        listen("-R -W 1").fails(27, "Timed out");
        folder.run(&format!("{send} --clear-retained")).ok();
        listen("-W 1").fails(27, "Timed out");
    }
}

#[test]
fn an_age_that_was_not_allowed_before_is_not_allowed_after() {
    let broker = Broker::embedded();
    let folder = ready(&format!("-p {}", broker.port), &["panel"]);
    folder.run("device init --force --state panel.state --name panel --key-file panel.key --max-age plant/#=7").ok();
    let run = folder.run(&format!(
        "sub --state panel.state -t plant/# -W 1 -p {} --max-age plant/#=any --max-age plant/#=9",
        broker.port
    ));
    run.fails(27, "Timed out");
    let shown = folder.run("device show --state panel.state --json").ok().json();
    assert_eq!(shown["max_ages"], serde_json::json!([{ "filter": "plant/#", "max_age": 7 }]));
}

#[test]
fn plaintext_passes_only_where_it_is_asked_for() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = ready(&to, &["pump", "panel"]);
        let open = "--plaintext-topic plant/open/+";
        let strict = Background::subscriber(folder.path(), &format!("sub --state panel.state -t plant/# {to}"));
        let send = format!("pub --state pump.state -q 1 {to}");
        folder.run(&format!("{send} -t plant/open/a -m x")).fails(1, "the client has no key for this topic");
        folder.run(&format!("{send} -t plant/open/a -m hello {open}")).ok();
        strict.until_stderr("Refused on plant/open/a");
        assert_eq!(strict.stdout(), "");
        drop(strict);
        let panel =
            Background::subscriber(folder.path(), &format!("sub --json --state panel.state -t plant/# {to} {open}"));
        folder.run(&format!("{send} -t plant/open/a -m hello {open}")).ok();
        panel.until_stdout(r#""payload":"hello""#);
        assert!(panel.stdout().contains(r#""clear":true"#), "{}", panel.stdout());
        // Other topics stay sealed.
        folder.run(&format!("{send} -t plant/7/pump -m sealed {open}")).ok();
        panel.until_stdout(r#""payload":"sealed""#);
        assert!(panel.stdout().lines().last().unwrap().contains(r#""clear":false"#), "{}", panel.stdout());
    }
}

#[test]
fn filters_of_an_earlier_run_print_nothing() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = ready(&to, &["pump", "panel"]);
    folder.run(&format!("control set-topic-key plant/8 --topic-key-file pump-1.key --to panel {to}")).ok();
    let give = folder.run("control set-topic-key plant/8 --topic-key-file pump-1.key --to pump --print-hex").ok();
    let (control_topic, sealed) = give.stdout().trim().split_once(' ').unwrap();
    folder.run_with(&format!("open --state pump.state --topic {control_topic} --hex"), sealed).ok();
    for (topic, text) in [("plant/7/pump", "old"), ("plant/8", "new")] {
        folder.run(&format!("pub --state pump.state -t {topic} -q 1 -m {text} {to}")).ok();
    }
    // The session still has plant/#.
    let got = folder.run(&format!("sub --state panel.state -t plant/8 -t $share/g/plant/9 -q 1 -C 1 -W 20 {to}")).ok();
    assert!(got.stdout().starts_with("plant/8 new"), "{}", got.stdout());
}

#[test]
fn filters_that_were_left_do_not_bring_messages_twice() {
    // MQTT 5 lets a broker send a message once for each filter, and mosquitto does.
    let Some(broker) = Broker::mosquitto() else { return };
    let to = format!("-p {}", broker.port);
    for (name, first, second) in [
        ("panel-0", "-t plant/# -q 0", "-t plant/7/pump"),
        ("panel-1", "-t plant/# -q 1", "-t plant/7/pump -q 1 -U plant/#"),
    ] {
        let folder = fleet(&["pump", name]);
        folder.run("keygen symmetric --out topic.key").ok();
        give_key(&folder, "topic.key", &["pump", name]);
        folder.run(&format!("sub --state {name}.state {first} -E {to}")).ok();
        let mut panel = Background::subscriber(folder.path(), &format!("sub --state {name}.state {second} -C 2 {to}"));
        folder.run_with(&format!("pub --state pump.state -t plant/7/pump -q 1 -l {to}"), "one\ntwo\n").ok();
        assert_eq!(panel.code(), Some(0));
        assert!(!panel.stderr().contains("Refused"), "{}", panel.stderr());
    }
}

#[cfg(unix)]
#[test]
fn a_subscriber_ends_with_0_on_signals_and_27_on_its_time() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = ready(&to, &["panel"]);
    for name in ["INT", "TERM"] {
        let mut panel = Background::subscriber(folder.path(), &format!("sub --state panel.state -t plant/# {to}"));
        panel.signal(name);
        assert_eq!(panel.code(), Some(0), "{}", panel.stderr());
    }
    folder.run(&format!("sub --state panel.state -t plant/# -W 1 {to}")).fails(27, "subscribed to plant/#\nTimed out");
    let quiet = folder.run(&format!("sub --state panel.state -t plant/# -W 1 -Q {to}"));
    assert_eq!((quiet.code(), quiet.stderr()), (27, "Timed out\n"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = ready(&to, &["pump", "panel"]);
    // More than a pipe holds.
    let lines: String = (0..200).map(|n| format!("{n} {}\n", "x".repeat(1000))).collect();
    folder.run_with(&format!("pub --state pump.state -t plant/7/pump -q 1 -l {to}"), lines).ok();
    let e4 = assert_cmd::cargo::cargo_bin!("e4").display().to_string();
    // -o pipefail, for the code of the subscriber.
    let script = format!("set -o pipefail; {e4} sub --state panel.state -t plant/# -q 1 -W 20 {to} | head -n 1");
    let piped = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let run = Run(piped).ok();
    assert_eq!(run.stdout().lines().count(), 1);
    assert!(!run.stderr().contains("panicked"), "{}", run.stderr());
}

#[test]
fn two_programs_do_not_run_one_device() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = ready(&to, &["panel"]);
    let _panel = Background::subscriber(folder.path(), &format!("sub --state panel.state -t plant/# {to}"));
    folder.run(&format!("pub --state panel.state -t plant/7/pump -m x {to}")).fails(1, "the state is in use");
}

#[test]
fn a_broker_that_is_not_there_is_said_to_be() {
    let folder = fleet(&["panel"]);
    let dead = dead_port();
    for args in ["pub --state panel.state -t a -m x", "sub --state panel.state -t a", "control reset-topics --all"] {
        for version in ["311", "5"] {
            let run = folder.run(&format!("{args} -h 127.0.0.1 -p {dead} -V {version}"));
            run.fails(1, &format!("could not connect to the broker 127.0.0.1:{dead} (I/O: Connection refused"));
        }
        folder.run(&format!("{args} -h no-such-host.invalid")).fails(1, "no-such-host.invalid:1883");
    }
}

#[test]
fn user_name_and_password_are_shown_to_the_broker() {
    let Some(broker) = Broker::mosquitto() else { return };
    let folder = fleet(&["panel"]);
    folder.write("password", format!("{PASSWORD}\n"));
    folder.set_mode("password", 0o600);
    for version in ["311", "5"] {
        let send = format!("sub -E --state panel.state -t a -p {} -V {version}", broker.password_port);
        let user = format!("{send} -u {USER}");
        folder.run(&format!("{user} --password-file password")).ok();
        folder.run_with(&format!("{user} --password-file -"), PASSWORD).ok();
        let run = |args: &str, env: &str, password: &str| {
            Run(folder.e4(&format!("{user} {args}")).env(env, password).output().unwrap())
        };
        run("", "E4_MQTT_PASSWORD", PASSWORD).ok();
        run("--password-file env:SECRET", "SECRET", PASSWORD).ok();
        Run(folder.e4(&user).args(["-P", PASSWORD]).output().unwrap()).ok();

        let refused = "check the user name (-u) and the password";
        folder.run(&send).fails(1, refused);
        folder.run(&user).fails(1, refused);
        let wrong = run("", "E4_MQTT_PASSWORD", "hunter2-hunter2").fails(1, refused);
        assert!(!wrong.stderr().contains("hunter2"), "{}", wrong.stderr());
        folder.run(&format!("{send} -P x")).fails(2, "--username");
        folder.run(&format!("{user} --password-file missing")).fails(1, "could not read missing");
        let publish = format!("pub --state panel.state -t a -s -u {USER} --password-file -");
        folder.run(&publish).fails(1, "standard input is what to publish");
    }
}

#[test]
fn a_message_that_the_broker_refuses_is_a_failure() {
    let Some(broker) = Broker::mosquitto() else { return };
    let folder = fleet(&["panel"]);
    folder.run("keygen symmetric --out topic.key").ok();
    give_key(&folder, "topic.key", &["panel"]);
    // Its ports with a password let a user write below e4/ only. MQTT 3.1.1 has no way to say so.
    let to = format!("-p {} -u {USER} --password-file env:SECRET", broker.password_port);
    let run = |args: &str, stdin: &str| {
        let command = folder.e4(&format!("{args} {to}")).env("SECRET", PASSWORD).write_stdin(stdin).output();
        Run(command.unwrap())
    };
    let publish = "pub --state panel.state -t plant/7/pump";
    for how in ["-m x -q 1", "-m x -q 2", "-l -q 1"] {
        run(&format!("{publish} {how}"), "x\n").fails(1, "not published on plant/7/pump: the broker refused");
    }
    let control = "control reset-topics --to panel";
    assert_eq!(run(control, "").ok().stdout(), "panel: reset-topics\n");
}

#[test]
fn brokers_are_trusted_by_their_certificate_authority_only() {
    for broker in brokers() {
        let folder = fleet(&["panel"]);
        let other = Broker::embedded();
        for version in ["311", "5"] {
            let listen = |args: &str| folder.run(&format!("sub -E --state panel.state -t a -V {version} {args}"));
            let (tls, plain) = (broker.tls_port, broker.port);
            listen(&format!("-p {tls} --cafile {}", broker.file("ca.pem"))).ok();
            listen(&format!("-h 127.0.0.1 -p {tls} --cafile {}", broker.file("ca.pem"))).ok();
            let wrong = format!("-p {tls} --cafile {}", other.file("ca.pem"));
            listen(&wrong).fails(1, "could not connect to the broker localhost");
            // The system does not know it either.
            listen(&format!("-p {tls} --tls")).fails(1, "");
            listen(&format!("-p {tls}")).fails(1, "could not connect to the broker");
            listen(&format!("-p {plain} --cafile {}", broker.file("ca.pem"))).fails(1, "could not connect");
            listen(&format!("-p {tls} --cafile {}", broker.file("server.key"))).fails(1, "no certificate in PEM");
            listen(&format!("-p {tls} --cafile missing.pem")).fails(1, "could not read missing.pem");
            listen("--cert a.pem").fails(2, "--key");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = fleet(&["panel"]);
    for (code, args, reason) in [
        (2, "pub --state panel.state -t a", "required"),
        (2, "pub --state panel.state -t a -m x -n", "cannot be used with"),
        (2, "pub --state panel.state -t a/# -m x", "wildcard"),
        (2, "pub --state panel.state -t a -m x -q 3", "the QoS is 0, 1 or 2"),
        (2, "pub --state panel.state -t a -m x -V 4", "invalid value"),
        (2, "pub --state panel.state -t a -r --clear-retained", "cannot be used with"),
        (2, "pub --state panel.state -t a --only-connect", "cannot be used with"),
        (2, "pub --state panel.state -m x", "--topic"),
        (1, "pub --state panel.state -t a -f missing", "could not read missing"),
        (1, "pub --state missing.state -t a -m x", "there is no state of a device at missing.state"),
        (2, "sub --state panel.state", "required"),
        (2, "sub --state panel.state -t a/#/b", "misplaced wildcard"),
        (2, "sub --state panel.state -t a -C 0", "invalid value"),
        (2, "sub --state panel.state -t a --max-age a", "a = is missing"),
        (2, "sub --state panel.state -t a --max-age a=soon", "a number of seconds"),
        (2, "sub --state panel.state -t a -N --payload-only", "cannot be used with"),
        (1, "sub --state panel.state -t a -N --json", "--json prints more than payloads"),
        (1, "sub --state missing.state -t a", "there is no state of a device at missing.state"),
        (1, "sub --state panel.state -t a -i=", "the MQTT client id is empty"),
    ] {
        folder.run(args).fails(code, reason);
    }
    // -h is the host, as it is for mosquitto's tools.
    for command in ["pub", "sub", "control reset-topics"] {
        let help = folder.run(&format!("{command} --help")).ok();
        assert!(help.stdout().contains("-h, --host <HOST>"), "{}", help.stdout());
    }
}
