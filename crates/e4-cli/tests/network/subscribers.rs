//! What `e4 sub` prints and leaves out, and how it ends.

use crate::{
    broker_kit::{Background, Broker},
    common::Run,
    fleet, give_key, ready,
};

#[test]
fn f43_an_age_that_was_not_allowed_before_is_not_allowed_after_however_it_ends() {
    let broker = Broker::embedded();
    let folder = ready(&format!("-p {}", broker.port), &["panel"]);
    folder.run("device init --force --state panel.state --name panel --key-file panel.key --max-age plant/#=7").ok();
    let run = folder.run(&format!(
        "sub --state panel.state -t plant/# -W 1 -p {} --max-age plant/#=any --max-age plant/#=9",
        broker.port
    ));
    run.fails(27, "Timed out");
    #[cfg(unix)]
    {
        let args = format!("sub --state panel.state -t plant/# -p {} --max-age plant/#=any", broker.port);
        let mut killed = Background::subscriber(folder.path(), &args);
        // A state that is stored meanwhile, as a command does, does not take the rule along either.
        folder
            .run(&format!("control set-topic-key plant/9 --topic-key-file pump-1.key --to panel -p {}", broker.port))
            .ok();
        killed.until_stderr("Applied the command");
        killed.signal("KILL");
        killed.code();
    }
    let shown = folder.run("device show --state panel.state --json").ok().json();
    assert_eq!(shown["max_ages"], serde_json::json!([{ "filter": "plant/#", "max_age": 7 }]));
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
