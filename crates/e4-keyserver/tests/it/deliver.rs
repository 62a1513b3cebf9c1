//! Delivery against a real broker, with a fleet behind it.
//!
//! In its long form with `E4_REPORTS=100000`.

use crate::kit::{database::Database, mosquitto::Mosquitto, postgres::Cluster};
use e4::{Client, ClientId, ClientKey, Identity, MemoryStore, TopicFilter};
use e4_keyserver::{
    deliver::{Broker, BrokerOptions, BrokerState, Delivery, Hearing, MqttVersion},
    fleet::{Actor, Fleet, NewDevice, NewDeviceKey, Policy, SystemClock},
    model::{Labels, Role},
    store::Store,
    upkeep::found,
    vault::{SystemChance, Vault},
};
use e4_mqtt::{Connection, Event, QoS, rumqttc_v5::MqttOptions};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(240);

async fn fleet(url: &str) -> Fleet {
    let vault = Vault::create(Box::new(SystemChance), b"").unwrap();
    let store = Store::open(url).await.unwrap();
    found(&store, &vault, &[]).await.unwrap();
    let fleet = Fleet::new(store, Arc::new(vault), Arc::new(SystemClock), Policy::default());
    fleet.begin_fleet("test").await.unwrap();
    fleet
}

fn broker(mosquitto: &Mosquitto) -> Broker {
    Broker::new(&BrokerOptions::plain(mosquitto.url(), MqttVersion::V5)).unwrap()
}

/// Publishes a report of each of so many new devices, which the broker keeps; the devices as they are enrolled.
async fn reported(port: u16, many: usize) -> Vec<NewDevice> {
    let nobody = Identity::symmetric(ClientId::from_name("nobody").unwrap(), ClientKey::generate().unwrap());
    let nobody = Client::builder(nobody).create(MemoryStore::new()).unwrap();
    let options = MqttOptions::new("devices", ("127.0.0.1", port));
    let builder = Connection::builder(options, nobody).clear(&TopicFilter::new("e4/#").unwrap()).clean_session();
    let (connection, mut events) = builder.connect().unwrap();
    tokio::spawn(async move { while events.next_event().await.is_some() {} });
    let mut devices = Vec::new();
    for number in 1..=many {
        let (name, key) = (format!("device-{number}"), ClientKey::generate().unwrap());
        let id = ClientId::from_name(&name).unwrap();
        let device = Client::builder(Identity::symmetric(id, key.clone())).create(MemoryStore::new()).unwrap();
        let topic = id.report_topic();
        let _taken = connection.publish_retained(topic.as_str(), &device.report(), QoS::AtLeastOnce).await.unwrap();
        devices.push(NewDevice {
            line: number as u64,
            name: Some(name),
            id: None,
            key: NewDeviceKey::Symmetric(Zeroizing::new(*key.as_bytes())),
            labels: Labels::default(),
            groups: vec![],
            notes: String::new(),
        });
    }
    connection.flush().await;
    devices
}

async fn count(fleet: &Fleet, sql: &str) -> i64 {
    fleet.store().read().await.unwrap().query(sql, &[]).await.unwrap()[0].int(0).unwrap()
}

/// More than the 1,020 that mosquitto gives to a live subscription.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_reports_that_the_broker_kept_are_judged_at_the_start() {
    let Some(mosquitto) = Mosquitto::start(&[]) else { return };
    let many = std::env::var("E4_REPORTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    let database = Database::sqlite();
    let fleet = fleet(database.url()).await;
    let devices = reported(mosquitto.port, many).await;
    let actor = Actor::new("test", Role::Administrator, "test");
    fleet.add_devices(&actor, devices).await.unwrap();
    // What a client needs that only receives them.
    let since = Instant::now();
    let nobody = Identity::symmetric(ClientId::from_name("bare").unwrap(), ClientKey::generate().unwrap());
    let nobody = Client::builder(nobody).create(MemoryStore::new()).unwrap();
    let options = MqttOptions::new("bare", ("127.0.0.1", mosquitto.port));
    let builder = Connection::builder(options, nobody).clear(&TopicFilter::new("e4/#").unwrap()).clean_session();
    let (bare, mut events) = builder.queue(1 << 18).connect().unwrap();
    let asked = tokio::spawn({
        let bare = bare.clone();
        async move { bare.subscribe("e4/+/report", QoS::AtMostOnce).await }
    });
    let mut received = 0;
    while received < many {
        let event = timeout(PATIENCE, events.next_event()).await.unwrap().unwrap();
        received += usize::from(matches!(event, Event::Message(_)));
    }
    asked.await.unwrap().unwrap();
    let bare = since.elapsed();
    let since = Instant::now();
    let delivery = Delivery::start(fleet.clone(), broker(&mosquitto)).unwrap();
    let judged = "SELECT COUNT(*) FROM devices WHERE reported IS NOT NULL";
    while count(&fleet, judged).await < many as i64 {
        assert!(since.elapsed() < PATIENCE, "{} of {many} were judged", count(&fleet, judged).await);
        sleep(Duration::from_millis(20)).await;
    }
    println!("{many} reports: judged after {:?}; a bare client received them in {bare:?}", since.elapsed());
    delivery.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_and_a_database_that_go_away_are_states_that_end_by_themselves() {
    let Some(mut mosquitto) = Mosquitto::start(&[]) else { return };
    let Some(cluster) = Cluster::start() else { return };
    let fleet = fleet(&cluster.url(&cluster.create_database())).await;
    let delivery = Delivery::start(fleet.clone(), broker(&mosquitto)).unwrap();
    let mut standing = delivery.standing();
    let mut until = async |what: &str, is_so: fn(&e4_keyserver::deliver::Standing) -> bool| {
        let found = timeout(PATIENCE, standing.wait_for(is_so)).await;
        let _seen = found.unwrap_or_else(|_| panic!("waited in vain for {what}")).unwrap();
    };
    until("all slices", |standing| standing.slices == 64).await;
    until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
    mosquitto.kill();
    until("a broker that is away", |standing| matches!(standing.broker, BrokerState::Away(_))).await;
    mosquitto.start_again();
    until("the broker", |standing| standing.broker == BrokerState::Connected).await;
    until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
    cluster.kill();
    until("a database that is away", |standing| standing.database.is_some()).await;
    until("slices that others have by now", |standing| standing.slices == 0).await;
    cluster.start_again();
    until("the database", |standing| standing.database.is_none()).await;
    until("all slices", |standing| standing.slices == 64).await;
    delivery.stop().await;
    assert_eq!(count(&fleet, "SELECT COUNT(*) FROM leases WHERE expires > 0").await, 0, "nothing is held any more");
}
