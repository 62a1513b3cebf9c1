//! A fleet of real clients without a broker: what a round gives out is queued, and taken by those that are there.

use crate::kit::database::Database;
use e4::{
    Client, ClientBuilder, ClientId, ClientKey, Clock as DeviceClock, ClockReading, GrowableKeyRing, Identity,
    OpenError, Opened, Refusal, SigningKey, Snapshot, Store, StoreError, Timestamp,
};
use e4_keyserver::{
    fleet::{
        Actor, Arrived, Clock, Fleet, Judged, NewDevice, NewDeviceKey, NewTopic, Policy, Publication, TopicPolicy, Who,
    },
    model::{Access, Labels, Leases, Role, Slice, TopicName},
    store::{Row, Value},
    vault::{SystemChance, Vault},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use zeroize::Zeroizing;

const BEGIN: i64 = 1_800_000_000;
pub(super) const DAY: i64 = 86_400;

/// A time that moves when the test says so, for the server and for all devices.
#[derive(Debug, Clone)]
pub(super) struct Hand(Arc<AtomicI64>);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl DeviceClock for Hand {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::from_unix(Clock::now(self) as u64))
    }
}

#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Vec<u8>>>);

impl Store for Disk {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let disk = self.0.borrow();
        if disk.is_empty() {
            return Err(StoreError::Empty);
        }
        read(&disk);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        *self.0.borrow_mut() = state.to_bytes()?.to_vec();
        Ok(())
    }
}

pub(super) struct Device {
    client: Client<GrowableKeyRing, Disk, Hand>,
    disk: Disk,
    hand: Hand,
    /// What waits for it at the broker.
    pub(super) queue: VecDeque<Vec<u8>>,
    pub(super) is_there: bool,
    reports: bool,
    report_due: bool,
}

impl Device {
    pub(super) fn disk(&self) -> Vec<u8> {
        self.disk.0.borrow().clone()
    }

    pub(super) fn put_disk_back(&mut self, disk: Vec<u8>) {
        *self.disk.0.borrow_mut() = disk;
        self.client = Client::load_with(self.disk.clone(), self.hand.clone()).unwrap();
        self.report_due = true;
    }

    /// How many of these commands open with the key that is on its disk, whether it would still take them or not.
    pub(super) fn count_authentic(disk: Vec<u8>, commands: &[Vec<u8>], hand: &Hand) -> usize {
        let mut thief =
            Client::<GrowableKeyRing, _, _>::load_with(Disk(Rc::new(RefCell::new(disk))), hand.clone()).unwrap();
        let topic = thief.control_topic();
        let mut is_authentic =
            |command: &Vec<u8>| !matches!(thief.open(topic, command), Err(OpenError::Refused(Refusal::NotAuthentic)));
        commands.iter().filter(|command| is_authentic(command)).count()
    }

    pub(super) fn report(&self) -> Vec<u8> {
        self.client.report()
    }

    pub(super) fn seal(&self, topic: &str, payload: &[u8]) -> Vec<u8> {
        self.client.seal(topic, payload).unwrap()
    }

    pub(super) fn opens(&mut self, topic: &str, message: &[u8]) -> bool {
        self.client.open(topic, message).is_ok()
    }

