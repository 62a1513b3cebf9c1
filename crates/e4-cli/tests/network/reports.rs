//! What devices report, and what the key server makes of it: `--wait`, `rotate --lossless`, `status`.

use crate::{
    broker_kit::{
        Background, Broker, brokers, dead_port,
        scripted::{Does, PUBLISH, SUBSCRIBE, Scripted},
    },
    common::{Folder, Run},
    fleet, id, key, lines, meet, ready, signing_fleet,
};
use e4::{ClientId, ClientKey, Command, Timestamp, TopicKey, controller::Recipient};

fn outcomes(run: &Run) -> Vec<(String, String)> {
    let of = |report: &serde_json::Value, field: &str| report[field].as_str().unwrap_or_default().to_owned();
    lines(run).iter().map(|report| (of(report, "device"), of(report, "outcome"))).collect()
}

#[track_caller]
fn assert_outcomes(run: &Run, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(name, outcome)| (name.to_string(), outcome.to_string())).collect();
    assert_eq!(outcomes(run), expected, "{}", run.stderr());
}

/// A device that is there and takes commands.
fn listening(folder: &Folder, name: &str, to: &str) -> Background {
    Background::subscriber(folder.path(), &format!("sub --state {name}.state -t plant/# -q 1 {to}"))
}

#[test]
fn whoever_waits_is_told_what_each_device_has_made_of_its_command() {
    for broker in brokers() {
        let names = ["away", "here", "other"];
        for (version, folder) in [("311", fleet(&names)), ("5", signing_fleet(&names))] {
            let to = format!("-p {} -V {version}", broker.port);
            for name in names {
                meet(&folder, name, &to);
            }
            let _here = listening(&folder, "here", &to);
            let _other = listening(&folder, "other", &to);
            let give = "control rotate plant/7/pump --out k --force";
            let run = folder.run(&format!("{give} --to here,other --wait 60 --json {to}")).ok();
            assert_outcomes(&run, &[("here", "confirmed"), ("other", "confirmed")]);
            let run = folder.run(&format!("{give} --to here --wait {to}")).ok();
            assert!(run.stdout().ends_with(", confirmed by the device\n"), "{}", run.stdout());
            // It has reported, when it was connected, and is not there now.
            let run = folder.run(&format!("{give} --to away --wait 1 --json {to}"));
            assert_eq!(run.code(), 27, "{}", run.stderr());
            assert_outcomes(&run, &[("away", "silent")]);
            assert!(run.stderr().contains("was confirmed by 0 of 1 devices only"), "{}", run.stderr());
            assert!(run.stderr().contains("away: not confirmed within 1 s: it may be away"), "{}", run.stderr());
        }
    }
}

#[test]
fn a_device_that_never_reported_is_told_from_one_that_is_silent() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["older"]);
    // It takes its commands by another way.
    let run = folder.run(&format!("control reset-topics --all --wait 1 --json {to}"));
    assert_eq!(run.code(), 27);
    assert_outcomes(&run, &[("older", "never-reported")]);
    assert!(run.stderr().contains("it has never reported"), "{}", run.stderr());
}

#[test]
fn a_device_that_has_another_key_confirms_nothing() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = fleet(&["pump", "panel"]);
        meet(&folder, "pump", &to);
        meet(&folder, "panel", &to);
        let _pump = listening(&folder, "pump", &to);
        let _panel = listening(&folder, "panel", &to);
        // Two are swapped.
        let swapped = folder.read("fleet.toml").replace("pump.key", "x").replace("panel.key", "pump.key");
        folder.write("fleet.toml", swapped.replace("\"x\"", "\"panel.key\""));
        let run = folder.run(&format!("control reset-topics --all --wait 2 --json {to}"));
        assert_eq!(run.code(), 27, "{}", run.stderr());
        assert_outcomes(&run, &[("panel", "silent"), ("pump", "silent")]);
        assert!(run.stderr().contains("it has another key than the key server thinks"), "{}", run.stderr());
    }
}

