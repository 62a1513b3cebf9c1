//! A broker that plays a script: what it answers to a packet is the test's to say.

use super::Version;
use e4_mqtt::{MqttOptions, rumqttc_v4, rumqttc_v5};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;

/// What the broker does next; to close the connection ends it.
#[derive(Clone)]
pub(crate) enum Say {
    Bytes(Vec<u8>),
    Close,
}

/// A packet of the client, and which connection it came on, from 0.
pub(crate) struct Packet<'a> {
    pub(crate) connection: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) body: &'a [u8],
}

impl Packet<'_> {
    /// Whether it has this text in it.
    pub(crate) fn names(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The packet identifier of what begins with it.
    pub(crate) fn id(&self) -> [u8; 2] {
        [self.body[0], self.body[1]]
    }

    /// The packet identifier of a PUBLISH of QoS 1 or 2, behind its topic.
    pub(crate) fn publish_id(&self) -> [u8; 2] {
        let topic = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        [self.body[2 + topic], self.body[3 + topic]]
    }

    /// The payload of a PUBLISH, behind its topic, identifier and properties.
    pub(crate) fn payload(&self, version: Version) -> &[u8] {
        let topic = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let rest = &self.body[2 + topic + if self.flags & 0x06 == 0 { 0 } else { 2 }..];
        let properties = if version == Version::V5 { 1 + usize::from(rest[0]) } else { 0 };
        &rest[properties..]
    }
}

pub(crate) struct Scripted {
    port: u16,
    /// Where it is reached in memory.
    dial: Option<mpsc::UnboundedSender<DuplexStream>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// In memory alone, so that a test may stop the clock of Tokio: then to wait costs nothing, and nothing is late.
    pub(crate) fn in_memory(script: impl Fn(&Packet<'_>) -> Vec<Say> + Send + Sync + 'static) -> Self {
        let (dial, mut dialled) = mpsc::unbounded_channel();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Some(stream) = dialled.recv().await else { return };
                let script = Arc::clone(&script);
                tokio::spawn(async move { play(stream, connection, &*script).await });
            }
        });
        Self { port: 0, dial: Some(dial), task }
    }

    pub(crate) async fn start(script: impl Fn(&Packet<'_>) -> Vec<Say> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let script = Arc::clone(&script);
                tokio::spawn(async move { play(stream, connection, &*script).await });
            }
        });
        Self { port, dial: None, task }
    }

    pub(crate) fn options(&self, version: Version, mqtt_id: &str) -> MqttOptions {
        let dial = self.dial.clone();
        let connect = |dial: mpsc::UnboundedSender<DuplexStream>| async move {
            let (client, broker) = duplex(1 << 16);
            dial.send(broker).map_err(|_gone| io::Error::other("nobody is there"))?;
            Ok(client)
        };
        match version {
            Version::V4 => {
                let mut options = rumqttc_v4::MqttOptions::new(mqtt_id, ("127.0.0.1", self.port));
                if let Some(dial) = dial {
                    options.set_socket_connector(move |_, _| connect(dial.clone()));
                }
                options.into()
            }
            Version::V5 => {
                let mut options = rumqttc_v5::MqttOptions::new(mqtt_id, ("127.0.0.1", self.port));
                if let Some(dial) = dial {
                    options.set_socket_connector(move |_, _| connect(dial.clone()));
                }
                options.into()
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the connection, whoever ended it.
async fn play(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    script: &(dyn Fn(&Packet<'_>) -> Vec<Say> + Send + Sync),
) {
    while let Ok(first) = stream.read_u8().await {
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            let Ok(byte) = stream.read_u8().await else { return };
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let said = script(&Packet { connection, kind: first >> 4, flags: first & 0x0f, body: &body });
        for say in said {
            match say {
                Say::Bytes(bytes) if stream.write_all(&bytes).await.is_ok() => (),
                Say::Bytes(_) | Say::Close => return,
            }
        }
    }
}

/// A packet of the broker.
pub(crate) fn packet(first: u8, body: &[u8]) -> Say {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let byte = u8::try_from(len % 128).unwrap();
        len /= 128;
        bytes.push(if len > 0 { byte | 0x80 } else { byte });
        if len == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    Say::Bytes(bytes)
}

/// A message of QoS 0, or of QoS 1 if it has an identifier.
pub(crate) fn publish(version: Version, topic: &str, id: Option<u16>, payload: &[u8]) -> Say {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// What a broker says that does what it is asked for, and grants QoS 1.
pub(crate) fn usual(version: Version, asked: &Packet<'_>) -> Vec<Say> {
    let is_v5 = version == Version::V5;
    let with_id = |first: u8, id: [u8; 2], rest: &[u8]| {
        let properties: &[u8] = if is_v5 { &[0] } else { &[] };
        packet(first, &[&id, properties, rest].concat())
    };
    let say = match (asked.kind, asked.flags & 0x06) {
        (CONNECT, _) => packet(0x20, if is_v5 { &[0, 0, 0] } else { &[0, 0] }),
        (PUBLISH, 0x02) => packet(0x40, &asked.publish_id()),
        (PUBLISH, 0x04) => packet(0x50, &asked.publish_id()),
        (6, _) => packet(0x70, &asked.id()),
        (SUBSCRIBE, _) => with_id(0x90, asked.id(), &[1]),
        (UNSUBSCRIBE, _) => with_id(0xb0, asked.id(), if is_v5 { &[0] } else { &[] }),
        (12, _) => packet(0xd0, &[]),
        (14, _) => Say::Close,
        _ => return Vec::new(),
    };
    vec![say]
}
