//! Brokers that do otherwise than they should, or than one hopes: what happens is said, and nothing goes on for ever.

use crate::{
    broker_kit::{
        Background,
        scripted::{
            CONNECT, Does, PUBLISH, Packet, SUBSCRIBE, Scripted, UNSUBSCRIBE, V5, V311, connack, disconnect, message,
        },
        until,
    },
    common::Folder,
    fleet, give_key, id,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

/// A pump and a panel with the key of plant/7/pump.
fn pump_and_panel() -> Folder {
    let folder = fleet(&["pump", "panel"]);
    folder.run("keygen symmetric --out topic.key").ok();
    give_key(&folder, "topic.key", &["pump", "panel"]);
    folder
}

fn is_control_topic(packet: &Packet) -> bool {
    packet.topic().starts_with("e4/")
}

const VERSIONS: [&str; 2] = ["311", "5"];

/// What `e4 control` would send, without a broker.
fn sealed(folder: &Folder, command: &str) -> Vec<Vec<u8>> {
    let printed = folder.run(&format!("control {command} --print-hex")).ok();
    let words = printed.stdout().lines().map(|line| line.split_once(' ').unwrap().1);
    words.map(|word| hex::decode(word).unwrap()).collect()
}

#[test]
fn f19b_commands_that_wait_are_taken_in_whatever_the_broker_says_of_the_session() {
    for version in VERSIONS {
        for early in [true, false] {
            let folder = pump_and_panel();
            // The panel is the one that is left out.
            let commands = sealed(&folder, "rotate plant/7/pump --hard --out new.key --to pump");
            let control_topic = format!("e4/{}", id("pump"));
            let broker = Scripted::new(move |packet| {
                let waiting = |level| {
                    let packets = (1u8..).zip(&commands);
                    packets.flat_map(|(id, command)| message(level, &control_topic, command, Some(id), false)).collect()
                };
                // Some deliver as soon as they know who is there, others when they are asked for it.
                let when = if early { CONNECT } else { SUBSCRIBE };
                let first = early || (packet.kind == SUBSCRIBE && is_control_topic(packet) && packet.id() == [0, 1]);
                if packet.kind == when && first {
                    Does::Says([packet.obeyed(), waiting(packet.level)].concat())
                } else {
                    Does::Obeys
                }
            });
            let to = format!("-p {} -V {version}", broker.port);
            let run = folder.run(&format!("pub --state pump.state -t plant/7/pump -m secret -q 1 {to}")).ok();
            assert!(run.stderr().contains("Applied the command set-topic-key"), "{}", run.stderr());
            let published = broker.seen_of(PUBLISH).pop().unwrap();
            let open = |state: &str| {
                let open = format!("open --state {state} --topic plant/7/pump");
                folder.run_with(&open, published.payload())
            };
            open("panel.state").fails(3, "not authentic");
            assert_eq!(open("pump.state").ok().stdout(), "secret");
        }
    }
}

#[test]
fn f20_a_broker_that_closes_on_a_subscription_ends_the_command_with_the_reason() {
    let folder = pump_and_panel();
    for version in VERSIONS {
        let broker = Scripted::new(|packet| match packet.kind {
            SUBSCRIBE if !is_control_topic(packet) => Does::Closes,
            _ => Does::Obeys,
        });
        let run = folder.run(&format!("sub --state panel.state -t plant/# -p {} -V {version}", broker.port));
        let run = run.fails(1, "could not subscribe to plant/#");
        assert!(run.stderr().contains("closed"), "{}", run.stderr());
        assert!(broker.seen_of(CONNECT).len() < 10);
    }
}

#[test]
fn f20_a_broker_that_never_answers_a_subscription_ends_the_command() {
    let folder = pump_and_panel();
    let broker = Scripted::new(|packet| match packet.kind {
        SUBSCRIBE if !is_control_topic(packet) => {
            // Events go on meanwhile.
            Does::Says(message(V5, "plant/7/pump", b"not sealed", None, false))
        }
        _ => Does::Obeys,
    });
    let mut panel = Background::start(folder.path(), &format!("sub --state panel.state -t plant/# -p {}", broker.port));
    panel.until_stderr("Refused on plant/7/pump");
    assert_eq!(panel.code(), Some(1));
    assert!(panel.stderr().contains("could not subscribe to plant/#: "), "{}", panel.stderr());
}

#[cfg(unix)]
#[test]
fn f20_to_be_ended_before_anything_worked_is_no_success() {
    let folder = pump_and_panel();
    let silent = Scripted::new(|_| Does::Says(Vec::new()));
    let without_subscriptions = Scripted::new(|packet| match packet.kind {
        SUBSCRIBE if !is_control_topic(packet) => Does::Says(Vec::new()),
        _ => Does::Obeys,
    });
    for (broker, stage) in [(silent, CONNECT), (without_subscriptions, SUBSCRIBE)] {
        let listen = format!("sub --state panel.state -t plant/7 -p {}", broker.port);
        let mut panel = Background::start(folder.path(), &listen);
        let there = || broker.seen_of(stage).iter().any(|packet| stage == CONNECT || !is_control_topic(packet));
        until(there, || panel.stderr());
        panel.signal("INT");
        assert_eq!(panel.code(), Some(1), "{}", panel.stderr());
        assert!(panel.stderr().contains("before the broker had the subscriptions"), "{}", panel.stderr());
    }
}

#[test]
fn f21_a_message_that_the_broker_closes_for_is_not_published() {
    let folder = pump_and_panel();
    for (version, qos) in [("311", 0), ("311", 1), ("311", 2), ("5", 0), ("5", 1), ("5", 2)] {
        let broker = Scripted::new(|packet| match packet.kind {
            // In MQTT 5 it can say why: the packet is too large.
            PUBLISH if packet.level == V5 => Does::SaysAndCloses(disconnect(0x95)),
            PUBLISH => Does::Closes,
            _ => Does::Obeys,
        });
        let send = format!("pub --state pump.state -t plant/7/pump -m x -q {qos} -p {} -V {version}", broker.port);
        let run = folder.run(&send).fails(1, "not published on plant/7/pump");
        let told = run.stderr().to_lowercase().replace(' ', "").replace("itmaybetoolarge", "");
        let reasons = if version == "5" { ["toolarge", "toolarge"] } else { ["closed", "reset"] };
        assert!(reasons.iter().any(|reason| told.contains(reason)), "MQTT {version}, QoS {qos}: {}", run.stderr());
        let tries = broker.seen_of(PUBLISH).len();
        assert!((1..=5).contains(&tries), "MQTT {version}, QoS {qos}: sent {tries} times");
    }
}

#[test]
fn f23_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1() {
    for what in 0..4 {
        let folder = pump_and_panel();
        let broker = Scripted::new(move |packet| match (packet.kind, packet.level, what) {
            // "Unacceptable protocol version" in the form of 3.1.1, with and without an end, in that of 5, and no answer.
            (CONNECT, V5, 0) => Does::SaysAndCloses(vec![0x20, 2, 0, 1]),
            (CONNECT, V5, 1) => Does::Says(vec![0x20, 2, 0, 1]),
            (CONNECT, V5, 2) => Does::SaysAndCloses(connack(V5, 0x84, &[])),
            (CONNECT, V5, _) => Does::Closes,
            _ => Does::Obeys,
        });
        let to = format!("-p {}", broker.port);
        let publish = format!("pub --state pump.state -t plant/7/pump -m x -q 1 {to}");
        let run = folder.run(&publish).ok();
        assert!(run.stderr().contains("MQTT 3.1.1"), "{}", run.stderr());
        assert_eq!(broker.seen_of(PUBLISH)[0].level, V311);
        folder.run(&format!("sub --state panel.state -t plant/# -E {to}")).ok();
        folder.run(&format!("control reset-topics --to panel {to}")).ok();
        // Who chose a version gets it.
        let run = folder.run(&format!("{publish} -V 5")).fails(1, "could not connect to the broker");
        assert!(run.stderr().contains("-V 311"), "{}", run.stderr());
    }
}

#[test]
fn f23_what_fails_in_both_versions_is_told_with_the_reason_that_says_more() {
    let folder = pump_and_panel();
    let closes = Scripted::new(|_| Does::Closes);
    let wants_password = Scripted::new(|packet| match (packet.kind, packet.level) {
        (CONNECT, V5) => Does::SaysAndCloses(vec![0x20, 2, 0, 1]),
        (CONNECT, _) => Does::SaysAndCloses(connack(V311, 5, &[])),
        _ => Does::Obeys,
    });
    for (broker, reason) in [(closes, "TLS"), (wants_password, "check the user name (-u) and the password")] {
        folder.run(&format!("pub --state pump.state -t plant/7/pump -m x -p {}", broker.port)).fails(1, reason);
    }
}

#[test]
fn f26_what_the_broker_does_not_keep_is_said() {
    let folder = pump_and_panel();
    let only_connect = "pub --state pump.state --only-connect";
    for version in VERSIONS {
        let qos_0 = Scripted::new(|packet| match packet.kind {
            SUBSCRIBE => Does::Says(packet.suback(&[0])),
            _ => Does::Obeys,
        });
        let run = folder.run(&format!("{only_connect} -p {} -V {version}", qos_0.port));
        assert!(run.stderr().contains("QoS 0"), "{}", run.stderr());
        assert!(!run.stderr().contains("keeps commands for this device from now on"), "{}", run.stderr());
    }
    // Session expiry interval: an hour.
    for (seconds, words) in [(3600u32, "3600 seconds"), (0, "keeps no session")] {
        let expiry = [&[0x11][..], &seconds.to_be_bytes()].concat();
        let short = Scripted::new(move |packet| match packet.kind {
            CONNECT => Does::Says(connack(V5, 0, &expiry)),
            _ => Does::Obeys,
        });
        let run = folder.run(&format!("{only_connect} -p {}", short.port));
        assert!(run.stderr().contains(words), "{}", run.stderr());
        assert!(!run.stderr().contains("keeps commands for this device from now on"), "{}", run.stderr());
        let run = folder.run(&format!("sub --state panel.state -t plant/# -q 1 -E -p {}", short.port));
        assert!(run.stderr().contains(words), "{}", run.stderr());
    }
}

#[test]
fn f29_a_broker_that_does_not_answer_unsubscribe_takes_messages_all_the_same() {
    let folder = pump_and_panel();
    for version in VERSIONS {
        let broker = Scripted::new(|packet| match packet.kind {
            UNSUBSCRIBE => Does::Says(Vec::new()),
            _ => Does::Obeys,
        });
        let to = format!("-p {} -V {version}", broker.port);
        folder.run(&format!("pub --state pump.state -t plant/7/pump -m x -q 1 {to}")).ok();
        assert_eq!(broker.seen_of(PUBLISH).len(), 1);
        folder.run(&format!("sub --state panel.state -t plant/# -W 1 {to}")).fails(27, "Timed out");
    }
}

#[test]
fn f30_a_broker_without_qos_2_gets_commands_and_messages_at_qos_1() {
    let folder = pump_and_panel();
    for version in VERSIONS {
        let broker = Scripted::new(|packet| match packet.kind {
            PUBLISH if packet.qos() == 2 => Does::Closes,
            _ => Does::Obeys,
        });
        let to = format!("-p {} -V {version}", broker.port);
        folder.run(&format!("control reset-topics --to panel {to}")).ok();
        let publish = format!("pub --state pump.state -t plant/7/pump -m x {to}");
        folder.run(&format!("{publish} -q 2")).fails(1, "-q 1");
        folder.run(&format!("{publish} -q 1")).ok();
    }
}

#[test]
fn f21_a_message_that_the_broker_refuses_in_words_of_its_own_fails_with_their_meaning() {
    let folder = pump_and_panel();
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        // As mosquitto does with what is larger than its `message_size_limit`.
        let broker = Scripted::new(move |packet| match packet.kind {
            PUBLISH => Does::Says(vec![first, 3, packet.id()[0], packet.id()[1], 0x95]),
            _ => Does::Obeys,
        });
        let publish = format!("pub --state pump.state -t plant/7/pump -m x -q {qos} -V 5 -p {}", broker.port);
        let run =
            folder.run(&publish).fails(1, "not published on plant/7/pump: the broker refused a message as larger");
        assert!(!run.stderr().contains("-q 1") && !run.stderr().contains("MQTT client id"), "{}", run.stderr());
    }
}

