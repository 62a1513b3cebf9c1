//! The broker, the server and its database, and the devices.

use super::{
    broker,
    device::{Device, Kind},
    look,
};
use crate::program::server::{Interface, Server};
use anyhow::Context;
use e4::{C2PublicKey, ClientId, ClientKey, Identity, SigningKey};
use e4_keyserver::{
    api,
    deliver::{Broker, BrokerOptions, MqttVersion},
    fleet::{Actor, Fleet, NewDevice, NewDeviceKey, Policy, SystemClock},
    model::{Labels, Role},
    store::Store,
    upkeep::{create_backup, found, load_slots, load_stored, restore_backup},
    vault::{SystemChance, Unlock, Vault, Work},
};
use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(super) struct Stage {
    pub(super) port: u16,
    folder: TempDir,
    database: PathBuf,
    /// What opens the vault.
    root: Zeroizing<[u8; 32]>,
    /// For a look at the interface.
    pub(super) token: Zeroizing<String>,
    server: Option<Server>,
    pub(super) sensors: Vec<Device>,
    pub(super) panels: Vec<Device>,
    pub(super) clockless: Vec<Device>,
    /// Without reports.
    pub(super) silent: Vec<Device>,
    pub(super) sleepers: Vec<Device>,
    /// With keys of their own.
    pub(super) meters: Vec<Device>,
    pub(super) stolen: Device,
}

pub(super) const LINE: &str = "plant/line/temperature";
pub(super) const DOORS: &str = "plant/doors";
pub(super) const MAINTENANCE: &str = "plant/maintenance/#";
pub(super) const METERS: &str = "plant/meters";

fn actor() -> Actor {
    Actor::new("demo", Role::Administrator, "demo")
}

impl Stage {
    pub(super) async fn new() -> anyhow::Result<Self> {
        let port = broker::start().await?;
        let folder = tempfile::tempdir().context("could not make a temporary folder")?;
        let database = folder.path().join("first.db");
        let root = Zeroizing::new(*ClientKey::generate()?.as_bytes());
        let now = now();
        let vault = Vault::create(Box::new(SystemChance), &*root)?;
        let slot = vault.new_slot("demo", &Unlock::KeyFile(root.clone()), Work::LEAST, now)?;
        let store = Store::open(&url(&database)).await?;
        found(&store, &vault, &[slot]).await?;
        let fleet = Fleet::new(store, Arc::new(vault), Arc::new(SystemClock), policy());
        let token = fleet.begin_fleet("demo").await?.secret.context("the token was not shown")?;
        let server_key = look::server_key(&fleet).await?;
        let mut enrol = Vec::new();
        let mut symmetric = |name: String, kind, labels: &[(&str, &str)], filters: &[&str]| {
            let key = ClientKey::generate()?;
            let secret = NewDeviceKey::Symmetric(Zeroizing::new(*key.as_bytes()));
            enrol.push(new_device(enrol.len(), &name, secret, labels)?);
            Device::new(&name, kind, Identity::symmetric(ClientId::from_name(&name)?, key), port, filters)
        };
        let mut many = |many: u32, what: &str, kind, labels: &[(&str, &str)], filters: &[&str]| {
            (1..=many)
                .map(|number| symmetric(format!("{what}-{number}"), kind, labels, filters))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        let sensors = many(4, "sensor", Kind::Reporting, &[("line", "writes")], &[])?;
        let panels = many(30, "panel", Kind::Reporting, &[("line", "reads"), ("doors", "yes")], &[LINE, DOORS])?;
        let clockless = many(6, "lamp", Kind::WithoutClock, &[("line", "reads")], &[LINE])?;
        let silent = many(6, "old-panel", Kind::WithoutReports, &[("line", "reads")], &[LINE])?;
        let sleepers = many(5, "trolley", Kind::Reporting, &[("crew", "yes")], &[MAINTENANCE])?;
        let mut stolen =
            many(1, "handheld", Kind::Reporting, &[("crew", "yes"), ("doors", "yes")], &[DOORS, MAINTENANCE])?;
        let stolen = stolen.pop().context("there is one")?;
        let mut meters = Vec::new();
        for number in 1..=8 {
            let (name, key) = (format!("meter-{number}"), SigningKey::generate()?);
            let public = NewDeviceKey::PublicKey(*key.verifying_key().as_bytes());
            enrol.push(new_device(enrol.len(), &name, public, &[("meter", "yes")])?);
            let server_key = C2PublicKey::from_bytes(&server_key)?;
            let identity = Identity::public_key(ClientId::from_name(&name)?, key, server_key)?;
            meters.push(Device::new(&name, Kind::Reporting, identity, port, &[METERS])?);
        }
        fleet.add_devices(&actor(), enrol).await?;
        let mut stage = Self {
            port,
            folder,
            database,
            root,
            token,
            server: None,
            sensors,
            panels,
            clockless,
            silent,
            sleepers,
            meters,
            stolen,
        };
        stage.serve(fleet).await?;
        Ok(stage)
    }

    /// Everybody.
    pub(super) fn devices(&mut self) -> impl Iterator<Item = &mut Device> {
        let Self { sensors, panels, clockless, silent, sleepers, meters, stolen, .. } = self;
        let many = sensors.iter_mut().chain(panels).chain(clockless).chain(silent).chain(sleepers).chain(meters);
        many.chain([stolen])
    }

    pub(super) fn server(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("the server does not run")
    }

    pub(super) fn fleet(&self) -> anyhow::Result<&Fleet> {
        Ok(&self.server()?.fleet)
    }

    pub(super) fn actor(&self) -> Actor {
        actor()
    }

    async fn serve(&mut self, fleet: Fleet) -> anyhow::Result<()> {
        let broker = BrokerOptions::plain(format!("mqtt://127.0.0.1:{}", self.port), MqttVersion::V5);
        let interface = Interface {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            clear_on_a_network: false,
            settings: api::Settings { open_metrics: false, requests_per_minute: NonZeroU32::MAX },
            metrics: None,
        };
        self.server = Some(Server::start(fleet, Broker::new(&broker)?, interface).await?);
        Ok(())
    }

    /// All of the server ends where it is.
    pub(super) fn crash(&mut self) -> anyhow::Result<()> {
        self.server.take().context("the server does not run")?.crash();
        Ok(())
    }

    /// Starts the server from what is in its database.
    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        let store = self.open().await?;
        let mut tx = store.read().await?;
        let (slots, stored) = (load_slots(&mut tx).await?, load_stored(&mut tx).await?);
        drop(tx);
        let unlock = Unlock::KeyFile(self.root.clone());
        let vault = Vault::open(&slots, None, &unlock, &stored, Box::new(SystemChance))?;
        self.serve(Fleet::new(store, Arc::new(vault), Arc::new(SystemClock), policy())).await
    }

