//! Keys that change while messages are on their way.

use crate::{
    broker_kit::{Background, Broker, DEADLINE, brokers, dead_port},
    fleet, give_key, id, key, lines, meet, ready, signing_fleet,
};
use e4::{
    Client, ClientId, ClientKey, Command, Identity, MemoryStore, Timestamp, Topic, TopicKey,
    controller::{Recipient, SealedCommand},
};
use e4_mqtt::Connection;

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
        // The first one is a key that nobody has.
        assert_eq!(got.stderr().matches("Applied the command set-topic-key").count(), 2, "{}", got.stderr());
        let shown = folder.run("device show --json --state panel.state").ok().json();
        let withdrawn = TopicKey::from_bytes(&key(&folder, "pump-1.key")).unwrap().fingerprint().to_string();
        assert_ne!(shown["topics"][0]["previous"]["fingerprint"], withdrawn, "it opens nothing more");
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
                recipient.seal_dated(&command, Timestamp::now()).unwrap()
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
    // Whoever stopped it was not told, and is now.
    let again = format!("control rotate plant/7/pump --out pump-2.key --all -p {dead}");
    let run = folder.run(&again).fails(1, "go on with --topic-key-file pump-2.key instead of --out");
    assert!(run.stderr().contains("--force"), "{}", run.stderr());
    assert_eq!(folder.read("pump-2.key"), before);
    assert!(!folder.path().join("pump-2.key.old-1").exists());

    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    meet(&folder, "panel", &to);
    let run = folder.run(&format!("control rotate plant/7/pump --topic-key-file pump-2.key --hard --all --json {to}"));
    let reports = lines(&run.ok());
    let devices: Vec<_> = reports.iter().map(|report| report["device"].as_str().unwrap()).collect();
    assert_eq!((&devices[..], &reports[0]["handed_to_broker"]), (&["panel", "pump"][..], &true.into()));
    meet(&folder, "panel", &to);
    let shown = folder.run("device show --state panel.state").ok();
    let fingerprint = TopicKey::from_bytes(&key(&folder, "pump-2.key")).unwrap().fingerprint().to_string();
    assert!(shown.stdout().contains(&fingerprint), "{}", shown.stdout());
}

#[test]
fn a_rotation_never_deletes_the_only_copy_of_a_key() {
    let folder = fleet(&["pump"]);
    let rotate = format!("control rotate plant/7/pump --out k --force --all -p {}", dead_port());
    let mut keys = Vec::new();
    for n in 0..3 {
        let run = folder.run(&rotate).fails(1, "could not connect to the broker");
        keys.push(folder.read("k"));
        assert_eq!(
            run.stderr().contains(&format!("The key that was in k is in k.old-{n} now")),
            n > 0,
            "{}",
            run.stderr()
        );
        for (old, key) in keys.iter().take(n).enumerate() {
            assert_eq!(folder.read(&format!("k.old-{}", old + 1)), *key);
        }
        keys.iter().for_each(|key| assert!(!run.stderr().contains(key.trim())));
    }
    keys.dedup();
    assert_eq!(keys.len(), 3);
    #[cfg(unix)]
    assert_eq!(folder.mode("k.old-2"), 0o600);
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
        assert_eq!(all.stdout(), "panel: set-pub-key pump, handed to the broker\n", "a device needs no key of its own");
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
    assert_eq!((run.code(), run.stdout()), (1, "pump: reset-topics, handed to the broker\n"));
    for reason in ["panel: could not read panel.key", "spare: spare.key", "for 1 of 3 devices only"] {
        assert!(run.stderr().contains(reason), "{reason}: {}", run.stderr());
    }
    let reports = folder.run(&format!("control reset-topics --all --json -p {}", broker.port));
    assert_eq!(reports.code(), 1);
    let sent: Vec<_> = lines(&reports).iter().map(|report| report["handed_to_broker"].as_bool().unwrap()).collect();
    assert_eq!(sent, [false, true, false]);
}

#[test]
fn f27_it_is_said_that_nobody_has_a_command() {
    // Brokers may say it in MQTT 5, and mosquitto does.
    let Some(broker) = Broker::mosquitto() else { return };
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["here", "never"]);
    meet(&folder, "here", &to);
    folder.run("keygen symmetric --out new.key").ok();
    let to_all = folder.run(&format!("control reset-topics --all --json {to}"));
    let told: Vec<_> = lines(&to_all)
        .iter()
        .map(|report| ["handed_to_broker", "no_subscriber"].map(|field| report[field].as_bool().unwrap()))
        .collect();
    assert_eq!((to_all.code(), &told[..]), (1, &[[true, false], [false, true]][..]), "{}", to_all.stderr());
    for command in ["set-id-key --key-file new.key", "rotate plant/7/pump --hard --out k"] {
        let run = folder.run(&format!("control {command} --to never {to}"));
        assert_eq!((run.code(), run.stdout()), (1, ""));
        for part in ["never: nobody has the command", "was handed to the broker for 0 of 1 devices only"] {
            assert!(run.stderr().contains(part), "{}", run.stderr());
        }
        assert!(!run.stderr().contains("Now, put the new key"), "{}", run.stderr());
        assert!(!command.starts_with("set") || run.stderr().contains("keep the old key until"), "{}", run.stderr());
    }
    // In MQTT 3.1.1 it cannot be said.
    folder.run(&format!("control reset-topics --to never -V 311 {to}")).ok();
}

#[test]
fn f59_a_writer_gets_a_new_key_when_the_broker_has_it_for_the_readers() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = ready(&to, &["a-pump", "b-panel"]);
    let writes = folder.read("fleet.toml").replace("\"a-pump.key\"\n", "\"a-pump.key\"\nwrites = [\"plant/7/pump\"]\n");
    folder.write("fleet.toml", writes);
    let run = folder.run(&format!("control rotate plant/7/pump --out k --all {to}")).ok();
    let names: Vec<_> = run.stdout().lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["b-panel", "a-pump"]);
    // A reader that fails does not keep the writers from theirs.
    std::fs::remove_file(folder.path().join("b-panel.key")).unwrap();
    let run = folder.run(&format!("control set-topic-key plant/7/pump --topic-key-file k --all {to}"));
    assert_eq!((run.code(), run.stdout().lines().count()), (1, 1), "{}", run.stderr());
}