    fn take_all(&mut self) {
        while let Some(command) = self.queue.pop_front() {
            match self.client.open(self.client.control_topic(), &command) {
                Ok(Opened::Command(_)) | Err(OpenError::Refused(_)) => self.report_due = true,
                Ok(_) => panic!("a command is a command"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) boss: Actor,
    pub(super) devices: BTreeMap<ClientId, Device>,
    /// All that ever went over the broker to devices.
    pub(super) recorded: Vec<(ClientId, Vec<u8>)>,
    pub(super) hand: Hand,
    leases: Leases,
    _database: Database,
}

impl World {
    pub(super) async fn new(database: Database) -> Self {
        let vault = Arc::new(Vault::create(Box::new(SystemChance), b"test").unwrap());
        let hand = Hand(Arc::new(AtomicI64::new(BEGIN)));
        let fleet = Fleet::new(database.open().await, vault, Arc::new(hand.clone()), Policy::default());
        fleet.begin_fleet("root").await.unwrap();
        let mut tx = fleet.store().write().await.unwrap();
        for slice in Slice::all() {
            let sql = "INSERT INTO leases (slice, holder, fence, expires) VALUES ($1, 'test', 7, 0)";
            tx.execute(sql, &[Value::from(slice.code())]).await.unwrap();
        }
        tx.commit().await.unwrap();
        let leases = Leases(Slice::all().map(|slice| (slice, 7)).collect());
        let boss = Actor::new("boss", Role::Administrator, "127.0.0.1");
        Self { fleet, boss, devices: BTreeMap::new(), recorded: Vec::new(), hand, leases, _database: database }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.hand.0.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn add(&mut self, name: &str, key: NewDeviceKey, identity: Identity, reports: bool) -> ClientId {
        let id = ClientId::from_name(name).unwrap();
        let new = NewDevice {
            line: 1,
            name: Some(name.to_owned()),
            id: None,
            key,
            labels: Labels::default(),
            groups: Vec::new(),
            notes: String::new(),
        };
        self.fleet.add_devices(&self.boss, vec![new]).await.unwrap();
        let disk = Disk::default();
        let client = ClientBuilder::new(identity).first_start().create_with(disk.clone(), self.hand.clone()).unwrap();
        let device = Device {
            client,
            disk,
            hand: self.hand.clone(),
            queue: VecDeque::new(),
            is_there: true,
            reports,
            report_due: true,
        };
        self.devices.insert(id, device);
        id
    }

    /// A device that shares a key with the server.
    pub(super) async fn device(&mut self, name: &str) -> ClientId {
        self.symmetric(name, true).await
    }

    /// One that never reports.
    pub(super) async fn silent(&mut self, name: &str) -> ClientId {
        self.symmetric(name, false).await
    }

    async fn symmetric(&mut self, name: &str, reports: bool) -> ClientId {
        let key = ClientKey::generate().unwrap();
        let identity = Identity::symmetric(ClientId::from_name(name).unwrap(), key.clone());
        self.add(name, NewDeviceKey::Symmetric(Zeroizing::new(*key.as_bytes())), identity, reports).await
    }

    /// A device that signs.
    pub(super) async fn signer(&mut self, name: &str) -> ClientId {
        let key = SigningKey::generate().unwrap();
        let row = self.row("SELECT public FROM server_keys WHERE role = 1", &[]).await;
        let server = e4::C2PublicKey::from_bytes(&row.array(0).unwrap()).unwrap();
        let public = *key.verifying_key().as_bytes();
        let identity = Identity::public_key(ClientId::from_name(name).unwrap(), key, server).unwrap();
        self.add(name, NewDeviceKey::PublicKey(public), identity, true).await
    }

    pub(super) fn at(&mut self, id: &ClientId) -> &mut Device {
        self.devices.get_mut(id).unwrap()
    }

    pub(super) async fn topic(&self, name: &str) -> i64 {
        let name = TopicName::new(name).unwrap();
        let new = NewTopic { name, key: None, policy: TopicPolicy::default(), notes: String::new() };
        self.fleet.add_topic(&self.boss, &new).await.unwrap().id
    }

    pub(super) async fn give(&self, topic: i64, device: &ClientId, access: Access) -> Vec<i64> {
        self.fleet.set_access(&self.boss, topic, &Who::Device(*device), access).await.unwrap().orders
    }

    /// What goes out now; nobody has it yet.
    pub(super) async fn round(&self) -> Vec<Publication> {
        self.fleet.round(&self.leases, 1000).await.unwrap().publications
    }

    /// The broker has it.
    pub(super) fn publish(&mut self, publications: Vec<Publication>) {
        for publication in publications {
            self.recorded.push((publication.device, publication.bytes.clone()));
            if let Some(device) = self.devices.get_mut(&publication.device) {
                device.queue.push_back(publication.bytes);
            }
        }
    }

    pub(super) async fn hear(&self, device: &ClientId, bytes: Vec<u8>) -> Judged {
        self.fleet.hear(vec![Arrived { device: *device, bytes, retained: false }]).await.unwrap()
    }

    /// Those that are there take what waits for them and report.
    pub(super) async fn answer(&mut self) -> bool {
        let mut arrived = Vec::new();
        for (id, device) in self.devices.iter_mut().filter(|(_, device)| device.is_there) {
            device.take_all();
            if std::mem::take(&mut device.report_due) && device.reports {
                arrived.push(Arrived { device: *id, bytes: device.report(), retained: false });
            }
        }
        let any = !arrived.is_empty();
        self.fleet.hear(arrived).await.unwrap();
        any
    }

    /// Until nothing happens any more at this time.
    pub(super) async fn settle(&mut self) {
        for _ in 0..50 {
            let publications = self.round().await;
            let any = !publications.is_empty();
            self.publish(publications);
            let answered = self.answer().await;
            if !(self.fleet.advance().await.unwrap().due || any || answered) {
                return;
            }
        }
        panic!("there is no end to it");
    }

    /// Time passes, and what happens happens.
    pub(super) async fn live(&mut self, seconds: i64, step: i64) {
        for _ in 0..seconds / step {
            self.pass(step);
            self.settle().await;
        }
    }

    /// It comes back.
    pub(super) fn connect(&mut self, id: &ClientId) {
        let device = self.at(id);
        (device.is_there, device.report_due) = (true, true);
    }

    pub(super) async fn row(&self, sql: &str, values: &[Value]) -> Row {
        self.fleet.store().read().await.unwrap().query_opt(sql, values).await.unwrap().unwrap()
    }

    pub(super) async fn change(&self, sql: &str, values: &[Value]) {
        let mut tx = self.fleet.store().write().await.unwrap();
        tx.execute(sql, values).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(super) async fn standing(&self, id: &ClientId) -> String {
        let row = self.row("SELECT standing FROM devices WHERE id = $1", &[Value::from(id.as_bytes())]).await;
        row.text(0).unwrap().to_owned()
    }

    /// The word of the state of an order.
    pub(super) async fn state(&self, order: i64) -> &'static str {
        let row = self.row("SELECT state FROM orders WHERE id = $1", &[Value::from(order)]).await;
        e4_keyserver::model::OrderState::from_code(row.int(0).unwrap()).unwrap().word()
    }
}