#[test]
fn a_device_with_a_new_key_of_its_own_confirms_under_that() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    for (folder, kind) in [(fleet(&["panel"]), "symmetric"), (signing_fleet(&["panel"]), "ed25519")] {
        let _panel = listening(&folder, "panel", &to);
        folder.run(&format!("keygen {kind} --out new.key")).ok();
        let run = folder.run(&format!("control set-id-key --key-file new.key --to panel --wait 60 --json {to}")).ok();
        assert_outcomes(&run, &[("panel", "confirmed")]);
        assert!(run.stderr().contains("The device has it: now, put"), "{}", run.stderr());
        folder.write("fleet.toml", folder.read("fleet.toml").replace("\"panel.key", "\"new.key"));
        let run = folder.run(&format!("control reset-topics --to panel --wait 60 --json {to}")).ok();
        assert_outcomes(&run, &[("panel", "confirmed")]);
    }
    let folder = signing_fleet(&["panel"]);
    folder.run("keygen x25519 --out c2-new.key").ok();
    folder
        .run(&format!("control set-c2-key --public-key-file c2-new.key.pub --all --wait {to}"))
        .fails(1, "leave out --wait");
}

#[test]
fn what_is_refused_is_told_with_the_reason() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["pump"]);
    meet(&folder, "pump", &to);
    // It has no key of the topic yet, and so takes no next one.
    let _pump = listening(&folder, "pump", &to);
    let rotate = format!("control rotate plant/7/pump --lossless --out k --all --wait 60 {to}");
    let run = folder.run(&rotate).ok();
    assert!(run.stderr().contains("The new key as the next one: pump: refused it: "), "{}", run.stderr());
    assert!(
        run.stderr().contains("0 of 1 devices that know next keys open with the new key already"),
        "{}",
        run.stderr()
    );
    // It has the key all the same.
    let shown = folder.run("device show --state pump.state --json").ok().json();
    let fingerprint = TopicKey::from_bytes(&key(&folder, "k")).unwrap().fingerprint().to_string();
    assert_eq!(shown["topics"][0]["fingerprint"], fingerprint);
}

#[test]
fn a_rotation_without_loss_has_all_open_with_the_new_key_before_anybody_seals_under_it() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = ready(&to, &["a-pump", "panel"]);
        let panel = listening(&folder, "panel", &to);
        let pump = listening(&folder, "a-pump", &to);
        let run =
            folder.run(&format!("control rotate plant/7/pump --lossless --out k --all --wait 60 --json {to}")).ok();
        assert_outcomes(&run, &[("a-pump", "confirmed"), ("panel", "confirmed")]);
        assert!(
            run.stderr().contains("2 of 2 devices that know next keys open with the new key already"),
            "{}",
            run.stderr()
        );
        for device in [&panel, &pump] {
            let next = device.stderr().find("Applied the command set-next-topic-key").expect("the first step");
            let current = device.stderr().find("Applied the command set-topic-key").expect("the second step");
            assert!(next < current, "{}", device.stderr());
        }
        #[cfg(unix)]
        assert_eq!(folder.mode("k"), 0o600);
        if broker.name != "embedded" {
            continue;
        }
        // One that is not known to know next keys gets the second step only. The others have the time that they need.
        folder.run("keygen symmetric --out old.key").ok();
        folder.run("device init --state old.state --name old --key-file old.key --topic-key plant/7/pump=k").ok();
        folder.write(
            "fleet.toml",
            folder.read("fleet.toml") + "[devices.old]\nmode = \"symmetric\"\nkey_file = \"old.key\"\n",
        );
        meet(&folder, "old", &format!("--no-report {to}"));
        let run = folder.run(&format!("control rotate plant/7/pump --lossless --out k2 --all --wait 20 --json {to}"));
        assert_eq!(run.code(), 27, "{}", run.stderr());
        assert_outcomes(&run, &[("a-pump", "confirmed"), ("old", "never-reported"), ("panel", "confirmed")]);
        assert!(run.stderr().contains("Not known to know next keys: old."), "{}", run.stderr());
        assert!(run.stderr().contains("2 of 2 devices that know next keys"), "{}", run.stderr());
        assert!(run.stderr().contains("was confirmed by 2 of 3 devices only"), "{}", run.stderr());
    }
}

#[test]
fn the_key_of_a_rotation_without_loss_is_stored_before_it_is_sent() {
    let folder = fleet(&["pump"]);
    let dead = dead_port();
    let run = folder.run(&format!("control rotate plant/7/pump --lossless --out k --all -p {dead}"));
    let run = run.fails(1, "could not connect to the broker");
    assert!(run.stderr().contains("--topic-key-file k"), "{}", run.stderr());
    run.hides(&key(&folder, "k"));
}

