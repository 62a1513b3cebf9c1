use super::*;
use crate::{
    example::{accepted, answer, bare, connack_3, connack_5, reading, refused, string},
    report::{Answer, Flows, LevelReport, Oddity, Outcome, Reaction, TlsReport, Writing},
};

/// Enough to say the name of a product.
const SUFFICIENT: f64 = 0.6;

/// A broker that lets strangers in by all versions and refuses what is odd without saying how.
fn broker(properties: &str) -> Report {
    let mut report = bare();
    report.mqtt_3_1 = Some(connack_3(0));
    report.mqtt_3_1_1 = Some(LevelReport::new(connack_3(0)));
    report.mqtt_5 = Some(LevelReport::new(connack_5(0, properties)));
    report.mqtt_5.as_mut().unwrap().empty_id = Some(connack_5(0, properties));
    report
}

/// The properties with an assigned client id in their midst.
fn assigning(mut report: Report, before: &str, id: &str, after: &str) -> Report {
    five(&mut report).empty_id = Some(connack_5(0, &format!("{before} 12 {} {after}", string(id))));
    report
}

fn five(report: &mut Report) -> &mut LevelReport {
    report.mqtt_5.as_mut().unwrap()
}

fn four(report: &mut Report) -> &mut LevelReport {
    report.mqtt_3_1_1.as_mut().unwrap()
}

fn sys(report: &mut Report, topic: &str, text: Option<&str>) {
    report.sys.insert(topic.to_owned(), text.map(str::to_owned));
}

fn write_sys(level: &mut LevelReport, reaction: Reaction) {
    level.stranger.get_or_insert_default().write_sys = Some(Writing { reaction, delivered: false });
}

fn read(level: &mut LevelReport, filter: &str, reaction: Reaction) {
    level.stranger.get_or_insert_default().read.insert(filter.to_owned(), reading(reaction, 0, 0));
}

fn flows(qos1_in: &str) -> Flows {
    Flows { qos1_in: accepted(qos1_in), qos2_in: accepted("PUBREC 0x00"), qos_out: Some(2) }
}

fn mosquitto(before: &str, after: &str) -> Report {
    let id = "auto-3E931271-3453-1CE1-77A7-436829749804";
    let mut report = assigning(broker(&format!("{before} {after}")), before, id, after);
    report.unknown_level = Some(answer(crate::report::Level::V3_1_1, "20020001"));
    five(&mut report).oddities.insert(Oddity::InvalidFilter, refused("DISCONNECT 0x81"));
    four(&mut report).oddities.insert(Oddity::InvalidFilter, Reaction::Closed);
    five(&mut report).flows = Some(flows("PUBACK 0x10"));
    write_sys(five(&mut report), refused("PUBACK 0x87"));
    report
}

const ALL_AVAILABLE: &str = "2501 2801 2901 2a01";

