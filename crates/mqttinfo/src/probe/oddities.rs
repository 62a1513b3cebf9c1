//! What the broker does about what the standard forbids. These packets are written byte by byte, since no codec makes them.

use super::{
    answers::{STRAGGLERS, reaction_of, wait_for, with_code, without_answer},
    flows::PAYLOAD,
    prober::{Probe, Prober, Who, in_words, note},
};
use crate::{
    report::{Answer, Level, Oddity, Reaction},
    session::{Hello, Received, Session},
};
use mqtt5_protocol::{Packet, PacketType, QoS};
use tokio::time::Instant;

pub(super) fn probes<'p>(prober: &'p Prober<'_>, level: Level, who: Who) -> Vec<Probe<'p>> {
    let here = |oddity: &Oddity| match oddity {
        Oddity::EmptyIdWithoutCleanSession => level == Level::V3_1_1,
        // It writes where a client has no business.
        Oddity::WildcardDollar => prober.settings.intrusive,
        _ => true,
    };
    let probe = |oddity| {
        note(level, prober.try_oddity(level, who, oddity), move |part, reaction| {
            part.oddities.insert(oddity, reaction);
        })
    };
    Oddity::ALL.into_iter().filter(here).map(probe).collect()
}

/// The packet identifier of what is sent here; each is the first on its connection.
const ID: [u8; 2] = [0x7F, 0x01];

/// SUBSCRIBE or UNSUBSCRIBE: first byte, filter and options as they are to be. Filters here are short.
fn filter_packet(first: u8, level: Level, filter: &[u8], options: Option<u8>) -> Vec<u8> {
    let mut body = ID.to_vec();
    if level == Level::V5 {
        // No properties.
        body.push(0);
    }
    let [_, .., high, low] = filter.len().to_be_bytes();
    body.extend([high, low]);
    body.extend(filter);
    body.extend(options);
    packet(first, &body)
}

/// A packet of less than 128 bytes.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(body.len()).unwrap_or(0x7F)];
    bytes.extend(body);
    bytes
}