#[test]
fn status_shows_what_devices_hold_compared_with_the_fleet_file() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        for (kind, folder) in
            [("symmetric", fleet(&["away", "panel", "pump"])), ("pairs", signing_fleet(&["away", "panel", "pump"]))]
        {
            for name in ["panel", "pump"] {
                meet(&folder, name, &to);
            }
            for (topic, out, whom) in
                [("plant/7/pump", "pump-1.key", "--to panel,pump"), ("plant/7/#", "wide.key", "--to panel")]
            {
                folder.run(&format!("control rotate {topic} --out {out} {whom} {to}")).ok();
            }
            if kind == "pairs" {
                folder.run(&format!("control set-pub-key pump --to panel {to}")).ok();
            }
            for name in ["panel", "pump"] {
                meet(&folder, name, &to);
            }
            let file = folder.read("fleet.toml");
            folder.write(
                "fleet.toml",
                format!(
                    "{file}[topics.\"plant/7/pump\"]\nkey_file = \"pump-1.key\"\nto = [\"panel\", \"pump\"]\n\
                     [topics.\"plant/7/#\"]\nkey_file = \"wide.key\"\nto = [\"panel\", \"pump\"]\n"
                ),
            );
            let run = folder.run(&format!("control status --all {to}")).ok();
            let text: Vec<_> = run.stdout().lines().collect();
            assert!(text[0].starts_with("away: no report"), "{}", run.stdout());
            assert!(text[1].contains("; newest command of 20"), "{}", run.stdout());
            assert!(
                text[1].contains("2 topic keys") && text[1].ends_with("; holds what the fleet file says"),
                "{}",
                run.stdout()
            );
            assert!(text[2].contains("1 topic key,") || text[2].contains("1 topic key;"), "{}", run.stdout());
            assert!(text[2].ends_with("; lacks the key that the fleet file has for plant/7/#"), "{}", run.stdout());
            let json = lines(&folder.run(&format!("control status --all --json {to}")).ok());
            assert_eq!(json[0]["has_reported"], false);
            assert_eq!(json[1]["holds"]["lacks"].as_array().unwrap().len(), 0, "{json:?}");
            assert_eq!(json[2]["holds"]["topics"][0], "plant/7/pump", "{json:?}");
            assert_eq!((&json[2]["knows_next_keys"], &json[2]["topics"]), (&true.into(), &1.into()));
            // Another key than the file says.
            folder.run("keygen symmetric --out pump-1.key --force").ok();
            let run = folder.run(&format!("control status --to pump {to}")).ok();
            assert!(run.stdout().ends_with("; which keys of the fleet file it holds is not known: it holds others, or there are too many to try\n"), "{}", run.stdout());
            run.hides(&key(&folder, "pump-1.key"));
            assert!(folder.read("fleet.toml.lanes").contains("next-keys"));
            assert_eq!(run.stderr(), "");
        }
    }
}

#[test]
fn f44_status_shows_no_key_that_stands_where_a_file_belongs() {
    let broker = brokers().remove(0);
    let folder = fleet(&["pump"]);
    let secret = key(&folder, "pump.key");
    let file = format!("[devices.pump]\nmode = \"symmetric\"\nkey_file = \"{}\"\n", hex::encode(secret));
    folder.write("fleet.toml", file);
    for json in ["", "--json"] {
        let run = folder.run(&format!("control status --all {json} -p {}", broker.port));
        run.hides(&secret);
        assert!(run.stdout().contains("could not read (not shown"), "{}", run.stdout());
        assert_eq!(run.code(), 1, "{}", run.stderr());
        assert!(run.stderr().contains("the key of 1 device could not be used"), "{}", run.stderr());
    }
}

