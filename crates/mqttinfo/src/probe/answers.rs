//! What a broker says to what was sent.

use crate::{
    packets::Frame,
    report::{Level, Reaction},
    session::{Received, Session},
};
use mqtt5_protocol::PacketType;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer may come behind that of a PINGREQ: some brokers answer on several threads.
pub(super) const STRAGGLERS: Duration = Duration::from_millis(300);

/// What a packet says about something that was sent before, if it says anything about that.
pub(super) fn reaction_of(frame: &Frame, level: Level) -> Option<Reaction> {
    let (name, code) = match frame.kind()? {
        // The code is the last byte in both versions, as we ask for one thing at a time.
        PacketType::SubAck => ("SUBACK", frame.body.last().copied()),
        PacketType::PubAck => ("PUBACK", ack_code(frame, level)),
        PacketType::PubRec => ("PUBREC", ack_code(frame, level)),
        PacketType::PubComp => ("PUBCOMP", ack_code(frame, level)),
        PacketType::ConnAck => ("CONNACK", frame.body.get(1).copied()),
        PacketType::Publish => ("PUBLISH", None),
        PacketType::Disconnect => {
            let code = (level == Level::V5).then(|| frame.body.first().copied().unwrap_or(0));
            return Some(Reaction::Refused { by: with_code("DISCONNECT", code) });
        }
        _ => return None,
    };
    let by = with_code(name, code);
    let refused = match frame.kind()? {
        // Codes of MQTT 3.1.1 from 1 on refuse.
        PacketType::ConnAck => code != Some(0),
        _ => code.is_some_and(|code| code >= 0x80),
    };
    Some(if refused { Reaction::Refused { by } } else { Reaction::Accepted { by } })
}

/// The reason code of an acknowledgement; MQTT 5 leaves it out where it is 0, and 3.1.1 has none.
pub(super) fn ack_code(frame: &Frame, level: Level) -> Option<u8> {
    (level == Level::V5).then(|| frame.body.get(2).copied().unwrap_or(0))
}

pub(super) fn with_code(name: &str, code: Option<u8>) -> String {
    code.map_or_else(|| name.to_owned(), |code| format!("{name} 0x{code:02x}"))
}

/// What became of something, when no packet says so.
pub(super) fn without_answer(received: &Received) -> Reaction {
    match received {
        Received::Closed => Reaction::Closed,
        Received::Silence => Reaction::Unclear { reason: "no answer in time".into() },
        Received::Garbage | Received::Frame(_) => Reaction::Unclear { reason: "what came back cannot be read".into() },
    }
}

/// Waits for the packets of one kind, passing over others; a DISCONNECT ends the wait.
pub(super) async fn wait_for(
    session: &mut Session,
    level: Level,
    kind: PacketType,
    deadline: Instant,
) -> Result<Frame, Reaction> {
    loop {
        match session.receive(deadline).await {
            Received::Frame(frame) if frame.kind() == Some(kind) => return Ok(frame),
            Received::Frame(frame) if frame.kind() == Some(PacketType::Disconnect) => {
                return Err(reaction_of(&frame, level).unwrap_or(Reaction::Closed));
            }
            Received::Frame(_) => (),
            other => return Err(without_answer(&other)),
        }
    }
}