#[test]
fn f28_what_cannot_be_taken_from_the_session_locks_no_command_out() {
    let folder = pump_and_panel();
    for version in VERSIONS {
        for what in ["a topic that is none", "an acknowledgement of what was never sent"] {
            let is_stuck = Arc::new(AtomicBool::new(true));
            let broker = Scripted::new(move |packet| {
                if packet.kind != CONNECT {
                    return Does::Obeys;
                }
                if packet.begins_anew() {
                    is_stuck.store(false, Ordering::SeqCst);
                }
                let waiting = match what {
                    _ if !is_stuck.load(Ordering::SeqCst) => Vec::new(),
                    "a topic that is none" => message(packet.level, "plant/+", b"whatever", Some(7), false),
                    _ => vec![0x40, 2, 0, 7],
                };
                Does::Says([packet.obeyed(), waiting].concat())
            });
            let to = format!("-p {} -V {version}", broker.port);
            let run = folder.run(&format!("pub --state pump.state -t plant/7/pump -m x -q 1 {to}")).ok();
            assert!(run.stderr().contains("session was ended"), "{what}: {}", run.stderr());
            let run = folder.run(&format!("pub --state pump.state -t plant/7/pump -m y -q 1 {to}")).ok();
            assert_eq!(run.stderr(), "", "{what}");
        }
    }
}

