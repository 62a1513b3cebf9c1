//! A topic whose key is changed again and again while all members publish and read, and the count of what that loses.

use super::{
    PATIENCE, Setup,
    device::{Device, Party},
    within,
};
use e4::{
    Command, OpenError, Refusal, Timestamp, Topic, TopicFilter, TopicKey,
    controller::{Recipient, SealedCommand},
};
use e4_mqtt::{Connection, Event, Events, QoS};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::MissedTickBehavior};

const TOPIC: &str = "plant/7/pump/pressure";
const REPORTS: &str = "e4/+/report";
/// How far a member's messages may be ahead of what it has read of its own. Where the others write faster than a busy machine
/// reads, all that waits in between would grow for ever.
const AHEAD: u32 = 50;
/// The last payload of a member, behind its number.
const END: &str = "end";

/// How a key is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// All members have the new key as the next one before the first of them seals under it.
    Lossless,
    /// By `SetTopicKey` alone.
    Alone,
}

/// What each member does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two messages.
    pub(crate) pause: Duration,
    /// Messages, unless it is told to stop before.
    pub(crate) most: u32,
}

/// The members of the topic, who publish and read, and their key server.
pub(crate) struct Group {
    key_server: KeyServer,
    members: Vec<Member>,
    stop: watch::Sender<bool>,
}

struct Member {
    recipient: Recipient,
    connection: Connection,
    published: watch::Receiver<u32>,
    writer: JoinHandle<u32>,
    reader: JoinHandle<Heard>,
}

/// What a member has read of all of them, itself too, and what else happened to it.
#[derive(Debug, Default)]
struct Heard {
    /// By member and number of the message: how often.
    messages: Vec<BTreeMap<u32, u32>>,
    out_of_order: u64,
    refused: BTreeMap<String, u64>,
    delivered_again: u64,
    connections_lost: u64,
    overflowed: u64,
}

/// What became of all messages.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Messages that members published.
    pub(crate) sent: u64,
    /// How many of them the members read: each reads the messages of all.
    pub(crate) read: u64,
    /// How many of them one member or another did not read.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) out_of_order: u64,
    /// By reason. Those that the broker delivered again after a connection was lost are not among them.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) delivered_again: u64,
    pub(crate) connections_lost: u64,
}

impl Group {
    /// Connects the members, at this port, and has them begin.
    pub(crate) async fn begin(setup: &Setup, port: u16, members: usize, pace: Pace) -> Self {
        let topic = Topic::new(TOPIC).unwrap().into_owned();
        let key = TopicKey::generate().unwrap();
        let mut devices = Vec::new();
        for number in 0..members {
            let party = Party::symmetric(&format!("member {number}"));
            let client = party.with_keys(&[(&topic, &key)]);
            let builder =
                Connection::builder(setup.options_at(port, &party.name), client).report_within(Duration::ZERO);
            let mut device = Device::connect_with_reports(builder);
            device.events.connected().await;
            device.subscribe(TOPIC).await;
            devices.push((party, device));
        }
        let key_server = KeyServer::connect(setup, port).await;
        let (stop, stopped) = watch::channel(false);
        let members = devices
            .into_iter()
            .enumerate()
            .map(|(number, (party, device))| Member::begin(number, members, party, device, pace, stopped.clone()))
            .collect();
        Self { key_server, members, stop }
    }

    /// Changes the key: half of the members use the new one, for so many messages each, before the others have it as theirs.
    pub(crate) async fn rotate(&mut self, way: Way, messages_between: u32) {
        let topic = Topic::new(TOPIC).unwrap();
        let key = TopicKey::generate().unwrap();
        if way == Way::Lossless {
            self.key_server.send(&self.members, &Command::set_next_topic_key(&topic, key.clone())).await;
        }
        let half = self.members.len() / 2;
        let command = Command::set_topic_key(&topic, key);
        self.key_server.send(&self.members[..half], &command).await;
        for member in &mut self.members[..half] {
            let enough = *member.published.borrow_and_update() + messages_between;
            // Or it has ended.
            let published = member.published.wait_for(|published| *published >= enough);
            let _ended = within(PATIENCE, "messages under the new key", published).await;
        }
        // They are before the command on the way to the others.
        Self::flush(&self.members[..half]).await;
        self.key_server.send(&self.members[half..], &command).await;
        // The next key after this one takes the place of the key before: nothing that is sealed under that may come behind it.
        Self::flush(&self.members).await;
    }

    /// Waits until the broker has what members have published.
    async fn flush(members: &[Member]) {
        for member in members {
            within(PATIENCE, "the broker to take what was sent", member.connection.flush()).await;
        }
    }

    /// Has the members stop, and counts. They read until they have the last message of each.
    pub(crate) async fn end(self) -> Outcome {
        self.stop.send_replace(true);
        let mut sent = Vec::new();
        let (mut all_heard, mut connections) = (Vec::new(), Vec::new());
        for Member { connection, writer, reader, .. } in self.members {
            sent.push(within(PATIENCE, "a member to stop", writer).await.unwrap());
            connections.push(connection);
            all_heard.push(reader);
        }
        let mut outcome = Outcome { sent: sent.iter().map(|sent| u64::from(*sent)).sum(), ..Outcome::default() };
        for reader in all_heard {
            let heard = within(PATIENCE, "the last message of each member", reader).await.unwrap();
            outcome.add(&sent, heard);
        }
        for connection in connections {
            connection.shutdown(PATIENCE).await.unwrap();
        }
        self.key_server.connection.shutdown(PATIENCE).await.unwrap();
        outcome
    }

    /// Whether each member has published so many messages.
    pub(crate) fn has_published(&self, messages: u32) -> bool {
        self.members.iter().all(|member| *member.published.borrow() >= messages)
    }
}