    /// Its tasks may need a moment to let go of the database.
    async fn open(&self) -> anyhow::Result<Store> {
        let mut attempts = 0;
        loop {
            match Store::open(&url(&self.database)).await {
                Ok(store) => return Ok(store),
                Err(error) if attempts >= 50 => return Err(error.into()),
                Err(_) => attempts += 1,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A backup of the server as it is now.
    pub(super) async fn back_up(&self) -> anyhow::Result<(std::fs::File, Zeroizing<String>)> {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        let mut file = tempfile::tempfile_in(self.folder.path())?;
        let (fleet, recipient) = (self.fleet()?, identity.to_public().to_string());
        create_backup(fleet.store(), fleet.vault(), &[recipient], now(), &mut file).await?;
        Ok((file, Zeroizing::new(identity.to_string().expose_secret().to_owned())))
    }

    /// The server and its database are gone; a new one gets what the backup has.
    pub(super) async fn restore(&mut self, mut backup: std::fs::File, identity: &str) -> anyhow::Result<()> {
        use std::io::Seek;
        let server = self.server.take().context("the server does not run")?;
        let fleet = server.fleet.clone();
        server.stop().await;
        self.database = self.folder.path().join("second.db");
        backup.rewind()?;
        let store = Store::open(&url(&self.database)).await?;
        restore_backup(&store, fleet.vault(), &backup, identity, now()).await?;
        drop(store);
        drop(fleet);
        self.start_again().await
    }

    pub(super) async fn strike(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

/// Shorter than anywhere else, for a story of half a minute.
fn policy() -> Policy {
    Policy { lossless_wait: 10, leave_window: 0, between_rotations: 0, client_keys: 0, ..Policy::default() }
}

fn now() -> i64 {
    e4_keyserver::fleet::Clock::now(&SystemClock)
}

fn url(database: &std::path::Path) -> String {
    format!("sqlite:{}", database.display())
}

fn new_device(before: usize, name: &str, key: NewDeviceKey, labels: &[(&str, &str)]) -> anyhow::Result<NewDevice> {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let labels = Labels::new(labels)?;
    let line = u64::try_from(before)? + 1;
    Ok(NewDevice { line, name: Some(name.to_owned()), id: None, key, labels, groups: Vec::new(), notes: String::new() })
}
