//! What `e4 control` sees to so that devices take its commands, and nobody makes others: the order, and keys of their own.
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
use e4::{C2SecretKey, ClientId, SigningKey, Timestamp};
use std::{
    fmt::Write,
    io::{BufRead, BufReader},
};

const TOPIC: &str = "plant/7/pump";

/// Symmetric devices with the states and keys of their names, and a fleet file.
fn fleet(names: &[&str]) -> Folder {
    let folder = Folder::new();
    let mut file = String::new();
    for name in names {
        folder.run(&format!("keygen symmetric --out {name}.key")).ok();
        folder.run(&format!("device init --state {name}.state --name {name} --key-file {name}.key")).ok();
        writeln!(file, "[devices.{name}]\nmode = \"symmetric\"\nkey_file = \"{name}.key\"").unwrap();
    }
    folder.write("fleet.toml", file);
    folder.run("keygen symmetric --out topic.key").ok();
    folder
}

/// The commands that were printed: the control topic, the bytes, and the second.
fn commands(run: &Run) -> Vec<(String, String, u64)> {
    let second = |sealed: &str| u64::from_le_bytes(*hex::decode(sealed).unwrap().first_chunk().unwrap());
    let lines = run.stdout().lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(topic, sealed)| (topic.to_owned(), sealed.to_owned(), second(sealed))).collect()
}

/// Has a device open what was printed.
fn apply(folder: &Folder, name: &str, run: &Run) {
    for (control_topic, sealed, _) in commands(run) {
        folder.run_with(&format!("open --state {name}.state --topic {control_topic} --hex"), sealed).ok();
    }
}

#[test]
fn f34_commands_are_never_dated_before_those_that_were_sent_earlier() {
    let folder = fleet(&["pump"]);
    let give = format!("control set-topic-key {TOPIC} --topic-key-file topic.key --all --print-hex");
    let Some(first) = folder.run_at(&give, 100_000) else { return };
    apply(&folder, "pump", &first.ok());
    // The clock is set right, and goes back again.
    let now = folder.run(&give).ok();
    assert!(now.stderr().contains("s behind the last commands"), "{}", now.stderr());
    apply(&folder, "pump", &now);
    let rotate = format!("control rotate {TOPIC} --hard --out next.key --force --all --print-hex");
    for run in [&give, &rotate, &rotate, &give] {
        apply(&folder, "pump", &folder.run_at(run, -1000).unwrap().ok());
    }
    let text = folder.read("fleet.toml.lanes");
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
    assert!(line.starts_with(&ClientId::from_name("pump").unwrap().to_string()), "{text}");
    // It was for no other device.
    folder.write(
        "fleet.toml",
        folder.read("fleet.toml") + "[devices.new]\nmode = \"symmetric\"\nkey_file = \"topic.key\"\n",
    );
    let (_, _, second) = commands(&folder.run("control reset-topics --to new --print-hex").ok()).remove(0);
    assert!(second.abs_diff(Timestamp::now().as_unix()) < 600, "{second}");
}

#[test]
fn f34_equal_commands_have_seconds_of_their_own() {
    let folder = fleet(&["pump"]);
    let mut seconds = Vec::new();
    for _ in 0..2 {
        for args in [format!("remove-topic {TOPIC}"), format!("set-topic-key {TOPIC} --topic-key-file topic.key")] {
            let run = folder.run(&format!("control {args} --all --print-hex")).ok();
            assert_eq!(run.stderr(), "");
            apply(&folder, "pump", &run);
            seconds.extend(commands(&run).into_iter().map(|(_, _, second)| second));
        }
    }
    assert!(seconds.windows(2).all(|pair| pair[0] < pair[1]), "{seconds:?}");
}

#[test]
fn f12_both_halves_of_a_hard_rotation_are_of_one_second() {
    let folder = fleet(&["pump"]);
    let id = ClientId::from_name("pump").unwrap();
    // A second that is all but full, in which a pair would be cut in two.
    let last = Timestamp::now().as_unix() + 1000;
    folder.write("fleet.toml.lanes", format!("{id} {last} 14\n"));
    let run = folder.run(&format!("control rotate {TOPIC} --hard --out k --all --print-hex")).ok();
    let seconds: Vec<_> = commands(&run).into_iter().map(|(_, _, second)| second).collect();
    assert_eq!(seconds, [last + 1; 2]);
    assert!(folder.read("fleet.toml.lanes").contains(&format!("{id} {} 2\n", last + 1)));
}