impl Prober<'_> {
    async fn try_oddity(&self, level: Level, who: Who, oddity: Oddity) -> Reaction {
        const SUBSCRIBE: u8 = 0x82;
        let own = self.topic("odd");
        let with = |bytes: &[u8]| [own.as_bytes(), b"/", bytes].concat();
        let (flags, filter, options) = match oddity {
            Oddity::SecondConnect => return self.second_connect(level, who).await,
            Oddity::EmptyIdWithoutCleanSession => return self.empty_id_kept(level, who).await,
            Oddity::PublishQos3 => return self.publish_qos3(level, who).await,
            Oddity::WildcardDollar => return self.wildcard_dollar(level, who).await,
            // [MQTT-3.8.3-4] in 3.1.1, [MQTT-3.8.3-5] in 5.
            Oddity::SubscribeQos3 => (SUBSCRIBE, own.clone().into_bytes(), 3),
            // [MQTT-4.7.1-3] in 3.1.1, [MQTT-4.7.1-2] in 5.
            Oddity::InvalidFilter => (SUBSCRIBE, b"A+".to_vec(), 0),
            // [MQTT-1.5.3-1] in 3.1.1, [MQTT-1.5.4-1] in 5; RFC 3629, section 3.
            Oddity::Utf8Truncated => (SUBSCRIBE, with(&[0xC3, 0x28]), 0),
            Oddity::Utf8Overlong => (SUBSCRIBE, with(&[0xC0, 0xAF]), 0),
            Oddity::Utf8Surrogate => (SUBSCRIBE, with(&[0xED, 0xA0, 0x80]), 0),
            // [MQTT-1.5.3-2] in 3.1.1, [MQTT-1.5.4-2] in 5.
            Oddity::Utf8Null => (SUBSCRIBE, with(&[0x00]), 0),
            // [MQTT-3.8.1-1]: the flags of SUBSCRIBE are 0010.
            Oddity::ReservedFlags => (0x80, own.clone().into_bytes(), 0),
        };
        let mut session = match self.session(level, who).await {
            Ok(session) => session,
            Err(reaction) => return reaction,
        };
        let bytes = filter_packet(flags, level, &filter, Some(options));
        let reaction = self.provoke(&mut session, level, &bytes, PacketType::SubAck).await;
        if reaction.is_accepted() {
            let unsubscribe = filter_packet(0xA2, level, &filter, None);
            let deadline = self.soon();
            if session.send_raw(&unsubscribe, deadline).await.is_ok() {
                let _ended = wait_for(&mut session, level, PacketType::UnsubAck, deadline).await;
            }
        }
        session.leave().await;
        reaction
    }

    /// [MQTT-3.3.1-4]: both QoS bits set. A subscriber shows whether it goes through.
    async fn publish_qos3(&self, level: Level, who: Who) -> Reaction {
        let mut session = match self.session(level, who).await {
            Ok(session) => session,
            Err(reaction) => return reaction,
        };
        let topic = self.topic("odd-3");
        let subscribe = session.subscription(&topic, QoS::AtMostOnce);
        let deadline = self.soon();
        if session.send(&subscribe, deadline).await.is_ok() {
            // Where subscribing is not allowed, the answer to the publication has to do.
            let _subscribed = wait_for(&mut session, level, PacketType::SubAck, deadline).await;
        }
        let mut body = Vec::new();
        let [_, .., high, low] = topic.len().to_be_bytes();
        body.extend([high, low]);
        body.extend(topic.as_bytes());
        body.extend(ID);
        if level == Level::V5 {
            body.push(0);
        }
        body.extend(b"QoS 3");
        let reaction = self.provoke(&mut session, level, &packet(0x36, &body), PacketType::Publish).await;
        if !reaction.is_refusal() {
            let unsubscribe = session.unsubscription(&topic);
            let deadline = self.soon();
            if session.send(&unsubscribe, deadline).await.is_ok() {
                let _ended = wait_for(&mut session, level, PacketType::UnsubAck, deadline).await;
            }
        }
        session.leave().await;
        reaction
    }

    /// [MQTT-4.7.2-1]: a filter that begins with a wildcard matches no topic that begins with `$`. Accepted if it does.
    async fn wildcard_dollar(&self, level: Level, who: Who) -> Reaction {
        let (mut reader, mut writer) = match (self.session(level, who).await, self.session(level, who).await) {
            (Ok(reader), Ok(writer)) => (reader, writer),
            (Err(reaction), _) | (_, Err(reaction)) => return reaction,
        };
        let reaction = self.wildcard_dollar_on(&mut reader, &mut writer, level).await;
        writer.leave().await;
        let unsubscribe = reader.unsubscription("#");
        let deadline = self.soon();
        if reader.send(&unsubscribe, deadline).await.is_ok() {
            let _ended = wait_for(&mut reader, level, PacketType::UnsubAck, deadline).await;
        }
        reader.leave().await;
        reaction
    }

    async fn wildcard_dollar_on(&self, reader: &mut Session, writer: &mut Session, level: Level) -> Reaction {
        let unclear = |reason: &str| Reaction::Unclear { reason: reason.to_owned() };
        let subscribe = reader.subscription("#", QoS::AtMostOnce);
        let deadline = self.soon();
        if reader.send(&subscribe, deadline).await.is_err() {
            return unclear("# cannot be subscribed to");
        }
        match wait_for(reader, level, PacketType::SubAck, deadline).await {
            Ok(ack) if reaction_of(&ack, level).is_some_and(|reaction| reaction.is_accepted()) => {}
            _ => return unclear("# cannot be subscribed to"),
        }
        // The arrival of the second says that the first is not still on its way.
        let (hidden, plain) = (format!("${}", self.topic("dollar")), self.topic("no-dollar"));
        for topic in [&hidden, &plain] {
            let publish = writer.publication(topic, PAYLOAD, QoS::AtMostOnce);
            if writer.send(&publish, deadline).await.is_err() {
                return unclear("nothing can be written there");
            }
        }
        let (mut end, mut arrived) = (deadline, false);
        loop {
            let frame = match reader.receive(end).await {
                Received::Frame(frame) => frame,
                Received::Silence if arrived => return Reaction::Ignored,
                _ => return unclear("nothing that was written came back"),
            };
            match frame.packet(level.byte()) {
                Some(Packet::Publish(message)) if message.topic_name == hidden => {
                    return Reaction::Accepted { by: "PUBLISH".into() };
                }
                Some(Packet::Publish(message)) if message.topic_name == plain => {
                    arrived = true;
                    end = end.min(Instant::now() + STRAGGLERS);
                }
                _ => (),
            }
        }
    }

    /// [MQTT-3.1.0-2]: a second CONNECT on one connection.
    async fn second_connect(&self, level: Level, who: Who) -> Reaction {
        let client_id = self.client_id();
        let greeting = self.words(level.byte(), who, &client_id);
        let (_, Some(mut session)) = self.hello(&greeting).await else {
            return Reaction::Unclear { reason: "could not connect again".into() };
        };
        let reaction = self.provoke(&mut session, level, &greeting.packet(), PacketType::ConnAck).await;
        session.leave().await;
        reaction
    }

    /// [MQTT-3.1.3-8] of 3.1.1: an empty client id asks for a clean session.
    async fn empty_id_kept(&self, level: Level, who: Who) -> Reaction {
        let greeting = Hello { clean: false, ..self.words(level.byte(), who, "") };
        let (answer, session) = self.hello(&greeting).await;
        if let Some(session) = session {
            session.leave_for_good().await;
        }
        match answer {
            Answer::Accepted(connack) => Reaction::Accepted { by: with_code("CONNACK", Some(connack.code)) },
            Answer::Refused(connack) => Reaction::Refused { by: with_code("CONNACK", Some(connack.code)) },
            Answer::Closed => Reaction::Closed,
            other => Reaction::Unclear { reason: in_words(&other) },
        }
    }

    /// Sends something wrong and a PINGREQ behind it, and says what becomes of it. `wanted` is the packet that says that
    /// it went through; an acknowledgement of a publication does, too.
    async fn provoke(&self, session: &mut Session, level: Level, bytes: &[u8], wanted: PacketType) -> Reaction {
        let deadline = self.soon();
        if session.send_raw(bytes, deadline).await.is_err() || session.ping(deadline).await.is_err() {
            return Reaction::Closed;
        }
        let mut pinged = false;
        let mut end = deadline;
        loop {
            let frame = match session.receive(end).await {
                Received::Frame(frame) => frame,
                Received::Silence if pinged => return Reaction::Ignored,
                other => return without_answer(&other),
            };
            match frame.kind() {
                Some(PacketType::PingResp) => {
                    pinged = true;
                    end = end.min(Instant::now() + STRAGGLERS);
                }
                // A filter that goes through may bring messages, before its SUBACK even.
                Some(PacketType::Publish) if wanted != PacketType::Publish => (),
                _ => {
                    if let Some(reaction) = reaction_of(&frame, level) {
                        return reaction;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_packets_are_wrong_in_one_thing_only() {
        let three = filter_packet(0x82, Level::V3_1_1, b"A+", Some(0));
        assert_eq!(hex::encode(three), "8207 7f01 0002 412b 00".replace(' ', ""));
        let five = filter_packet(0x82, Level::V5, &[0xC3, 0x28], Some(0));
        assert_eq!(hex::encode(five), "8208 7f01 00 0002 c328 00".replace(' ', ""));
        let end = filter_packet(0xA2, Level::V3_1_1, b"A+", None);
        assert_eq!(hex::encode(end), "a206 7f01 0002 412b".replace(' ', ""));
    }
}
