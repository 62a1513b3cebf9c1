//! Equal messages: those that a publisher means, and those that a broker makes.

use crate::{
    broker_kit::{Background, Broker, brokers},
    fleet, give_key,
};

#[test]
fn f19_equal_lines_arrive_all_of_them_and_in_order() {
    for broker in brokers() {
        let to = format!("-p {}", broker.port);
        let folder = fleet(&["pump", "panel"]);
        folder.run("keygen symmetric --out topic.key").ok();
        give_key(&folder, "topic.key", &["pump", "panel"]);
        let listen = format!("sub --state panel.state -t plant/7/pump -q 1 --payload-only -C 3 {to}");
        let mut panel = Background::subscriber(folder.path(), &listen);
        folder.run_with(&format!("pub --state pump.state -t plant/7/pump -q 1 -l {to}"), "ON\nOFF\nON\n").ok();
        assert_eq!(panel.code(), Some(0), "{}", panel.stderr());
        assert_eq!(panel.all_of_stdout(), b"ON\nOFF\nON\n", "{}", panel.stderr());
        assert!(!panel.stderr().contains("Refused"), "{}", panel.stderr());
    }
}

#[test]
fn f19_equal_messages_of_several_runs_arrive_all_of_them_and_in_order() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["pump", "panel"]);
    folder.run("keygen symmetric --out topic.key").ok();
    give_key(&folder, "topic.key", &["pump", "panel"]);
    let listen = format!("sub --state panel.state -t plant/7/pump -q 1 --payload-only -C 7 {to}");
    let mut panel = Background::subscriber(folder.path(), &listen);
    let publish = format!("pub --state pump.state -t plant/7/pump -q 1 {to}");
    for message in ["ON", "OFF", "ON"] {
        folder.run(&format!("{publish} -m {message}")).ok();
    }
    // Lines, and a message behind the lines.
    let run = folder.run_with(&format!("{publish} -l"), "ON\nOFF\n").ok();
    assert!(!run.stderr().contains("a counter in the payload"), "{}", run.stderr());
    folder.run(&format!("{publish} -m OFF")).ok();
    folder.run_with(&format!("{publish} -s"), "OFF").ok();
    assert_eq!(panel.code(), Some(0), "{}", panel.stderr());
    assert_eq!(panel.all_of_stdout(), b"ON\nOFF\nON\nON\nOFF\nOFF\nOFF\n", "{}", panel.stderr());
    assert!(!panel.stderr().contains("Refused"), "{}", panel.stderr());
}

#[test]
fn f19_who_sends_more_equal_messages_than_seconds_pass_is_told() {
    let broker = Broker::embedded();
    let folder = fleet(&["pump"]);
    folder.run("keygen symmetric --out topic.key").ok();
    give_key(&folder, "topic.key", &["pump"]);
    let publish = format!("pub --state pump.state -t plant/7/pump -q 1 -l -p {}", broker.port);
    let run = folder.run_with(&publish, "ON\n".repeat(7)).ok();
    assert_eq!(run.stderr().matches("a counter in the payload").count(), 1, "{}", run.stderr());
    let run = folder.run_with(&format!("{publish} -Q"), "ON\n".repeat(7)).ok();
    assert_eq!(run.stderr(), "");
}