#[test]
fn f31_a_subscription_that_is_refused_in_3_1_1_is_an_error() {
    let folder = pump_and_panel();
    for version in VERSIONS {
        let all = Scripted::new(|packet| match packet.kind {
            SUBSCRIBE => Does::Says(packet.suback(&[0x80])),
            _ => Does::Obeys,
        });
        let some = Scripted::new(|packet| match packet.kind {
            SUBSCRIBE if !is_control_topic(packet) => Does::Says(packet.suback(&[0x80])),
            _ => Does::Obeys,
        });
        let listen = format!("sub --state panel.state -t plant/# -V {version}");
        folder.run(&format!("{listen} -p {}", all.port)).fails(1, "subscribe to its control topic");
        folder.run(&format!("{listen} -p {}", some.port)).fails(1, "could not subscribe to plant/#: ");
        let publish = format!("pub --state pump.state -t plant/7/pump -m x -V {version} -p {}", all.port);
        folder.run(&publish).fails(1, "subscribe to its control topic");
        assert_eq!(all.seen_of(PUBLISH).len(), 0);
    }
}

#[test]
fn f32_who_is_thrown_out_by_its_own_name_stops() {
    let folder = pump_and_panel();
    for version in VERSIONS {
        let broker = Scripted::new(|packet| match packet.kind {
            // Session taken over, which 3.1.1 has no word for.
            SUBSCRIBE if !is_control_topic(packet) && packet.level == V5 => {
                Does::SaysAndCloses([packet.obeyed(), disconnect(0x8e)].concat())
            }
            SUBSCRIBE if !is_control_topic(packet) => Does::SaysAndCloses(packet.obeyed()),
            _ => Does::Obeys,
        });
        let run = folder.run(&format!("sub --state panel.state -t plant/# -p {} -V {version}", broker.port));
        let run = run.fails(1, "under the MQTT client id of this one");
        let (most, connections) = (if version == "5" { 1 } else { 10 }, broker.seen_of(CONNECT).len());
        assert!(connections <= most, "{connections}: {}", run.stderr());
    }
}

