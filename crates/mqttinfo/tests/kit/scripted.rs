//! A server that answers as a product does, byte for byte, by a short script.

use mqttinfo::packets::{Cutter, Frame};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::sleep,
};

/// By client id, what ends its connection.
type Clients = Mutex<HashMap<Vec<u8>, oneshot::Sender<()>>>;

/// What a server does with something.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers in these bytes, given in hexadecimal.
    Says(&'static str),
    /// Answers in these bytes, and closes.
    SaysAndCloses(&'static str),
    /// Closes.
    Closes,
    /// Takes it as if it were right.
    Takes,
}

/// A product as seen from outside.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    /// CONNECT of MQTT 3.1.
    pub(crate) level_3: Does,
    /// CONNECT of MQTT 3.1.1.
    pub(crate) level_4: Does,
    /// CONNECT of MQTT 5: the properties in hexadecimal, `<id>` where an assigned client id goes.
    pub(crate) level_5: Result<&'static str, Does>,
    /// The id that it assigns to a client without one; empty for none.
    pub(crate) assigned_id: &'static str,
    /// CONNECT of level 6.
    pub(crate) level_6: Does,
    /// CONNECT of 3.1.1 without an id and without clean session.
    pub(crate) empty_id_kept: Does,
    /// SUBSCRIBE to `A+`.
    pub(crate) a_plus: Does,
    /// SUBSCRIBE to `$SYS/#`.
    pub(crate) sys: Does,
    /// Topics below `$SYS`, and their retained payloads.
    pub(crate) sys_topics: &'static [(&'static str, &'static str)],
    /// Codes of PUBACK in MQTT 5: without a subscriber, below `$SYS`.
    pub(crate) puback: (u8, u8),
    /// Everything else that the standard forbids.
    pub(crate) malformed: Does,
    /// A second CONNECT, if it is not as everything else.
    pub(crate) second_connect: Option<Does>,
    /// Packets that it passes over, by their type.
    pub(crate) silent_to: &'static [u8],
    /// PUBLISH of QoS 2 is acknowledged as if it were of QoS 1, as `RabbitMQ` does.
    pub(crate) qos2_as_1: bool,
    /// A message that comes behind every CONNACK without being asked for, as `aMQTT` has it: topic and payload, retained.
    pub(crate) unasked: Option<(&'static str, &'static str)>,
    /// Whether a connection ends when another one has its client id, and how long that takes.
    pub(crate) takeover: Option<Duration>,
    /// Whether it repeats the properties of CONNECT in CONNACK, as `NanoMQ` does.
    pub(crate) echoes: bool,
}

impl Product {
    /// One that does as the standard says, and nothing that would give it away.
    pub(crate) const fn plain() -> Self {
        Self {
            level_3: Does::Takes,
            level_4: Does::Takes,
            level_5: Ok(""),
            assigned_id: "",
            level_6: Does::Closes,
            empty_id_kept: Does::SaysAndCloses("20020002"),
            a_plus: Does::Closes,
            sys: Does::Takes,
            sys_topics: &[],
            puback: (0, 0),
            malformed: Does::Closes,
            second_connect: None,
            silent_to: &[],
            qos2_as_1: false,
            unasked: None,
            takeover: None,
            echoes: false,
        }
    }

