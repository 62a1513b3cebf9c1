//! One connection to a broker: CONNECT, and packets to and fro, each wait with an end.

use crate::{
    dial::{DialError, Dialer, Trust, Wire},
    packets::{Cutter, Frame, looks_like},
    report::Answer,
};
use mqtt5_protocol::{
    ConnectOptions, PacketType, QoS,
    packet::{
        MqttPacket, connect::ConnectPacket, disconnect::DisconnectPacket, pingreq::PingReqPacket,
        publish::PublishPacket, subscribe::SubscribePacket, unsubscribe::UnsubscribePacket,
    },
};
use std::{fmt, io, time::Duration};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

/// A user name and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<Zeroizing<Vec<u8>>>,
}

/// Prints no password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Seconds that are asked for. Some brokers say how much they allow at the most when they are asked for more than that.
pub(crate) const KEEP_ALIVE: u16 = 120;

/// How to introduce oneself.
#[derive(Debug, Clone)]
pub(crate) struct Hello<'a> {
    /// The protocol level.
    pub(crate) level: u8,
    /// The client id.
    pub(crate) client_id: &'a str,
    /// Whether the session ends with the connection.
    pub(crate) clean: bool,
    /// Who we are, if we say so.
    pub(crate) credentials: Option<&'a Credentials>,
    /// Whom to say it to.
    pub(crate) trust: Trust,
}

impl Hello<'_> {
    /// The CONNECT packet (MQTT 5, section 3.1).
    #[must_use]
    pub(crate) fn packet(&self) -> Zeroizing<Vec<u8>> {
        let mut options = ConnectOptions::new(self.client_id)
            .with_clean_start(self.clean)
            .with_keep_alive(Duration::from_secs(u64::from(KEEP_ALIVE)));
        options.username = self.credentials.map(|credentials| credentials.user.clone());
        options.password = self.credentials.and_then(|credentials| Some(credentials.password.as_ref()?.to_vec()));
        // What a broker has to say about itself. Some show what they are by how they answer to it.
        options.properties.request_response_information = Some(true);
        let packet = if self.level >= 5 { ConnectPacket::new(options) } else { ConnectPacket::new_v311(options) };
        let mut bytes = Zeroizing::new(encoded(&packet));
        match self.level {
            4 | 5 => (),
            // MQTT 3.1 has another name in front of its level, two characters longer.
            3 => {
                if let [_, length, ..] = &mut bytes[..] {
                    *length = length.saturating_add(2);
                }
                bytes.splice(2..8, *b"\0\x06MQIsdp");
                if let Some(level) = bytes.get_mut(10) {
                    *level = 3;
                }
            }
            unknown => {
                if let Some(level) = bytes.get_mut(8) {
                    *level = unknown;
                }
            }
        }
        bytes
    }
}

/// A packet as bytes.
fn encoded(packet: &impl MqttPacket) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It fails for texts longer than MQTT has, and ours are short, or checked where they come in. Then nothing is sent.
    if packet.encode(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// What came from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// A packet.
    Frame(Frame),
    /// It has closed the connection.
    Closed,
    /// Nothing more came in time.
    Silence,
    /// What came is no MQTT, or is more than will be read.
    Garbage,
}

/// A connection that was let in.
pub(crate) struct Session {
    wire: Wire,
    cutter: Cutter,
    level: u8,
    /// Bytes that may still be read.
    allowance: usize,
    last_id: u16,
}

/// Bytes that are read of one connection at the most: a server that never ends does not keep us.
const ALLOWANCE: usize = 16 * 1024 * 1024;

/// Bytes of an answer that is no CONNACK that go into a report.
const SHOWN: usize = 32;

/// Says hello, and returns the answer, and the connection if it is let in.
pub(crate) async fn hello(dialer: &Dialer, hello: &Hello<'_>, within: Duration) -> (Answer, Option<Session>) {
    let wire = match dialer.wire(hello.trust).await {
        Ok(wire) => wire,
        Err(error) => return (failed(&error), None),
    };
    let mut session = Session { wire, cutter: Cutter::default(), level: hello.level, allowance: ALLOWANCE, last_id: 0 };
    let deadline = Instant::now() + within;
    if session.send_raw(&hello.packet(), deadline).await.is_err() {
        return (Answer::Closed, None);
    }
    let answer = session.connack(deadline).await;
    let session = matches!(answer, Answer::Accepted(_)).then_some(session);
    (answer, session)
}

fn failed(error: &DialError) -> Answer {
    Answer::Failed { reason: error.to_string() }
}

impl Session {
    async fn connack(&mut self, deadline: Instant) -> Answer {
        let received = self.receive(deadline).await;
        let bytes = match &received {
            Received::Frame(frame) => match frame.connack(self.level) {
                Some(connack) if connack.code == 0 => return Answer::Accepted(connack),
                Some(connack) => return Answer::Refused(connack),
                // What is no MQTT may be cut like it.
                None => frame.bytes(SHOWN),
            },
            Received::Closed | Received::Silence | Received::Garbage => {
                let bytes = self.cutter.buffer();
                bytes.truncate(SHOWN);
                bytes.split()
            }
        };
        match received {
            Received::Closed if bytes.is_empty() => Answer::Closed,
            Received::Silence if bytes.is_empty() => Answer::Silent,
            _ => Answer::Other { looks_like: looks_like(&bytes).into(), bytes: hex::encode(&bytes) },
        }
    }