/// The table of issue 4 and what was seen since: product, version and what it shows, byte for byte.
fn table() -> Vec<(&'static str, Option<&'static str>, Report)> {
    let mut table = Vec::new();
    let mut add = |name, version, report| table.push((name, version, report));

    let mut report = mosquitto("22 000a", "21 0014");
    sys(&mut report, "$SYS/broker/version", Some("mosquitto version 2.0.11"));
    add("mosquitto", Some("2.0.11"), report);
    add("mosquitto", Some("before 2.1"), mosquitto("22 000a", "21 0014"));
    add("mosquitto", Some("2.1 or later"), mosquitto("22 000a", "27 001e8480 21 0014"));

    let mut report = assigning(broker("22 1000"), "22 1000", "rumqt-5a3f0c", "");
    report.mqtt_3_1 = Some(Answer::Closed);
    four(&mut report).anonymous = Answer::Closed;
    five(&mut report).oddities.insert(Oddity::InvalidFilter, accepted("SUBACK 0x01"));
    read(five(&mut report), "$SYS/#", Reaction::Closed);
    write_sys(five(&mut report), accepted("PUBACK 0x00"));
    add("rumqttd", None, report);

    let mut report = bare();
    report.mqtt_3_1 = Some(connack_3(0));
    report.mqtt_3_1_1 = Some(LevelReport::new(connack_3(0)));
    report.mqtt_5 = Some(LevelReport::new(answer(crate::report::Level::V5, "20020001")));
    report.unknown_level = Some(Answer::Closed);
    four(&mut report).oddities.insert(Oddity::EmptyIdWithoutCleanSession, accepted("CONNACK 0x00"));
    four(&mut report).oddities.insert(Oddity::InvalidFilter, accepted("SUBACK 0x01"));
    add("Aedes", None, report);

    let (head, tail) = ("2a01 27 10000000 2501", "22 ffff 2901 2801");
    add("mqtt5 (Rust)", None, assigning(broker(&format!("{head} {tail}")), tail, &format!("auto-{:032x}", 0xe4), head));

    let mut report = assigning(broker("21 000a 22 0005"), "21 000a", "hmq_Xy12z_7_a0b1", "22 0005");
    read(five(&mut report), "$SYS/#", accepted("SUBACK 0x00"));
    add("HiveMQ", None, report);

    let emqx = format!("{ALL_AVAILABLE} 22 ffff 27 00100000");
    let mut report = assigning(broker(&emqx), &emqx, "MzA4NTQ3MjE5NjQ2", "");
    sys(&mut report, "$SYS/brokers/emqx@172.17.0.2/version", Some("5.8.6"));
    add("EMQX", Some("5.8.6"), report);

    let mut report = assigning(broker(""), "", "anon-bG9uZyByYW5kb20vK2lk", "");
    sys(&mut report, "$SYS/VerneMQ@127.0.0.1/mqtt/connect/received", None);
    add("VerneMQ", None, report);

    let rabbit = "24 01 22 0010 27 01000000 2a 00 11 00000000";
    add("RabbitMQ", None, assigning(broker(rabbit), rabbit, "Nq3x_0-aBcDeFgHiJkLmNo", ""));

    let nano = "2a01 2901 2801";
    add("NanoMQ", None, assigning(broker(&format!("{nano} 21 0014 22 000a")), nano, "nanomq-0badcafe", "21 0014"));

    let (head, tail) = ("22 ffff 13 003c", "27 0fffffff");
    let id = "9b2f6c1e-1111-4f0e-8a55-0242ac120002";
    add("ActiveMQ Artemis", None, assigning(broker(&format!("{head} {tail}")), "", id, &format!("{head} {tail}")));

    let id = format!("{:032x}", 0x0e4e_4e4e_4e4e_4e4e_u64);
    let response = format!("1a {}", string(&format!("/reqresp/response/{id}")));
    let moquette = format!("11 ffffffff {ALL_AVAILABLE} {response}");
    add("Moquette", None, assigning(broker(&moquette), "", &id, &moquette));

    let mut report = assigning(broker("21 0400"), "", "cv37rs3pp9olc6atsrq0", "21 0400");
    sys(&mut report, "$SYS/broker/version", Some("2.7.9"));
    sys(&mut report, "$SYS/broker/started", None);
    add("mochi", Some("2.7.9"), report);

    let mut report = broker("24 01 2500 29 00");
    report.mqtt_3_1 = Some(Answer::Closed);
    report.tls = Some(TlsReport { chain: vec![certificate("*.iot.eu-west-1.amazonaws.com")], ..TlsReport::default() });
    add("AWS IoT", None, report);
    table.extend(seen());
    table
}

/// What an open broker that lets in by MQTT 3.1.1 does, and nothing else.
fn three(level_3: Answer, level_5: Answer, level_6: Answer, oddities: &[(Oddity, Reaction)]) -> Report {
    let mut report = bare();
    report.mqtt_3_1 = Some(level_3);
    report.mqtt_3_1_1 = Some(LevelReport::new(connack_3(0)));
    report.mqtt_5 = Some(LevelReport::new(level_5));
    report.unknown_level = Some(level_6);
    four(&mut report).oddities.extend(oddities.iter().cloned());
    four(&mut report).empty_id = Some(connack_3(0));
    report
}

