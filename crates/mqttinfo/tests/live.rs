//! Real brokers: mosquitto, open, with passwords, with an access list, with client certificates; and one in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kit;

use kit::{
    brokers::{Embedded, Mosquitto},
    certificates::Certificates,
    quick, tls_front,
};
use mqtt5_protocol::{
    ConnectOptions, QoS,
    packet::{MqttPacket, connect::ConnectPacket, publish::PublishPacket},
};
use mqttinfo::{
    Report, Settings, Target, examine,
    report::{Access, Answer, ClientCertificate, LevelReport, Oddity, Outcome, Reaction, Reader, Severity},
    session::Credentials,
    tls::TlsSettings,
};
use std::{fs, process::Command, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn look(url: String, settings: &Settings) -> Report {
    let report = examine(&url.parse::<Target>().unwrap(), settings).await;
    assert_eq!(report.incomplete, None);
    report
}

fn user(name: &str, password: &str) -> Settings {
    let mut settings = quick();
    let password = Some(password.as_bytes().to_vec().into());
    settings.credentials = Some(Credentials { user: name.into(), password });
    settings
}

/// Both versions of MQTT.
fn levels(report: &Report) -> [&LevelReport; 2] {
    [report.mqtt_3_1_1.as_ref().unwrap(), report.mqtt_5.as_ref().unwrap()]
}

/// The worst of what was found under an id; it has to be there.
fn severity(report: &Report, id: &str) -> Severity {
    let found = report.findings.iter().filter(|finding| finding.id == id).map(|finding| finding.severity).max();
    let ids: Vec<_> = report.findings.iter().map(|finding| &finding.id).collect();
    found.unwrap_or_else(|| panic!("{id} is not among {ids:?}"))
}

fn messages(access: Option<&Access>, filter: &str) -> (bool, u64, u64) {
    let reading = &access.unwrap().read[filter];
    (reading.reaction.is_accepted(), reading.messages, reading.retained)
}

/// Something to be seen.
async fn retain(port: u16, topic: &str, message: &'static str, login: Option<(&str, &str)>) {
    let mut options = ConnectOptions::new("retainer");
    if let Some((user, password)) = login {
        options = options.with_credentials(user, password);
    }
    let publish = PublishPacket::new_v311(topic, message, QoS::AtLeastOnce).with_packet_id(1).with_retain(true);
    let mut bytes = Vec::new();
    ConnectPacket::new_v311(options).encode(&mut bytes).unwrap();
    publish.encode(&mut bytes).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    // CONNACK and PUBACK.
    let mut answers = [0; 8];
    stream.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers, [0x20, 2, 0, 0, 0x40, 2, 0, 1]);
}