    /// Waits for the next packet.
    pub(crate) async fn receive(&mut self, deadline: Instant) -> Received {
        loop {
            match self.cutter.take_frame() {
                Ok(Some(frame)) => return Received::Frame(frame),
                Ok(None) => (),
                Err(_) => return Received::Garbage,
            }
            if self.allowance == 0 {
                return Received::Garbage;
            }
            match timeout_at(deadline, self.wire.read(self.cutter.buffer())).await {
                Err(_) => return Received::Silence,
                Ok(Ok(0) | Err(_)) => return Received::Closed,
                Ok(Ok(read)) => self.allowance = self.allowance.saturating_sub(read),
            }
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// The connection is gone, or does not take more in time.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        timeout_at(deadline, self.wire.write(bytes)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends a packet.
    ///
    /// # Errors
    ///
    /// As [`send_raw`](Self::send_raw).
    pub(crate) async fn send(&mut self, packet: &impl MqttPacket, deadline: Instant) -> io::Result<()> {
        self.send_raw(&encoded(packet), deadline).await
    }

    /// A packet identifier that is not in use.
    pub(crate) const fn next_id(&mut self) -> u16 {
        self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
        self.last_id
    }

    /// SUBSCRIBE to a filter.
    #[must_use]
    pub(crate) fn subscription(&mut self, filter: &str, qos: QoS) -> SubscribePacket {
        let id = self.next_id();
        let empty = if self.level >= 5 { SubscribePacket::new(id) } else { SubscribePacket::new_v311(id) };
        empty.add_filter(filter, qos)
    }

    /// PUBLISH to a topic.
    #[must_use]
    pub(crate) fn publication(&mut self, topic: &str, payload: &'static [u8], qos: QoS) -> PublishPacket {
        let id = if qos == QoS::AtMostOnce { 0 } else { self.next_id() };
        let publish = if self.level >= 5 {
            PublishPacket::new(topic, payload, qos)
        } else {
            PublishPacket::new_v311(topic, payload, qos)
        };
        publish.with_packet_id(id)
    }

    /// UNSUBSCRIBE from a filter.
    #[must_use]
    pub(crate) fn unsubscription(&mut self, filter: &str) -> UnsubscribePacket {
        let id = self.next_id();
        let empty = if self.level >= 5 { UnsubscribePacket::new(id) } else { UnsubscribePacket::new_v311(id) };
        empty.add_filter(filter)
    }

    /// PINGREQ, which any broker answers: what it has to say about what was sent before comes first.
    ///
    /// # Errors
    ///
    /// As [`send_raw`](Self::send_raw).
    pub(crate) async fn ping(&mut self, deadline: Instant) -> io::Result<()> {
        self.send(&PingReqPacket::default(), deadline).await
    }

    /// Says goodbye, so that nobody takes the end for a failure.
    pub(crate) async fn leave(mut self) {
        /// It is over either way.
        const PATIENCE: Duration = Duration::from_millis(200);
        let deadline = Instant::now() + PATIENCE;
        // MQTT 3.1.1, section 3.14: two bytes. In MQTT 5 these mean a normal end.
        let _sent = self.send_raw(&[u8::from(PacketType::Disconnect) << 4, 0], deadline).await;
        self.wire.close().await;
    }

    /// Says goodbye, and that the session is to end with it (MQTT 5, section 3.14.2.2.2).
    pub(crate) async fn leave_for_good(mut self) {
        if self.level >= 5 {
            let goodbye = DisconnectPacket::normal().with_session_expiry_interval(0);
            let _sent = self.send(&goodbye, Instant::now() + Duration::from_millis(200)).await;
            self.wire.close().await;
        } else {
            self.leave().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_a_connect_of_its_level() {
        let credentials = Credentials { user: "me".into(), password: Some(Zeroizing::new(b"secret".to_vec())) };
        for (level, credentials, expected) in [
            (4, None, "100d 00044d515454 04 02 0078 0001 61"),
            (5, None, "1010 00044d515454 05 02 0078 02 1901 0001 61"),
            (3, None, "100f 00064d5149736470 03 02 0078 0001 61"),
            (6, None, "1010 00044d515454 06 02 0078 02 1901 0001 61"),
            (4, Some(&credentials), "1019 00044d515454 04 c2 0078 0001 61 0002 6d65 0006 736563726574"),
        ] {
            let hello = Hello { level, client_id: "a", clean: true, credentials, trust: Trust::Anyone };
            assert_eq!(hex::encode(&hello.packet()[..]), expected.replace(' ', ""), "level {level}");
        }
        let hello = Hello { level: 4, client_id: "", clean: false, credentials: None, trust: Trust::Anyone };
        assert_eq!(hex::encode(&hello.packet()[..]), "100c00044d515454040000780000");
    }

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials { user: "me".into(), password: Some(Zeroizing::new(b"secret".to_vec())) };
        let hello =
            Hello { level: 4, client_id: "a", clean: true, credentials: Some(&credentials), trust: Trust::Anyone };
        assert!(!format!("{hello:?}").contains("secret"), "{hello:?}");
        assert!(!format!("{hello:?}").contains("115, 101, 99"), "{hello:?}");
    }
}
