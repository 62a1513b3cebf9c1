//! A device that is killed at any moment reports, when it is started again, what it has stored and nothing else.
//!
//! The test starts itself as another program, which carries commands out one after the other and says so, and kills it. What
//! it finds afterwards is one of the reports that a client makes which does the same without being killed.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{NOW, Party, TestClock, seal_raw, topic_hash, topic_key};
use e4::{Client, ClientBuilder, Command, FileStore, GrowableKeyRing, MemoryStore, Store, Timestamp};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{self, Stdio},
};

const FOLDER: &str = "E4_KILLED_TEST";
const COMMANDS: u64 = 60;

/// The commands in their order, sealed: keys that come, wait, take each other's place and go, and some that are refused.
fn commands() -> Vec<Vec<u8>> {
    let Party { recipient, command_key, .. } = Party::symmetric("pump");
    let seal = |n: u64| {
        let (topic, key) = (topic_hash(["a", "b"][usize::from(n.is_multiple_of(4))]), topic_key(&n.to_string()));
        let command = match n % 6 {
            0 | 1 => Command::SetTopicKey { topic, key },
            2 | 3 => Command::SetNextTopicKey { topic, key },
            4 => Command::ReplaceTopicKey { topic, key },
            _ if n % 4 == 1 => Command::RemoveTopic(topic),
            _ => return seal_raw(&command_key, NOW + n, &[0x77]),
        };
        recipient.seal_dated(&command, Timestamp::from_unix(NOW + n)).unwrap().as_bytes().to_vec()
    };
    (0..COMMANDS).map(seal).collect()
}

fn follow<S: Store>(client: &mut Client<GrowableKeyRing, S, TestClock>, command: &[u8]) {
    // Some are refused, which is reported.
    let _ = client.open(client.control_topic(), command);
}

/// The report after each of the commands, and before the first.
fn expected() -> Vec<Vec<u8>> {
    let builder = ClientBuilder::new(Party::symmetric("pump").identity).first_start();
    let mut client = builder.create_with(MemoryStore::new(), TestClock::time(NOW)).unwrap();
    let mut reports = vec![client.report()];
    for command in commands() {
        follow(&mut client, &command);
        reports.push(client.report());
    }
    reports
}

#[test]
fn a_client_that_was_killed_reports_what_it_has_stored() {
    let expected = expected();
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]), "each command shows in the report");
    // Killed once it has said that so many are done, while it is at the next.
    for done in [0, 1, 2, 5, 12, 24, 40] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = process::Command::new(env::current_exe().unwrap())
            .args(["--exact", "device", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.take_while(|line| !line.ends_with(&format!("done {done}."))).count() > 0);
        child.kill().unwrap();
        child.wait().unwrap();

        let store = FileStore::new(folder.path().join("state"));
        let mut client = Client::<GrowableKeyRing, _, _>::load_with(store, TestClock::time(NOW)).unwrap();
        let report = client.report();
        let at = expected.iter().position(|expected| *expected == report).expect("a mixture is reported");
        assert!(at >= done, "{at} commands are reported and {done} were done");
        // It goes on as if nothing had happened.
        for (command, expected) in commands().iter().zip(&expected[1..]).skip(at) {
            follow(&mut client, command);
            assert_eq!(client.report(), *expected);
        }
    }
}

/// The device. Started by the test above, never with it.
#[test]
#[ignore = "is what the other one kills"]
fn device() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let store = FileStore::new(PathBuf::from(folder).join("state"));
    let builder = ClientBuilder::<GrowableKeyRing>::new(Party::symmetric("pump").identity).first_start();
    let mut client = builder.create_with(store, TestClock::time(NOW)).unwrap();
    let say = |done: usize| {
        println!("\ndone {done}.");
        std::io::stdout().flush().unwrap();
    };
    say(0);
    for (done, command) in (1..).zip(commands()) {
        follow(&mut client, &command);
        say(done);
    }
}
