//! e4 with `mqtt5` 0.49, MQTT 5: `cargo run --bin mqtt5 -- localhost:1883`.
//!
//! `Device::publish` and `Device::open`, the first two functions, are the link; the rest is a story to try it on.

use e4::{Client, OpenError, Topic, TopicKey};
use mqtt5::{
    AckToken, ConnectOptions, MqttClient, PublishResult, QoS, SubscribeOptions, packet::publish::PublishPacket,
};
use other_clients::{Disk, PATIENCE, Result, Run, Taken, exit, is_command, is_full_disk, is_message, is_replay, show};
use std::process::ExitCode;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

impl Device {
    async fn publish(&mut self, topic: &Topic<'_>, payload: &[u8]) -> Result<()> {
        let sealed = self.client.seal(topic, payload)?;
        publish(&self.mqtt, topic.as_str(), QoS::AtLeastOnce, sealed).await
    }

    /// After this a command is applied and stored, and so acknowledged; a refusal is acknowledged too, or it would come
    /// for ever. After an error that is not final nothing is: mend the disk or the clock, connect again, and it comes.
    fn open(&mut self, arrived: &PublishPacket, token: AckToken) -> Taken {
        let opened = self.client.open(&arrived.topic_name, &arrived.payload);
        if opened.as_ref().err().is_none_or(OpenError::is_final) {
            token.ack();
        } else {
            core::mem::forget(token); // To drop it would acknowledge.
        }
        opened
    }
}

/// An e4 client, and the MQTT connection that serves it.
struct Device {
    client: Client,
    mqtt: MqttClient,
    inbox: UnboundedReceiver<(PublishPacket, AckToken)>,
}

fn main() -> ExitCode {
    let run = || {
        let run = Run::from_arguments()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { story(&run).await.and(clean_up(&run).await) })
    };
    exit(run())
}

async fn story(run: &Run) -> Result<()> {
    let (pump_disk, panel_disk) = (Disk::default(), Disk::default());
    let (pump, mut to_pump) = run.enrol("pump-7", &pump_disk)?;
    let (panel, mut to_panel) = run.enrol("panel-1", &panel_disk)?;
    let mut pump = Device::connect(run, "pump-7", pump).await?;
    let mut panel = Device::connect(run, "panel-1", panel).await?;
    let key_server = connect(run, options(run, "key-server")).await?;

    let key = TopicKey::generate()?;
    panel_disk.set_full(true);
    let (control_topic, command) = run.topic_key(&mut to_panel, &key)?;
    publish(&key_server, &control_topic, QoS::ExactlyOnce, command).await?;
    panel.takes("panel-1 cannot store its command, and does not acknowledge it", is_full_disk).await?;
    let (control_topic, command) = run.topic_key(&mut to_pump, &key)?;
    publish(&key_server, &control_topic, QoS::ExactlyOnce, command).await?;
    pump.takes("pump-7 applies the command that gives it the topic's key", is_command).await?;
    let Device { client, mqtt, .. } = panel;
    mqtt.disconnect().await?;
    panel_disk.set_full(false);
    let mut panel = Device::connect(run, "panel-1", client).await?;
    panel.takes("panel-1 has made room, connects again, and applies it", is_command).await?;

    pump.publish(&run.topic, b"4.2 bar").await?;
    let arrived = panel.takes("panel-1 opens a message of pump-7", is_message("4.2 bar")).await?;
    publish(&key_server, &arrived.topic_name, QoS::AtLeastOnce, arrived.payload.to_vec()).await?;
    panel.takes("somebody publishes the same bytes again; panel-1 refuses", is_replay).await?;
    pump.publish(&run.topic, b"4.3 bar").await?;
    panel.takes("panel-1 opens the next message", is_message("4.3 bar")).await?;
    for mqtt in [pump.mqtt, panel.mqtt, key_server] {
        mqtt.disconnect().await?;
    }
    Ok(())
}

/// Leaves nothing in the broker: to connect with a clean session that does not outlive its connection ends the
/// persistent one.
async fn clean_up(run: &Run) -> Result<()> {
    for who in ["pump-7", "panel-1"] {
        connect(run, options(run, who)).await?.disconnect().await?;
    }
    Ok(())
}

fn options(run: &Run, who: &str) -> ConnectOptions {
    ConnectOptions::new(run.mqtt_id(who)).with_clean_start(true).with_automatic_reconnect(false)
}

async fn connect(run: &Run, options: ConnectOptions) -> Result<MqttClient> {
    let mqtt = MqttClient::with_options(options);
    open_connection(run, &mqtt).await?;
    Ok(mqtt)
}

async fn open_connection(run: &Run, mqtt: &MqttClient) -> Result<()> {
    Ok(timeout(PATIENCE, mqtt.connect(&format!("mqtt://{}:{}", run.host, run.port))).await??)
}

/// Publishes, and waits until the broker has taken it.
async fn publish(mqtt: &MqttClient, topic: &str, qos: QoS, payload: Vec<u8>) -> Result<()> {
    match timeout(PATIENCE, mqtt.publish_qos(topic, payload, qos)).await?? {
        PublishResult::Sent(_) => Ok(()),
        _ => Err("the broker did not take a message".into()),
    }
}

impl Device {
    /// Connects with a persistent session, where commands wait while the device is offline, and acknowledges by hand,
    /// so that the broker keeps a command until the device has stored it.
    ///
    /// Always with a new `MqttClient`: one that connects again remembers what it has delivered, and does not deliver an
    /// unacknowledged command a second time.
    async fn connect(run: &Run, name: &str, client: Client) -> Result<Self> {
        let options = options(run, name)
            .with_clean_start(false)
            .with_resume_existing_session(true)
            .with_session_expiry_interval(3600)
            .with_receive_maximum(16)
            .with_deferred_ack(true);
        let control_topic = client.control_topic().as_str().to_owned();
        let topics = [(control_topic, QoS::ExactlyOnce), (run.topic.as_str().to_owned(), QoS::AtLeastOnce)];
        let (arrived, inbox) = unbounded_channel();
        let deliver = move |message, token| drop(arrived.send((message, token)));
        let mqtt = MqttClient::with_options(options);
        // Before connecting, as the broker at once sends what has waited.
        for (topic, _) in &topics {
            mqtt.register_ack_callback(topic, deliver.clone()).await?;
        }
        open_connection(run, &mqtt).await?;
        for (topic, qos) in topics {
            let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
            let (_, granted) = timeout(PATIENCE, mqtt.subscribe_with_ack(topic, options, deliver.clone())).await??;
            if granted != qos {
                return Err("the broker does not grant a subscription".into());
            }
        }
        Ok(Self { client, mqtt, inbox })
    }

    /// Opens what arrives next, and shows it.
    async fn takes(&mut self, line: &str, expected: impl Fn(&Taken) -> bool) -> Result<PublishPacket> {
        let arrived = timeout(PATIENCE, self.inbox.recv()).await;
        let (arrived, token) =
            arrived.ok().flatten().ok_or_else(|| format!("waited {PATIENCE:?} in vain for: {line}"))?;
        show(line, &self.open(&arrived, token), expected)?;
        Ok(arrived)
    }
}
