//! What is done to a server's data as a whole, on both databases.

mod at_rest;
mod backup;
mod copy;
mod program;
mod rekey;

use crate::kit::database::Database;
use e4_keyserver::{
    fleet::{Actor, Clock, Fleet, NewDevice, NewDeviceKey, NewTopic, Policy, TopicPolicy, Who},
    model::{Access, Labels, Role, RotationKind, Status, TopicName},
    store::{Store, Value},
    upkeep::{found, load_slots, load_stored},
    vault::{Place, Slot, SystemChance, Unlock, Vault, Work},
};
use std::{collections::BTreeMap, sync::Arc};
use zeroize::Zeroizing;

const NOW: i64 = 1_795_900_000;

/// The clock of a test stands still.
#[derive(Debug)]
struct At(i64);

impl Clock for At {
    fn now(&self) -> i64 {
        self.0
    }
}

fn administrator() -> Actor {
    Actor::new("ada", Role::Administrator, "here")
}

fn key_file(byte: u8) -> Unlock {
    Unlock::KeyFile(Zeroizing::new([byte; 32]))
}

fn fleet_of(store: Store, vault: Vault) -> Fleet {
    Fleet::new(store, Arc::new(vault), Arc::new(At(NOW)), Policy::default())
}

/// A new server with its vault in one slot, a key file of ones.
async fn new_fleet(database: &Database) -> (Fleet, Zeroizing<String>) {
    let vault = Vault::create(Box::new(SystemChance), b"").unwrap();
    let slot = vault.new_slot("first", &key_file(1), Work::LEAST, NOW).unwrap();
    let store = database.open().await;
    found(&store, &vault, &[slot]).await.unwrap();
    let fleet = fleet_of(store, vault);
    let token = fleet.begin_fleet("ada").await.unwrap().secret.unwrap();
    (fleet, token)
}

/// Opens the vault of a database anew.
async fn opened(store: &Store, unlock: &Unlock) -> Result<Vault, e4_keyserver::vault::VaultError> {
    let mut tx = store.read().await.unwrap();
    let (slots, stored) = (load_slots(&mut tx).await.unwrap(), load_stored(&mut tx).await.unwrap());
    Vault::open(&slots, None, unlock, &stored, Box::new(SystemChance))
}

/// Has devices, topics and access, rotations, a client key on its way, bundles to be fetched, and an audit with checkpoints.
async fn live(fleet: &Fleet, devices: u32) {
    let ada = administrator();
    let new = |line: u32| NewDevice {
        line: line.into(),
        name: Some(format!("device-{line}")),
        id: None,
        key: NewDeviceKey::Made,
        labels: Labels::default(),
        groups: Vec::new(),
        notes: "Ünïcode: \" \\ \n \u{0}".replace('\0', ""),
    };
    fleet.add_devices(&ada, (1..=devices).map(new).collect()).await.unwrap();
    let first = e4::ClientId::from_name("device-1").unwrap();
    let third = e4::ClientId::from_name("device-3").unwrap();
    let second = e4::ClientId::from_name("device-2").unwrap();
    for name in ["plant/7/temperature", "plant/7/#", "door"] {
        let name = TopicName::new(name).unwrap();
        let new = NewTopic { name, key: None, policy: TopicPolicy::default(), notes: String::new() };
        let topic = fleet.add_topic(&ada, &new).await.unwrap().id;
        for device in [&first, &second] {
            fleet.set_access(&ada, topic, &Who::Device(*device), Access::BOTH).await.unwrap();
        }
        fleet.rotate(&ada, topic, RotationKind::Hard).await.unwrap();
    }
    // A device that was heard gets a new key of its own.
    let active = [Value::from(Status::Active.code())];
    set(fleet.store(), "UPDATE devices SET status = $1 WHERE name = 'device-1'", &active).await;
    fleet.rotate_client_key(&ada, &first).await.unwrap();
    fleet.invite_bundle(&ada, &third, None).await.unwrap();
    fleet.rotate_server_key(&ada).await.unwrap();
    fleet.withdraw(&ada, &second, false).await.unwrap();
    let later = Fleet::new(
        fleet.store().clone(),
        Arc::new(opened(fleet.store(), &key_file(1)).await.unwrap()),
        Arc::new(At(NOW + 7_200)),
        Policy::default(),
    );
    later.keep_audit().await.unwrap();
    fleet.add_token(&ada, "viewer", Role::Viewer, None).await.unwrap();
}

/// All secrets of a fleet by where they are sealed, opened.
async fn secrets(fleet: &Fleet) -> BTreeMap<String, Vec<u8>> {
    let (vault, mut tx) = (fleet.vault(), fleet.store().read().await.unwrap());
    let mut all = BTreeMap::new();
    let version = |number: i64| u64::try_from(number).unwrap();
    let mut keep = |place: Place<'_>, sealed: &[u8]| {
        all.insert(place.to_string(), vault.open_sealed(place, sealed).unwrap().to_vec());
    };
    for row in tx.query("SELECT version, secret FROM server_keys WHERE secret IS NOT NULL", &[]).await.unwrap() {
        keep(Place::server_key(version(row.int(0).unwrap())), row.bytes(1).unwrap());
    }
    for row in tx.query("SELECT topic, version, secret FROM key_versions WHERE secret IS NOT NULL", &[]).await.unwrap()
    {
        keep(Place::topic_key(row.int(0).unwrap(), version(row.int(1).unwrap())), row.bytes(2).unwrap());
    }
    for row in tx.query("SELECT id, key_version, secret, next_secret FROM devices", &[]).await.unwrap() {
        let (id, key_version) = (row.bytes(0).unwrap(), version(row.int(1).unwrap()));
        if let Some(secret) = row.opt_bytes(2).unwrap() {
            keep(Place::device_key(id, key_version), secret);
        }
        if let Some(secret) = row.opt_bytes(3).unwrap() {
            keep(Place::next_device_key(id, key_version + 1), secret);
        }
    }
    all
}

async fn set(store: &Store, sql: &str, values: &[Value]) {
    let mut tx = store.write().await.unwrap();
    assert!(tx.execute(sql, values).await.unwrap() > 0, "{sql}");
    tx.commit().await.unwrap();
}

async fn number(store: &Store, sql: &str) -> i64 {
    store.read().await.unwrap().query(sql, &[]).await.unwrap()[0].int(0).unwrap()
}

fn new_slot(vault: &Vault, name: &str, unlock: &Unlock) -> Slot {
    vault.new_slot(name, unlock, Work::LEAST, NOW).unwrap()
}
