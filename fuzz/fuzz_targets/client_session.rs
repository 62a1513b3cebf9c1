//! The MQTT client against a broker that sends anything: packets by the book, packets with wrong answers, and bytes.
//!
//! Time is virtual, so that waiting costs nothing. Whatever comes, nothing panics, nothing waits for ever, what waits for the
//! application stays within its bounds, and the device has no key that its key server did not send. What it
//! reports, its key server opens, and it tells of no more than was sent.
//!
//! The input: version of MQTT; then steps, each a byte that says what happens and the bytes that this takes.
#![no_main]

use e4::{
    Client, ClientId, ClientKey, Command, Identity, MemoryStore, REPORT_LEN, Timestamp, Topic, TopicFilter, TopicKey,
    controller::Recipient,
};
use e4_fuzz::Input;
use e4_mqtt::{Connection, Event, Events, MqttOptions, QoS, rumqttc_v4, rumqttc_v5};
use libfuzzer_sys::fuzz_target;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::{sleep, timeout},
};

/// What may wait for the application.
const QUEUE: usize = 4;
const QUEUE_BYTES: usize = 4096;
/// Bytes of the longest payload that the broker sends.
const LONGEST: usize = 64 * 255;
/// Steps of the longest script.
const STEPS: usize = 200;
/// A second is more than anything takes that does not wait for a time.
const A_MOMENT: Duration = Duration::from_millis(5);
/// Longer than any time limit of the client.
const FOR_EVER: Duration = Duration::from_secs(3600);

fuzz_target!(|input: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(play(Input::new(input)));
});

async fn play(mut input: Input<'_>) {
    let (id, key) = (ClientId::from_bytes([7; 16]), ClientKey::from_bytes(&[8; 32]).expect("a key"));
    let recipient = Recipient::symmetric(id, &key);
    let device = Client::builder(Identity::symmetric(id, key)).create(MemoryStore::new()).expect("a client");
    let (dialled, accepted) = mpsc::unbounded_channel();
    let is_v5 = input.byte() % 2 == 1;
    let clear = TopicFilter::new("clear/#").expect("a filter");
    let (connection, events) = Connection::builder(options(is_v5, dialled), device)
        .queue(QUEUE)
        .queue_bytes(QUEUE_BYTES)
        .clear(&clear)
        .report_within(Duration::ZERO)
        .connect()
        .expect("a connection");
    let mut broker = Broker { is_v5, accepted, stream: None, unread: Vec::new(), recipient: recipient.clone() };
    let mut application = Application { connection, events, tasks: Vec::new() };
    let mut commands = 0;
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            // What a broker does that keeps to the standard, so that the rest gets anywhere.
            0..=3 => broker.answer(&[0, 0, 0]).await,
            4 => broker.answer(&input.array::<3>()).await,
            5 | 6 => broker.publish(&mut input).await,
            7 => {
                let command = match input.byte() % 4 {
                    0 => Command::RemoveTopic(*Topic::new("clear/a").expect("a topic").hash()),
                    1 => Command::ResetTopics,
                    _ => {
                        commands += 1;
                        let topic = Topic::new("plant/7").expect("a topic");
                        Command::set_topic_key(&topic, TopicKey::from_bytes(&[input.byte() | 1; 32]).expect("a key"))
                    }
                };
                let sealed =
                    recipient.seal_dated(&command, Timestamp::from_unix(1_800_000_000 + u64::from(input.byte())));
                let topic = recipient.control_topic().as_str().to_owned();
                broker.send(&broker.publication(&topic, 0x32, 9, sealed.expect("a command").as_bytes())).await;
            }
            8 => {
                let len = usize::from(input.byte());
                let bytes = input.slice(len).to_vec();
                broker.send(&bytes).await;
            }
            9 => broker.stream = None,
            10 => sleep(Duration::from_millis(u64::from(input.u16()))).await,
            11 => sleep(Duration::from_secs(u64::from(input.byte()))).await,
            12 | 13 => application.asks(&mut input),
            _ => application.takes(input.byte() % 8).await,
        }
        sleep(A_MOMENT).await;
        broker.accept();
    }
    let topics = application.connection.with_device(|device| device.topics().count()).await;
    assert!(topics.is_err() || commands > 0 || topics == Ok(0), "a key from nowhere");
    application.ends().await;
}

