//! Reports for tests: one of which nothing is known, one with something of everything, and the pieces to make others of.

use crate::report::{
    Access, Answer, Certificate, ClientCertificate, Connack, Finding, Flows, Level, LevelReport, Limits, LoginErrors,
    Oddity, Outcome, PayloadCounts, ProductGuess, Property, Reaction, Reader, Reading, Report, SCHEMA, Severity,
    Takeover, TlsReport, Trust, Writing,
};
use std::collections::BTreeMap;

/// What a terminal must never get to see.
pub(crate) const HOSTILE: &str = "evil\x1b[31m\u{202e}\n✔ fine <script>&\"'";

/// A broker of which nothing was looked at.
pub(crate) fn bare() -> Report {
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
        payloads_by: Reader::Stranger,
        sys: BTreeMap::new(),
        intrusive: false,
        incomplete: None,
        products: Vec::new(),
        findings: Vec::new(),
    }
}

pub(crate) fn let_in() -> Answer {
    Answer::Accepted(Connack {
        code: 0,
        bytes: "200900000622000a210014".into(),
        properties: vec![Property { id: 0x22, value: "000a".into() }, Property { id: 0x21, value: "0014".into() }],
        assigned_id: Some("auto-1".into()),
        reason: None,
    })
}

pub(crate) fn turned_away(code: u8) -> Answer {
    Answer::Refused(Connack {
        code,
        bytes: format!("200200{code:02x}"),
        properties: Vec::new(),
        assigned_id: None,
        reason: Some("go away".into()),
    })
}

pub(crate) fn yes() -> Reaction {
    Reaction::Accepted { by: "SUBACK 0x01".into() }
}

pub(crate) fn no() -> Reaction {
    Reaction::Refused { by: "SUBACK 0x80".into() }
}

/// A version of MQTT that lets strangers in and takes nothing that is forbidden.
pub(crate) fn open_level() -> LevelReport {
    LevelReport {
        anonymous: let_in(),
        credentials: None,
        stranger: Some(Access {
            read: BTreeMap::from([("#".to_owned(), reading(yes(), 3, 2))]),
            exact: Some(reading(yes(), 3, 2)),
            write: Some(Writing { reaction: yes(), delivered: true }),
            write_sys: Some(Writing { reaction: no(), delivered: false }),
        }),
        user: None,
        empty_id: None,
        flows: Some(Flows { qos1_in: yes(), qos2_in: yes(), qos_out: Some(2) }),
        oddities: Oddity::ALL.into_iter().map(|oddity| (oddity, no())).collect(),
        limits: None,
        takeover: None,
        login_errors: None,
    }
}

pub(crate) fn finding(id: &str, severity: Severity, title: &str) -> Finding {
    Finding {
        id: id.to_owned(),
        severity,
        levels: Vec::new(),
        title: title.to_owned(),
        detail: None,
        remedy: None,
        reference: None,
    }
}

