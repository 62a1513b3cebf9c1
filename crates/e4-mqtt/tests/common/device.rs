//! Devices that are connected, and their key server.

use super::{PATIENCE, Setup, within};
use e4::{
    AppliedCommand, C2SecretKey, Client, ClientBuilder, ClientId, ClientKey, Command, GrowableKeyRing, Identity,
    MemoryStore, SigningKey, Timestamp, Topic, TopicKey, VerifyingKey, controller::Recipient,
};
use e4_mqtt::{Builder, Connection, Event, Events, Message, QoS, Refused, Shutdown};
use std::collections::VecDeque;
use tokio::runtime::Runtime;

/// A device before it is made, and its key server's view of it.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) name: String,
    pub(crate) id: ClientId,
    pub(crate) recipient: Recipient,
    pub(crate) verifying_key: Option<VerifyingKey>,
    /// The device's own secret.
    pub(crate) secret: [u8; 32],
    identity: Identity,
}

impl Party {
    pub(crate) fn symmetric(name: &str) -> Self {
        let (id, key) = (ClientId::from_name(name).unwrap(), ClientKey::generate().unwrap());
        Self {
            name: name.to_owned(),
            id,
            recipient: Recipient::symmetric(id, &key),
            verifying_key: None,
            secret: *key.as_bytes(),
            identity: Identity::symmetric(id, key),
        }
    }

    pub(crate) fn public_key(name: &str, c2: &C2SecretKey) -> Self {
        let (id, key) = (ClientId::from_name(name).unwrap(), SigningKey::generate().unwrap());
        Self {
            name: name.to_owned(),
            id,
            recipient: Recipient::public_key(id, c2, &key.verifying_key()).unwrap(),
            verifying_key: Some(key.verifying_key()),
            secret: *key.as_seed(),
            identity: Identity::public_key(id, key, c2.public_key()).unwrap(),
        }
    }

    pub(crate) fn builder(&self) -> ClientBuilder<GrowableKeyRing> {
        Client::builder(self.identity.clone()).first_start()
    }

    /// A device that has keys from the start.
    pub(crate) fn with_keys(&self, keys: &[(&Topic<'_>, &TopicKey)]) -> Client {
        let builder = keys
            .iter()
            .fold(self.builder(), |builder, (topic, key)| builder.topic_key(topic.hash(), (*key).clone()).unwrap());
        builder.create(MemoryStore::new()).unwrap()
    }

    pub(crate) fn control_topic(&self) -> String {
        self.recipient.control_topic().as_str().to_owned()
    }
}

/// A device with its connection.
pub(crate) struct Device {
    pub(crate) connection: Connection,
    pub(crate) events: Listener,
}

impl Setup {
    /// A device without keys, connected.
    pub(crate) async fn join(&self, party: &Party) -> Device {
        self.join_as(party, party.with_keys(&[])).await
    }

    pub(crate) async fn join_as(&self, party: &Party, client: Client) -> Device {
        Device::connect(Connection::builder(self.options(&party.name), client)).await
    }

    /// A client that sends commands, whose session ends with it.
    pub(crate) async fn controller(&self) -> Controller {
        let party = Party::symmetric("controller");
        let builder = Connection::builder(self.options(&party.name), party.with_keys(&[])).clean_session();
        Controller(Device::connect(builder).await)
    }
}

impl Device {
    /// Connects, and waits for the broker.
    pub(crate) async fn connect(builder: Builder) -> Self {
        let mut device = Self::connect_unseen(builder);
        device.events.connected().await;
        device
    }

    /// Connects, and does not wait for the broker. Nothing but what the test has it say goes out.
    pub(crate) fn connect_unseen(builder: Builder) -> Self {
        Self::connect_with_reports(builder.no_reports())
    }

    /// As [`connect_unseen`](Self::connect_unseen), and it reports to its key server.
    pub(crate) fn connect_with_reports(builder: Builder) -> Self {
        let (connection, events) = builder.connect().unwrap();
        Self { connection, events: Listener::new(events) }
    }

    /// Waits for an answer of the broker: what it sent before has arrived, and it has what was sent to it.
    pub(crate) async fn round_trip(&self) {
        within(PATIENCE, "an answer of the broker", self.connection.round_trip()).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, filter: &str) {
        let granted = self.connection.subscribe(filter, QoS::ExactlyOnce);
        within(PATIENCE, "a subscription", granted).await.unwrap();
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) async fn publish(&self, topic: &Topic<'_>, payload: &[u8], qos: QoS) {
        let publish = async { self.connection.publish(topic, payload, qos).await.unwrap().await.unwrap() };
        within(PATIENCE, "a publication", publish).await;
    }

    pub(crate) async fn newest_command(&self) -> Option<Timestamp> {
        self.connection.with_device(|device| device.newest_command()).await.unwrap()
    }

    pub(crate) async fn shutdown(&self) -> Shutdown {
        self.connection.clone().shutdown(PATIENCE).await.unwrap()
    }
}

/// Events, in which a test looks for what it waits for. What it passes over stays for later.
pub(crate) struct Listener {
    events: Events,
    passed: VecDeque<Event>,
}

impl Listener {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, passed: VecDeque::new() }
    }