    /// Serves it on a free port, and returns the port.
    pub(crate) async fn serve(self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new((self, Clients::default()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.0.talk(stream, &shared.1).await });
            }
        });
        port
    }

    async fn talk(&self, mut stream: TcpStream, clients: &Clients) {
        let mut cutter = Cutter::default();
        let mut level = 0;
        let (mut end, mut ended) = oneshot::channel();
        loop {
            let frame = match cutter.take_frame() {
                Err(_) => return,
                Ok(Some(frame)) => frame,
                Ok(None) => tokio::select! {
                    read = stream.read_buf(cutter.buffer()) => match read {
                        Ok(0) | Err(_) => return,
                        Ok(_) => continue,
                    },
                    _ = &mut ended => return,
                },
            };
            if let (1, 0, Some(delay)) = (frame.first >> 4, level, self.takeover) {
                let before = clients.lock().unwrap().insert(client_id(&frame.body), end);
                (end, _) = oneshot::channel();
                tokio::spawn(async move {
                    sleep(delay).await;
                    drop(before);
                });
            }
            let (answer, goes_on) = self.answer(&frame, &mut level);
            if stream.write_all(&answer).await.is_err() || !goes_on {
                return;
            }
        }
    }

    fn answer(&self, frame: &Frame, level: &mut u8) -> (Vec<u8>, bool) {
        let body = &frame.body[..];
        match frame.first >> 4 {
            kind if self.silent_to.contains(&kind) => (Vec::new(), true),
            1 if *level != 0 => act(self.second_connect.as_ref().unwrap_or(&self.malformed), Vec::new),
            1 => {
                let (mut answer, goes_on) = self.connect(body, level);
                if let (Some((topic, payload)), true) = (self.unasked, goes_on && !answer.is_empty()) {
                    answer.extend(retained(topic, payload, *level));
                }
                (answer, goes_on)
            }
            3 => self.publish(frame, *level),
            6 => (ack(0x70, &body[..2], *level, 0), true),
            8 => self.subscribe(frame, *level),
            10 => {
                let mut answer = body[..2].to_vec();
                answer.extend(if *level == 5 { &[0, 0][..] } else { &[] });
                (packet(0xb0, &answer), true)
            }
            12 => (vec![0xd0, 0], true),
            _ => (Vec::new(), false),
        }
    }

    fn connect(&self, body: &[u8], level: &mut u8) -> (Vec<u8>, bool) {
        let name_len = 2 + usize::from(body[1]);
        *level = body[name_len];
        let clean = body[name_len + 1] & 2 != 0;
        let rest = &body[name_len + 4..];
        match *level {
            3 => act(&self.level_3, || vec![0x20, 2, 0, 0]),
            4 => {
                let empty_id = rest[..2] == [0, 0];
                let does = if empty_id && !clean { &self.empty_id_kept } else { &self.level_4 };
                act(does, || vec![0x20, 2, 0, 0])
            }
            5 => {
                let sent = &rest[1..1 + usize::from(rest[0])];
                let id = &rest[1 + sent.len()..];
                match &self.level_5 {
                    Err(does) => act(does, Vec::new),
                    Ok(properties) => {
                        let mut assigned = Vec::new();
                        if id[..2] == [0, 0] && !self.assigned_id.is_empty() {
                            assigned.extend([0x12, 0, u8::try_from(self.assigned_id.len()).unwrap()]);
                            assigned.extend(self.assigned_id.as_bytes());
                        }
                        let (before, after) = properties.split_once("<id>").unwrap_or((properties, ""));
                        let mut all = [bytes(before), assigned, bytes(after)].concat();
                        if self.echoes {
                            all.extend(sent);
                        }
                        let mut answer = vec![0, 0, u8::try_from(all.len()).unwrap()];
                        answer.extend(all);
                        (packet(0x20, &answer), true)
                    }
                }
            }
            _ => act(&self.level_6, || vec![0x20, 2, 0, 0]),
        }
    }

    fn publish(&self, frame: &Frame, level: u8) -> (Vec<u8>, bool) {
        let body = &frame.body[..];
        let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (topic, rest) = body[2..].split_at(topic_len);
        match (frame.first >> 1) & 3 {
            0 => (Vec::new(), true),
            1 => {
                let code = if topic.starts_with(b"$SYS") { self.puback.1 } else { self.puback.0 };
                (ack(0x40, &rest[..2], level, code), true)
            }
            2 if self.qos2_as_1 => (ack(0x40, &rest[..2], level, 0), true),
            2 => (ack(0x50, &rest[..2], level, 0), true),
            _ => act(&self.malformed, Vec::new),
        }
    }

    fn subscribe(&self, frame: &Frame, level: u8) -> (Vec<u8>, bool) {
        let body = &frame.body[..];
        let at = if level == 5 { 3 } else { 2 };
        let len = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        let (filter, options) = body[at + 2..].split_at(len);
        let suback = || {
            let mut answer = body[..2].to_vec();
            if level == 5 {
                answer.push(0);
            }
            answer.push(options[0] & 3);
            packet(0x90, &answer)
        };
        let valid = std::str::from_utf8(filter).is_ok_and(|filter| !filter.contains('\0'));
        if frame.first != 0x82 || options[0] & 3 == 3 || !valid {
            return act(&self.malformed, suback);
        }
        match filter {
            b"A+" => act(&self.a_plus, suback),
            b"$SYS/#" => act(&self.sys, || {
                let mut answer = suback();
                for (topic, payload) in self.sys_topics {
                    answer.extend(retained(topic, payload, level));
                }
                answer
            }),
            _ => (suback(), true),
        }
    }
}

fn act(does: &Does, as_if_right: impl FnOnce() -> Vec<u8>) -> (Vec<u8>, bool) {
    match does {
        Does::Says(text) => (bytes(text), true),
        Does::SaysAndCloses(text) => (bytes(text), false),
        Does::Closes => (Vec::new(), false),
        Does::Takes => (as_if_right(), true),
    }
}

fn ack(first: u8, id: &[u8], level: u8, code: u8) -> Vec<u8> {
    let mut body = id.to_vec();
    if level == 5 && code != 0 {
        body.push(code);
    }
    packet(first, &body)
}

fn retained(topic: &str, payload: &str, level: u8) -> Vec<u8> {
    let mut publish = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    publish.extend(topic.as_bytes());
    if level == 5 {
        publish.push(0);
    }
    publish.extend(payload.as_bytes());
    packet(0x31, &publish)
}

/// The client id of a CONNECT, with whatever is behind it.
fn client_id(body: &[u8]) -> Vec<u8> {
    let at = 2 + usize::from(body[1]);
    let properties = if body[at] == 5 { 1 + usize::from(body[at + 4]) } else { 0 };
    body[at + 4 + properties..].to_vec()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first, u8::try_from(body.len()).expect("short")];
    assert!(body.len() < 128);
    packet.extend(body);
    packet
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}
