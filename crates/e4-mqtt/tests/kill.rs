//! A device that is killed again and again while its keys are rotated loses no command, and carries none out twice.
//!
//! The device is a process of its own, this program once more, with its state in a file. It writes down each save of its
//! state, before and after, from within its store: so the log tells what was carried out even when the process did not
//! live long enough to say so otherwise. Every command has a second of its own, by which the state names the newest.
//!
//! Somebody reads what it reports meanwhile: each report is of a state that was stored.
#![cfg(all(unix, feature = "v4", feature = "v5", feature = "tls"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    PATIENCE, Setup, Version,
    device::{Device, Party},
    scenario, within,
};
use e4::{
    Client, ClientId, ClientKey, Command, FileStore, Identity, KeyFingerprint, MemoryStore, OpenError, Refusal,
    Snapshot, Store, StoreError, Timestamp, Topic, TopicFilter, TopicHash, TopicKey,
    controller::{LastReport, Report, StateDigest, StateEntry},
};
use e4_mqtt::{Connection, Event, MqttOptions, rumqttc_v4, rumqttc_v5};
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};
use tokio::task::JoinHandle;

const ROTATIONS: u64 = 200;
const TOPICS: [&str; 5] = ["plant/1", "plant/2", "plant/3", "plant/4", "plant/5"];
/// How often the device is killed at least after it has begun. The embedded broker takes 100 connections a minute.
const KILLS: usize = 25;
const NAME: &str = "device";

