//! e4 with `rumqttc` 0.25, MQTT 3.1.1: `cargo run --bin rumqttc -- localhost:1883`.
//!
//! `Device::publish` and `Device::open`, the first two functions, are the link; the rest is a story to try it on.

use e4::{Client, OpenError, Topic, TopicKey};
use other_clients::{Disk, PATIENCE, Result, Run, Taken, exit, is_command, is_full_disk, is_message, is_replay, show};
use rumqttc::{Connection, Event, MqttOptions, Outgoing, Packet, Publish, QoS, SubscribeReasonCode};
use std::{collections::VecDeque, process::ExitCode, time::Instant};

impl Device {
    fn publish(&mut self, topic: &Topic<'_>, payload: &[u8]) -> Result<()> {
        let sealed = self.client.seal(topic, payload)?;
        self.mqtt.publish(topic.as_str(), QoS::AtLeastOnce, sealed)
    }

    /// After this a command is applied and stored, and so acknowledged; a refusal is acknowledged too, or it would come
    /// for ever. After an error that is not final nothing is: mend the disk or the clock, connect again, and it comes.
    fn open(&mut self, arrived: &Publish) -> Result<Taken> {
        let opened = self.client.open(&arrived.topic, &arrived.payload);
        if opened.as_ref().err().is_none_or(OpenError::is_final) {
            self.mqtt.requests.ack(arrived)?;
        }
        Ok(opened)
    }
}

/// An e4 client, and the MQTT connection that serves it.
struct Device {
    client: Client,
    mqtt: Mqtt,
}

/// Not QoS 2, for this client alone: its 0.25 never connects again after a program died between PUBREC and PUBCOMP, as
/// it takes the broker's PUBREL for an error. At QoS 1 commands keep their order too, and e4 refuses what comes twice.
const CONTROL: QoS = QoS::AtLeastOnce;

fn main() -> ExitCode {
    exit(Run::from_arguments().and_then(|run| story(&run).and(clean_up(&run))))
}

fn story(run: &Run) -> Result<()> {
    let (pump_disk, panel_disk) = (Disk::default(), Disk::default());
    let (pump, mut to_pump) = run.enrol("pump-7", &pump_disk)?;
    let (panel, mut to_panel) = run.enrol("panel-1", &panel_disk)?;
    let mut pump = Device::connect(run, "pump-7", pump)?;
    let mut panel = Device::connect(run, "panel-1", panel)?;
    panel.mqtt.subscribe(run.topic.as_str(), QoS::AtLeastOnce)?;
    let mut key_server = Mqtt::connect(options(run, "key-server"))?;

    let key = TopicKey::generate()?;
    panel_disk.set_full(true);
    let (control_topic, command) = run.topic_key(&mut to_panel, &key)?;
    key_server.publish(&control_topic, QoS::ExactlyOnce, command)?;
    panel.takes("panel-1 cannot store its command, and does not acknowledge it", is_full_disk)?;
    let (control_topic, command) = run.topic_key(&mut to_pump, &key)?;
    key_server.publish(&control_topic, QoS::ExactlyOnce, command)?;
    pump.takes("pump-7 applies the command that gives it the topic's key", is_command)?;
    let Device { client, mqtt } = panel;
    mqtt.disconnect()?;
    panel_disk.set_full(false);
    let mut panel = Device::connect(run, "panel-1", client)?;
    panel.takes("panel-1 has made room, connects again, and applies it", is_command)?;

    pump.publish(&run.topic, b"4.2 bar")?;
    let arrived = panel.takes("panel-1 opens a message of pump-7", is_message("4.2 bar"))?;
    key_server.publish(&arrived.topic, QoS::AtLeastOnce, arrived.payload.to_vec())?;
    panel.takes("somebody publishes the same bytes again; panel-1 refuses", is_replay)?;
    let Device { client, mqtt } = panel;
    mqtt.disconnect()?;
    let mut panel = Device::connect(run, "panel-1", client)?;
    pump.publish(&run.topic, b"4.3 bar")?;
    panel.takes("panel-1 connects again, and does not get those, but the next message", is_message("4.3 bar"))?;
    panel.mqtt.disconnect()
}

/// Leaves nothing in the broker: to connect with a clean session ends the persistent one.
fn clean_up(run: &Run) -> Result<()> {
    ["pump-7", "panel-1"].into_iter().try_for_each(|who| Mqtt::connect(options(run, who))?.disconnect())
}

fn options(run: &Run, who: &str) -> MqttOptions {
    MqttOptions::new(run.mqtt_id(who), &run.host, run.port)
}

impl Device {
    /// Connects with a persistent session, where commands wait while the device is offline, and acknowledges by hand,
    /// so that the broker keeps a command until the device has stored it.
    fn connect(run: &Run, name: &str, client: Client) -> Result<Self> {
        let mut options = options(run, name);
        options.set_clean_session(false).set_manual_acks(true);
        let mut mqtt = Mqtt::connect(options)?;
        mqtt.subscribe(client.control_topic().as_str(), CONTROL)?;
        Ok(Self { client, mqtt })
    }

    /// Opens what arrives next, and shows it.
    fn takes(&mut self, line: &str, expected: impl Fn(&Taken) -> bool) -> Result<Publish> {
        let arrived = self.mqtt.receive(line)?;
        show(line, &self.open(&arrived)?, expected)?;
        Ok(arrived)
    }
}

/// An MQTT client that does one thing at a time, and waits until it is done.
struct Mqtt {
    requests: rumqttc::Client,
    connection: Connection,
    inbox: VecDeque<Publish>,
}

impl Mqtt {
    fn connect(options: MqttOptions) -> Result<Self> {
        let (requests, connection) = rumqttc::Client::new(options, 10);
        let mut mqtt = Self { requests, connection, inbox: VecDeque::new() };
        mqtt.wait("the connection", |it| matches!(it, Event::Incoming(Packet::ConnAck(_))))?;
        Ok(mqtt)
    }

    fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<()> {
        self.requests.subscribe(filter, qos)?;
        let granted = [SubscribeReasonCode::Success(qos)];
        let is_granted = |it: &_| matches!(it, Event::Incoming(Packet::SubAck(ack)) if ack.return_codes == granted);
        self.wait("the broker to grant a subscription", is_granted)
    }

    fn publish(&mut self, topic: &str, qos: QoS, payload: Vec<u8>) -> Result<()> {
        self.requests.publish(topic, qos, false, payload)?;
        let is_taken = |it: &_| matches!(it, Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)));
        self.wait("the broker to take a message", is_taken)
    }

    fn receive(&mut self, what: &str) -> Result<Publish> {
        if self.inbox.is_empty() {
            self.wait(what, |it| matches!(it, Event::Incoming(Packet::Publish(_))))?;
        }
        self.inbox.pop_front().ok_or_else(|| format!("{what} is not in the inbox").into())
    }

    /// What was acknowledged before goes out first.
    fn disconnect(mut self) -> Result<()> {
        self.requests.disconnect()?;
        self.wait("the disconnection", |it| matches!(it, Event::Outgoing(Outgoing::Disconnect)))
    }

    /// Lets the connection work until something happens. Messages that arrive meanwhile go to the inbox.
    fn wait(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now())
            && let Ok(event) = self.connection.recv_timeout(left)
        {
            let event = event.map_err(|error| format!("waiting for {what}: {error}"))?;
            let is_it = is_it(&event);
            if let Event::Incoming(Packet::Publish(publish)) = event {
                self.inbox.push_back(publish);
            }
            if is_it {
                return Ok(());
            }
        }
        Err(format!("waited {PATIENCE:?} in vain for {what}").into())
    }
}