#[test]
fn a_hard_rotation_is_one_command_for_a_device_that_has_reported_that_it_knows_it() {
    let folder = fleet(&["pump", "old", "silent"]);
    folder.run(&format!("control set-topic-key {TOPIC} --topic-key-file topic.key --all --print-hex")).ok();
    let mut lanes = folder.read("fleet.toml.lanes");
    for (name, knows) in [("pump", "next-keys"), ("old", "old-commands")] {
        let id = ClientId::from_name(name).unwrap().to_string();
        let line = lanes.lines().find(|line| line.starts_with(&id)).unwrap().to_owned();
        let second = line.split(' ').nth(1).unwrap();
        lanes = lanes.replace(&line, &format!("{line} {second} {second} {knows}"));
    }
    folder.write("fleet.toml.lanes", &lanes);
    let rotate = format!("control rotate {TOPIC} --hard --out new.key --all --print-hex");
    let run = folder.run(&rotate).ok();
    for (name, expected) in [("pump", 1), ("old", 2), ("silent", 2)] {
        let topic = ClientId::from_name(name).unwrap().control_topic();
        let own = |(control_topic, ..): &&(String, String, u64)| control_topic == topic.as_str();
        assert_eq!(commands(&run).iter().filter(own).count(), expected, "{name}");
    }
    let run = folder.run(&rotate.replace("--all", "--to pump").replace("--out", "--force --out")).ok();
    apply(&folder, "pump", &run);
    // What was reported is kept.
    let kept = folder.read("fleet.toml.lanes");
    assert!(kept.contains(" next-keys\n") && kept.contains(" old-commands\n"), "{kept}");
}

#[test]
fn f34_nothing_goes_out_before_the_lane_is_stored() {
    let folder = fleet(&["pump"]);
    let reset = "control reset-topics --all --print-hex";
    folder.run(reset).ok();
    let good = folder.read("fleet.toml.lanes");
    let comment: String = good.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for damaged in
        [good.replace(' ', "  "), format!("{good}x"), format!("{good}{good}"), String::new(), "\n".into(), comment]
    {
        folder.write("fleet.toml.lanes", &damaged);
        folder.run(reset).fails(1, "fleet.toml.lanes is damaged");
        assert_eq!(folder.read("fleet.toml.lanes"), damaged);
    }
    std::fs::remove_file(folder.path().join("fleet.toml.lanes")).unwrap();
    std::fs::create_dir(folder.path().join("fleet.toml.lanes")).unwrap();
    folder.run(reset).fails(1, "fleet.toml.lanes");
    std::fs::remove_dir(folder.path().join("fleet.toml.lanes")).unwrap();
    #[cfg(unix)]
    {
        let lanes = folder.path().join("fleet.toml.lanes");
        for (target, content) in [("absent", None), ("good", Some(&good)), ("other", Some(&"secret".to_owned()))] {
            if let Some(content) = content {
                folder.write(target, content);
            }
            std::os::unix::fs::symlink(target, &lanes).unwrap();
            let run = folder.run(reset).fails(1, "fleet.toml.lanes is a link, and not followed");
            assert!(!run.stderr().contains("damaged"), "{}", run.stderr());
            std::fs::remove_file(&lanes).unwrap();
            assert_eq!(folder.path().join(target).exists(), content.is_some());
        }
    }
}