#[test]
fn why_a_connection_ended_is_not_said_in_the_words_of_a_library() {
    let folder = pump_and_panel();
    for (version, ends, reason) in [
        ("311", None, "the broker closed the connection, and did not say why"),
        ("5", None, "the broker closed the connection, and did not say why"),
        ("5", Some(0x8b), "the broker ended the connection: the broker is shutting down (reason code 0x8b)"),
        ("5", Some(0x83), "the broker ended the connection with reason code 0x83"),
    ] {
        let broker = Scripted::new(move |packet| match packet.kind {
            // Once it is listening.
            SUBSCRIBE if packet.connection == 0 && !is_control_topic(packet) => {
                let end = ends.map(disconnect).unwrap_or_default();
                Does::SaysAndCloses([packet.obeyed(), end].concat())
            }
            _ => Does::Obeys,
        });
        let listen = format!("sub --state panel.state -t plant/# -p {} -V {version}", broker.port);
        let panel = Background::start(folder.path(), &listen);
        panel.until_stderr("Connected again");
        assert!(panel.stderr().contains(&format!("Disconnected ({reason}), trying again")), "{}", panel.stderr());
    }
}

#[test]
fn f46_an_empty_message_that_is_retained_is_told_from_clearing() {
    let folder = pump_and_panel();
    let broker = Scripted::new(|_| Does::Obeys);
    let send = format!("pub --state pump.state -t plant/7/pump -q 1 -p {}", broker.port);
    folder.write("empty", "");
    for empty in ["-n", "-f empty", "-s"] {
        let run = folder.run(&format!("{send} -r {empty}")).ok();
        assert!(run.stderr().contains("--clear-retained"), "{}", run.stderr());
    }
    for other in ["-n", "-r -m x", "--clear-retained", "-r -n -Q", "-r -s -Q"] {
        let run = folder.run(&format!("{send} {other}")).ok();
        assert!(!run.stderr().contains("--clear-retained"), "{}", run.stderr());
    }
    // Of many lines that are empty, it is said once.
    for (flags, notes) in [("-r -l", 1), ("-r -l -Q", 0), ("-l", 0)] {
        let run = folder.run_with(&format!("{send} {flags}"), "x\n\ny\n\n").ok();
        assert_eq!(run.stderr().matches("--clear-retained").count(), notes, "{flags}: {}", run.stderr());
    }
    // Where nothing is sealed, an empty message clears.
    let run = folder.run(&format!("{send} --plaintext-topic plant/# -r -n")).ok();
    assert!(run.stderr().contains("has the broker forget"), "{}", run.stderr());
}

