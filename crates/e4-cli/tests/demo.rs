//! `e4 demo`: it tells its story, to the end, on its own broker and on a real one, and leaves nothing there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use assert_cmd::Command;
use e4::{Client, ClientId, ClientKey, Identity, MemoryStore, TopicFilter};
use e4_mqtt::{Connection, Event, Events, QoS, rumqttc_v5::MqttOptions};
#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const CHAPTERS: [&str; 8] = [
    "1. Keys arrive as messages over the same broker",
    "2. Messages are sealed from device to device",
    "3. The key is rotated, and nobody has to be there",
    "4. The key is rotated while all publish, and nothing is lost",
    "5. A removed member can no longer read",
    "6. There is no half of a command to hold back",
    "7. What was recorded is worth nothing",
    "8. A late joiner reads the retained message",
];

const TITLES: [&str; 3] = ["Application sent", "Broker saw", "Devices received"];

/// What a run came to.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the demo in an empty folder, with one for its temporary files, and checks that it leaves nothing in either.
fn demo(arguments: &[&str]) -> Run {
    let (folder, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = Command::new(assert_cmd::cargo::cargo_bin!("e4"))
        .arg("demo")
        .args(arguments)
        .current_dir(&folder)
        .env("TMPDIR", temporary.path())
        .env_remove("CLICOLOR_FORCE")
        // Its own deadline comes before this one.
        .timeout(Duration::from_secs(150))
        .output()
        .unwrap();
    for folder in [folder.path(), temporary.path()] {
        let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
    Run {
        code: output.status.code().expect("it was killed"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The column in the middle of all rows.
fn seen_by_the_broker(story: &str) -> Vec<String> {
    let mut columns = None;
    let mut seen = Vec::new();
    // What stands in brackets may have several lines.
    let mut aside = false;
    for line in story.lines() {
        aside |= line.trim_start().starts_with('(');
        if TITLES.iter().all(|title| line.contains(title)) {
            columns = Some((line.find(TITLES[1]).unwrap(), line.find(TITLES[2]).unwrap()));
        } else if line.is_empty() {
            columns = None;
        } else if let Some((from, to)) = columns
            && !aside
        {
            let characters: Vec<char> = line.chars().collect();
            let cell = characters.get(from..to.min(characters.len())).unwrap_or_default();
            seen.push(cell.iter().collect::<String>().trim().to_owned());
        }
        aside &= !line.ends_with(')');
    }
    seen.retain(|cell| !cell.is_empty());
    seen
}

#[track_caller]
fn came_out_well(run: &Run) {
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    let mut rest = run.stdout.as_str();
    for chapter in CHAPTERS {
        rest = rest.split_once(chapter).unwrap_or_else(|| panic!("no {chapter:?} in its place in {}", run.stdout)).1;
    }
    assert!(rest.contains("71 expectations held."), "{rest}");
    assert!(!run.stdout.contains("EXPECTED"), "{}", run.stdout);
}

#[test]
fn the_demo_tells_the_whole_story_and_succeeds() {
    let run = demo(&["--fast"]);
    came_out_well(&run);
    for said in [
        "panel-1 takes the new key",
        "panel-1 reads \"4.2 bar\"",
        "panel-1 is off: it waits",
        "(70 messages were sent meanwhile: panel-1 read 70, panel-9 70, of which 5 and",
        "panel-1 reads \"0.1 bar\" under the",
        "panel-9 refuses: not authentic",
        "panel-1 refuses: accepted before",
        "panel-1 refuses: older than the",
        "panel-2 refuses: sent 864",
        "panel-2 reads the retained \"4.7",
    ] {
        assert!(run.stdout.contains(said), "no {said:?} in {}", run.stdout);
    }
}

#[test]
fn what_the_broker_saw_is_topics_and_hexadecimal_and_nothing_else() {
    let seen = seen_by_the_broker(&demo(&["--fast"]).stdout);
    let is_topic = |cell: &str| cell.starts_with("plant/7/pump") || cell.starts_with("e4/");
    let is_hex = |cell: &str| cell.trim_end_matches('…').chars().all(|digit| digit.is_ascii_hexdigit());
    let topics = seen.iter().filter(|cell| is_topic(cell)).count();
    // Each payload that was sent has its topic above it.
    assert_eq!(topics, 31, "{seen:#?}");
    assert!(seen.len() >= 2 * topics, "{seen:#?}");
    for cell in &seen {
        assert!(is_topic(cell) || is_hex(cell), "the broker saw {cell:?}");
    }
}

#[test]
fn into_a_pipe_it_prints_plain_text_of_80_columns() {
    let run = demo(&["--fast"]);
    assert!(!run.stdout.contains('\u{1b}'));
    let too_long = run.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(too_long, None);
}

#[test]
fn a_broker_that_is_not_there_is_an_error_that_says_where_it_was_looked_for() {
    // Nobody listens on a port that was free a moment ago.
    let address = format!("127.0.0.1:{}", free_port());
    for address in ["127.0.0.1:1", &address] {
        let run = demo(&["--fast", "--broker", address]);
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains(&format!("could not connect to the broker at {address}")), "{}", run.stderr);
    }
}

#[test]
fn a_broker_that_never_answers_is_an_error_in_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let run = demo(&["--fast", "--broker", &address]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains(&address), "{}", run.stderr);
}

#[test]
fn an_address_that_is_none_is_refused() {
    for address in ["localhost:0", ":1883", "localhost:mqtt"] {
        let run = demo(&["--broker", address]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{address}");
    }
}

#[test]
fn on_mosquitto_it_works_twice_in_a_row_and_leaves_nothing_behind() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let address = format!("localhost:{}", mosquitto.port);
    for _ in 0..2 {
        let run = demo(&["--fast", "--broker", &address]);
        came_out_well(&run);
        assert!(run.stdout.contains(&format!("The broker at {address}")), "{}", run.stdout);
    }
    mosquitto.is_as_it_was();
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_so_and_leaves_nothing_behind() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = std::process::Command::new(assert_cmd::cargo::cargo_bin!("e4"))
        .args(["demo", "--broker", &format!("localhost:{}", mosquitto.port)])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Then all devices have sessions, and one of them is away.
    let stdout = BufReader::new(demo.stdout.take().unwrap());
    let lines = stdout.lines().map(Result::unwrap).inspect(|line| {
        if line.contains("panel-1 is switched off") {
            let sent = std::process::Command::new("kill").args(["-INT", &demo.id().to_string()]).status();
            assert!(sent.unwrap().success());
        }
    });
    let story: Vec<_> = lines.collect();
    let ended = demo.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "Error: interrupted\n");
    assert!(!story.iter().any(|line| line.contains("expectations held")), "{story:#?}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    mosquitto.is_as_it_was();
}

/// The topics that the broker keeps a message for.
async fn retained_on_topics(observer: &Connection, events: &mut Events) -> Vec<String> {
    observer.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    observer.publish("the/end", b"", QoS::AtLeastOnce).await.unwrap();
    let mut topics = Vec::new();
    while let Some(event) = events.next_event().await {
        match event {
            Event::Message(message) if message.topic == "the/end" => break,
            Event::Message(message) => topics.push(message.topic),
            _ => (),
        }
    }
    topics
}

/// Waits for the broker to know of one client: connected clients and sessions that it keeps count.
async fn only_session_is_that_of(observer: &Connection, events: &mut Events) {
    observer.subscribe("$SYS/broker/clients/total", QoS::AtLeastOnce).await.unwrap();
    while let Some(event) = events.next_event().await {
        if matches!(event, Event::Message(message) if message.topic.starts_with("$SYS") && message.payload == b"1") {
            return;
        }
    }
    panic!("the connection has ended");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A mosquitto of the test's own, stopped at its end.
struct Mosquitto {
    port: u16,
    process: Child,
    _folder: TempDir,
}

impl Mosquitto {
    /// None if there is no mosquitto here, and none is required.
    fn start() -> Option<Self> {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let config = folder.path().join("mosquitto.conf");
        fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n")).unwrap();
        // Debian has it where only root looks.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let process = std::process::Command::new("mosquitto")
            .arg("-c")
            .arg(&config)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) if std::env::var_os("E4_REQUIRE_MOSQUITTO").is_some_and(|value| value == "1") => {
                panic!("mosquitto is required and does not start: {error}")
            }
            Err(_) => {
                eprintln!("skipped: there is no mosquitto");
                return None;
            }
        };
        let mosquitto = Self { port, process, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(300);
        while TcpStream::connect(("localhost", port)).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(mosquitto)
    }

    /// Checks that it keeps no message and no session.
    fn is_as_it_was(&self) {
        let left = async {
            let (observer, mut events) = self.connect();
            assert_eq!(retained_on_topics(&observer, &mut events).await, Vec::<String>::new());
            only_session_is_that_of(&observer, &mut events).await;
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(30), left).await })
            .expect("it still has a session");
    }

    /// Connects a client that sees everything as it is.
    fn connect(&self) -> (Connection, Events) {
        let nobody = Identity::symmetric(ClientId::from_name("observer").unwrap(), ClientKey::generate().unwrap());
        let nobody = Client::builder(nobody).create(MemoryStore::new()).unwrap();
        let options = MqttOptions::new("observer", ("localhost", self.port));
        let builder = Connection::builder(options, nobody).clean_session();
        let everything = ["#", "$SYS/#"].map(|filter| TopicFilter::new(filter).unwrap());
        everything.iter().fold(builder, |builder, filter| builder.clear(filter)).connect().unwrap()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