#[test]
fn f34_two_at_once_wait_for_each_other_also_where_the_fleet_file_is_replaced() {
    let folder = fleet(&["pump"]);
    folder.run("control reset-topics --all --print-hex").ok();
    let lock = std::fs::File::open(folder.path().join("fleet.toml.lock")).unwrap();
    lock.lock().unwrap();
    let wait = |_| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("e4"));
        command.current_dir(folder.path()).args(["control", "reset-topics", "--all", "--print-hex"]);
        let mut run =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(run.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("waiting for it"), "{said}");
        run
    };
    let mut runs: Vec<_> = (0..2).map(wait).collect();
    // An editor puts a new file in the place of the old one: it is locked too, and what it says counts for those who wait.
    folder.write("new", folder.read("fleet.toml").replace("[devices.pump]", "[devices.other]"));
    std::fs::rename(folder.path().join("new"), folder.path().join("fleet.toml")).unwrap();
    runs.push(wait(2));
    assert!(runs.iter_mut().all(|run| run.try_wait().unwrap().is_none()), "they did not wait");
    lock.unlock().unwrap();
    let sent = runs.into_iter().map(|run| commands(&Run(run.wait_with_output().unwrap()).ok()).remove(0));
    let other = ClientId::from_name("other").unwrap().control_topic();
    let mut seconds: Vec<_> = sent
        .map(|(topic, _, second)| {
            assert_eq!(topic, other.as_str());
            second
        })
        .collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds.len(), 3);
}

#[cfg(unix)]
#[test]
fn f42_what_is_beside_the_fleet_file_belongs_to_whom_the_fleet_file_belongs() {
    use std::os::unix::fs::{MetadataExt, chown};
    let folder = fleet(&["pump"]);
    folder.set_mode("fleet.toml", 0o640);
    let of = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap();
    // Only root can give files away.
    let is_root = chown(folder.path().join("fleet.toml"), Some(1234), Some(1234)).is_ok();
    for _ in 0..2 {
        folder.run("control reset-topics --all --print-hex").ok();
        for name in ["fleet.toml.lanes", "fleet.toml.lock"] {
            assert_eq!(folder.mode(name), 0o640);
            let (fleet, own) = (of("fleet.toml"), of(name));
            assert!(!is_root || (fleet.uid(), fleet.gid()) == (own.uid(), own.gid()));
        }
    }
}

#[test]
fn f06_a_hard_rotation_never_leaves_a_device_with_the_wider_key() {
    let folder = fleet(&["pump", "panel"]);
    folder.run("keygen symmetric --out wide.key").ok();
    folder.run("keygen symmetric --out old.key").ok();
    for (topic, key) in [("plant/7/#", "wide"), (TOPIC, "old")] {
        let give = format!("control set-topic-key {topic} --topic-key-file {key}.key --to pump --print-hex");
        apply(&folder, "pump", &folder.run(&give).ok());
    }
    let opens = |key: &str| {
        let sealed = folder.run_with(&format!("seal --state pump.state --topic {TOPIC}"), "x").ok().0.stdout;
        folder.run_with(&format!("open --topic-key-file {key}.key"), sealed).code() == 0
    };
    assert_eq!([opens("wide"), opens("old")], [false, true]);
    let rotate = folder.run(&format!("control rotate {TOPIC} --hard --out new.key --to pump --print-hex")).ok();
    let halves = commands(&rotate);
    assert_eq!(halves.len(), 2);
    for (half, opened_by) in halves.into_iter().zip([None, Some("new")]) {
        let (control_topic, sealed, _) = half;
        folder.run_with(&format!("open --state pump.state --topic {control_topic} --hex"), sealed).ok();
        for key in ["wide", "old", "new"] {
            assert_eq!(opens(key), opened_by == Some(key), "{key}");
        }
        // Nor does it open what others seal under these. A broker that keeps the second half back makes the rotation a soft one
        // for an hour, as one that keeps the first half back does.
        for key in if opened_by.is_some() { &["wide", "old"][..] } else { &["wide"] } {
            let sealed = folder.run_with(&format!("seal --topic-key-file {key}.key"), "x").ok().0.stdout;
            folder.run_with(&format!("open --state pump.state --topic {TOPIC}"), sealed).fails(3, "not authentic");
        }
    }
    let help = folder.run("control remove-topic --help").ok();
    assert!(help.stdout().contains("the key of a subtree around the topic"), "{}", help.stdout());
}