#[tokio::test]
async fn an_open_mosquitto() {
    let Some(broker) = Mosquitto::open().await else { return };
    retain(broker.port, "plant/7/pump", r#"{"bar": 4.2}"#, None).await;
    retain(broker.port, "plant/7/level", "17.5", None).await;
    let mut settings = quick();
    settings.show_topics = true;
    settings.intrusive = true;
    let report = look(format!("localhost:{}", broker.port), &settings).await;
    assert_eq!(report.outcome, Outcome::Broker);
    assert!(report.mqtt_3_1.as_ref().is_some_and(Answer::is_accepted));
    for part in levels(&report) {
        assert!(part.anonymous.is_accepted());
        assert_eq!(messages(part.stranger.as_ref(), "#"), (true, 2, 2));
        assert_eq!(messages(part.stranger.as_ref(), "+/#"), (true, 2, 2));
        let names = part.stranger.as_ref().unwrap().read["#"].names.as_ref().unwrap();
        assert_eq!(
            names.iter().map(|(name, len)| (name.as_str(), *len)).collect::<Vec<_>>(),
            [("plant/7/level", 4), ("plant/7/pump", 12)]
        );
        let (accepted, sys, _) = messages(part.stranger.as_ref(), "$SYS/#");
        assert!(accepted && sys > 10, "{sys}");
        let access = part.stranger.as_ref().unwrap();
        assert!(access.write.as_ref().unwrap().delivered);
        assert!(!access.write_sys.as_ref().unwrap().delivered);
        let flows = part.flows.as_ref().unwrap();
        assert!(flows.qos1_in.is_accepted() && flows.qos2_in.is_accepted() && flows.qos_out == Some(2), "{flows:?}");
        for (oddity, reaction) in &part.oddities {
            // # does not bring what begins with $.
            let right = reaction.is_refusal() || *oddity == Oddity::WildcardDollar && *reaction == Reaction::Ignored;
            assert!(right, "{oddity:?}: {reaction:?}");
        }
        assert!(part.takeover.as_ref().unwrap().by_like.is_refusal());
    }
    assert_eq!(levels(&report)[1].oddities[&Oddity::InvalidFilter], Reaction::Refused { by: "DISCONNECT 0x81".into() });
    let payloads = &report.payloads;
    assert_eq!((payloads.json, payloads.number, payloads.total()), (1, 1, 2), "{payloads:?}");
    let product = report.products.first().unwrap();
    assert_eq!(product.product, "mosquitto");
    assert!(product.confidence > 0.8 && product.version.as_ref().unwrap().starts_with("2."), "{product:?}");
    for id in ["read-everything", "write-topic"] {
        assert_eq!(severity(&report, id), Severity::High, "{id}");
    }
    assert_eq!(severity(&report, "invalid-filter"), Severity::Good);
    assert!(report.seconds < 10.0, "{} s", report.seconds);
}

#[tokio::test]
async fn a_mosquitto_with_passwords() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("passwords");
    let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args(["pump", "right"]).status();
    let Some(broker) = Mosquitto::start(folder, &["allow_anonymous false", "password_file FOLDER/passwords"]).await
    else {
        return;
    };
    assert!(made.unwrap().success());
    let report = look(format!("127.0.0.1:{}", broker.port), &quick()).await;
    assert_eq!(report.outcome, Outcome::Broker);
    let codes: Vec<_> = levels(&report).map(|part| part.anonymous.connack().unwrap().code).into();
    assert_eq!(codes, [5, 0x87]);
    assert!(levels(&report).iter().all(|part| part.stranger.is_none() && part.oddities.is_empty()));
    assert_eq!(severity(&report, "anonymous-access"), Severity::Good);

    let report = look(format!("127.0.0.1:{}", broker.port), &user("pump", "right")).await;
    for part in levels(&report) {
        assert!(part.credentials.as_ref().unwrap().is_accepted() && part.stranger.is_none());
        assert!(part.user.as_ref().unwrap().write.as_ref().unwrap().delivered);
        let errors = part.login_errors.as_ref().unwrap();
        assert_eq!(errors.wrong_password, errors.unknown_user, "mosquitto does not tell which one is wrong");
    }
    assert_eq!(report.products[0].product, "mosquitto");

    let report = look(format!("127.0.0.1:{}", broker.port), &user("pump", "wrong")).await;
    assert!(levels(&report).iter().all(|part| matches!(part.credentials, Some(Answer::Refused(_)))));
    assert!(!format!("{report:?}").contains("wrong\""), "passwords are in no report");
}

#[tokio::test]
async fn a_mosquitto_with_an_access_list() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("access"), "topic read public/#\n\nuser pump\ntopic readwrite #\ntopic read $SYS/#\n")
        .unwrap();
    let file = folder.path().join("passwords");
    let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args(["pump", "right"]).status();
    let lines = ["allow_anonymous true", "password_file FOLDER/passwords", "acl_file FOLDER/access"];
    let Some(broker) = Mosquitto::start(folder, &lines).await else { return };
    assert!(made.unwrap().success());
    let login = Some(("pump", "right"));
    retain(broker.port, "public/weather", "rain", login).await;
    retain(broker.port, "plant/7/pump", "4.2", login).await;
    let report = look(format!("127.0.0.1:{}", broker.port), &user("pump", "right")).await;
    for part in levels(&report) {
        assert_eq!(messages(part.stranger.as_ref(), "#"), (true, 1, 1), "what the list allows");
        assert_eq!(messages(part.user.as_ref(), "#"), (true, 2, 2));
        assert!(!part.stranger.as_ref().unwrap().write.as_ref().unwrap().delivered);
        assert!(part.user.as_ref().unwrap().write.as_ref().unwrap().delivered);
        assert_eq!(messages(part.stranger.as_ref(), "$SYS/#").1, 0);
        // The session of one who has logged in, taken by one who has not.
        assert!(part.takeover.as_ref().unwrap().by_stranger.as_ref().unwrap().is_refusal());
    }
    let read = (report.payloads.total(), report.payloads_by);
    assert_eq!(read, (1, Reader::Stranger), "what strangers can read goes before what a user can");
    assert!(severity(&report, "write-topic") < Severity::High);
}

