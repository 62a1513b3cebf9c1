//! The server, the broker and the database are killed at random moments of rotations, and servers are stopped: afterwards each
//! device holds what it should, and nothing was sealed twice.
//!
//! In its long form with `E4_KILL_DEVICES=200 E4_KILLS=200`.

use crate::kit::{
    device::{Device, Kind},
    mosquitto::Mosquitto,
    postgres::Cluster,
    process::{Installed, Process},
    recorder::Recorder,
};
use e4::{Client, ClientId, ClientKey, Identity, Opened};
use e4_keyserver::{
    fleet::{Actor, Fleet, GroupPolicy, NewDevice, NewDeviceKey, NewGroup, NewTopic, Refusal, TopicPolicy, Who},
    model::{Access, Labels, Role, RotationKind, Selector, TopicName},
    store::Value,
};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use zeroize::Zeroizing;

const TOPIC: &str = "plant/line";
/// All comes right long before; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(240);

fn actor() -> Actor {
    Actor::new("test", Role::Administrator, "test")
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A database may be away.
async fn until_done<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Refusal>) -> T {
    let since = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(refusal) => assert!(since.elapsed() < PATIENCE, "{what}: {refusal}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// A fleet of one topic, with its broker, database, recorder and devices that are switched on.
struct World {
    cluster: Cluster,
    broker: Mosquitto,
    installed: Installed,
    fleet: Fleet,
    topic: i64,
    devices: Vec<Device>,
    keys: Vec<(ClientId, ClientKey)>,
    recorder: Recorder,
}

impl World {
    async fn new(devices: usize) -> Option<Self> {
        let broker = Mosquitto::start(&["autosave_interval 1", "max_queued_messages 1000"])?;
        let cluster = Cluster::start()?;
        let url = cluster.url(&cluster.create_database());
        let (installed, fleet) = Installed::new(&url, &broker.url()).await;
        let (mut enrol, mut made, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=devices {
            let (name, key) = (format!("device-{number}"), ClientKey::generate().unwrap());
            let id = ClientId::from_name(&name).unwrap();
            keys.push((id, key.clone()));
            enrol.push(NewDevice {
                line: number as u64,
                name: Some(name.clone()),
                id: None,
                key: NewDeviceKey::Symmetric(Zeroizing::new(*key.as_bytes())),
                labels: Labels::new([("line".to_owned(), "yes".to_owned())]).unwrap(),
                groups: vec![],
                notes: String::new(),
            });
            made.push(
                Device::new(&name, Kind::Reporting, Identity::symmetric(id, key), broker.port, &[TOPIC]).unwrap(),
            );
        }
        fleet.add_devices(&actor(), enrol).await.unwrap();
        let topic = NewTopic {
            name: TopicName::new(TOPIC).unwrap(),
            key: None,
            policy: TopicPolicy::default(),
            notes: String::new(),
        };
        let topic = fleet.add_topic(&actor(), &topic).await.unwrap().id;
        let group = NewGroup {
            name: "line".to_owned(),
            selector: Some(Selector::parse("line=yes").unwrap()),
            policy: GroupPolicy::default(),
        };
        fleet.add_group(&actor(), &group).await.unwrap();
        fleet.set_access(&actor(), topic, &Who::Group("line".to_owned()), Access::BOTH).await.unwrap();
        let recorder = Recorder::start(broker.port).await;
        for device in &mut made {
            device.switch_on().await.unwrap();
        }
        Some(Self { cluster, broker, installed, fleet, topic, devices: made, keys, recorder })
    }

    async fn rotate(&self, kind: RotationKind) {
        until_done("rotate", async || self.fleet.rotate(&actor(), self.topic, kind).await).await;
    }

    async fn count(&self, sql: &str, values: &[Value]) -> i64 {
        let counted = async {
            let mut tx = self.fleet.store().read().await?;
            tx.query(sql, values).await?[0].int(0)
        };
        counted.await.unwrap_or(-1)
    }

    /// How many orders are open, and how many devices that are not withdrawn have not confirmed what they should hold.
    async fn open_and_wrong(&self) -> (i64, i64) {
        let open = self.count("SELECT COUNT(*) FROM orders WHERE state IN (0, 1, 2)", &[]).await;
        let sql = "SELECT COUNT(*) FROM devices WHERE withdrawn IS NULL AND standing <> 'confirmed'";
        (open, self.count(sql, &[]).await)
    }

    async fn comes_right(&self, process: &Process) {
        let since = Instant::now();
        while self.open_and_wrong().await != (0, 0) {
            let wrong = self.open_and_wrong().await;
            assert!(since.elapsed() < PATIENCE, "{wrong:?} orders are open and devices wrong\n{}", process.log());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The same where the broker was killed: a device that lost one connection after the other over its reports makes no more of
    /// them, until it is started again.
    async fn comes_right_with_devices_that_are_started_again(&mut self, process: &Process) {
        let since = Instant::now();
        while self.open_and_wrong().await != (0, 0) {
            for device in &mut self.devices {
                if device.seen().reports_no_more.swap(false, Ordering::AcqRel) {
                    device.switch_off().await.unwrap();
                    device.switch_on().await.unwrap();
                }
            }
            let wrong = self.open_and_wrong().await;
            assert!(since.elapsed() < PATIENCE, "{wrong:?} orders are open and devices wrong\n{}", process.log());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What the server calls confirmed is so: each reads what any other writes, and nothing was sealed twice.
    async fn is_as_the_server_says(&self, members: &[Device]) {
        for writer in [0, members.len() - 1] {
            let payload = format!("{writer} at {:?}", Instant::now()).into_bytes();
            members[writer].publish(TOPIC, &payload).await.unwrap();
            let since = Instant::now();
            while let Some(deaf) = members.iter().find(|device| !device.seen().has_read(&payload)) {
                assert!(since.elapsed() < PATIENCE, "{} cannot read what {} writes", deaf.name, members[writer].name);
                sleep(Duration::from_millis(50)).await;
            }
        }
        let commands = self.recorder.no_second_was_used_twice(&self.keys);
        assert!(commands > 0, "the recorder heard nothing");
        println!("{commands} commands");
        self.fleet.verify_audit().await.unwrap();
    }
}

/// The withdrawn device has its memory as it was, and takes no more commands.
async fn reads_nothing_new(world: &World, thief: &mut Client, members: &[Device]) {
    let payload = b"what nobody else is to know";
    members[0].publish(TOPIC, payload).await.unwrap();
    let sealed = members[0].connection().unwrap().with_device(|device| device.seal(TOPIC, payload)).await.unwrap();
    assert!(!matches!(thief.open(TOPIC, &sealed.unwrap()), Ok(Opened::Message(_))), "{}", world.topic);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_each_device_ends_with_the_keys_that_the_server_says() {
    let (devices, kills) = (number("E4_KILL_DEVICES", 20), number("E4_KILLS", 6));
    let Some(mut world) = World::new(devices).await else { return };
    let mut server = world.installed.start();
    let mut thief = world.devices.pop().unwrap();
    let kinds = [RotationKind::Lossless, RotationKind::Hard, RotationKind::Soft];
    for at in 0..kills {
        world.rotate(kinds[fastrand::usize(..3)]).await;
        if at == kills / 2 {
            thief.switch_off().await.unwrap();
            until_done("withdraw", async || world.fleet.withdraw(&actor(), &thief.id, false).await).await;
        }
        sleep(Duration::from_millis(fastrand::u64(..1500))).await;
        let pause = Duration::from_millis(fastrand::u64(..300));
        match at % 3 {
            0 => {
                server.kill();
                sleep(pause).await;
                server.start();
            }
            1 => {
                world.broker.kill();
                sleep(pause).await;
                world.broker.start_again();
            }
            _ => {
                world.cluster.kill();
                sleep(pause).await;
                world.cluster.start_again();
            }
        }
    }
    world.comes_right_with_devices_that_are_started_again(&server).await;
    world.is_as_the_server_says(&world.devices).await;
    reads_nothing_new(&world, thief.client_mut().unwrap(), &world.devices).await;
    server.signal("TERM");
    assert!(server.ended(), "it does not end in good order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_a_fleet_and_one_that_is_stopped_and_comes_back_does_no_harm() {
    let Some(world) = World::new(number("E4_KILL_DEVICES", 20)).await else { return };
    let (one, two) = (world.installed.start(), world.installed.start());
    let held = async |server: &Process| {
        let sql = "SELECT COUNT(*) FROM leases WHERE slice >= 0 AND holder LIKE $1";
        world.count(sql, &[Value::from(format!("{}-%", server.id()))]).await
    };
    let until_held = async |server: &Process, slices: i64| {
        let since = Instant::now();
        while held(server).await != slices {
            assert!(since.elapsed() < PATIENCE, "{} slices, not {slices}\n{}", held(server).await, one.log());
            sleep(Duration::from_millis(100)).await;
        }
        since.elapsed()
    };
    until_held(&one, 32).await;
    until_held(&two, 32).await;
    world.rotate(RotationKind::Lossless).await;
    world.comes_right(&one).await;
    // In the middle of a rotation.
    world.rotate(RotationKind::Hard).await;
    sleep(Duration::from_millis(fastrand::u64(..500))).await;
    one.signal("STOP");
    println!("taken over after {:?}", until_held(&two, 64).await);
    world.rotate(RotationKind::Soft).await;
    world.comes_right(&two).await;
    one.signal("CONT");
    world.rotate(RotationKind::Hard).await;
    until_held(&one, 32).await;
    world.rotate(RotationKind::Lossless).await;
    world.comes_right(&one).await;
    world.is_as_the_server_says(&world.devices).await;
}