#[test]
fn f07_equal_keys_in_a_fleet_are_refused() {
    let folder = fleet(&["pump", "panel"]);
    folder.run("keygen ed25519 --out signer.key").ok();
    folder.run("keygen x25519 --out c2.key").ok();
    folder.write_key("plain-c2.key", &folder.key("c2.key"));
    let whole = folder.read("fleet.toml");
    let public =
        |name: &str, file: &str| format!("[devices.{name}]\nmode = \"public-key\"\npublic_key_file = \"{file}\"\n");
    let symmetric = |name: &str, file: &str| format!("[devices.{name}]\nmode = \"symmetric\"\nkey_file = \"{file}\"\n");
    folder.write("copy.key", folder.read("pump.key").to_uppercase());
    folder.set_mode("copy.key", 0o600);
    let c2 = "c2_key_file = \"c2.key\"\n";
    for (more, reason) in [
        (whole.clone() + &symmetric("other", "pump.key"), "the devices other and pump have the same key"),
        (whole.clone() + &symmetric("other", "copy.key"), "the devices other and pump have the same key"),
        (
            whole.clone() + &public("a", "signer.key.pub") + &public("b", "signer.key.pub"),
            "the devices a and b have the same key",
        ),
        (
            c2.to_owned() + &whole + &symmetric("other", "plain-c2.key"),
            "the device other has the key of the key server",
        ),
    ] {
        folder.write("fleet.toml", more);
        for command in
            ["reset-topics --to pump", "set-id-key --key-file topic.key --to pump", "rotate a --out x --to pump"]
        {
            folder.run(&format!("control {command} --print-hex")).fails(1, reason);
        }
    }
    assert!(!folder.path().join("x").exists());
    // Keys that are not there are not the same, and others can be served.
    folder.write("fleet.toml", whole + &symmetric("a", "absent") + &symmetric("b", "absent"));
    folder.run("control reset-topics --to pump --print-hex").ok();
}

#[test]
fn f07_a_topic_key_that_is_the_key_of_a_device_or_of_the_key_server_is_refused() {
    let folder = fleet(&["pump"]);
    folder.run("keygen x25519 --out c2.key").ok();
    folder.run("keygen ed25519 --out signer.key").ok();
    let signer = "[devices.signer]\nmode = \"public-key\"\npublic_key_file = \"signer.key.pub\"\n";
    folder.write("fleet.toml", format!("c2_key_file = \"c2.key\"\n{}{signer}", folder.read("fleet.toml")));
    // The digits alone are a symmetric key.
    for copied in ["c2.key", "c2.key.pub", "signer.key.pub"] {
        folder.write_key(&format!("plain-{copied}"), &folder.key(copied));
    }
    folder.write_key_of("root", "pump.root", &folder.key("pump.key"));
    for (key, reason) in [
        ("pump.key", "the topic key is that of the device pump"),
        ("plain-c2.key", "the topic key is that of the key server"),
        ("plain-c2.key.pub", "the topic key is that of the key server"),
        ("plain-signer.key.pub", "the topic key is that of the device signer"),
    ] {
        for command in [
            format!("set-topic-key a --topic-key-file {key}"),
            format!("set-topic-key a/# --topic-key-file {key}"),
            format!("rotate a --topic-key-file {key}"),
            format!("rotate a --hard --topic-key-file {key}"),
        ] {
            folder.run(&format!("control {command} --all --print-hex")).fails(1, reason);
        }
    }
    let from_root = "control rotate a --root-file pump.root --epoch 1 --out x --all --print-hex";
    folder.run(from_root).fails(1, "the topic key is that of the device pump");
    assert!(!folder.path().join("x").exists());
    // Nor does a device get a key that is another's.
    folder.run("keygen symmetric --out other.key").ok();
    let other = "[devices.other]\nmode = \"symmetric\"\nkey_file = \"other.key\"\n";
    folder.write("fleet.toml", folder.read("fleet.toml") + other);
    folder.write_key_of("ed25519-secret", "c2.seed", &folder.key("c2.key"));
    folder.write_key_of("ed25519-secret", "pump.seed", &folder.key("pump.key"));
    for (key, to, reason) in [
        ("pump.key", "other", "the device pump has that key"),
        ("plain-c2.key", "other", "the key of the key server"),
        ("c2.seed", "signer", "the key of the key server"),
        ("pump.seed", "signer", "the device pump has that key"),
    ] {
        folder.run(&format!("control set-id-key --key-file {key} --to {to} --print-hex")).fails(1, reason);
    }
}

