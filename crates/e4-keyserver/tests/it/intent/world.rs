//! A fleet with a clock that the test owns.

use crate::kit::database::Database;
use e4::ClientId;
use e4_keyserver::{
    fleet::{
        Actor, Clock, Fleet, GroupPolicy, NewDevice, NewDeviceKey, NewGroup, NewTopic, Policy, Refusal, RefusalKind,
        TopicPolicy, Who,
    },
    model::{Access, Labels, Role, Selector, TopicName},
    store::{Row, Value},
    vault::{SystemChance, Vault},
};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use zeroize::Zeroizing;

/// A time that moves when the test says so.
#[derive(Debug)]
pub(super) struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) boss: Actor,
    hand: Arc<Hand>,
    _database: Database,
}

pub(super) const BEGIN: i64 = 1_800_000_000;

impl World {
    pub(super) async fn new(database: Database) -> Self {
        Self::with(database, Policy::default()).await
    }

    pub(super) async fn with(database: Database, policy: Policy) -> Self {
        let vault = Arc::new(Vault::create(Box::new(SystemChance), b"test").unwrap());
        let hand = Arc::new(Hand(AtomicI64::new(BEGIN)));
        let fleet = Fleet::new(database.open().await, vault, hand.clone(), policy);
        fleet.begin_fleet("root").await.unwrap();
        Self { fleet, boss: Actor::new("boss", Role::Administrator, "127.0.0.1"), hand, _database: database }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.hand.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) async fn device(&self, name: &str) -> ClientId {
        self.add(vec![new_device(name)]).await.unwrap();
        ClientId::from_name(name).unwrap()
    }

    pub(super) async fn add(&self, devices: Vec<NewDevice>) -> Result<u64, Refusal> {
        self.fleet.add_devices(&self.boss, devices).await.map(|added| added.count)
    }

    pub(super) async fn topic(&self, name: &str) -> i64 {
        self.topic_with(name, TopicPolicy::default()).await
    }

    pub(super) async fn topic_with(&self, name: &str, policy: TopicPolicy) -> i64 {
        let new = NewTopic { name: TopicName::new(name).unwrap(), key: None, policy, notes: String::new() };
        self.fleet.add_topic(&self.boss, &new).await.unwrap().id
    }

    pub(super) async fn group(&self, name: &str, selector: Option<&str>) {
        let selector = selector.map(|text| Selector::parse(text).unwrap());
        let new = NewGroup { name: name.to_owned(), selector, policy: GroupPolicy::default() };
        self.fleet.add_group(&self.boss, &new).await.unwrap();
    }

    pub(super) async fn give(&self, topic: i64, device: &ClientId, access: Access) -> Vec<i64> {
        self.fleet.set_access(&self.boss, topic, &Who::Device(*device), access).await.unwrap().orders
    }

    pub(super) async fn give_group(&self, topic: i64, group: &str, access: Access) -> Vec<i64> {
        self.fleet.set_access(&self.boss, topic, &Who::Group(group.to_owned()), access).await.unwrap().orders
    }

    pub(super) async fn rows(&self, sql: &str, values: &[Value]) -> Vec<Row> {
        self.fleet.store().read().await.unwrap().query(sql, values).await.unwrap()
    }

    pub(super) async fn number(&self, sql: &str, values: &[Value]) -> i64 {
        self.rows(sql, values).await[0].int(0).unwrap()
    }

    pub(super) async fn change(&self, sql: &str, values: &[Value]) -> u64 {
        let mut tx = self.fleet.store().write().await.unwrap();
        let count = tx.execute(sql, values).await.unwrap();
        tx.commit().await.unwrap();
        count
    }

    /// Version, role, reason and cut of each key of a topic.
    pub(super) async fn versions(&self, topic: i64) -> Vec<(i64, i64, i64, i64)> {
        let sql = "SELECT version, role, reason, cut FROM key_versions WHERE topic = $1 ORDER BY version";
        let rows = self.rows(sql, &[Value::from(topic)]).await;
        rows.iter().map(|it| (it.int(0).unwrap(), it.int(1).unwrap(), it.int(2).unwrap(), it.int(3).unwrap())).collect()
    }

    /// The state of an order, as its code.
    pub(super) async fn state(&self, order: i64) -> i64 {
        self.number("SELECT state FROM orders WHERE id = $1", &[Value::from(order)]).await
    }

    /// Nobody is due any more.
    pub(super) async fn all_looked_at(&self) {
        self.change("UPDATE devices SET due = NULL", &[]).await;
    }

    /// Names of the devices that the planner is to look at now.
    pub(super) async fn due(&self) -> Vec<String> {
        let sql = "SELECT name FROM devices WHERE due <= $1 ORDER BY name";
        let rows = self.rows(sql, &[Value::from(self.fleet.now())]).await;
        rows.iter().map(|it| it.text(0).unwrap().to_owned()).collect()
    }

    pub(super) async fn last_audit(&self) -> (String, String, String) {
        let rows = self.rows("SELECT action, subject, detail FROM audit ORDER BY id DESC LIMIT 1", &[]).await;
        let text = |column| rows[0].text(column).unwrap().to_owned();
        (text(0), text(1), text(2))
    }
}

pub(super) fn new_device(name: &str) -> NewDevice {
    NewDevice {
        line: 1,
        name: Some(name.to_owned()),
        id: None,
        key: NewDeviceKey::Made,
        labels: Labels::default(),
        groups: Vec::new(),
        notes: String::new(),
    }
}

pub(super) fn labels(text: &str) -> Labels {
    Labels::new(text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    }))
    .unwrap()
}

pub(super) fn key(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

/// The public key of the pair with a seed of such bytes.
pub(super) fn public_key(byte: u8) -> [u8; 32] {
    *e4::SigningKey::from_seed(&[byte; 32]).unwrap().verifying_key().as_bytes()
}

pub(super) fn kind_of<T: std::fmt::Debug>(done: Result<T, Refusal>) -> RefusalKind {
    done.unwrap_err().kind
}
