//! The stage of the demo: the broker, everybody on it, and what they do in the scenes.

use super::{
    broker::Broker,
    eavesdropper::Eavesdropper,
    expect::Row,
    player::{Access, Device, Link},
    traffic::Traffic,
};
use anyhow::Context;
use e4::{Client, Clock, ClockReading, Command, Timestamp, Topic, TopicKey, controller::HardRotation};
use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Seconds by which the late joiner is late.
const A_DAY: u64 = 24 * 3600;

/// Messages that each publishes between two commands, while the key is changed.
const EACH: usize = 5;

/// The devices.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Pump,
    Panel,
    Contractor,
    LateJoiner,
}

pub(super) struct Stage {
    pub(super) broker: Broker,
    pub(super) topic: Topic<'static>,
    /// Measures and publishes.
    pub(super) pump: Device,
    /// Shows what the pump publishes.
    pub(super) panel: Device,
    /// Another panel, of somebody who is only there for a while.
    pub(super) contractor: Device,
    /// A panel that comes a day later.
    pub(super) late: Device,
    pub(super) eavesdropper: Eavesdropper,
    /// The topic's key, as the key server has it.
    key: TopicKey,
    controller: Option<Link>,
    controller_access: Access,
    filters: Vec<String>,
    /// Where the devices keep their state.
    _folder: TempDir,
}

impl Stage {
    /// Everybody is there, and nobody connected.
    pub(super) fn new(broker: Broker) -> anyhow::Result<Self> {
        // Names that no other run has, for on a broker of the user's they would get in each other's way.
        let run = format!("{:06x}", RandomState::new().hash_one(0) & 0x00ff_ffff);
        let folder = tempfile::Builder::new().prefix("e4-demo-").tempdir().context("could not make a folder")?;
        // 23 characters: more are not taken by every broker.
        let access = |name: &str| Access { broker: broker.address.clone(), mqtt_id: format!("e4d-{run}-{name}") };
        let device = |name| {
            Device::new(name, access(name), folder.path().join(name), |identity, store| {
                Client::builder(identity).create(store)
            })
        };
        let late = "panel-2";
        let late = Device::new(late, access(late), folder.path().join(late), |identity, store| {
            Client::builder(identity).first_start().create_with_clock(store, Tomorrow)
        })?;
        let topic =
            if broker.embedded { "plant/7/pump/pressure".to_owned() } else { format!("e4-demo/{run}/pressure") };
        let mut stage = Self {
            topic: Topic::new(&topic)?.into_owned(),
            pump: device("pump-7")?,
            panel: device("panel-1")?,
            contractor: device("panel-9")?,
            late,
            eavesdropper: Eavesdropper::new(access("eavesdropper")),
            key: TopicKey::generate()?,
            controller: None,
            controller_access: access("key-server"),
            filters: vec!["#".to_owned()],
            broker,
            _folder: folder,
        };
        if !stage.broker.embedded {
            // What others send there is none of the demo's business, and may be a lot.
            let devices = [&stage.pump, &stage.panel, &stage.contractor, &stage.late];
            let control_topics = devices.map(|device| device.recipient.control_topic().as_str().to_owned());
            stage.filters = control_topics.into_iter().chain([topic]).collect();
        }
        Ok(stage)
    }

    pub(super) fn is_embedded(&self) -> bool {
        self.broker.embedded
    }

    /// Connects all but the late joiner.
    pub(super) async fn set_up(&mut self) -> anyhow::Result<()> {
        self.controller = Some(self.controller_access.connect_in_the_clear().await?);
        self.eavesdropper.listen(&self.filters).await?;
        for who in [Who::Pump, Who::Panel, Who::Contractor] {
            self.device(who).switch_on().await?;
        }
        self.panel.subscribe(self.topic.as_str()).await?;
        self.contractor.subscribe(self.topic.as_str()).await
    }

    /// Leaves the broker as it was, however far the story went.
    pub(super) async fn strike(&mut self) -> anyhow::Result<()> {
        let Some(controller) = self.controller.take() else {
            return Ok(());
        };
        // What fails does not keep the rest from being tried.
        let mut struck = controller.clear_retained(self.topic.as_str()).await;
        struck = struck.and(controller.down().await);
        struck = struck.and(self.eavesdropper.leave().await);
        for who in [Who::Pump, Who::Panel, Who::Contractor, Who::LateJoiner] {
            let device = self.device(who);
            struck = struck.and(device.switch_off().await);
            struck = struck.and(device.forget_session().await);
        }
        struck
    }