#[test]
fn the_line_that_was_not_published_is_named() {
    let folder = pump_and_panel();
    let lines = "one\ntwo\nthree\n";
    let send = "pub --state pump.state -t plant/7/pump -q 1 -l";
    // One that takes the first line, and then says why not.
    let seen = AtomicU32::new(0);
    let broker = Scripted::new(move |packet| match packet.kind {
        PUBLISH if seen.fetch_add(1, Ordering::SeqCst) == 1 => Does::Says(packet.puback(0x97)),
        _ => Does::Obeys,
    });
    folder.run_with(&format!("{send} -p {}", broker.port), lines).fails(1, "line 2: not published on plant/7/pump");
    // One that takes it, and then none.
    let taken = AtomicU32::new(0);
    let broker = Scripted::new(move |packet| match packet.kind {
        PUBLISH if taken.fetch_add(1, Ordering::SeqCst) > 0 => Does::Closes,
        _ => Does::Obeys,
    });
    folder.run_with(&format!("{send} -p {}", broker.port), lines).fails(1, "line 2, and what follows: not published");
    // What is too long for MQTT is not even sent.
    let broker = Scripted::new(|packet| match packet.kind {
        // It takes packets of 1000 bytes.
        CONNECT => Does::Says(connack(V5, 0, &[0x27, 0, 0, 3, 0xe8])),
        _ => Does::Obeys,
    });
    let long = format!("one\n{}\n", "x".repeat(2000));
    folder.run_with(&format!("{send} -p {}", broker.port), long).fails(1, "line 2: not published on plant/7/pump");
}

