//! The story of `quickstart` over a real broker: `cargo run --example mqtt -- localhost:1883`.
//!
//! How to link e4 into an MQTT client that you have already: `Device` is the link, `Mqtt` is the client, here rumqttc
//! (package `rumqttc-v4-next`).
//! Every line that is printed is checked as well; the program fails if one does not come out as it says.

use core::error::Error;
use e4::{
    Client, ClientId, ClientKey, Clock, ClockReading, Command, FileStore, Identity, KeyRole, MaxAge, MemoryStore,
    OpenError, Opened, Refusal, Timestamp, Topic, TopicFilter, TopicKey,
    controller::{Lane, Recipient},
};
use rumqttc::{AckMode, Broker, Connection, Event, MqttOptions, Outgoing, Packet, Publish, PublishOptions, QoS};
use std::{
    collections::VecDeque,
    process::ExitCode,
    time::{Duration, Instant, UNIX_EPOCH},
};

type Result<T, E = Box<dyn Error>> = core::result::Result<T, E>;

const PATIENCE: Duration = Duration::from_secs(10);
const MESSAGE: PublishOptions = PublishOptions::at_least_once();
/// Never retained: whoever subscribes later would get an old command.
const COMMAND: PublishOptions = PublishOptions::exactly_once();

fn main() -> ExitCode {
    let told = Run::from_arguments().and_then(|run| {
        let mut controller = Mqtt::connect(run.options("controller"))?;
        let told = story(&run, &mut controller);
        told.and(clean_up(&run, controller))
    });
    told.inspect_err(|error| eprintln!("Error: {error}")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn story(run: &Run, controller: &mut Mqtt) -> Result<()> {
    let (pump, mut to_pump) = run.enrol("pump-7")?;
    let (panel, mut to_panel) = run.enrol("panel-1")?;
    let folder = tempfile::tempdir()?;
    let panel_file = || FileStore::new(folder.path().join("panel-1"));
    let mut pump = Device::connect(run, "pump-7", Client::builder(pump).create(MemoryStore::new())?)?;
    let mut panel = Device::connect(run, "panel-1", Client::builder(panel).create(panel_file())?)?;
    panel.mqtt.subscribe(run.topic.as_str(), QoS::AtLeastOnce)?;
    let mut eavesdropper = Mqtt::connect(run.options("eavesdropper"))?;
    eavesdropper.subscribe(&run.filter, QoS::AtLeastOnce)?;
    eavesdropper.subscribe(to_panel.recipient.control_topic().as_str(), QoS::ExactlyOnce)?;

    println!("The key server sends both devices the key of the topic\n");
    let first_key = TopicKey::generate()?;
    send_key(controller, [&mut to_pump, &mut to_panel], &run.topic, first_key.clone())?;
    pump.takes("pump-7 applies", is_command)?;
    let arrived = panel.mqtt.receive("the command for panel-1")?;
    show("panel-1 applies, and its power fails before it acknowledges", &panel.open(&arrived)?, is_command)?;
    drop(panel);
    let mut panel = Device::connect(run, "panel-1", Client::load(panel_file())?)?;
    panel.takes("panel-1 is back, from its file; the broker sends the command again", is_replay)?;

    println!("\nMessages\n");
    let recorded = eavesdropper.receive("the command for panel-1, on its way")?;
    for (payload, options) in [("4.2 bar", MESSAGE), ("4.3 bar", MESSAGE.retained())] {
        pump.publish(&run.topic, payload, options)?;
        let seen = eavesdropper.receive("a message of pump-7")?.payload;
        if seen.windows(payload.len()).any(|part| part == payload.as_bytes()) {
            return Err("the eavesdropper can read the payload".into());
        }
        println!("  pump-7 seals `{payload}`; the eavesdropper sees:\n      {seen:x}");
        panel.takes("panel-1 opens", is_message(payload))?;
    }

    println!("\nA day later, says its clock, panel-2 joins; the last message was retained\n");
    let (late, mut to_late) = run.enrol("panel-2")?;
    let late = Client::builder(late).first_start().create_with_clock(MemoryStore::new(), Tomorrow)?;
    let mut late = Device::connect(run, "panel-2", late)?;
    send_key(controller, [&mut to_late], &run.topic, first_key)?;
    late.takes("panel-2 applies", is_command)?;
    late.mqtt.subscribe(&run.filter, QoS::AtLeastOnce)?;
    late.takes("panel-2 subscribes", |taken| matches!(taken, Err(Refusal::TooOld { .. })))?;
    late.client.set_max_age(&TopicFilter::new(&run.filter)?, MaxAge::Any)?;
    late.mqtt.subscribe(&run.filter, QoS::AtLeastOnce)?;
    late.takes("panel-2 allows any age there, subscribes again, and opens", is_message("4.3 bar"))?;

    println!("\nThe key is rotated while panel-1 is offline, and panel-2 is left out\n");
    let Device { client: panel, mqtt } = panel;
    mqtt.disconnect()?;
    send_key(controller, [&mut to_pump, &mut to_panel], &run.topic, TopicKey::generate()?)?;
    pump.takes("pump-7 applies", is_command)?;
    let mut panel = Device::connect(run, "panel-1", panel)?;
    panel.takes("panel-1 is back, and applies what waited in the broker", is_command)?;
    pump.publish(&run.topic, "4.4 bar", MESSAGE)?;
    panel.takes("panel-1 opens, under the new key", is_message("4.4 bar"))?;
    late.takes("panel-2 says", |taken| matches!(taken, Err(Refusal::NotAuthentic)))?;

    println!("\nThe eavesdropper publishes the first command for panel-1 again, to bring the old key back\n");
    eavesdropper.publish(to_panel.recipient.control_topic().as_str(), &recorded.payload, COMMAND)?;
    panel.takes("panel-1 refuses", is_replay)?;
    pump.publish(&run.topic, "4.5 bar", MESSAGE)?;
    panel.takes("panel-1 opens, still under the new key", is_message("4.5 bar"))
}

/// Leaves nothing in the broker.
fn clean_up(run: &Run, mut controller: Mqtt) -> Result<()> {
    controller.publish(run.topic.as_str(), b"", MESSAGE.retained())?;
    controller.disconnect()?;
    // To connect with a clean session ends the persistent one.
    ["pump-7", "panel-1", "panel-2"].into_iter().try_for_each(|who| Mqtt::connect(run.options(who))?.disconnect())
}

/// The names of this run, which no other run uses on the same broker.
struct Run {
    broker: Broker,
    name: String,
    topic: Topic<'static>,
    filter: String,
}

impl Run {
    fn from_arguments() -> Result<Self> {
        let argument = std::env::args().nth(1).unwrap_or_default();
        let (host, port) = argument
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .filter(|(host, port)| !host.is_empty() && *port != 0)
            .ok_or("name the broker as host:port, such as `cargo run --example mqtt -- localhost:1883`")?;
        let name = format!("{:x}-{:x}", std::process::id(), UNIX_EPOCH.elapsed()?.as_nanos());
        let topic = Topic::new(&format!("e4-example/{name}/pump/pressure"))?.into_owned();
        let filter = format!("e4-example/{name}/#");
        Ok(Self { broker: Broker::tcp(host, port), name, topic, filter })
    }

    fn options(&self, who: &str) -> MqttOptions {
        MqttOptions::new(format!("{who}-{}", self.name), self.broker.clone())
    }

    /// Gives a device its identity, and makes it known to the key server. This does not go over MQTT.
    fn enrol(&self, device: &str) -> Result<(Identity, Kept)> {
        let (id, key) = (ClientId::from_name(&format!("{device}-{}", self.name))?, ClientKey::generate()?);
        let kept = Kept { recipient: Recipient::symmetric(id, &key), lane: Lane::new() };
        Ok((Identity::symmetric(id, key), kept))
    }
}

/// What the key server keeps of a device.
struct Kept {
    recipient: Recipient,
    lane: Lane,
}

fn send_key<const N: usize>(
    controller: &mut Mqtt,
    devices: [&mut Kept; N],
    topic: &Topic<'_>,
    key: TopicKey,
) -> Result<()> {
    let command = [Command::set_topic_key(topic, key)];
    for Kept { recipient, lane } in devices {
        for sealed in recipient.seal(&command, lane, Timestamp::now())? {
            controller.publish(recipient.control_topic().as_str(), sealed.as_bytes(), COMMAND)?;
        }
    }
    Ok(())
}

/// An e4 client, and the MQTT connection that serves it.
struct Device {
    client: Client,
    mqtt: Mqtt,
}

type Taken = Result<Opened<Vec<u8>>, Refusal>;

impl Device {
    /// Connects with a persistent session, where commands wait while the device is offline, and acknowledges by hand,
    /// so that the broker keeps a command until the device has stored it.
    fn connect(run: &Run, name: &str, client: Client) -> Result<Self> {
        let mut options = run.options(name);
        options.set_clean_session(false).set_ack_mode(AckMode::Manual);
        let mut mqtt = Mqtt::connect(options)?;
        mqtt.subscribe(client.control_topic().as_str(), QoS::ExactlyOnce)?;
        Ok(Self { client, mqtt })
    }

    fn publish(&mut self, topic: &Topic<'_>, payload: &str, options: PublishOptions) -> Result<()> {
        let sealed = self.client.seal(topic, payload.as_bytes())?;
        self.mqtt.publish(topic.as_str(), &sealed, options)
    }

    /// Takes what arrives next, and shows it.
    fn takes(&mut self, line: &str, expected: impl Fn(&Taken) -> bool) -> Result<()> {
        let arrived = self.mqtt.receive(line)?;
        let taken = self.open(&arrived)?;
        self.mqtt.acknowledge(&arrived)?;
        show(line, &taken, expected)
    }

    /// Opens what arrived. After this a command is applied and stored, and the acknowledgement may go out.
    ///
    /// What is refused is acknowledged too: the broker would send the same again for ever. Any other error is not, so
    /// that the broker sends the command again when the device, its disk or clock mended, connects the next time.
    fn open(&mut self, arrived: &Publish) -> Result<Taken> {
        match self.client.open(str::from_utf8(&arrived.topic)?, &arrived.payload) {
            Ok(opened) => Ok(Ok(opened)),
            Err(OpenError::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error.into()),
        }
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
        let (requests, connection) = rumqttc::Client::builder(options).try_build()?;
        let mut mqtt = Self { requests, connection, inbox: VecDeque::new() };
        mqtt.wait("the connection", |it| matches!(it, Event::Incoming(Packet::ConnAck(_))))?;
        Ok(mqtt)
    }

    fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<()> {
        self.requests.subscribe(filter, qos)?;
        let granted = [rumqttc::SubscribeReasonCode::Success(qos)];
        let is_granted = |it: &_| matches!(it, Event::Incoming(Packet::SubAck(ack)) if ack.return_codes == granted);
        self.wait("the broker to grant a subscription", is_granted)
    }

    fn publish(&mut self, topic: &str, payload: &[u8], options: PublishOptions) -> Result<()> {
        self.requests.publish(topic, payload, options)?;
        let is_taken = |it: &_| matches!(it, Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)));
        self.wait("the broker to take a message", is_taken)
    }

    fn receive(&mut self, what: &str) -> Result<Publish> {
        if self.inbox.is_empty() {
            self.wait(what, |it| matches!(it, Event::Incoming(Packet::Publish(_))))?;
        }
        self.inbox.pop_front().ok_or_else(|| format!("{what} is not in the inbox").into())
    }

    fn acknowledge(&mut self, received: &Publish) -> Result<()> {
        self.requests.ack(received)?;
        let is_sent = |it: &_| matches!(it, Event::Outgoing(Outgoing::PubAck(_) | Outgoing::PubComp(_)));
        self.wait("the acknowledgement to be sent", is_sent)
    }

    fn disconnect(mut self) -> Result<()> {
        self.requests.disconnect()?;
        self.wait("the disconnection", |it| matches!(it, Event::Outgoing(Outgoing::Disconnect)))
    }

    /// Lets the connection work until something happens. Messages that arrive meanwhile go to the inbox.
    fn wait(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Result<()> {
        let who = self.connection.eventloop.mqtt_options.client_id();
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now())
            && let Ok(event) = self.connection.recv_timeout(left)
        {
            let event = event.map_err(|error| format!("{who}, waiting for {what}: {error}"))?;
            let is_it = is_it(&event);
            if let Event::Incoming(Packet::Publish(publish)) = event {
                self.inbox.push_back(publish);
            }
            if is_it {
                return Ok(());
            }
        }
        Err(format!("{who} waited {PATIENCE:?} in vain for {what}").into())
    }
}