fn options(is_v5: bool, dialled: mpsc::UnboundedSender<DuplexStream>) -> MqttOptions {
    let connect = move |_, _| {
        let dialled = dialled.clone();
        async move {
            let (client, broker) = duplex(1 << 18);
            dialled.send(broker).map_err(|_gone| io::Error::other("nobody is there"))?;
            Ok(client)
        }
    };
    if is_v5 {
        let mut options = rumqttc_v5::MqttOptions::new("fuzz", ("localhost", 1883));
        options.set_session_expiry_interval(Some(3600));
        options.set_socket_connector(move |host, network| connect(host, drop(network)));
        options.into()
    } else {
        let mut options = rumqttc_v4::MqttOptions::new("fuzz", ("localhost", 1883));
        options.set_socket_connector(move |host, network| connect(host, drop(network)));
        options.into()
    }
}

struct Broker {
    is_v5: bool,
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
    stream: Option<DuplexStream>,
    /// Bytes of the client that do not make a packet yet.
    unread: Vec<u8>,
    recipient: Recipient,
}

impl Broker {
    /// Takes the newest connection.
    fn accept(&mut self) {
        while let Ok(stream) = self.accepted.try_recv() {
            self.stream = Some(stream);
            self.unread.clear();
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.accept();
        let Some(stream) = &mut self.stream else { return };
        if !matches!(timeout(A_MOMENT, stream.write_all(bytes)).await, Ok(Ok(()))) {
            self.stream = None;
        }
    }

    /// Reads what the client has sent, and answers each packet: CONNACK, SUBACK and the rest with these codes.
    async fn answer(&mut self, &[code, flags, more]: &[u8; 3]) {
        self.accept();
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = [0; 4096];
        while let Ok(Ok(read @ 1..)) = timeout(A_MOMENT, stream.read(&mut buffer)).await {
            self.unread.extend_from_slice(&buffer[..read]);
        }
        while let Some((first, body)) = take_packet(&mut self.unread) {
            let properties: &[u8] = if self.is_v5 { &[0] } else { &[] };
            let id = body.get(..2).unwrap_or_default();
            let topic = usize::from(u16::from_be_bytes([*id.first().unwrap_or(&0), *id.get(1).unwrap_or(&0)]));
            if first >> 4 == 3 && body.get(2..topic + 2) == Some(self.recipient.report_topic().as_str().as_bytes()) {
                self.look_at_report(first, body.get(topic + 2..).unwrap_or_default());
            }
            let publish_id = body.get(topic + 2..topic + 4).unwrap_or_default();
            let reason: &[u8] = if self.is_v5 && code != 0 { &[code] } else { &[] };
            let granted = if code == 0 { 1 } else { code };
            let answer = match (first >> 4, first & 0x06) {
                (1, _) => packet(0x20, &[&[flags & 1, code], properties].concat()),
                (3, 2) => packet(0x40, &[publish_id, reason].concat()),
                (3, 4) => packet(0x50, &[publish_id, reason].concat()),
                (6, _) => packet(0x70, &[id, reason].concat()),
                (5, _) => packet(0x62, id),
                (8, _) => packet(0x90, &[id, properties, &[granted]].concat()),
                (10, _) if self.is_v5 => packet(0xb0, &[id, properties, &[code]].concat()),
                (10, _) => packet(0xb0, id),
                (12, _) => packet(0xd0, &[]),
                _ => continue,
            };
            // Twice now and then, which is once too often.
            for _ in 0..=more % 2 {
                self.send(&answer).await;
            }
        }
    }

    /// What a client says of itself is sealed for its key server, retained, and no more than it was sent.
    fn look_at_report(&self, first: u8, rest: &[u8]) {
        let report = rest.get(rest.len() - REPORT_LEN.min(rest.len())..).unwrap_or_default();
        let report = self.recipient.open_report(report).expect("a report that the key server opens");
        assert!(first & 1 == 1 || self.is_v5, "a report is retained, unless a broker says that it cannot");
        // One topic has a key, if any.
        assert!(report.topics <= 1 && report.newest.as_unix() <= 1_800_000_255, "{report:?}");
    }

    fn publication(&self, topic: &str, first: u8, id: u16, payload: &[u8]) -> Vec<u8> {
        let mut body = u16::try_from(topic.len()).unwrap_or(0).to_be_bytes().to_vec();
        body.extend_from_slice(topic.as_bytes());
        if first & 0x06 != 0 {
            body.extend_from_slice(&id.to_be_bytes());
        }
        if self.is_v5 {
            body.push(0);
        }
        body.extend_from_slice(payload);
        packet(first, &body)
    }

    async fn publish(&mut self, input: &mut Input<'_>) {
        let (control, report) = (self.recipient.control_topic(), self.recipient.report_topic());
        let topic = input.choose(&["clear/a", "clear/b", "plant/7", "a\u{1}b", control.as_str(), report.as_str()]);
        let first = 0x30 | (input.byte() & 0x0f);
        let (id, len) = (u16::from(input.byte()), usize::from(input.byte()));
        let payload = vec![input.byte(); len * 64];
        self.send(&self.publication(topic, first, id, &payload)).await;
    }
}

/// Cuts a packet off the front: its first byte and its body.
fn take_packet(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (mut len, mut header) = (0_usize, 1);
    loop {
        let byte = *bytes.get(header)?;
        len |= usize::from(byte & 0x7f) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 || header > 4 {
            break;
        }
    }
    if bytes.len() < header + len {
        return None;
    }
    let rest = bytes.split_off(header + len);
    let packet = std::mem::replace(bytes, rest);
    Some((packet[0], packet[header..].to_vec()))
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut len = body.len();
    loop {
        let byte = (len % 128) as u8;
        len /= 128;
        packet.push(if len > 0 { byte | 0x80 } else { byte });
        if len == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

struct Application {
    connection: Connection,
    events: Events,
    /// What it waits for, each in a task of its own.
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Application {
    /// Asks for something, and does not wait for it.
    fn asks(&mut self, input: &mut Input<'_>) {
        /// What waits at once.
        const MOST: usize = 32;
        if self.tasks.len() >= MOST {
            return;
        }
        let (connection, what, payload) = (self.connection.clone(), input.byte(), vec![input.byte(); 3]);
        let qos = input.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        self.tasks.push(tokio::spawn(async move {
            match what % 8 {
                0..=2 => {
                    if let Ok(delivery) = connection.publish("clear/x", &payload, qos).await {
                        let _taken_or_not = delivery.await;
                    }
                }
                3 => {
                    if let Ok(delivery) = connection.publish_retained("plant/7", &payload, qos).await {
                        let _taken_or_not = delivery.await;
                    }
                }
                4 => drop(connection.subscribe("clear/#", qos).await),
                5 => drop(connection.subscribe("#", qos).await),
                6 => drop(connection.unsubscribe("clear/#").await),
                _ => drop(connection.round_trip().await),
            }
        }));
    }

    /// Takes events, as many as there are at most.
    async fn takes(&mut self, most: u8) {
        for _ in 0..most {
            if timeout(A_MOMENT, self.events.next_event()).await.is_err() {
                return;
            }
        }
    }

    /// Everything comes to an end: the bounds were kept, and nobody waits.
    async fn ends(mut self) {
        let (mut bytes, mut longest) = (0, 0);
        let mut others = 0;
        // What waits now; each look is too short for anything new to arrive.
        while let Ok(Some(event)) = timeout(Duration::ZERO, self.events.next_event()).await {
            match event {
                Event::Message(message) => {
                    bytes += message.payload.len();
                    longest = longest.max(message.payload.len());
                }
                _ => others += 1,
            }
        }
        assert!(longest <= LONGEST && bytes <= QUEUE_BYTES + longest, "{bytes} bytes waited");
        // One more tells of what was lost.
        assert!(others <= QUEUE + 1, "{others} events waited");
        let ended = timeout(FOR_EVER, self.connection.shutdown(Duration::from_secs(1))).await;
        assert!(ended.is_ok(), "the shutdown hangs");
        for task in self.tasks {
            let ended = timeout(FOR_EVER, task).await;
            ended.expect("something waits for ever").expect("a task panicked");
        }
        while timeout(FOR_EVER, self.events.next_event()).await.expect("the events do not end").is_some() {}
    }
}