#[test]
fn f19_repeated_messages_are_printed_if_asked_for_and_marked() {
    let broker = Broker::embedded();
    let to = format!("-p {}", broker.port);
    let folder = fleet(&["pump", "panel", "loop"]);
    folder.run("keygen symmetric --out topic.key").ok();
    give_key(&folder, "topic.key", &["pump", "panel"]);
    // Two that seal equal payloads in one second make equal bytes: here they come from one that repeats them.
    let sealed = folder.run_with("seal --state pump.state --topic plant/7/pump", "ON").ok();
    folder.write("sealed", &sealed.0.stdout);
    let twice = |listen: &str| {
        let panel = Background::subscriber(folder.path(), &format!("sub --state panel.state -t plant/# {listen} {to}"));
        for _ in 0..2 {
            let raw = "--plaintext-topic plant/# -f sealed -q 1";
            folder.run(&format!("pub --state loop.state -t plant/7/pump {raw} {to}")).ok();
        }
        panel
    };
    let mut panel = twice("--repeated -C 2");
    assert_eq!(panel.code(), Some(0), "{}", panel.stderr());
    let out = String::from_utf8(panel.all_of_stdout()).unwrap();
    let [first, second] = out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
    assert!(!first.contains("repeated") && second.ends_with(", repeated)"), "{out}");
    let mut panel = twice("--repeated -C 2 --json");
    assert_eq!(panel.code(), Some(0), "{}", panel.stderr());
    let out = String::from_utf8(panel.all_of_stdout()).unwrap();
    assert!(out.ends_with("\"repeated\":true}\n") || out.contains("\"repeated\":true"), "{out}");
    // It was for the run: the next one refuses them.
    let panel = twice("");
    panel.until_stderr("Refused on plant/7/pump");
    assert_eq!(panel.stdout().lines().count(), 1);
}

#[test]
fn f33_overlapping_filters_bring_a_message_once_and_are_no_replay() {
    for broker in brokers() {
        for version in ["311", "5"] {
            let to = format!("-p {} -V {version}", broker.port);
            // The broker remembers devices.
            let panel = format!("panel-{version}");
            let folder = fleet(&["pump", &panel]);
            folder.run("keygen symmetric --out topic.key").ok();
            give_key(&folder, "topic.key", &["pump", &panel]);
            let listen = format!("sub --state {panel}.state -t plant/# -t plant/7/pump -t plant/+/pump -q 1 -C 2 {to}");
            let mut panel = Background::subscriber(folder.path(), &listen);
            folder.run_with(&format!("pub --state pump.state -t plant/7/pump -q 1 -l {to}"), "one\ntwo\n").ok();
            assert_eq!(panel.code(), Some(0), "{}", panel.stderr());
            let out = String::from_utf8(panel.all_of_stdout()).unwrap();
            assert_eq!(out.lines().count(), 2, "{out}");
            for words in ["replay", "Refused"] {
                assert!(!panel.stderr().contains(words), "{}: {}", broker.name, panel.stderr());
            }
        }
    }
}

/// Only root can give files away, so the first part says nothing where the tests are run by somebody else.
#[cfg(unix)]
#[test]
fn f42_the_note_beside_the_state_belongs_to_whom_the_state_belongs() {
    use std::os::unix::fs::{MetadataExt, chown};
    const SERVICE: u32 = 12_345;
    let broker = Broker::embedded();
    let folder = fleet(&["pump"]);
    folder.run("keygen symmetric --out topic.key").ok();
    give_key(&folder, "topic.key", &["pump"]);
    let publish = format!("pub --state pump.state -t plant/7/pump -q 1 -m x -p {}", broker.port);
    let path = |name: &str| folder.path().join(name);
    let is_root = chown(path("pump.state"), Some(SERVICE), Some(SERVICE)).is_ok();
    for before in ["none", "roots"] {
        folder.run(&publish).ok();
        let owner = std::fs::metadata(path("pump.state.sent")).unwrap().uid();
        assert!(!is_root || owner == SERVICE, "{before}");
        assert_eq!(folder.mode("pump.state.sent"), 0o600);
        let _not_root = chown(path("pump.state.sent"), Some(0), Some(0));
    }
    // What somebody put in its place is not followed, and not waited for.
    folder.write("precious", "precious");
    std::fs::remove_file(path("pump.state.sent")).unwrap();
    std::os::unix::fs::symlink("precious", path("pump.state.sent")).unwrap();
    folder.run(&publish).ok();
    assert_eq!(folder.read("precious"), "precious");
    std::fs::remove_file(path("pump.state.sent")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path("pump.state.sent")).status();
    assert!(made.unwrap().success());
    folder.run(&publish).ok();
}