    pub(super) fn device(&mut self, who: Who) -> &mut Device {
        match who {
            Who::Pump => &mut self.pump,
            Who::Panel => &mut self.panel,
            Who::Contractor => &mut self.contractor,
            Who::LateJoiner => &mut self.late,
        }
    }

    /// The key server makes a new key for the topic.
    pub(super) fn make_key(&mut self) -> anyhow::Result<()> {
        self.key = TopicKey::generate()?;
        self.eavesdropper.must_not_see(self.key.as_bytes(), "a topic key");
        Ok(())
    }

    /// The key server gives a device the key that the topic will have: it opens with it, and does not seal.
    pub(super) async fn announce_key(&mut self, to: Who) -> anyhow::Result<Row> {
        let command = Command::set_next_topic_key(&self.topic, self.key.clone());
        self.send_command(to, "next key", &command).await
    }

    /// The key server gives a device the topic's key; the one before stays good for messages on their way.
    pub(super) async fn give_key(&mut self, to: Who) -> anyhow::Result<Row> {
        let command = Command::set_topic_key(&self.topic, self.key.clone());
        self.send_command(to, "key", &command).await
    }

    /// The key server gives a device the topic's key, and takes the one before away, by one command.
    pub(super) async fn replace_key(&mut self, to: Who) -> anyhow::Result<Row> {
        let command = Command::replace_topic_key(&self.topic, self.key.clone());
        self.send_command(to, "key instead of all others", &command).await
    }

    /// The key server does the same by two commands, as older devices need it, and the broker holds the first one back.
    pub(super) async fn replace_key_by_half(&mut self, to: Who) -> anyhow::Result<Row> {
        let commands = HardRotation::RemoveAndSet.commands(*self.topic.hash(), self.key.clone())?;
        let second = commands.last().context("there is no second command")?;
        let recipient = &self.device(to).recipient;
        let (topic, sealed) = (recipient.control_topic(), recipient.seal_dated(second, Timestamp::now())?);
        let what = format!("holds \"forget the key\" for {} back, and passes the new key on", self.device(to).name);
        let row = self.eavesdropper.sends(topic.as_str(), sealed.as_bytes(), &what).await?;
        Ok(Row { sender: "broker".to_owned(), ..row })
    }

    async fn send_command(&mut self, to: Who, what: &str, command: &Command) -> anyhow::Result<Row> {
        let (name, recipient) = (self.device(to).name, self.device(to).recipient.clone());
        let controller = self.controller.as_ref().context("the key server is not connected")?;
        let sealed = recipient.seal_dated(command, Timestamp::now())?;
        controller.send_command(&recipient, &sealed).await?;
        let seen = vec![self.eavesdropper.sees(recipient.control_topic().as_str()).await?];
        Ok(Row::new("key server", format!("{what} for {name}"), seen))
    }

    /// pump-7 and panel-1 publish, and panel-1 and panel-9 read what both publish.
    pub(super) async fn exchange(&mut self, traffic: &mut Traffic) -> anyhow::Result<()> {
        for who in [Who::Pump, Who::Panel].repeat(EACH) {
            let payload = traffic.next_payload();
            let row = self.says(who, &payload).await?;
            traffic.saw(&row.seen);
            traffic.panel.take(&payload, self.panel.next().await);
            traffic.contractor.take(&payload, self.contractor.next().await);
        }
        Ok(())
    }

    /// A device publishes.
    pub(super) async fn says(&mut self, who: Who, payload: &str) -> anyhow::Result<Row> {
        self.publish(who, payload, false).await
    }

    /// A device publishes a message that the broker keeps.
    pub(super) async fn says_for_later(&mut self, who: Who, payload: &str) -> anyhow::Result<Row> {
        self.publish(who, payload, true).await
    }

    async fn publish(&mut self, who: Who, payload: &str, retained: bool) -> anyhow::Result<Row> {
        self.eavesdropper.must_not_see(payload.as_bytes(), "the payload");
        let topic = self.topic.clone();
        let device = self.device(who);
        let sender = if retained { format!("{}, retained", device.name) } else { device.name.to_owned() };
        device.publish(topic.as_str(), payload, retained).await?;
        let seen = vec![self.eavesdropper.sees(topic.as_str()).await?];
        Ok(Row::new(sender, format!("{payload:?}"), seen))
    }

    /// The times in messages have whole seconds.
    pub(super) async fn next_second(&self) {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        let into_second = Duration::from_nanos(u64::from(now.subsec_nanos()));
        // A little more, as the two clocks are not the same.
        tokio::time::sleep(Duration::from_millis(1020).saturating_sub(into_second)).await;
    }
}

/// The clock of a device that joins a day later.
struct Tomorrow;

impl Clock for Tomorrow {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::now().plus(A_DAY))
    }
}