#[test]
fn commands_follow_what_a_device_reports() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["pump"]);
    // Another key server has been here, whose clock is ahead.
    let recipient = Recipient::symmetric(
        ClientId::from_name("pump").unwrap(),
        &ClientKey::from_bytes(&key(&folder, "pump.key")).unwrap(),
    );
    let ahead = recipient.seal_dated(&Command::ResetTopics, Timestamp::now().plus(10_000)).unwrap();
    let open = format!("open --state pump.state --topic {}", recipient.control_topic());
    folder.run_with(&open, ahead.as_bytes()).ok();
    meet(&folder, "pump", &to);
    let _pump = listening(&folder, "pump", &to);
    // Who does not ask does not know it.
    let run = folder.run(&format!("control reset-topics --all {to}")).ok();
    assert_eq!(run.stderr(), "");
    let run = folder.run(&format!("control reset-topics --all --wait 60 --json {to}")).ok();
    assert_outcomes(&run, &[("pump", "confirmed")]);
    assert!(run.stderr().contains("s behind the last commands"), "{}", run.stderr());
    // It is known from then on, and what the device knows too: one command rotates hard.
    let run = folder.run("control rotate a --hard --out k --all --print-hex").ok();
    let sealed: Vec<_> = run.stdout().lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let [sealed] = sealed[..] else { panic!("{}", run.stdout()) };
    assert!(u64::from_le_bytes(*hex::decode(sealed).unwrap().first_chunk().unwrap()) > ahead.sent().as_unix());
}

#[test]
fn a_broker_that_forbids_to_read_reports_is_told_before_anything_is_sent() {
    let folder = fleet(&["pump"]);
    for version in ["311", "5"] {
        let broker = Scripted::new(|packet| match packet.kind {
            SUBSCRIBE if packet.topic().ends_with("/report") => Does::Says(packet.suback(&[0x80])),
            _ => Does::Obeys,
        });
        for command in ["reset-topics --wait", "rotate a --lossless --out k --force", "status"] {
            let run = folder.run(&format!("control {command} --all -p {} -V {version}", broker.port));
            run.fails(1, "could not subscribe to the reports on e4/");
        }
        assert!(broker.seen_of(PUBLISH).is_empty());
    }
}

#[test]
fn an_older_report_that_is_played_back_is_not_believed() {
    let Some(broker) = Broker::mosquitto() else { return };
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["pump"]);
    meet(&folder, "pump", &to);
    let topic = format!("e4/{}/report", id("pump"));
    let kept = |folder: &Folder| {
        let run = std::process::Command::new("mosquitto_sub")
            .args(["-p", &broker.port.to_string(), "-t", &topic, "-C", "1", "-W", "20", "-N"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(run.stdout.len(), e4::REPORT_LEN, "{run:?}");
        run.stdout
    };
    let old = kept(&folder);
    let run = folder.run(&format!("control status --all {to}")).ok();
    assert!(run.stdout().ends_with("0 topic keys; no command yet\n"), "{}", run.stdout());
    folder.run(&format!("control rotate plant/7/pump --out k --all {to}")).ok();
    meet(&folder, "pump", &to);
    folder.run(&format!("control status --all {to}")).ok();
    let newest = kept(&folder);
    assert_ne!(old, newest);
    folder.write("old", old);
    let put = std::process::Command::new("mosquitto_pub")
        .args(["-p", &broker.port.to_string(), "-t", &topic, "-r", "-q", "1", "-f", "old"])
        .current_dir(folder.path())
        .status();
    assert!(put.unwrap().success());
    let run = folder.run(&format!("control status --all {to}")).ok();
    assert!(run.stderr().contains("is ignored: the report is older than the last one"), "{}", run.stderr());
    assert_eq!(run.stdout(), "pump: only an older report than one before, which is ignored\n");
    assert!(
        run.stderr().contains("`e4 control remove-topic a/topic/that/nobody/has --to NAME --wait`"),
        "{}",
        run.stderr()
    );
    let json = lines(&folder.run(&format!("control status --all --json {to}")).ok()).remove(0);
    assert_eq!((&json["has_reported"], &json["only_older"]), (&false.into(), &true.into()), "{json}");
    let run = folder.run(&format!("control reset-topics --all --wait 1 --json {to}"));
    assert_outcomes(&run, &[("pump", "silent")]);
    assert!(run.stderr().contains("not confirmed within 1 s: only an older report came"), "{}", run.stderr());
    // Whoever listens goes on, and is not confused by it.
    let _pump = listening(&folder, "pump", &to);
    let run = folder.run(&format!("control remove-topic a/topic/that/nobody/has --to pump --wait 60 --json {to}")).ok();
    assert_outcomes(&run, &[("pump", "confirmed")]);
    let json = lines(&folder.run(&format!("control status --all --json {to}")).ok()).remove(0);
    assert_eq!((&json["has_reported"], &json["only_older"]), (&true.into(), &false.into()), "{json}");
}