/// Brokers as `tests/brokers.sh` saw them, without what only `--intrusive` shows.
fn seen() -> Vec<(&'static str, Option<&'static str>, Report)> {
    use Oddity::*;
    let mut table = Vec::new();
    let suback = || accepted("SUBACK 0x00");
    let utf8 = [Utf8Truncated, Utf8Overlong, Utf8Surrogate];

    // RabbitMQ 3.10.8 of Debian 12.
    let mut oddities = vec![
        (PublishQos3, Reaction::Closed),
        (SubscribeQos3, Reaction::Closed),
        (InvalidFilter, suback()),
        (Utf8Null, suback()),
        (ReservedFlags, Reaction::Closed),
        (SecondConnect, accepted("CONNACK 0x00")),
        (EmptyIdWithoutCleanSession, refused("CONNACK 0x02")),
    ];
    oddities.extend(utf8.map(|oddity| (oddity, suback())));
    let mut rabbit = three(connack_3(0), Answer::Closed, Answer::Closed, &oddities);
    read(four(&mut rabbit), "$SYS/#", suback());
    four(&mut rabbit).flows =
        Some(Flows { qos1_in: accepted("PUBACK"), qos2_in: accepted("PUBACK"), qos_out: Some(1) });
    table.push(("RabbitMQ", Some("before 3.13"), rabbit));

    // rumqttd 0.20.0, its listener for MQTT 3.1.1 and that for MQTT 5.
    let mut oddities = vec![
        (PublishQos3, Reaction::Closed),
        (SubscribeQos3, Reaction::Closed),
        (InvalidFilter, suback()),
        (Utf8Null, suback()),
        (ReservedFlags, suback()),
        (SecondConnect, Reaction::Ignored),
    ];
    oddities.extend(utf8.map(|oddity| (oddity, Reaction::Closed)));
    let mut rumqttd = three(Answer::Closed, Answer::Closed, Answer::Closed, &oddities);
    four(&mut rumqttd).oddities.insert(EmptyIdWithoutCleanSession, refused("CONNACK 0x02"));
    read(four(&mut rumqttd), "$SYS/#", Reaction::Closed);
    table.push(("rumqttd", None, rumqttd));
    let mut rumqttd = assigning(broker("22 1000"), "", "rumqtt-547cbfffdbf2498b83403537f7001cc7", "22 1000");
    rumqttd.mqtt_3_1 = Some(Answer::Closed);
    four(&mut rumqttd).anonymous = Answer::Closed;
    rumqttd.unknown_level = Some(Answer::Closed);
    five(&mut rumqttd).oddities.extend(oddities);
    read(five(&mut rumqttd), "$SYS/#", Reaction::Closed);
    table.push(("rumqttd", None, rumqttd));

    // Aedes 1.2.0.
    let mut oddities = vec![
        (PublishQos3, Reaction::Closed),
        (SubscribeQos3, Reaction::Closed),
        (InvalidFilter, suback()),
        (Utf8Null, suback()),
        (ReservedFlags, Reaction::Closed),
        (SecondConnect, Reaction::Closed),
        (EmptyIdWithoutCleanSession, accepted("CONNACK 0x00")),
    ];
    oddities.extend(utf8.map(|oddity| (oddity, suback())));
    let level_5 = answer(crate::report::Level::V5, "20020001");
    let mut aedes = three(connack_3(0), level_5, Answer::Closed, &oddities);
    read(four(&mut aedes), "$SYS/#", suback());
    for topic in ["new/clients", "new/subscribes", "disconnect/clients"] {
        sys(&mut aedes, &format!("$SYS/5729e052-69e7-4f7c-a69c-974f42c5b975/{topic}"), None);
    }
    table.push(("Aedes", None, aedes));

    // aMQTT 0.12.1, with its $SYS and without.
    let mut oddities = vec![
        (PublishQos3, Reaction::Ignored),
        (SubscribeQos3, accepted("SUBACK 0x03")),
        (InvalidFilter, refused("SUBACK 0x80")),
        (Utf8Null, suback()),
        (ReservedFlags, suback()),
        (SecondConnect, Reaction::Ignored),
        (EmptyIdWithoutCleanSession, refused("CONNACK 0x02")),
    ];
    oddities.extend(utf8.map(|oddity| (oddity, suback())));
    let mut amqtt = three(Answer::Closed, Answer::Silent, Answer::Silent, &oddities);
    read(four(&mut amqtt), "$SYS/#", suback());
    table.push(("aMQTT", None, amqtt.clone()));
    sys(&mut amqtt, "$SYS/broker/version", Some("aMQTT version 0.12.1"));
    table.push(("aMQTT", Some("0.12.1"), amqtt));
    table.extend(seen_later());
    table
}

