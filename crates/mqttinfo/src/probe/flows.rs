//! Whether QoS 1 and 2 work, to the broker and back.

use super::{
    answers::{reaction_of, wait_for, without_answer},
    prober::{Probe, Prober, Who, note},
};
use crate::{
    report::{Flows, Level, LevelReport, Reaction},
    session::{Received, Session},
};
use mqtt5_protocol::{
    Packet, PacketType, QoS,
    packet::{puback::PubAckPacket, pubcomp::PubCompPacket, pubrec::PubRecPacket, pubrel::PubRelPacket},
};

/// What is published. It says whose it is to whoever finds it.
pub(super) const PAYLOAD: &[u8] = b"published by mqttinfo, which looks at this broker";

pub(super) fn probes<'p>(prober: &'p Prober<'_>, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'p>> {
    let max_qos = seen.limits.as_ref().map_or(2, |limits| limits.maximum_qos);
    let look = async move {
        let beyond = || Reaction::Unclear { reason: format!("the broker takes QoS {max_qos} at most") };
        let qos1_in = if max_qos >= 1 { prober.qos1(level, who).await } else { beyond() };
        let qos2_in = if max_qos >= 2 { prober.qos2(level, who).await } else { beyond() };
        let qos_out = prober.highest_back(level, who, max_qos).await;
        Flows { qos1_in, qos2_in, qos_out }
    };
    vec![note(level, look, |part, flows| part.flows = Some(flows))]
}

impl Prober<'_> {
    /// PUBLISH of QoS 1, to a topic that nobody has subscribed to: MQTT 5 has a code for that.
    async fn qos1(&self, level: Level, who: Who) -> Reaction {
        let mut session = match self.session(level, who).await {
            Ok(session) => session,
            Err(reaction) => return reaction,
        };
        let publish = session.publication(&self.topic("flow-1"), PAYLOAD, QoS::AtLeastOnce);
        let deadline = self.soon();
        if session.send(&publish, deadline).await.is_err() {
            return Reaction::Closed;
        }
        let reaction = match wait_for(&mut session, level, PacketType::PubAck, deadline).await {
            Ok(ack) => reaction_of(&ack, level).unwrap_or(Reaction::Ignored),
            Err(reaction) => self.or_ignored(&mut session, level, reaction).await,
        };
        session.leave().await;
        reaction
    }

    /// What was not answered was ignored, if a PINGREQ behind it is answered.
    async fn or_ignored(&self, session: &mut Session, level: Level, reaction: Reaction) -> Reaction {
        if !matches!(reaction, Reaction::Unclear { .. }) {
            return reaction;
        }
        let deadline = self.soon();
        if session.ping(deadline).await.is_err() {
            return reaction;
        }
        while let Received::Frame(frame) = session.receive(deadline).await {
            if frame.kind() == Some(PacketType::PingResp) {
                return Reaction::Ignored;
            }
            // It was only late.
            if reaction_of(&frame, level).is_some() {
                break;
            }
        }
        reaction
    }

    /// PUBLISH of QoS 2, in all its steps.
    async fn qos2(&self, level: Level, who: Who) -> Reaction {
        let mut session = match self.session(level, who).await {
            Ok(session) => session,
            Err(reaction) => return reaction,
        };
        let reaction = match self.qos2_on(&mut session, level).await {
            Ok(reaction) => reaction,
            Err(reaction) => self.or_ignored(&mut session, level, reaction).await,
        };
        session.leave().await;
        reaction
    }

    async fn qos2_on(&self, session: &mut Session, level: Level) -> Result<Reaction, Reaction> {
        let publish = session.publication(&self.topic("flow-2"), PAYLOAD, QoS::ExactlyOnce);
        let id = publish.packet_id.unwrap_or(0);
        let deadline = self.soon();
        session.send(&publish, deadline).await.map_err(|_| Reaction::Closed)?;
        // A broker that knows no QoS 2 and cannot say so may answer as to QoS 1: RabbitMQ does.
        let received = loop {
            match session.receive(deadline).await {
                Received::Frame(frame) => match frame.kind() {
                    Some(PacketType::PubRec) => break frame,
                    Some(PacketType::PubAck | PacketType::Disconnect) => {
                        return Ok(reaction_of(&frame, level).unwrap_or(Reaction::Closed));
                    }
                    _ => (),
                },
                other => return Err(without_answer(&other)),
            }
        };
        match reaction_of(&received, level) {
            Some(refused @ Reaction::Refused { .. }) => return Ok(refused),
            _ => session.send(&PubRelPacket::new(id), deadline).await.map_err(|_| Reaction::Closed)?,
        }
        let complete = wait_for(session, level, PacketType::PubComp, deadline).await?;
        Ok(reaction_of(&complete, level).unwrap_or(Reaction::Ignored))
    }

    /// The highest QoS at which a message comes back. A broker without QoS 2 in MQTT 3.1.1 cannot say so, and closes, or says
    /// nothing: then it is tried at the next lower one.
    async fn highest_back(&self, level: Level, who: Who, max_qos: u8) -> Option<u8> {
        let found = self.back(level, who, max_qos).await;
        if found.is_some() {
            return found;
        }
        let lower = self.back(level, who, max_qos.saturating_sub(1)).await?;
        // A broker with much to do may take longer than we wait: nothing is said after one try.
        self.back(level, who, max_qos).await.or(Some(lower))
    }

    /// A message there and back: the QoS at which it came, all packets exchanged.
    async fn back(&self, level: Level, who: Who, qos: u8) -> Option<u8> {
        let mut session = self.session(level, who).await.ok()?;
        let qos = self.back_on(&mut session, level, qos).await;
        session.leave().await;
        qos
    }

    async fn back_on(&self, session: &mut Session, level: Level, qos: u8) -> Option<u8> {
        let qos = match qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let topic = self.topic("flow-back");
        let deadline = self.soon();
        let subscribe = session.subscription(&topic, qos);
        session.send(&subscribe, deadline).await.ok()?;
        wait_for(session, level, PacketType::SubAck, deadline).await.ok()?;
        let publish = session.publication(&topic, PAYLOAD, qos);
        let own_id = publish.packet_id.unwrap_or(0);
        session.send(&publish, deadline).await.ok()?;
        // Our own message and the one that comes back may take turns.
        let mut arrived = None;
        let qos = loop {
            let frame = match session.receive(deadline).await {
                Received::Frame(frame) => frame,
                _ => return None,
            };
            match frame.packet(level.byte())? {
                Packet::PubRec(_) => session.send(&PubRelPacket::new(own_id), deadline).await.ok()?,
                Packet::Publish(message) => {
                    let id = message.packet_id.unwrap_or(0);
                    match message.qos {
                        QoS::AtMostOnce => break 0,
                        QoS::AtLeastOnce => {
                            session.send(&PubAckPacket::new(id), deadline).await.ok()?;
                            break 1;
                        }
                        QoS::ExactlyOnce => {
                            session.send(&PubRecPacket::new(id), deadline).await.ok()?;
                            arrived = Some(id);
                        }
                    }
                }
                Packet::PubRel(release) if arrived == Some(release.packet_id) => {
                    session.send(&PubCompPacket::new(release.packet_id), deadline).await.ok()?;
                    break 2;
                }
                Packet::Disconnect(_) => return None,
                _ => (),
            }
        };
        let unsubscribe = session.unsubscription(&topic);
        session.send(&unsubscribe, deadline).await.ok()?;
        let _ended = wait_for(session, level, PacketType::UnsubAck, deadline).await;
        Some(qos)
    }
}
