//! Connections, and the devices behind them.

use super::{
    broker::{Address, PATIENCE},
    expect::{Expected, Received, Row},
};
use anyhow::{Context, anyhow, bail};
use e4::{
    Client, ClientId, ClientKey, FileStore, Identity, MemoryStore, TopicFilter,
    controller::{Recipient, SealedCommand},
};
use e4_mqtt::{Builder, Connection, Delivery, Event, Events, PublishError, QoS, rumqttc_v5::MqttOptions};
use std::{collections::VecDeque, path::PathBuf};
use tokio::time::timeout;

/// Should the demo be killed, the broker forgets its devices after this many seconds.
const SESSION_EXPIRY: u32 = 300;

/// How somebody connects.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) broker: Address,
    pub(super) mqtt_id: String,
}

impl Access {
    fn options(&self) -> MqttOptions {
        MqttOptions::new(self.mqtt_id.clone(), (self.broker.host.clone(), self.broker.port))
    }

    /// Connects a device, which keeps its session while it is away.
    async fn connect(&self, device: Client) -> anyhow::Result<Link> {
        let mut options = self.options();
        options.set_session_expiry_interval(Some(SESSION_EXPIRY));
        // What is retained would outlive the demo at the broker.
        self.up(Connection::builder(options, device).no_reports()).await
    }

    /// Connects somebody who is no device: nothing is sealed or opened, and the session ends with the connection.
    pub(super) async fn connect_in_the_clear(&self) -> anyhow::Result<Link> {
        let nobody = Identity::symmetric(ClientId::from_name(&self.mqtt_id)?, ClientKey::generate()?);
        let nobody = Client::builder(nobody).create(MemoryStore::new())?;
        let everything = TopicFilter::new("#")?;
        self.up(Connection::builder(self.options(), nobody).clear(&everything).clean_session()).await
    }

    async fn up(&self, builder: Builder) -> anyhow::Result<Link> {
        let (connection, mut events) = builder.connect()?;
        let broker = &self.broker;
        let mut early = VecDeque::new();
        loop {
            match timeout(PATIENCE, events.next_event()).await {
                Ok(Some(Event::Connected { .. })) => return Ok(Link { connection, events, early }),
                Ok(Some(Event::Disconnected(reason))) => bail!(
                    "could not connect to the broker at {broker}: {reason}. The demo needs MQTT 5 over plain TCP, and a \
                     broker that asks for no password"
                ),
                // What waited in the broker may come before its word on the subscription.
                Ok(Some(event @ (Event::Message(_) | Event::KeysChanged(_) | Event::Refused(_)))) => {
                    early.push_back(event);
                }
                Ok(other) => bail!("the broker at {broker} does not work for the demo: {other:?}"),
                Err(_elapsed) => bail!("the broker at {broker} did not answer within {} s", PATIENCE.as_secs()),
            }
        }
    }

    /// Has the broker forget a session, by taking it over with one that ends with the connection.
    pub(super) async fn forget_session(&self) -> anyhow::Result<()> {
        self.connect_in_the_clear().await?.down().await
    }
}

/// A connection that is up.
pub(super) struct Link {
    connection: Connection,
    events: Events,
    /// What came before the connection was known to be up.
    early: VecDeque<Event>,
}

impl Link {
    /// What arrives next, if anything does.
    pub(super) async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.early.pop_front() {
            return Some(event);
        }
        timeout(PATIENCE, self.events.next_event()).await.ok().flatten()
    }

    pub(super) async fn subscribe(&self, filter: &str) -> anyhow::Result<()> {
        timeout(PATIENCE, self.connection.subscribe(filter, QoS::AtLeastOnce))
            .await
            .map_err(|_elapsed| anyhow!("the broker did not answer a subscription within {} s", PATIENCE.as_secs()))?
            .with_context(|| format!("could not subscribe to {filter}"))
            .map(drop)
    }

    pub(super) async fn send_command(&self, to: &Recipient, command: &SealedCommand) -> anyhow::Result<()> {
        taken(self.connection.send_command(&to.control_topic(), command).await).await
    }

    pub(super) async fn publish(&self, topic: &str, payload: &[u8], qos: QoS) -> anyhow::Result<()> {
        taken(self.connection.publish(topic, payload, qos).await).await
    }

    pub(super) async fn clear_retained(&self, topic: &str) -> anyhow::Result<()> {
        taken(self.connection.clear_retained(topic).await).await
    }

    /// Ends the connection. The device is dropped, and its file free.
    pub(super) async fn down(self) -> anyhow::Result<()> {
        self.connection.shutdown(PATIENCE).await?;
        Ok(())
    }
}