#[tokio::test]
async fn a_mosquitto_that_wants_client_certificates() {
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::create(folder.path(), &["localhost", "127.0.0.1"]);
    let lines = [
        "allow_anonymous true",
        "cafile FOLDER/authority.pem",
        "certfile FOLDER/server.pem",
        "keyfile FOLDER/server.key",
        "require_certificate true",
    ];
    let Some(broker) = Mosquitto::start(folder, &lines).await else { return };
    let url = format!("mqtts://localhost:{}", broker.port);
    let report = look(url.clone(), &quick()).await;
    assert_ne!(report.outcome, Outcome::Broker);
    let tls = report.tls.as_ref().unwrap();
    assert_eq!(tls.client_certificate, Some(ClientCertificate::Required), "{tls:?}");
    assert_eq!(tls.chain[0].names, ["localhost", "127.0.0.1"]);
    assert!(tls.versions["1.2"] && tls.versions["1.3"], "{tls:?}");

    let tls = TlsSettings::load(
        Some(&certificates.authority),
        Some(&certificates.client),
        Some(&certificates.client_key),
        false,
    );
    let mut settings = quick();
    settings.tls = Arc::new(tls.unwrap());
    let report = look(url, &settings).await;
    assert_eq!(report.outcome, Outcome::Broker, "{report:#?}");
    for part in levels(&report) {
        assert!(matches!(part.anonymous, Answer::Failed { .. } | Answer::Closed), "{:?}", part.anonymous);
        assert!(part.credentials.as_ref().unwrap().is_accepted());
        assert!(part.user.as_ref().unwrap().write.as_ref().unwrap().delivered);
    }
    assert_eq!(report.tls.unwrap().trust, Some(mqttinfo::report::Trust::Trusted));
}

#[tokio::test]
async fn the_broker_in_this_process_by_every_transport() {
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::create(folder.path(), &["localhost"]);
    let broker = Embedded::start(&certificates).await;
    let wss = tls_front::in_front_of(broker.websocket, &certificates).await;
    for url in [
        format!("mqtt://127.0.0.1:{}", broker.port),
        format!("mqtts://localhost:{}", broker.tls),
        format!("ws://127.0.0.1:{}/mqtt", broker.websocket),
        format!("wss://localhost:{wss}/mqtt"),
    ] {
        let report = look(url.clone(), &quick()).await;
        assert_eq!(report.outcome, Outcome::Broker, "{url}");
        for part in levels(&report) {
            assert!(part.anonymous.is_accepted() && part.stranger.as_ref().unwrap().write.as_ref().unwrap().delivered);
            let flows = part.flows.as_ref().unwrap();
            assert!(flows.qos2_in.is_accepted() && flows.qos_out == Some(2), "{url}: {flows:?}");
        }
        let product = report.products.first().unwrap_or_else(|| panic!("{url}: {report:#?}"));
        assert!(product.product == "mqtt5 (Rust)" && product.confidence >= 0.6, "{url}: {:#?}", report.products);
        assert_eq!(report.tls.is_some(), url.contains("s://l"), "{url}");
    }
}

#[tokio::test]
async fn credentials_do_not_go_to_a_server_that_cannot_be_trusted() {
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::create(folder.path(), &["localhost"]);
    let broker = Embedded::start(&certificates).await;
    let url = format!("mqtts://localhost:{}", broker.tls);
    let mut settings = user("pump", "right");
    let report = look(url.clone(), &settings).await;
    for part in levels(&report) {
        let Some(Answer::Failed { reason }) = &part.credentials else { panic!("{:?}", part.credentials) };
        assert!(reason.contains("TLS failed"), "{reason}");
        assert!(part.anonymous.is_accepted(), "looking goes on all the same");
    }
    let tls = TlsSettings::load(Some(&certificates.authority), None, None, false).unwrap();
    settings.tls = Arc::new(tls);
    let report = look(url.clone(), &settings).await;
    assert!(levels(&report).iter().all(|part| part.credentials.as_ref().unwrap().is_accepted()));
    settings.tls = Arc::new(TlsSettings::load(None, None, None, true).unwrap());
    let report = look(url, &settings).await;
    assert!(levels(&report).iter().all(|part| part.credentials.as_ref().unwrap().is_accepted()), "if it is waived");
}