/// A broker with something of everything: no field is empty.
pub(crate) fn report() -> Report {
    let mut v5 = open_level();
    v5.credentials = Some(let_in());
    v5.user = Some(Access::default());
    v5.empty_id = Some(Answer::Other { bytes: "00".into(), looks_like: "nothing".into() });
    v5.limits = Some(Limits {
        server_keep_alive: Some(60),
        maximum_packet_size: Some(2_000_000),
        receive_maximum: 20,
        session_expiry: Some(0),
        topic_alias_maximum: 10,
        maximum_qos: 2,
        retain_available: true,
        wildcard_subscriptions: true,
        subscription_identifiers: true,
        shared_subscriptions: true,
    });
    v5.takeover =
        Some(Takeover { by_like: Reaction::Closed, by_stranger: Some(Reaction::Unclear { reason: "time".into() }) });
    v5.login_errors = Some(LoginErrors { wrong_password: turned_away(0x86), unknown_user: Answer::Silent });
    if let Some(reading) = v5.stranger.as_mut().and_then(|access| access.read.get_mut("#")) {
        reading.names = Some(BTreeMap::from([("plant/valve".to_owned(), 1234), ("plant/温度".to_owned(), 4)]));
    }
    v5.oddities.insert(Oddity::InvalidFilter, Reaction::Ignored);
    Report {
        schema: SCHEMA,
        target: "mqtts://broker.example:8883".into(),
        address: Some("192.0.2.7:8883".into()),
        started: "2026-11-27T04:16:48.5Z".parse().unwrap(),
        seconds: 3.24,
        outcome: Outcome::Broker,
        mqtt_3_1: Some(Answer::Closed),
        mqtt_3_1_1: Some(open_level()),
        mqtt_5: Some(v5),
        unknown_level: Some(Answer::Failed { reason: "reset".into() }),
        tls: Some(TlsReport {
            versions: BTreeMap::from([("1.2".to_owned(), true), ("1.0".to_owned(), false)]),
            suites: vec!["TLS_AES_128_GCM_SHA256".into()],
            chain: vec![Certificate {
                subject: "CN=broker.example".into(),
                issuer: "CN=broker.example".into(),
                names: vec!["broker.example".into()],
                not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
                not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
                self_signed: true,
                key: "EC 256".into(),
                signature: "ecdsa-with-SHA256".into(),
                sha256: "00".repeat(32),
            }],
            trust: Some(Trust::Untrusted { reason: "nobody vouches for it".into() }),
            client_certificate: Some(ClientCertificate::NotAsked),
            alpn_mqtt: false,
            error: Some("no time left".into()),
        }),
        payloads: PayloadCounts { e4: 1, json: 2, text: 1, ..PayloadCounts::default() },
        payloads_by: Reader::Stranger,
        sys: BTreeMap::from([
            ("$SYS/broker/version".to_owned(), Some("mosquitto version 2.0.11".to_owned())),
            ("$SYS/broker/uptime".to_owned(), None),
        ]),
        intrusive: true,
        incomplete: Some("the time for it was over".into()),
        products: vec![
            ProductGuess {
                product: "mosquitto".into(),
                version: Some("2.0.11".into()),
                confidence: 0.95,
                evidence: vec!["$SYS/broker/version says so".into(), "CONNACK has 22 000a 21 0014".into()],
            },
            ProductGuess { product: "mochi".into(), version: None, confidence: 0.1, evidence: Vec::new() },
        ],
        findings: vec![
            finding("qos-flows", Severity::Good, "Messages of QoS 1 and 2 arrive."),
            Finding {
                levels: vec![Level::V5],
                detail: Some("The filter A+ was taken. Other clients may trust that it is not.".into()),
                reference: Some("MQTT 5, 4.7.1".into()),
                ..finding("invalid-filter", Severity::Low, "A filter that the standard forbids is taken.")
            },
            Finding {
                levels: vec![Level::V3_1_1, Level::V5],
                detail: Some("A client without user name and password may subscribe to every topic.".into()),
                remedy: Some("Ask for a password in mosquitto.conf:\nallow_anonymous false\npassword_file /etc/mosquitto/passwd\nThen start the broker again.".into()),
                ..finding("anonymous-access", Severity::High, "Anyone may connect.")
            },
            finding("limits", Severity::Note, "Packets of up to 2 MB are taken."),
            finding("tls-trust", Severity::Medium, "No authority vouches for the certificate."),
        ],
    }
}

pub(crate) fn unreachable() -> Report {
    Report {
        target: "mqtt://down.example:1883".into(),
        address: None,
        outcome: Outcome::Unreachable { reason: "connection refused".into() },
        mqtt_3_1: None,
        mqtt_3_1_1: None,
        mqtt_5: None,
        unknown_level: None,
        tls: None,
        payloads: PayloadCounts::default(),
        sys: BTreeMap::new(),
        incomplete: None,
        products: Vec::new(),
        findings: Vec::new(),
        ..report()
    }
}

/// Every text that may come from a broker is [`HOSTILE`].
pub(crate) fn hostile() -> Report {
    let mut report = report();
    report.target = format!("ws://h:80/{HOSTILE}");
    report.address = Some(HOSTILE.into());
    report.incomplete = Some(HOSTILE.into());
    for product in &mut report.products {
        product.product = HOSTILE.into();
        product.version = Some(HOSTILE.into());
        product.evidence = vec![HOSTILE.into()];
    }
    for finding in &mut report.findings {
        finding.title = HOSTILE.into();
        finding.detail = Some(HOSTILE.into());
        finding.remedy = Some(format!("{HOSTILE}\nlisten {HOSTILE}"));
        finding.reference = Some(HOSTILE.into());
    }
    if let Some(reading) =
        report.mqtt_5.as_mut().and_then(|level| level.stranger.as_mut()).and_then(|access| access.read.get_mut("#"))
    {
        reading.names = Some(BTreeMap::from([(HOSTILE.to_owned(), 1)]));
    }
    report
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
        dollar: 0,
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