    /// The first event of a kind; others stay for later, but for failures that no test leaves unnoticed.
    pub(crate) async fn find<T>(&mut self, what: &str, mut matches: impl FnMut(&Event) -> Option<T>) -> T {
        for at in 0..self.passed.len() {
            if let Some(found) = matches(&self.passed[at]) {
                self.passed.remove(at);
                return found;
            }
        }
        let search = async {
            loop {
                let event = self.events.next_event().await.unwrap_or_else(|| panic!("the end, waiting for {what}"));
                if let Some(found) = matches(&event) {
                    return found;
                }
                self.passed.push_back(event);
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}; instead came {:?}", self.passed))
    }

    /// The next event, whatever it is.
    pub(crate) async fn next(&mut self) -> Event {
        if let Some(event) = self.passed.pop_front() {
            return event;
        }
        within(PATIENCE, "an event", self.events.next_event()).await.expect("the connection is there")
    }

    /// Whether the session was kept.
    pub(crate) async fn connected(&mut self) -> bool {
        let kept = |event: &Event| match event {
            Event::Connected(granted) => Some(granted.session_kept),
            _ => None,
        };
        self.find("the connection", kept).await
    }

    pub(crate) async fn disconnected(&mut self) -> String {
        let reason = |event: &Event| match event {
            Event::Disconnected(loss) => Some(loss.reason.clone()),
            _ => None,
        };
        self.find("the loss of the connection", reason).await
    }

    pub(crate) async fn keys_changed(&mut self) -> AppliedCommand {
        let command = |event: &Event| match event {
            Event::KeysChanged(command) => Some(*command),
            other => fail_on_loss(other),
        };
        self.find("a command", command).await
    }

    /// The next message; nothing may be refused before it.
    pub(crate) async fn message(&mut self) -> Message {
        let message = |event: &Event| match event {
            Event::Message(message) => Some(message.clone()),
            Event::Refused(refused) => panic!("refused, waiting for a message: {refused:?}"),
            other => fail_on_loss(other),
        };
        self.find("a message", message).await
    }

    /// The next refusal; no message may come before it.
    pub(crate) async fn refused(&mut self) -> Refused {
        let refused = |event: &Event| match event {
            Event::Refused(refused) => Some(refused.clone()),
            Event::Message(message) => panic!("a message, waiting for a refusal: {message:?}"),
            other => fail_on_loss(other),
        };
        self.find("a refusal", refused).await
    }

    /// What was passed over so far.
    pub(crate) fn passed(&self) -> &VecDeque<Event> {
        &self.passed
    }

    pub(crate) fn into_events(self) -> Events {
        assert!(self.passed.is_empty(), "passed over: {:?}", self.passed);
        self.events
    }
}

fn fail_on_loss<T>(event: &Event) -> Option<T> {
    assert!(!matches!(event, Event::Overflowed(_)), "{event:?}");
    None
}

/// The key server's client.
pub(crate) struct Controller(pub(crate) Device);

impl Controller {
    /// Sends a command, and waits until the broker has it.
    pub(crate) async fn send(&self, to: &Party, command: &Command) {
        self.send_at(to, command, Timestamp::now()).await;
    }

    pub(crate) async fn send_at(&self, to: &Party, command: &Command, sent: Timestamp) {
        let sealed = to.recipient.seal_dated(command, sent).unwrap();
        let send = async {
            let to = to.recipient.control_topic();
            self.0.connection.send_command(&to, &sealed).await.unwrap().await.unwrap();
        };
        within(PATIENCE, "a command to leave", send).await;
    }

    /// Gives devices the key of a topic, and waits until they have it.
    pub(crate) async fn give(&self, topic: &Topic<'_>, key: &TopicKey, to: &mut [(&Party, &mut Device)]) {
        for (party, device) in to {
            self.send(party, &Command::set_topic_key(topic, key.clone())).await;
            assert_eq!(device.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic.hash()));
        }
    }
}

/// The process of a device, as far as a test can have one within its own: killed, it takes its connection along.
pub(crate) struct Process(Option<Runtime>);

impl Process {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self(Some(runtime))
    }

    pub(crate) async fn connect(&self, builder: Builder) -> Device {
        self.connect_again(builder).await.0
    }

    /// Says as well whether the broker had the session still.
    pub(crate) async fn connect_again(&self, builder: Builder) -> (Device, bool) {
        let mut device = self.connect_unseen(builder);
        let session_kept = device.events.connected().await;
        (device, session_kept)
    }

    /// How many tasks it has.
    pub(crate) fn tasks(&self) -> usize {
        self.0.as_ref().unwrap().metrics().num_alive_tasks()
    }

    /// Connects, and does not wait for the broker.
    pub(crate) fn connect_unseen(&self, builder: Builder) -> Device {
        let _inside = self.0.as_ref().unwrap().enter();
        Device::connect_unseen(builder)
    }

    /// Ends all of its tasks where they are. Returns when they are gone, and the device's connection with them.
    pub(crate) async fn kill(mut self, device: Device) {
        let runtime = self.0.take().unwrap();
        let gone = tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(PATIENCE);
            drop(device);
        });
        gone.await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why the broker did not take a report, and whether there are no more.
pub(crate) fn report_refused(event: &Event) -> Option<(String, bool)> {
    match event {
        Event::ReportRefused { reason, for_good } => Some((reason.clone(), *for_good)),
        _ => None,
    }
}