/// As [`seen`]: NATS 2.9.10 and ejabberd 23.01 of Debian 12, mqttools 0.50.0, mosca 2.8.3.
fn seen_later() -> Vec<(&'static str, Option<&'static str>, Report)> {
    use Oddity::*;
    let mut table = Vec::new();
    let suback = || accepted("SUBACK 0x00");
    let utf8 = [Utf8Truncated, Utf8Overlong, Utf8Surrogate];
    let unsupported = || answer(crate::report::Level::V5, "20020001");

    let mut oddities = vec![
        (PublishQos3, Reaction::Closed),
        (SubscribeQos3, Reaction::Closed),
        (InvalidFilter, suback()),
        (Utf8Null, suback()),
        (ReservedFlags, Reaction::Closed),
        (SecondConnect, Reaction::Closed),
        (EmptyIdWithoutCleanSession, refused("CONNACK 0x02")),
    ];
    oddities.extend(utf8.map(|oddity| (oddity, Reaction::Closed)));
    let mut nats = three(Answer::Closed, unsupported(), unsupported(), &oddities);
    read(four(&mut nats), "$SYS/#", suback());
    four(&mut nats).flows = Some(Flows { qos1_in: accepted("PUBACK"), qos2_in: Reaction::Closed, qos_out: Some(1) });
    table.push(("NATS", Some("before 2.10"), nats));

    let properties = "22 0064 2a 00 11 00000000 13 0078";
    let mut ejabberd = assigning(broker(properties), properties, "15106527211471987917", "");
    ejabberd.mqtt_3_1 = Some(connack_3(1));
    ejabberd.unknown_level = Some(unsupported());
    four(&mut ejabberd).anonymous = connack_3(5);
    four(&mut ejabberd).credentials = Some(connack_3(0));
    five(&mut ejabberd).credentials = Some(connack_5(0, properties));
    five(&mut ejabberd).anonymous = connack_5(0x87, "");
    for oddity in Oddity::ALL {
        let (older, newer) = match oddity {
            EmptyIdWithoutCleanSession => (accepted("CONNACK 0x00"), None),
            SecondConnect => (Reaction::Closed, Some(refused("DISCONNECT 0x82"))),
            _ => (Reaction::Closed, Some(refused("DISCONNECT 0x81"))),
        };
        four(&mut ejabberd).oddities.insert(oddity, older);
        five(&mut ejabberd).oddities.extend(newer.map(|reaction| (oddity, reaction)));
    }
    five(&mut ejabberd).flows = Some(flows("PUBACK 0x10"));
    table.push(("ejabberd", None, ejabberd));

    let mut mqttools = broker("24 00 28 00 2a 00");
    mqttools.mqtt_3_1 = Some(Answer::Silent);
    mqttools.unknown_level = Some(Answer::Silent);
    four(&mut mqttools).anonymous = Answer::Silent;
    five(&mut mqttools).oddities.extend([
        (PublishQos3, refused("DISCONNECT 0x81")),
        (SubscribeQos3, suback()),
        (InvalidFilter, suback()),
        (Utf8Null, suback()),
        (ReservedFlags, suback()),
        (SecondConnect, refused("DISCONNECT 0x82")),
    ]);
    five(&mut mqttools).oddities.extend(utf8.map(|oddity| (oddity, refused("DISCONNECT 0x81"))));
    read(five(&mut mqttools), "$SYS/#", suback());
    table.push(("mqttools", None, mqttools));

    let mut oddities = vec![
        (PublishQos3, accepted("PUBLISH")),
        (SubscribeQos3, accepted("SUBACK 0x03")),
        (InvalidFilter, suback()),
        (Utf8Null, suback()),
        (ReservedFlags, Reaction::Closed),
        (SecondConnect, Reaction::Ignored),
        (EmptyIdWithoutCleanSession, refused("CONNACK 0x02")),
    ];
    oddities.extend(utf8.map(|oddity| (oddity, suback())));
    let mut mosca = three(connack_3(0), Answer::Silent, Answer::Silent, &oddities);
    read(four(&mut mosca), "$SYS/#", suback());
    for topic in ["new/clients", "new/subscribes", "disconnect/clients"] {
        sys(&mut mosca, &format!("$SYS/7nSf0aa/{topic}"), None);
    }
    table.push(("mosca", None, mosca));
    table
}

