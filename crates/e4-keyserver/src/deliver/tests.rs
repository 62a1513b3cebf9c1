use super::{
    broker::{Broker, BrokerOptions, MqttVersion},
    link::{self, Heard, Outputs},
    snapshot,
    standing::{Board, BrokerState, Hearing, Standing},
};
use e4::{ClientId, TopicFilter};
use e4_mqtt::{Connection, Event, QoS};
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig},
    server::BrokerShutdownHandle,
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

#[path = "../../tests/it/kit/mosquitto.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod mosquitto;
use mosquitto::Mosquitto;

const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(50);

async fn within<T>(what: &str, it: impl Future<Output = T>) -> T {
    timeout(PATIENCE, it).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A broker inside this process, on a port of its own.
struct Embedded {
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Embedded {
    async fn start(port: u16, max_qos: u8) -> Self {
        let mut config = BrokerConfig::new()
            .with_bind_address(SocketAddr::from(([127, 0, 0, 1], port)))
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory))
            .with_maximum_qos(max_qos);
        config.sys_topics_enabled = false;
        let mut broker = MqttBroker::with_config(config).await.unwrap();
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move { broker.run().await.unwrap() });
        within("the broker to start", ready.wait_for(|ready| *ready)).await.unwrap();
        Self { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.shutdown();
        within("the broker to end", self.task).await.unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn broker(port: u16, version: MqttVersion) -> Broker {
    Broker::new(&BrokerOptions::plain(format!("mqtt://127.0.0.1:{port}"), version)).unwrap()
}

/// The link of a server, and what it tells.
struct Linked {
    standing: watch::Receiver<Standing>,
    heard: mpsc::Receiver<Heard>,
    up: watch::Receiver<Option<Connection>>,
    task: JoinHandle<()>,
}

impl Linked {
    fn start(broker: Broker) -> Self {
        let board = Board::new("a broker".to_owned());
        let (heard, taken) = mpsc::channel(16);
        let (standing, up) = (board.watch(), watch::Sender::new(None));
        let subscribed = up.subscribe();
        let outputs = Outputs { board, heard, up, bells: Arc::default() };
        let task = tokio::spawn(async move { link::keep(&broker, RETRY, &outputs).await });
        Self { standing, heard: taken, up: subscribed, task }
    }

    async fn until(&mut self, what: &str, is_so: impl FnMut(&Standing) -> bool) {
        within(what, self.standing.wait_for(is_so)).await.unwrap();
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whoever publishes on the report topics.
async fn publisher(port: u16) -> Connection {
    let clear = TopicFilter::new("e4/#").unwrap();
    let builder =
        Connection::builder(broker(port, MqttVersion::V5).options("-devices"), super::nobody::nobody().unwrap());
    let (connection, mut events) = builder.clear(&clear).clean_session().connect().unwrap();
    let connected = async { while !matches!(events.next_event().await.unwrap(), Event::Connected(_)) {} };
    within("the publisher", connected).await;
    tokio::spawn(async move { while events.next_event().await.is_some() {} });
    connection
}

fn device(number: u64) -> ClientId {
    ClientId::from_name(&format!("device {number}")).unwrap()
}

#[tokio::test]
async fn reports_that_are_granted_at_qos_0_are_a_state_that_ends_by_itself() {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let port = free_port();
        let embedded = Embedded::start(port, 0).await;
        let mut linked = Linked::start(broker(port, version));
        linked
            .until(
                "too little to be said",
                |standing| matches!(&standing.hearing, Hearing::Cannot(why) if why.contains("QoS 0")),
            )
            .await;
        embedded.stop().await;
        linked.until("the loss", |standing| matches!(standing.broker, BrokerState::Away(_))).await;
        assert!(linked.up.borrow().is_none());
        let _embedded = Embedded::start(port, 2).await;
        linked.until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
        assert_eq!(linked.standing.borrow().broker, BrokerState::Connected);
        assert!(linked.up.borrow().is_some());
    }
}

#[tokio::test]
async fn what_is_no_report_by_its_topic_or_size_is_not_handed_on() {
    let port = free_port();
    let _embedded = Embedded::start(port, 2).await;
    let mut linked = Linked::start(broker(port, MqttVersion::V5));
    linked.until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
    let devices = publisher(port).await;
    for (topic, len) in [
        ("e4/nobody/report".to_owned(), 83),
        (device(0).report_topic().to_string(), 5000),
        (device(1).report_topic().to_string(), 83),
    ] {
        within("a publication", devices.publish(&*topic, &vec![7; len], QoS::AtLeastOnce).await.unwrap())
            .await
            .unwrap();
    }
    let heard = within("a report", linked.heard.recv()).await.unwrap();
    assert_eq!((heard.device, heard.payload.len(), heard.retained), (device(1), 83, false));
    assert_eq!(linked.standing.borrow().hearing, Hearing::Hears);
}

#[tokio::test]
async fn a_broker_that_refuses_the_reports_is_a_state_that_ends_by_itself() {
    const PLUGIN: &str = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so";
    if !std::path::Path::new(PLUGIN).exists() {
        return;
    }
    let Some(mut mosquitto) = Mosquitto::start(&[]) else { return };
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let rules = |subscribe: bool| {
            format!(
                r#"{{"defaultACLAccess": {{"publishClientSend": true, "publishClientReceive": true, "subscribe": {subscribe},
                "unsubscribe": true}}, "clients": [], "groups": [], "roles": []}}"#
            )
        };
        let file = mosquitto.file("rules.json", &rules(false));
        let lines = [format!("plugin {PLUGIN}"), format!("plugin_opt_config_file {file}")];
        mosquitto.kill();
        mosquitto.start_again_with(&lines.each_ref().map(String::as_str));
        let mut linked = Linked::start(broker(mosquitto.port, version));
        let refused =
            |standing: &Standing| matches!(&standing.hearing, Hearing::Cannot(why) if why.contains("e4/+/report"));
        linked.until("the refusal to be said", refused).await;
        // Commands go out all the same.
        assert!(linked.up.borrow().is_some());
        mosquitto.file("rules.json", &rules(true));
        mosquitto.kill();
        mosquitto.start_again();
        linked.until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
    }
}

