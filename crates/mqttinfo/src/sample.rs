//! Reports for tests, to be changed where a test needs something else.

use crate::report::{
    Access, Answer, Connack, Level, LevelReport, Outcome, PayloadCounts, Property, Reaction, Reading, Report, SCHEMA,
    Writing,
};
use std::collections::BTreeMap;

/// A broker of which nothing was looked at.
pub(crate) fn report() -> Report {
    Report {
        schema: SCHEMA,
        target: "mqtt://broker.example:1883".into(),
        address: Some("192.0.2.1:1883".into()),
        started: "2026-11-01T12:00:00Z".parse().unwrap(),
        seconds: 3.5,
        outcome: Outcome::Broker,
        mqtt_3_1: None,
        mqtt_3_1_1: None,
        mqtt_5: None,
        unknown_level: None,
        tls: None,
        payloads: PayloadCounts::default(),
        sys: BTreeMap::new(),
        intrusive: false,
        incomplete: None,
        products: Vec::new(),
        findings: Vec::new(),
    }
}

/// A version of MQTT of which only the answer to an ordinary CONNECT is known.
pub(crate) fn level(anonymous: Answer) -> LevelReport {
    LevelReport {
        anonymous,
        credentials: None,
        stranger: None,
        user: None,
        empty_id: None,
        flows: None,
        oddities: BTreeMap::new(),
        limits: None,
        takeover: None,
        login_errors: None,
    }
}

/// A CONNACK of MQTT 3.1.1 and the answer that it makes.
pub(crate) fn connack_3(code: u8) -> Answer {
    answer(Level::V3_1_1, &format!("200200{code:02x}"))
}

/// A CONNACK of MQTT 5 of its code and properties.
pub(crate) fn connack_5(code: u8, properties: &str) -> Answer {
    let properties: String = properties.split_whitespace().collect();
    let length = properties.len() / 2;
    answer(Level::V5, &format!("20{:02x}00{code:02x}{length:02x}{properties}", length + 3))
}

/// The answer of its bytes. A refusal of MQTT 5 may come as in MQTT 3.1.1.
pub(crate) fn answer(level: Level, packet: &str) -> Answer {
    let bytes = hex::decode(packet).unwrap();
    let properties = if level == Level::V5 && bytes.len() > 4 { properties(&bytes[5..]) } else { Vec::new() };
    let text = |id| {
        let property: Option<&Property> = properties.iter().find(|property| property.id == id);
        property.map(|property| String::from_utf8(hex::decode(&property.value).unwrap()[2..].to_vec()).unwrap())
    };
    let connack =
        Connack { code: bytes[3], bytes: packet.to_owned(), assigned_id: text(0x12), reason: text(0x1f), properties };
    if connack.code == 0 { Answer::Accepted(connack) } else { Answer::Refused(connack) }
}

fn properties(mut bytes: &[u8]) -> Vec<Property> {
    let mut properties = Vec::new();
    while let [id, rest @ ..] = bytes {
        let length = match id {
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x21 | 0x22 => 2,
            0x11 | 0x27 => 4,
            _ => 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]])),
        };
        let (value, rest) = rest.split_at(length);
        properties.push(Property { id: *id, value: hex::encode(value) });
        bytes = rest;
    }
    properties
}

/// A string property: its length in front.
pub(crate) fn string(text: &str) -> String {
    format!("{:04x}{}", text.len(), hex::encode(text))
}

pub(crate) fn accepted(by: &str) -> Reaction {
    Reaction::Accepted { by: by.into() }
}

pub(crate) fn refused(by: &str) -> Reaction {
    Reaction::Refused { by: by.into() }
}

pub(crate) fn reading(reaction: Reaction, messages: u64, retained: u64) -> Reading {
    Reading {
        reaction,
        messages,
        retained,
        bytes: messages * 20,
        topics: messages.min(7),
        names: None,
        cut_short: false,
    }
}

/// May read by one filter.
pub(crate) fn reads(filter: &str, reading: Reading) -> Access {
    Access { read: BTreeMap::from([(filter.to_owned(), reading)]), ..Access::default() }
}

/// May write, or not.
pub(crate) fn writes(reaction: Reaction, delivered: bool) -> Access {
    Access { write: Some(Writing { reaction, delivered }), ..Access::default() }
}