/// The clock of a device that joins a day later.
struct Tomorrow;

impl Clock for Tomorrow {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::from_unix(Timestamp::now().as_unix() + 86_400))
    }
}

fn is_command(taken: &Taken) -> bool {
    matches!(taken, Ok(Opened::Command(_)))
}

/// A message with this payload, sealed under the topic's current key.
fn is_message(payload: &str) -> impl Fn(&Taken) -> bool {
    let payload = payload.as_bytes();
    move |taken| matches!(taken, Ok(Opened::Message(it)) if it.payload == payload && it.key == KeyRole::Current)
}

/// A command that was applied before: recognized in the second of the newest one, too old in any later.
fn is_replay(taken: &Taken) -> bool {
    matches!(taken, Err(Refusal::Repeated | Refusal::Superseded { .. }))
}

fn show(line: &str, taken: &Taken, expected: impl Fn(&Taken) -> bool) -> Result<()> {
    let result = match taken {
        Ok(Opened::Command(command)) => format!("{command:?}"),
        Ok(Opened::Message(it)) => {
            format!("`{}`, sent {} s ago", String::from_utf8_lossy(&it.payload), it.age.unwrap_or_default())
        }
        Err(refusal) => refusal.to_string(),
    };
    println!("  {line}:\n      {result}");
    if expected(taken) { Ok(()) } else { Err("the last line did not come out as it says".into()) }
}