scenario!(a_device_that_is_killed_at_any_moment_carries_out_every_command_once);
async fn a_device_that_is_killed_at_any_moment_carries_out_every_command_once(setup: Setup) {
    let seed = env::var("E4_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("E4_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let party = Party::symmetric(NAME);
    fs::write(folder.path().join("key"), party.secret).unwrap();
    let first = Timestamp::now().as_unix() - 10_000;

    let controller = setup.controller().await;
    let mut life = Life::start(&setup, folder.path());
    // From now on its session is in the broker, and keeps what comes.
    life.until(folder.path(), |log| log.contains(&Line::Connected)).await;

    let keys: Vec<TopicKey> = (0..ROTATIONS).map(|_| TopicKey::generate().unwrap()).collect();
    let sent = keys.clone();
    let reader = read_reports(&setup, "reader", &party, keys.clone(), first, folder.path().to_owned()).await;
    let sending = tokio::spawn({
        let pauses: Vec<u64> = (0..ROTATIONS).map(|_| random.u64(0..20)).collect();
        let party = party.clone();
        async move {
            for (n, key) in (0..).zip(sent) {
                let topic = Topic::new(TOPICS[n % TOPICS.len()]).unwrap();
                let command = Command::set_topic_key(&topic, key);
                controller.send_at(&party, &command, Timestamp::from_unix(first + n as u64)).await;
                tokio::time::sleep(Duration::from_millis(pauses[n])).await;
            }
        }
    });

    // Killed while it starts, while it waits, and while it is busy with a command. On a busy machine some are killed before
    // they have begun.
    let mut lines = read_log(folder.path()).len();
    while !sending.is_finished() || lives(&read_log(folder.path())) <= KILLS {
        if random.bool() {
            let more = random.usize(1..10);
            let enough = |log: &[Line]| log.len() >= lines + if is_done(log, first) { 1 } else { more };
            life.until(folder.path(), enough).await;
        }
        tokio::time::sleep(Duration::from_micros(random.u64(0..60_000))).await;
        life.kill();
        check_report(folder.path(), &party, &keys, first);
        lines = read_log(folder.path()).len();
        life = Life::start(&setup, folder.path());
    }
    within(PATIENCE, "the controller", sending).await.unwrap();
    life.until(folder.path(), |log| is_done(log, first)).await;
    // It may have been killed before it could say so, and then says so when it is connected again.
    let reports = within(PATIENCE, "the last report", reader).await.unwrap();
    life.kill();
    println!("{reports} reports");

    check_log(&read_log(folder.path()), first);
    check_keys(folder.path(), &keys, first);
    // The broker has kept it.
    let late = read_reports(&setup, "late", &party, keys.clone(), first, folder.path().to_owned()).await;
    assert_eq!(within(PATIENCE, "the report that was kept", late).await.unwrap(), 1);
    assert_eq!(check_report(folder.path(), &party, &keys, first), keys.len());
}

/// What the state says of itself after a kill is what it holds. Returns how many commands were carried out.
fn check_report(folder: &Path, party: &Party, keys: &[TopicKey], first: u64) -> usize {
    let device = Client::load(FileStore::new(folder.join("state"))).unwrap();
    let report = party.recipient.open_report(&device.report()).unwrap();
    check_digest(&report, keys, first)
}

/// Returns how many commands a report tells of.
fn check_digest(report: &Report, keys: &[TopicKey], first: u64) -> usize {
    let carried_out = report.newest.as_unix().checked_sub(first).map_or(0, |last| usize::try_from(last).unwrap() + 1);
    assert_eq!(report.digest, digest(&keys[..carried_out]), "after {carried_out} commands");
    carried_out
}

/// What a device holds after these keys.
fn digest(keys: &[TopicKey]) -> StateDigest {
    let topics = TOPICS.map(|name| Topic::new(name).unwrap());
    let held: BTreeMap<_, _> = keys.iter().zip(topics.iter().cycle()).map(|(key, topic)| (topic.hash(), key)).collect();
    StateDigest::of(held.into_iter().map(|(topic, key)| StateEntry::TopicKey(topic, key)))
}

/// Reads what the device reports, until that is the last command, and counts it. Each is of a state that was stored.
async fn read_reports(
    setup: &Setup,
    name: &str,
    party: &Party,
    keys: Vec<TopicKey>,
    first: u64,
    folder: PathBuf,
) -> JoinHandle<usize> {
    let filter = TopicFilter::new("e4/+/report").unwrap();
    let builder = Connection::builder(setup.options(name), Party::symmetric(name).with_keys(&[]));
    let mut reader = Device::connect(builder.clean_session().clear(&filter)).await;
    reader.subscribe(filter.as_str()).await;
    let party = party.clone();
    tokio::spawn(async move {
        let mut place = LastReport::new();
        let mut count = 0;
        loop {
            count += 1;
            let report = party.recipient.open_report(&reader.events.message().await.payload).unwrap();
            place.accept(&report).expect("no report comes after a newer one");
            let newest = report.newest.as_unix();
            let carried_out = check_digest(&report, &keys, first);
            let stored = [Line::Saved(newest), Line::Loaded(newest)];
            assert!(
                read_log(&folder).iter().any(|line| stored.contains(line)),
                "reported {newest} before it was stored"
            );
            if carried_out == keys.len() {
                return count;
            }
        }
    })
}

fn lives(log: &[Line]) -> usize {
    log.iter().filter(|line| matches!(line, Line::Loaded(_))).count()
}

fn is_done(log: &[Line], first: u64) -> bool {
    log.contains(&Line::Saved(first + ROTATIONS - 1)) || log.contains(&Line::Loaded(first + ROTATIONS - 1))
}

/// Every command was carried out exactly once, in its order, and the state never went back.
fn check_log(log: &[Line], first: u64) {
    let (mut newest, mut under_way, mut changes, mut saves) = (0, None, 0, 0);
    for line in log {
        match *line {
            Line::Loaded(loaded) => {
                // A save that was under way when the process was killed has succeeded or not.
                assert!(loaded == newest || Some(loaded) == under_way, "loaded {loaded}, after {newest}");
                saves += u64::from(loaded != newest);
                (newest, under_way) = (loaded, None);
            }
            Line::Saving(next) => {
                assert_eq!(next, if newest == 0 { first } else { newest + 1 }, "one after the other, and none twice");
                under_way = Some(next);
            }
            Line::Saved(next) => {
                assert_eq!(Some(next), under_way.take());
                newest = next;
                saves += 1;
            }
            Line::Changed => {
                changes += 1;
                assert!(changes <= saves, "more commands are reported than were carried out");
            }
            Line::Connected => (),
        }
    }
    assert_eq!((newest, saves), (first + ROTATIONS - 1, ROTATIONS));
    println!("{} lives, {changes} of {saves} commands were reported", lives(log));
}

/// What the file has in the end are the newest keys.
fn check_keys(folder: &Path, keys: &[TopicKey], first: u64) {
    let device = Client::load(FileStore::new(folder.join("state"))).unwrap();
    let held: BTreeMap<TopicHash, KeyFingerprint> =
        device.key_fingerprints().map(|entry| (entry.topic, entry.key)).collect();
    let newest = keys[keys.len() - TOPICS.len()..].iter().zip(TOPICS);
    let newest: BTreeMap<_, _> =
        newest.map(|(key, topic)| (*Topic::new(topic).unwrap().hash(), key.fingerprint())).collect();
    assert_eq!(held, newest);
    assert_eq!(device.newest_command(), Some(Timestamp::from_unix(first + ROTATIONS - 1)));
}

/// A process of the device, which is killed at the latest with the test.
struct Life(Child);

impl Life {
    fn start(setup: &Setup, folder: &Path) -> Self {
        let mut command = std::process::Command::new(env::current_exe().unwrap());
        command.args(["--exact", "the_device_itself", "--nocapture"]).env("E4_DEVICE_FOLDER", folder);
        command.env("E4_DEVICE_PORT", setup.broker.port().to_string());
        command.env("E4_DEVICE_VERSION", if setup.version == Version::V4 { "4" } else { "5" });
        let errors = fs::File::options().create(true).append(true).open(folder.join("errors")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        Self(command.spawn().unwrap())
    }

    /// Waits until something is in the log.
    async fn until(&mut self, folder: &Path, holds: impl Fn(&[Line]) -> bool) {
        let look = async {
            while !holds(&read_log(folder)) {
                if let Some(status) = self.0.try_wait().unwrap() {
                    panic!("the device ended: {status}\n{}", fs::read_to_string(folder.join("errors")).unwrap());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(PATIENCE, "the device", look).await;
    }

    /// With SIGKILL.
    fn kill(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "the device ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Runs as the device where a test has started it as such, and else does nothing.
#[test]
fn the_device_itself() {
    let Some(folder) = env::var_os("E4_DEVICE_FOLDER").map(PathBuf::from) else { return };
    let port: u16 = env::var("E4_DEVICE_PORT").unwrap().parse().unwrap();
    let options: MqttOptions = match env::var("E4_DEVICE_VERSION").unwrap().as_str() {
        "4" => rumqttc_v4::MqttOptions::new(NAME, ("127.0.0.1", port)).into(),
        _ => rumqttc_v5::MqttOptions::new(NAME, ("127.0.0.1", port)).into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // It is killed long before.
    runtime.block_on(within(Duration::from_secs(120), "the end", live(&folder, options)));
}

async fn live(folder: &Path, options: MqttOptions) {
    let log = Log::open(folder);
    let key = ClientKey::from_bytes(&fs::read(folder.join("key")).unwrap().try_into().unwrap()).unwrap();
    let identity = Identity::symmetric(ClientId::from_name(NAME).unwrap(), key);
    let store = LoggingStore { file: FileStore::new(folder.join("state")), log: log.clone() };
    // The key server's clock is behind in this test, so that each command has a second of its own.
    let device = Client::builder(identity).first_start().load_or_create(store).unwrap();
    log.write(Line::Loaded(newest(&device)));
    let builder = Connection::builder(options, device).report_within(Duration::ZERO);
    let (_connection, mut events) = builder.connect().unwrap();
    while let Some(event) = events.next_event().await {
        match event {
            Event::KeysChanged(_) => log.write(Line::Changed),
            Event::Connected { .. } => log.write(Line::Connected),
            // Commands that were carried out and not acknowledged come again.
            Event::Refused(refused) => assert!(
                matches!(refused.reason, OpenError::Refused(Refusal::Repeated | Refusal::Superseded { .. })),
                "{refused:?}"
            ),
            other => eprintln!("{other:?}"),
        }
    }
}

fn newest(device: &Client) -> u64 {
    device.newest_command().map_or(0, Timestamp::as_unix)
}

/// What the device writes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// A life begins, with this command as the newest.
    Loaded(u64),
    /// A state is about to be stored in which this command is the newest.
    Saving(u64),
    Saved(u64),
    /// The application heard of a command.
    Changed,
    Connected,
}

/// Lines of one write each, which the operating system appends whole, however the process ends.
#[derive(Clone)]
struct Log(std::sync::Arc<fs::File>);

impl Log {
    fn open(folder: &Path) -> Self {
        Self(fs::File::options().create(true).append(true).open(folder.join("log")).unwrap().into())
    }

    fn write(&self, line: Line) {
        let text = match line {
            Line::Loaded(newest) => format!("loaded {newest}\n"),
            Line::Saving(newest) => format!("saving {newest}\n"),
            Line::Saved(newest) => format!("saved {newest}\n"),
            Line::Changed => "changed 0\n".to_owned(),
            Line::Connected => "connected 0\n".to_owned(),
        };
        (&*self.0).write_all(text.as_bytes()).unwrap();
    }
}

fn read_log(folder: &Path) -> Vec<Line> {
    let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let read = |line: &str| {
        let (word, newest) = line.split_once(' ').unwrap();
        let newest = newest.parse().unwrap();
        match word {
            "loaded" => Line::Loaded(newest),
            "saving" => Line::Saving(newest),
            "saved" => Line::Saved(newest),
            "changed" => Line::Changed,
            _ => Line::Connected,
        }
    };
    whole.lines().map(read).collect()
}

struct LoggingStore {
    file: FileStore,
    log: Log,
}

impl Store for LoggingStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.file.load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let copy = Client::load(MemoryStore::from_bytes(state.to_bytes()?.to_vec())).unwrap();
        let newest = newest(&copy);
        // Nothing was commanded yet when the device is made.
        if newest == 0 {
            return self.file.save(state);
        }
        self.log.write(Line::Saving(newest));
        self.file.save(state)?;
        self.log.write(Line::Saved(newest));
        Ok(())
    }
}