#[test]
fn f07_a_device_does_not_begin_with_a_topic_key_that_is_its_own() {
    let folder = fleet(&["pump"]);
    let init = "device init --state s --name s --key-file pump.key --topic-key";
    folder.run(&format!("{init} a=topic.key --topic-key b/#=pump.key")).fails(1, "the client's own key too");
    folder.run("keygen ed25519 --out pair").ok();
    folder.run("keygen x25519 --out c2").ok();
    for own in ["pair", "c2.pub"] {
        folder.write_key("plain", &folder.key(own));
        let keys = "--signing-key-file pair --c2-key-file c2.pub";
        folder.run(&format!("device init --state s --name s {keys} --topic-key a=plain")).fails(1, "own key too");
    }
    assert!(!folder.path().join("s").exists());
}

#[test]
fn f59_readers_get_a_new_key_before_writers() {
    let folder = fleet(&["a-writer", "b-reader", "c-unknown", "d-reader", "e-writer"]);
    let file = folder.read("fleet.toml");
    let with = |file: String, name: &str, writes: &str| {
        file.replace(&format!("\"{name}.key\"\n"), &format!("\"{name}.key\"\nwrites = {writes}\n"))
    };
    let file = with(file, "a-writer", "[\"plant/+/pump\"]");
    let file = with(file, "b-reader", "[]");
    let file = with(file, "d-reader", "[\"plant/8/#\", \"log\"]");
    folder.write("fleet.toml", with(file, "e-writer", "[\"plant/7/pump/#\"]"));
    let order = |run: &Run| {
        let names = ["a-writer", "b-reader", "c-unknown", "d-reader", "e-writer"];
        let of =
            |topic: &str| names.iter().position(|n| ClientId::from_name(n).unwrap().control_topic().as_str() == topic);
        let mut order: Vec<_> = commands(run).iter().map(|(topic, _, _)| names[of(topic).unwrap()]).collect();
        order.dedup();
        order
    };
    for (topic, hard) in [(TOPIC, ""), (TOPIC, "--hard"), ("plant/7/#", "")] {
        let run = folder.run(&format!("control rotate {topic} {hard} --out k --force --all --print-hex")).ok();
        assert_eq!(order(&run), ["b-reader", "d-reader", "c-unknown", "a-writer", "e-writer"], "{topic}");
    }
    let run = folder.run("control rotate plant/8/x --out k --force --all --print-hex").ok();
    assert_eq!(order(&run), ["a-writer", "b-reader", "e-writer", "c-unknown", "d-reader"]);
    folder.write("fleet.toml", folder.read("fleet.toml").replace("\"log\"", "\"l#\""));
    folder.run("control reset-topics --all --print-hex").fails(1, "its writes, l#");
}

#[test]
fn f34_it_is_not_said_that_a_device_has_what_the_broker_has() {
    let folder = fleet(&["pump"]);
    folder.run("keygen symmetric --out next.key").ok();
    let run = folder.run("control set-id-key --key-file next.key --to pump --print-hex").ok();
    assert!(run.stderr().contains("keep the old key until"), "{}", run.stderr());
    let run = folder.run("control reset-topics --all --print-hex --json").ok().json();
    assert_eq!((run["handed_to_broker"].as_bool(), run.get("sent")), (Some(false), None));
}

/// What the tests of keys rely on.
#[test]
fn the_public_halves_are_those_that_key_files_have() {
    let folder = Folder::new();
    folder.run("keygen x25519 --out c2").ok();
    folder.run("keygen ed25519 --out s").ok();
    let key = |name: &str| folder.key(name);
    assert_eq!(C2SecretKey::from_bytes(&key("c2")).unwrap().public_key().as_bytes(), &key("c2.pub"));
    assert_eq!(SigningKey::from_seed(&key("s")).unwrap().verifying_key().as_bytes(), &key("s.pub"));
}