#[test]
fn f48_brokers_that_were_taken_for_others_have_their_names() {
    for (name, version, report) in seen_later() {
        let guesses = guess(&report);
        assert_eq!((guesses[0].product.as_str(), guesses[0].version.as_deref()), (name, version), "{guesses:#?}");
        assert!(guesses[0].confidence >= SUFFICIENT, "{guesses:#?}");
    }
}

#[test]
fn f48_what_fits_nothing_is_unknown_with_its_marks() {
    let mut report = assigning(broker("27 00020000"), "27 00020000", "client/17", "");
    report.unknown_level = Some(Answer::Silent);
    five(&mut report).oddities.insert(Oddity::InvalidFilter, accepted("SUBACK 0x01"));
    let guesses = guess(&report);
    let unknown = &guesses[0];
    assert_eq!((unknown.product.as_str(), unknown.version.as_deref()), (UNKNOWN, None), "{guesses:#?}");
    assert!(unknown.confidence > LIKELY, "{guesses:#?}");
    for mark in [
        "levels = 3.1,3.1.1,5",
        "level.unknown = silent",
        "connack.5.bytes = 2700020000",
        "assigned_id.5 = client/17",
        "oddity.invalid_filter.5 = SUBACK 0x01",
    ] {
        assert!(unknown.evidence.iter().any(|line| line == mark), "{mark}: {guesses:#?}");
    }
}

#[test]
fn f52b_a_product_that_is_not_known_does_not_get_the_name_of_another() {
    for (name, _, report) in table() {
        let guesses = guess_among(PRODUCTS.iter().filter(|product| product.name != name), &report);
        assert_eq!(guesses[0].product, UNKNOWN, "{name}: {guesses:#?}");
    }
}

fn certificate(name: &str) -> crate::report::Certificate {
    crate::report::Certificate {
        subject: format!("CN={name}"),
        issuer: "CN=Amazon RSA 2048 M01".into(),
        names: vec![name.into()],
        not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
        self_signed: false,
        key: "RSA 2048".into(),
        signature: "sha256WithRSAEncryption".into(),
        sha256: String::new(),
    }
}

#[test]
fn each_product_is_named_and_none_is_mistaken_for_another() {
    let table = table();
    for product in PRODUCTS.iter() {
        assert!(table.iter().any(|(name, ..)| *name == product.name), "{} is not in the table", product.name);
    }
    for (name, version, report) in table {
        let guesses = guess(&report);
        let first = guesses.first().expect(name);
        assert_eq!((first.product.as_str(), first.version.as_deref()), (name, version), "{guesses:#?}");
        assert!(first.confidence >= SUFFICIENT, "{guesses:#?}");
        assert!(first.confidence < 1.0, "nothing is certain: {guesses:#?}");
        assert!(first.evidence.len() > 1, "{guesses:#?}");
        for other in &guesses[1..] {
            assert!(other.confidence <= first.confidence / 2.0, "{guesses:#?}");
        }
    }
}

#[test]
fn a_broker_without_marks_is_no_product() {
    let mut unknown = assigning(broker("27 00020000"), "27 00020000", "client/17", "");
    unknown.unknown_level = Some(answer(crate::report::Level::V5, "200300 8400".replace(' ', "").as_str()));
    for oddity in Oddity::ALL {
        five(&mut unknown).oddities.insert(oddity, refused("DISCONNECT 0x82"));
        four(&mut unknown).oddities.insert(oddity, Reaction::Closed);
    }
    five(&mut unknown).flows = Some(flows("PUBACK 0x00"));
    read(five(&mut unknown), "$SYS/#", refused("SUBACK 0x8f"));
    let guesses = guess(&unknown);
    assert_eq!(guesses[0].product, UNKNOWN);
    assert!(guesses[1..].iter().all(|guess| guess.confidence <= 0.3), "{guesses:#?}");
    assert_eq!(guess(&bare()), Vec::new(), "nothing seen, nothing said");
    let mut web = mosquitto("22 000a", "21 0014");
    web.outcome = Outcome::NotMqtt { reason: "HTTP".into() };
    assert_eq!(guess(&web), Vec::new());
}

