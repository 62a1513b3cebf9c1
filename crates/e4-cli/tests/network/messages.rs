//! What `e4 pub` sends arrives at `e4 sub` as it is.

use crate::{
    broker_kit::{Background, Broker, PASSWORD, USER, brokers},
    common::Run,
    fleet, give_key, key, lines, meet, ready,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

#[test]
fn a_new_fleet_talks_in_every_version_plain_and_with_tls() {
    for broker in brokers() {
        for (way, to) in broker.ways().into_iter().enumerate() {
            println!("{} {to}", broker.name);
            // The broker remembers devices.
            let (pump, panel) = (format!("pump-{way}"), format!("panel-{way}"));
            let folder = fleet(&[&pump, &panel]);
            meet(&folder, &panel, &to);
            let rotated = folder.run(&format!("control rotate plant/7/pump --out topic.key --all {to}"));
            assert!(rotated.stdout().contains(&format!("{panel}: rotate")), "{}", rotated.stdout());
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
        run(&format!("{publish} {how}"), "x\n").fails(1, "not published on plant/7/pump: the broker refuse");
    }
    run("sub --state panel.state -t plant/7/pump -E", "").ok();
    let control = "control reset-topics --to panel";
    assert_eq!(run(control, "").ok().stdout(), "panel: reset-topics, handed to the broker\n");
}
