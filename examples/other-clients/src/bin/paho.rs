//! e4 with `paho-mqtt` 0.14, MQTT 5: `cargo run --features paho --bin paho -- localhost:1883`.
//!
//! `Device::publish` and `Device::open`, the first two functions, are the link; the rest is a story to try it on.

use e4::{Client, OpenError, Topic, TopicKey};
use other_clients::{Disk, PATIENCE, Result, Run, Taken, exit, is_command, is_full_disk, is_message, is_replay, show};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message, MqttVersion, PersistenceType, PropertyCode, QoS,
    properties,
};
use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

impl Device {
    fn publish(&self, topic: &Topic<'_>, payload: &[u8]) -> Result<()> {
        let sealed = self.client.lock().unwrap_or_else(PoisonError::into_inner).seal(topic, payload)?;
        publish(&self.mqtt, topic.as_str(), QoS::AtLeastOnce, sealed)
    }

    /// Called by the message callback: paho acknowledges when that returns. By then a command is applied and stored, or
    /// refused. After an error that is not final it does not return, but tries again until the disk or the clock is
    /// mended; and if the program ends meanwhile, the command comes again.
    fn open(client: &Mutex<Client>, arrived: &Message, taken: &Sender<(Message, Taken)>) {
        loop {
            let opened = client.lock().unwrap_or_else(PoisonError::into_inner).open(arrived.topic(), arrived.payload());
            let done = opened.as_ref().err().is_none_or(OpenError::is_final);
            _ = taken.send((arrived.clone(), opened));
            if done {
                return;
            }
            thread::sleep(TRY_AGAIN);
        }
    }
}

const TRY_AGAIN: Duration = Duration::from_millis(100);

/// An e4 client, and the MQTT connection that serves it.
struct Device {
    client: Arc<Mutex<Client>>,
    mqtt: AsyncClient,
    taken: Receiver<(Message, Taken)>,
}

fn main() -> ExitCode {
    exit(Run::from_arguments().and_then(|run| story(&run).and(clean_up(&run))))
}

fn story(run: &Run) -> Result<()> {
    let (pump_disk, panel_disk) = (Disk::default(), Disk::default());
    let (pump, mut to_pump) = run.enrol("pump-7", &pump_disk)?;
    let (panel, mut to_panel) = run.enrol("panel-1", &panel_disk)?;
    let pump = Device::connect(run, "pump-7", pump)?;
    let panel = Device::connect(run, "panel-1", panel)?;
    subscribe(&panel.mqtt, run.topic.as_str(), QoS::AtLeastOnce)?;
    let key_server = create(run, "key-server")?;
    open_connection(&key_server, true)?;

    let key = TopicKey::generate()?;
    let (control_topic, command) = run.topic_key(&mut to_pump, &key)?;
    publish(&key_server, &control_topic, QoS::ExactlyOnce, command)?;
    pump.takes("pump-7 applies the command that gives it the topic's key", is_command)?;
    panel_disk.set_full(true);
    let (control_topic, command) = run.topic_key(&mut to_panel, &key)?;
    let publishing = key_server.publish(Message::new(control_topic, command, QoS::ExactlyOnce));
    panel.takes("panel-1 cannot store its command, and keeps it", is_full_disk)?;
    panel_disk.set_full(false);
    panel.takes("panel-1 has made room, tries again, and applies it", is_command)?;
    // Not before: all of paho's clients in a program wait for a callback that does not return.
    publishing.wait_for(PATIENCE)?;

    pump.publish(&run.topic, b"4.2 bar")?;
    let arrived = panel.takes("panel-1 opens a message of pump-7", is_message("4.2 bar"))?;
    publish(&key_server, arrived.topic(), QoS::AtLeastOnce, arrived.payload().to_vec())?;
    panel.takes("somebody publishes the same bytes again; panel-1 refuses", is_replay)?;
    pump.publish(&run.topic, b"4.3 bar")?;
    panel.takes("panel-1 opens the next message", is_message("4.3 bar"))?;
    [pump.mqtt, panel.mqtt, key_server].iter().try_for_each(disconnect)
}

/// Leaves nothing in the broker: to connect with a clean session ends the persistent one.
fn clean_up(run: &Run) -> Result<()> {
    for who in ["pump-7", "panel-1"] {
        let mqtt = create(run, who)?;
        open_connection(&mqtt, true)?;
        disconnect(&mqtt)?;
    }
    Ok(())
}

impl Device {
    /// Connects with a persistent session, where commands wait while the device is offline.
    fn connect(run: &Run, name: &str, client: Client) -> Result<Self> {
        let control_topic = client.control_topic();
        let mqtt = create(run, name)?;
        let (client, (sender, taken)) = (Arc::new(Mutex::new(client)), channel());
        let opener = Arc::clone(&client);
        // Before connecting, as the broker at once sends what has waited.
        mqtt.set_message_callback(move |_, arrived| {
            if let Some(arrived) = arrived {
                Self::open(&opener, &arrived, &sender);
            }
        });
        open_connection(&mqtt, false)?;
        subscribe(&mqtt, control_topic.as_str(), QoS::ExactlyOnce)?;
        Ok(Self { client, mqtt, taken })
    }

    /// Waits until the callback has opened something, and shows it. An error that it meets again and again is skipped.
    fn takes(&self, line: &str, expected: impl Fn(&Taken) -> bool) -> Result<Message> {
        loop {
            let Ok((arrived, taken)) = self.taken.recv_timeout(PATIENCE) else {
                return Err(format!("waited {PATIENCE:?} in vain for: {line}").into());
            };
            if expected(&taken) || !is_full_disk(&taken) {
                show(line, &taken, expected)?;
                return Ok(arrived);
            }
        }
    }
}

/// Always with MQTT 5, and without paho's own persistence. In MQTT 3.1.1, or with that, a command at QoS 2 is lost when
/// the program ends in the callback.
fn create(run: &Run, who: &str) -> Result<AsyncClient> {
    let options = CreateOptionsBuilder::new()
        .server_uri(format!("mqtt://{}:{}", run.host, run.port))
        .client_id(run.mqtt_id(who))
        .mqtt_version(MqttVersion::V5)
        .persistence(PersistenceType::None)
        .finalize();
    Ok(AsyncClient::new(options)?)
}

/// Resumes the session that the broker keeps for an hour after the connection; or starts a clean one, kept for no time.
fn open_connection(mqtt: &AsyncClient, clean: bool) -> Result<()> {
    let expiry = if clean { 0 } else { 3600 };
    let options = ConnectOptionsBuilder::new_v5()
        .clean_start(clean)
        .properties(properties! { PropertyCode::SessionExpiryInterval => expiry })
        .finalize();
    mqtt.connect(options).wait_for(PATIENCE)?;
    Ok(())
}

fn subscribe(mqtt: &AsyncClient, filter: &str, qos: QoS) -> Result<()> {
    let granted = mqtt.subscribe(filter, qos).wait_for(PATIENCE)?.subscribe_response();
    if granted == Some(qos as i32) { Ok(()) } else { Err("the broker does not grant a subscription".into()) }
}

/// Publishes, and waits until the broker has taken it.
fn publish(mqtt: &AsyncClient, topic: &str, qos: QoS, payload: Vec<u8>) -> Result<()> {
    Ok(mqtt.publish(Message::new(topic, payload, qos)).wait_for(PATIENCE)?)
}

fn disconnect(mqtt: &AsyncClient) -> Result<()> {
    mqtt.disconnect(None).wait_for(PATIENCE)?;
    Ok(())
}