/// Sends commands, and hears from the reports what came of them.
struct KeyServer {
    connection: Connection,
    events: Events,
}

impl KeyServer {
    async fn connect(setup: &Setup, port: u16) -> Self {
        let party = Party::symmetric("key server");
        let builder = Connection::builder(setup.options_at(port, &party.name), party.with_keys(&[]));
        // Their seal is another one.
        let builder = builder.clear(&TopicFilter::new(REPORTS).unwrap()).clean_session();
        let device = Device::connect(builder).await;
        device.subscribe(REPORTS).await;
        Self { connection: device.connection, events: device.events.into_events() }
    }

    /// Sends a command to members, and waits until each has reported that it is carried out.
    async fn send(&mut self, to: &[Member], command: &Command) {
        let mut waiting: Vec<(&Recipient, SealedCommand)> = Vec::new();
        for Member { recipient, .. } in to {
            let sealed = recipient.seal_dated(command, Timestamp::now()).unwrap();
            let send = async {
                self.connection.send_command(&recipient.control_topic(), &sealed).await.unwrap().await.unwrap()
            };
            within(PATIENCE, "a command to leave", send).await;
            waiting.push((recipient, sealed));
        }
        while !waiting.is_empty() {
            let event = within(PATIENCE, "reports", self.events.next_event()).await.expect("the connection is there");
            let Event::Message(message) = event else { continue };
            waiting.retain(|(recipient, command)| {
                message.topic != recipient.report_topic().as_str()
                    || !command.is_settled_by(&recipient.open_report(&message.payload).unwrap())
            });
        }
    }
}

impl Member {
    fn begin(
        number: usize,
        members: usize,
        party: Party,
        device: Device,
        pace: Pace,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let connection = device.connection;
        let (count, published) = watch::channel(0);
        let (read_own, came_back) = watch::channel(0);
        let writer = tokio::spawn(write(number, connection.clone(), pace, count, came_back, stopped));
        let reader = tokio::spawn(read(number, members, device.events.into_events(), read_own));
        Self { recipient: party.recipient, connection, published, writer, reader }
    }
}

/// Publishes until it is told to stop. Returns how many messages.
async fn write(
    number: usize,
    connection: Connection,
    pace: Pace,
    count: watch::Sender<u32>,
    mut came_back: watch::Receiver<u32>,
    mut stopped: watch::Receiver<bool>,
) -> u32 {
    let topic = Topic::new(TOPIC).unwrap();
    let mut ticks = tokio::time::interval(pace.pause);
    // On a busy machine it is slower, and never faster.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let publish = async |what: &str| {
        let payload = format!("{number} {what}");
        let published = connection.publish(&topic, payload.as_bytes(), QoS::AtLeastOnce);
        let _delivery = within(PATIENCE, "room for a message", published).await.unwrap();
    };
    let mut sent = 0;
    while sent < pace.most && !*stopped.borrow() {
        ticks.tick().await;
        let caught_up = async { came_back.wait_for(|own| own + AHEAD >= sent).await.is_ok() };
        // Who reads no more has its last message, and nobody writes then.
        let _is_read = within(PATIENCE, "a message of one's own", caught_up).await;
        publish(&sent.to_string()).await;
        sent += 1;
        count.send_replace(sent);
    }
    // The keys are changed until then.
    stopped.wait_for(|stopped| *stopped).await.expect("somebody tells");
    // What is sent again after a loss may come behind what was sent later.
    connection.flush().await;
    publish(END).await;
    connection.flush().await;
    sent
}

/// Reads until it has the last message of each member.
async fn read(number: usize, members: usize, mut events: Events, own: watch::Sender<u32>) -> Heard {
    let mut heard = Heard { messages: vec![BTreeMap::new(); members], ..Heard::default() };
    let mut ended = vec![false; members];
    while ended.contains(&false) {
        match events.next_event().await.expect("the connection is there") {
            Event::Message(message) => {
                let text = String::from_utf8(message.payload).unwrap();
                let (member, what) = text.split_once(' ').unwrap();
                let member: usize = member.parse().unwrap();
                if what == END {
                    ended[member] = true;
                    continue;
                }
                let (message, messages) = (what.parse().unwrap(), &mut heard.messages[member]);
                heard.out_of_order += u64::from(messages.keys().next_back().is_some_and(|last| *last > message));
                *messages.entry(message).or_default() += 1;
                if member == number {
                    own.send_replace(message);
                }
            }
            Event::Refused(refused) if refused.reason == OpenError::Refused(Refusal::Repeated) => {
                heard.delivered_again += 1;
            }
            Event::Refused(refused) => *heard.refused.entry(refused.reason.to_string()).or_default() += 1,
            Event::Disconnected(_) => heard.connections_lost += 1,
            Event::Overflowed(_) => heard.overflowed += 1,
            _ => (),
        }
    }
    heard
}

impl Outcome {
    /// Adds what one member has read.
    fn add(&mut self, sent: &[u32], heard: Heard) {
        assert_eq!(heard.overflowed, 0, "the queue of a member was too small");
        for (messages, sent) in heard.messages.iter().zip(sent) {
            let read = u64::try_from(messages.len()).unwrap();
            self.read += read;
            self.lost += u64::from(*sent) - read;
            self.twice += messages.values().map(|times| u64::from(times - 1)).sum::<u64>();
        }
        for (reason, times) in heard.refused {
            *self.refused.entry(reason).or_default() += times;
        }
        self.out_of_order += heard.out_of_order;
        self.delivered_again += heard.delivered_again;
        self.connections_lost += heard.connections_lost;
    }

    /// How many messages were refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}