/// Waits until the broker has a message.
async fn taken(delivery: Result<Delivery, PublishError>) -> anyhow::Result<()> {
    timeout(PATIENCE, delivery?)
        .await
        .map_err(|_elapsed| anyhow!("the broker did not take a message within {} s", PATIENCE.as_secs()))?
        .context("the broker did not take a message")
        .map(drop)
}

/// A device, switched on or not.
pub(super) struct Device {
    pub(super) name: &'static str,
    /// The device as its key server sees it.
    pub(super) recipient: Recipient,
    access: Access,
    state: PathBuf,
    /// Before it is switched on for the first time; later it comes from its file.
    new: Option<Client>,
    link: Option<Link>,
}

impl Device {
    /// A device that was given its identity, by `create`, and never switched on.
    pub(super) fn new(
        name: &'static str,
        access: Access,
        state: PathBuf,
        create: impl FnOnce(Identity, FileStore) -> Result<Client, e4::CreateError>,
    ) -> anyhow::Result<Self> {
        // Names of their own for each run: nobody else's commands go to this control topic.
        let (id, key) = (ClientId::from_name(&access.mqtt_id)?, ClientKey::generate()?);
        let recipient = Recipient::symmetric(id, &key);
        let new = create(Identity::symmetric(id, key), FileStore::new(&state))
            .with_context(|| format!("could not create the state of {name}"))?;
        Ok(Self { name, recipient, access, state, new: Some(new), link: None })
    }

    pub(super) async fn switch_on(&mut self) -> anyhow::Result<()> {
        let client = match self.new.take() {
            Some(client) => client,
            None => Client::load(FileStore::new(&self.state))
                .with_context(|| format!("could not load the state of {}", self.name))?,
        };
        self.link = Some(self.access.connect(client).await?);
        Ok(())
    }

    pub(super) async fn switch_off(&mut self) -> anyhow::Result<()> {
        match self.link.take() {
            Some(link) => link.down().await,
            None => Ok(()),
        }
    }

    pub(super) async fn forget_session(&self) -> anyhow::Result<()> {
        self.access.forget_session().await
    }

    fn link(&self) -> anyhow::Result<&Link> {
        self.link.as_ref().with_context(|| format!("{} is switched off", self.name))
    }

    pub(super) async fn subscribe(&self, filter: &str) -> anyhow::Result<()> {
        self.link()?.subscribe(filter).await
    }

    pub(super) async fn allow_age(&self, filter: &str, age: e4::MaxAge) -> anyhow::Result<()> {
        let filter = TopicFilter::new(filter)?;
        self.link()?.connection.with_device(|device| device.set_max_age(&filter, age)).await??;
        Ok(())
    }

    pub(super) async fn publish(&self, topic: &str, payload: &str, retained: bool) -> anyhow::Result<()> {
        let connection = &self.link()?.connection;
        let (payload, qos) = (payload.as_bytes(), QoS::AtLeastOnce);
        if retained {
            taken(connection.publish_retained(topic, payload, qos).await).await
        } else {
            taken(connection.publish(topic, payload, qos).await).await
        }
    }

    /// What arrives next, if anything does.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.link.as_mut()?.next().await
    }

    /// Waits for what arrives next, and puts it into the row.
    pub(super) async fn receives(&mut self, row: &mut Row, expected: Expected) {
        let event = self.next().await;
        row.received.push(Received { who: self.name, expected, event });
    }
}
