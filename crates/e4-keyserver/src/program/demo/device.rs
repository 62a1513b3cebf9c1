//! A device: a client with its connection, which can be switched off and on.

use anyhow::{Context, anyhow};
use e4::{AppliedCommand, Client, ClientId, Clock, ClockReading, Identity, MemoryStore};
use e4_mqtt::{Connection, Event, Events, QoS, rumqttc_v5::MqttOptions};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::timeout};

/// How long a broker has for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a device is able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reporting,
    /// It counts seconds since it was started, and reports.
    WithoutClock,
    WithoutReports,
}

/// A device, switched on or not.
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) id: ClientId,
    pub(crate) kind: Kind,
    port: u16,
    filters: Vec<String>,
    /// While it is switched off.
    client: Option<Client>,
    on: Option<On>,
    seen: Arc<Seen>,
}

struct On {
    connection: Connection,
    listening: JoinHandle<()>,
}

/// What a device made of what arrived.
#[derive(Default)]
pub(crate) struct Seen {
    messages: Mutex<HashSet<Vec<u8>>>,
    pub(crate) refused: AtomicU64,
    /// The broker ended connections over reports, and this one makes no more of them.
    pub(crate) reports_no_more: AtomicBool,
    /// All commands that it took.
    pub(crate) commands: AtomicU64,
    /// Those of them that brought the key of a topic.
    pub(crate) keys: AtomicU64,
}

struct Uptime(Instant);

impl Clock for Uptime {
    fn read(&self) -> ClockReading {
        ClockReading::Uptime(self.0.elapsed().as_secs())
    }
}

impl Device {
    /// A device that was never switched on.
    pub(crate) fn new(name: &str, kind: Kind, identity: Identity, port: u16, filters: &[&str]) -> anyhow::Result<Self> {
        let id = *identity.id();
        let builder = Client::builder(identity).first_start();
        let client = match kind {
            Kind::WithoutClock => builder.create_with_clock(MemoryStore::new(), Uptime(Instant::now())),
            Kind::Reporting | Kind::WithoutReports => builder.create(MemoryStore::new()),
        };
        Ok(Self {
            name: name.to_owned(),
            id,
            kind,
            port,
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            client: Some(client.with_context(|| format!("could not create {name}"))?),
            on: None,
            seen: Arc::default(),
        })
    }

    /// Connects, and waits until it is subscribed.
    pub(crate) async fn switch_on(&mut self) -> anyhow::Result<()> {
        let client = self.client.take().with_context(|| format!("{} is switched on already", self.name))?;
        let mut options = MqttOptions::new(self.name.clone(), ("127.0.0.1", self.port));
        options.set_session_expiry_interval(Some(3600));
        let builder = Connection::builder(options, client);
        let builder = match self.kind {
            Kind::WithoutReports => builder.no_reports(),
            Kind::Reporting | Kind::WithoutClock => builder.report_within(Duration::from_millis(500)),
        };
        let (connection, events) = builder.connect()?;
        let listening = tokio::spawn(listen(events, Arc::clone(&self.seen)));
        for filter in &self.filters {
            let subscribed = connection.subscribe(filter, QoS::AtLeastOnce);
            subscribed.await.with_context(|| format!("{} could not subscribe to {filter}", self.name))?;
        }
        self.on = Some(On { connection, listening });
        Ok(())
    }

    /// Disconnects. The broker keeps its session.
    pub(crate) async fn switch_off(&mut self) -> anyhow::Result<()> {
        let On { connection, listening } = self.on.take().with_context(|| format!("{} is off already", self.name))?;
        self.client = Some(connection.shutdown(PATIENCE).await?.device);
        listening.await?;
        Ok(())
    }

    pub(crate) fn connection(&self) -> anyhow::Result<&Connection> {
        self.on.as_ref().map(|on| &on.connection).with_context(|| format!("{} is switched off", self.name))
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) async fn publish(&self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        let delivery = self.connection()?.publish(topic, payload, QoS::AtLeastOnce).await?;
        timeout(PATIENCE, delivery).await.map_err(|_| anyhow!("the broker did not take a message in time"))??;
        Ok(())
    }

    /// Its memory, while it is switched off.
    pub(crate) fn client_mut(&mut self) -> Option<&mut Client> {
        self.client.as_mut()
    }

    pub(crate) fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }
}

impl Seen {
    pub(crate) fn has_read(&self, payload: &[u8]) -> bool {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).contains(payload)
    }
}

async fn listen(mut events: Events, seen: Arc<Seen>) {
    while let Some(event) = events.next_event().await {
        match event {
            Event::Message(message) => {
                seen.messages.lock().unwrap_or_else(PoisonError::into_inner).insert(message.payload);
            }
            Event::KeysChanged(command) => {
                if matches!(command, AppliedCommand::SetTopicKey(_) | AppliedCommand::ReplaceTopicKey(_)) {
                    seen.keys.fetch_add(1, Ordering::Relaxed);
                }
                seen.commands.fetch_add(1, Ordering::Relaxed);
            }
            Event::Refused(_) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
            Event::ReportRefused { for_good: true, .. } => seen.reports_no_more.store(true, Ordering::Release),
            _ => (),
        }
    }
}