#[test]
fn a_device_that_refuses_its_commands_is_no_success() {
    let folder = pump_and_panel();
    // Another key for this device than the one it has, as where two are swapped in the fleet file.
    folder.run("keygen symmetric --out other.key").ok();
    let fleet = folder.read("fleet.toml");
    folder.write("fleet.toml", fleet.replace("pump.key", "other.key"));
    let forged = sealed(&folder, "reset-topics --to pump").remove(0);
    folder.write("fleet.toml", fleet);
    let [good, next] = [(); 2].map(|()| sealed(&folder, "reset-topics --to pump").remove(0));
    let control_topic = format!("e4/{}", id("pump"));
    for (commands, code, words) in [
        (vec![], 0, ""),
        (vec![good.clone(), next.clone()], 0, "Applied the command reset-topics"),
        // They come again, as after a crash before they were acknowledged.
        (vec![good, next], 0, "one that was carried out and came again"),
        (vec![forged.clone()], 3, "a command on the control topic, the last one as not authentic"),
        (vec![forged.clone(), forged], 3, "2 commands on the control topic"),
    ] {
        let (commands, topic) = (commands.clone(), control_topic.clone());
        let subscribed = AtomicU32::new(0);
        let broker = Scripted::new(move |packet| match packet.kind {
            SUBSCRIBE if is_control_topic(packet) && subscribed.fetch_add(1, Ordering::SeqCst) == 0 => {
                let waiting = commands.iter().enumerate().map(|(at, command)| {
                    let id = u8::try_from(at).unwrap() + 1;
                    message(packet.level, &topic, command, Some(id), false)
                });
                Does::Says(std::iter::once(packet.obeyed()).chain(waiting).collect::<Vec<_>>().concat())
            }
            _ => Does::Obeys,
        });
        let run = folder.run(&format!("pub --state pump.state --only-connect -p {}", broker.port));
        assert_eq!(run.code(), code, "{}", run.stderr());
        assert!(run.stderr().contains(words), "{words}: {}", run.stderr());
    }
}

#[test]
fn f46b_messages_that_are_left_out_as_retained_are_counted() {
    let folder = pump_and_panel();
    let payload = folder.run_with("seal --state pump.state --topic plant/7/pump", "queued").ok().0.stdout;
    for dropped in [0usize, 2] {
        let payload = payload.clone();
        let broker = Scripted::new(move |packet| match packet.kind {
            SUBSCRIBE if !is_control_topic(packet) => {
                let kept = message(packet.level, "plant/7/pump", &payload, None, true);
                Does::Says([packet.obeyed(), kept.repeat(dropped)].concat())
            }
            _ => Does::Obeys,
        });
        let listen = format!("sub --state panel.state -t plant/# -R -W 1 --max-age plant/#=any -p {}", broker.port);
        let run = folder.run(&listen).fails(27, "Timed out");
        assert_eq!(run.stderr().contains("2 messages"), dropped == 2, "{}", run.stderr());
        let run = folder.run(&format!("{listen} -Q"));
        assert_eq!(run.stderr(), "Timed out\n");
    }
}

#[test]
fn commands_are_reported_unless_it_is_not_wanted_and_a_broker_that_takes_no_report_is_no_failure() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let folder = pump_and_panel();
    let control_topic = format!("e4/{}", id("pump"));
    for version in VERSIONS {
        for (arguments, takes) in [("", true), ("", false), ("--no-report", false)] {
            let commands = sealed(&folder, "set-topic-key plant/8 --topic-key-file topic.key --to pump");
            let to = control_topic.clone();
            let broker = Scripted::with_reports(move |packet| match packet.kind {
                SUBSCRIBE if packet.connection == 0 && packet.id() == [0, 1] => {
                    Does::Says([packet.obeyed(), message(packet.level, &to, &commands[0], Some(1), false)].concat())
                }
                PUBLISH if !takes && packet.level == V5 => Does::Says(packet.puback(NOT_AUTHORIZED)),
                PUBLISH if !takes => Does::Closes,
                _ => Does::Obeys,
            });
            let connect = format!("pub --state pump.state --only-connect {arguments} -V {version} -p {}", broker.port);
            let run = folder.run(&connect).ok();
            assert!(run.stderr().contains("Applied the command set-topic-key"), "{}", run.stderr());
            let reports = broker.seen_of(PUBLISH);
            assert!(reports.iter().all(|report| report.topic() == format!("{control_topic}/report")));
            if arguments.is_empty() {
                let report = &reports[0];
                assert_eq!((report.payload().len(), report.qos(), report.is_retained()), (83, 1, true));
            } else {
                assert_eq!(reports.len(), 0);
            }
        }
    }
}