#[tokio::test]
async fn a_subscription_that_is_taken_and_not_served_is_not_called_hearing() {
    let Some(mut mosquitto) = Mosquitto::start(&[]) else { return };
    let acl = format!("acl_file {}", mosquitto.file("acl", "topic write e4/#\n"));
    mosquitto.kill();
    mosquitto.start_again_with(&[&acl]);
    let mut linked = Linked::start(broker(mosquitto.port, MqttVersion::V5));
    linked.until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
    publish_retained(mosquitto.port, 1).await;
    let connection = linked.up.borrow().clone().unwrap();
    within("what would come before an answer", connection.round_trip()).await.unwrap();
    assert_eq!(linked.standing.borrow().hearing, Hearing::Subscribed);
    mosquitto.kill();
    mosquitto.start_again_with(&[]);
    linked.until("the loss", |standing| standing.hearing == Hearing::NotYet).await;
    linked.until("the subscription", |standing| standing.hearing == Hearing::Subscribed).await;
    publish_retained(mosquitto.port, 1).await;
    linked.until("hearing", |standing| standing.hearing == Hearing::Hears).await;
}

/// Publishes a report of each of so many devices, which the broker keeps.
async fn publish_retained(port: u16, many: u64) {
    let devices = publisher(port).await;
    for number in 0..many {
        let topic = device(number).report_topic();
        let _taken = devices.publish_retained(topic.as_str(), &[7; 83], QoS::AtLeastOnce).await.unwrap();
    }
    within("the reports to be kept", devices.flush()).await;
}

async fn snapshot_is_whole(broker: Broker, many: u64) {
    // Less room than reports: taking waits, and the broker is not.
    let (heard, mut taken) = mpsc::channel(10);
    let taking = tokio::spawn(async move { snapshot::take(&broker, &heard).await });
    let mut ids = std::collections::HashSet::new();
    while let Some(report) = within("a report or the end", taken.recv()).await {
        assert!(report.retained);
        ids.insert(report.device);
    }
    assert_eq!(ids.len() as u64, many);
    assert_eq!(taking.await.unwrap(), Ok(snapshot::Snapshot { reports: many, is_short: false }));
}

/// More than the 1,020 that mosquitto gives at QoS 1.
const MANY: u64 = 3000;

#[tokio::test]
async fn a_snapshot_brings_all_that_the_broker_keeps_and_ends() {
    let port = free_port();
    let _embedded = Embedded::start(port, 2).await;
    publish_retained(port, MANY).await;
    snapshot_is_whole(broker(port, MqttVersion::V5), MANY).await;
}

#[tokio::test]
async fn a_snapshot_brings_all_that_mosquitto_keeps_and_cuts_off_at_qos_1() {
    let Some(mosquitto) = Mosquitto::start(&[]) else { return };
    publish_retained(mosquitto.port, MANY).await;
    for version in [MqttVersion::V311, MqttVersion::V5] {
        snapshot_is_whole(broker(mosquitto.port, version), MANY).await;
    }
}