#[test]
fn changed_limits_do_not_hide_a_product() {
    let changed = [
        ("mosquitto", mosquitto("22 0064", "27 00010000 21 0200")),
        ("mosquitto", mosquitto("", "21 0200")),
        ("HiveMQ", assigning(broker("21 0064 22 0010"), "21 0064", "hmq_Xy12z", "22 0010")),
        ("VerneMQ", assigning(broker("27 00010000 21 0010"), "", "anon-bG9uZyBy", "")),
        ("ActiveMQ Artemis", {
            let (id, properties) = ("9b2f6c1e-1111-4f0e-8a55-0242ac120002", "22 0010 13 003c 27 00100000");
            assigning(broker(properties), "", id, properties)
        }),
    ];
    for (name, report) in changed {
        let guesses: Vec<_> = guess(&report).into_iter().filter(|guess| guess.product != UNKNOWN).collect();
        assert_eq!(guesses.first().map(|first| first.product.as_str()), Some(name), "{guesses:#?}");
        assert!(guesses[0].confidence >= 0.4, "{guesses:#?}");
    }
}

#[test]
fn what_contradicts_lowers_the_confidence_and_is_said() {
    let plain = guess(&mosquitto("22 000a", "21 0014"));
    let mut forged = mosquitto("22 000a", "21 0014");
    sys(&mut forged, "$SYS/broker/version", Some("2.7.9"));
    let forged: Vec<_> = guess(&forged).into_iter().filter(|guess| guess.product != UNKNOWN).collect();
    assert!(forged[0].confidence < plain[0].confidence);
    assert!(forged[0].evidence.iter().any(|line| line.starts_with("Against it:")), "{forged:#?}");
}

#[test]
fn one_mark_alone_says_little() {
    for product in PRODUCTS.iter() {
        for mark in &product.mark {
            assert!(mark.weight > 0.0 && mark.weight <= 0.5, "{} {}", product.name, mark.fact);
            assert!((0.0..1.0).contains(&mark.against), "{} {}", product.name, mark.fact);
        }
    }
}

#[test]
fn products_that_look_alike_are_both_shown() {
    // Only what mosquitto and a broker that copies its $SYS would have in common.
    let mut both = bare();
    let mut four = LevelReport::new(connack_3(0));
    four.oddities.insert(Oddity::InvalidFilter, accepted("SUBACK 0x01"));
    four.oddities.insert(Oddity::EmptyIdWithoutCleanSession, accepted("CONNACK 0x00"));
    read(&mut four, "$SYS/#", Reaction::Closed);
    both.mqtt_3_1_1 = Some(four);
    let guesses: Vec<_> = guess(&both).into_iter().filter(|guess| guess.product != UNKNOWN).collect();
    let [first, second, ..] = guesses.as_slice() else { panic!("{guesses:#?}") };
    assert!(second.confidence > first.confidence * 0.6, "{guesses:#?}");
}

#[test]
fn the_file_is_in_order() {
    let products = read_file();
    assert_eq!(products.len(), PRODUCTS.len());
    for product in &products {
        assert!(!product.mark.is_empty(), "{}", product.name);
        for Mark { fact, says, like, version, .. } in &product.mark {
            assert!(facts::is_name(fact), "{}: no fact is called {fact}", product.name);
            assert!(says.len() > 5 && !says.ends_with('.'), "{}: {says}", product.name);
            let captures = like.0.capture_names().flatten().collect::<Vec<_>>();
            assert!(captures.is_empty() || captures == ["version"] && version.is_none(), "{}: {fact}", product.name);
        }
    }
    let mut names: Vec<_> = products.iter().map(|product| &product.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), products.len(), "a product is listed twice");
    for broken in
        ["[[product]]", "[[product]]\nname=\"x\"\n[[product.mark]]\nfact=\"tls\"\nlike='('\nweight=1\nsays=''"]
    {
        assert!(super::read(broken).is_err(), "{broken}");
    }
}

fn read_file() -> Vec<Product> {
    super::read(FILE).expect("fingerprints.toml")
}

#[test]
fn no_fact_has_a_name_that_the_file_does_not_know() {
    for (_, _, report) in table() {
        for name in Facts::of(&report).names() {
            assert!(facts::is_name(name), "{name}");
        }
    }
}
