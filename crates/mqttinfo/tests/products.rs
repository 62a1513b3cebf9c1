//! The products of which marks are known, each played by a server that answers as it does: it is named, and none is
//! taken for another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kit;

use kit::{
    certificates::Certificates,
    quick,
    scripted::{Does, Product},
    tls_front,
};
use mqttinfo::{
    Target, examine,
    report::{Reaction, Report, Severity},
};
use std::time::Duration;
use tempfile::TempDir;

const fn product() -> Product {
    Product::plain()
}

async fn look_at(url: &str) -> Report {
    let mut settings = quick();
    settings.intrusive = true;
    examine(&url.parse::<Target>().unwrap(), &settings).await
}

async fn look_at_product(product: Product) -> Report {
    look_at(&format!("127.0.0.1:{}", product.serve().await)).await
}

async fn is(name: &str, product: Product) -> Report {
    named(name, look_at_product(product).await)
}

/// It is named with confidence, and nothing else is half as likely.
fn named(name: &str, report: Report) -> Report {
    let first = report.products.first().unwrap_or_else(|| panic!("{name} is not recognized: {report:#?}"));
    assert!(first.product == name && first.confidence >= 0.6, "{name} is taken for {:#?}", report.products);
    let second = report.products.get(1).map_or(0.0, |second| second.confidence);
    assert!(second <= first.confidence / 2.0, "{name} is like another: {:#?}", report.products);
    report
}

const MALFORMED: Does = Does::SaysAndCloses("e0 01 81");

#[tokio::test]
async fn mosquitto_2_0() {
    let mosquitto = Product {
        level_5: Ok("22000a <id> 210014"),
        assigned_id: "auto-8C8E30D2-DCC2-7088-FD26-2BF821EE3179",
        level_6: Does::SaysAndCloses("20020001"),
        a_plus: MALFORMED,
        malformed: MALFORMED,
        sys_topics: &[("$SYS/broker/version", "mosquitto version 2.0.18"), ("$SYS/broker/uptime", "7 seconds")],
        puback: (0x10, 0x87),
        ..product()
    };
    let report = is("mosquitto", mosquitto.clone()).await;
    assert_eq!(report.products[0].version.as_deref(), Some("2.0.18"));
    // Without $SYS, as many operators have it.
    let report = is("mosquitto", Product { sys: Does::Closes, sys_topics: &[], ..mosquitto }).await;
    assert_eq!(report.products[0].version.as_deref(), Some("before 2.1"));
}

#[tokio::test]
async fn mosquitto_2_1() {
    let mosquitto = Product {
        level_5: Ok("22000a <id> 27001e8480 210014"),
        assigned_id: "auto-8C8E30D2-DCC2-7088-FD26-2BF821EE3179",
        level_6: Does::SaysAndCloses("20020001"),
        a_plus: MALFORMED,
        malformed: MALFORMED,
        puback: (0x10, 0x87),
        sys: Does::Closes,
        ..product()
    };
    let report = is("mosquitto", mosquitto).await;
    assert_eq!(report.products[0].version.as_deref(), Some("2.1 or later"));
}

#[tokio::test]
async fn rumqttd() {
    let five = Product {
        level_3: Does::Closes,
        level_4: Does::Closes,
        empty_id_kept: Does::Closes,
        level_5: Ok("<id> 221000"),
        assigned_id: "rumqt-1f0a2b3c4d5e6f70",
        a_plus: Does::Takes,
        sys: Does::Closes,
        ..product()
    };
    is("rumqttd", five).await;
    let four = Product {
        level_3: Does::Closes,
        level_5: Err(Does::Closes),
        a_plus: Does::Takes,
        sys: Does::Closes,
        ..product()
    };
    let report = look_at_product(four).await;
    // Too little to be sure.
    let likeliest = [report.products[0].product.as_str(), report.products[1].product.as_str()];
    assert_eq!(likeliest, ["unknown", "rumqttd"], "{:#?}", report.products);
    // What 0.20 answers to an empty client id.
    let newer = Product {
        level_3: Does::Closes,
        level_4: Does::Closes,
        level_5: Ok("<id> 221000"),
        assigned_id: "rumqtt-547cbfffdbf2498b83403537f7001cc7",
        a_plus: Does::Takes,
        sys: Does::Closes,
        ..product()
    };
    is("rumqttd", newer).await;
}

#[tokio::test]
async fn aedes() {
    let aedes = Product {
        level_5: Err(Does::SaysAndCloses("20020001")),
        empty_id_kept: Does::Takes,
        a_plus: Does::Takes,
        sys_topics: &[("$SYS/8f5a/heartbeat", "8f5a"), ("$SYS/8f5a/new/clients", "x")],
        ..product()
    };
    is("Aedes", aedes).await;
}

#[tokio::test]
async fn mqtt5_rust() {
    for properties in ["2501 22ffff <id> 2a01 2710000000 2801 2901", "2a01 2901 2710000000 22ffff 2501 2801 <id>"] {
        let mqtt5 =
            Product { level_5: Ok(properties), assigned_id: "auto-0123456789abcdef0123456789abcdef", ..product() };
        is("mqtt5 (Rust)", mqtt5).await;
    }
}

#[tokio::test]
async fn hivemq() {
    is("HiveMQ", Product { level_5: Ok("21000a <id> 220005"), assigned_id: "hmq_Xy7Pq_12_ab", ..product() }).await;
}

#[tokio::test]
async fn emqx() {
    let emqx = Product {
        level_5: Ok("2a01 2901 2801 <id> 2700100000 22ffff 2501"),
        assigned_id: "1K3aZ9bQ0xYw7LmN",
        sys_topics: &[
            ("$SYS/brokers/emqx@127.0.0.1/version", "5.8.0"),
            ("$SYS/brokers/emqx@127.0.0.1/sysdescr", "EMQX"),
        ],
        ..product()
    };
    let report = is("EMQX", emqx).await;
    assert_eq!(report.products[0].version.as_deref(), Some("5.8.0"));
}

#[tokio::test]
async fn vernemq() {
    let vernemq = Product {
        level_5: Ok("<id>"),
        assigned_id: "anon-MTIzNDU2Nzg5MGFiY2RlZg==",
        sys_topics: &[("$SYS/VerneMQ@127.0.0.1/mqtt/connect/received", "1")],
        ..product()
    };
    is("VerneMQ", vernemq).await;
}

#[tokio::test]
async fn rabbitmq() {
    let rabbitmq = Product { level_5: Ok("1100000000 2401 220010 2701000000 2a00"), ..product() };
    is("RabbitMQ", rabbitmq).await;
}

#[tokio::test]
async fn rabbitmq_before_mqtt_5() {
    let rabbitmq = Product {
        level_5: Err(Does::Closes),
        a_plus: Does::Takes,
        second_connect: Some(Does::Says("20020000")),
        qos2_as_1: true,
        takeover: Some(Duration::from_millis(50)),
        ..product()
    };
    let report = is("RabbitMQ", rabbitmq).await;
    assert_eq!(report.products[0].version.as_deref(), Some("before 3.13"));
    let seen = report.mqtt_3_1_1.as_ref().unwrap();
    // It answers a PINGREQ of the first connection before it ends it.
    assert_eq!(seen.takeover.as_ref().unwrap().by_like, Reaction::Closed);
    assert_eq!(seen.flows.as_ref().unwrap().qos2_in, Reaction::Accepted { by: "PUBACK".into() });
    let found = report.findings.iter().find(|finding| finding.id == "qos-2").unwrap();
    assert_eq!(found.severity, Severity::Low, "{found:?}");
}

#[tokio::test]
async fn amqtt() {
    let amqtt = Product {
        level_3: Does::Closes,
        level_5: Err(Does::Says("")),
        level_6: Does::Says(""),
        a_plus: Does::Says("90037f0180"),
        malformed: Does::Takes,
        second_connect: Some(Does::Says("")),
        sys_topics: &[("$SYS/broker/version", "aMQTT version 0.12.1"), ("$SYS/broker/cpu/percent", "1.0")],
        unasked: Some(("$SYS/broker/version", "aMQTT version 0.12.1")),
        takeover: Some(Duration::ZERO),
        ..product()
    };
    let report = is("aMQTT", amqtt).await;
    assert_eq!(report.products[0].version.as_deref(), Some("0.12.1"));
    let seen = report.mqtt_3_1_1.as_ref().unwrap();
    // A message that comes to the first connection does not say that it stays.
    assert_eq!(seen.takeover.as_ref().unwrap().by_like, Reaction::Closed);
    let reading = &seen.stranger.as_ref().unwrap().read;
    assert_eq!((reading["#"].messages, reading["#"].retained), (0, 0), "$SYS is not what is sent here");
    assert_eq!(reading["$SYS/#"].messages, 3);
}

#[tokio::test]
async fn nanomq() {
    let nanomq =
        Product { level_5: Ok("2a01 2901 2801 <id>"), assigned_id: "nanomq-1a2b3c4d", echoes: true, ..product() };
    is("NanoMQ", nanomq).await;
}

#[tokio::test]
async fn artemis() {
    let artemis = Product {
        level_5: Ok("<id> 22ffff 270fffffff 13003c"),
        assigned_id: "4fb4d2a6-0b53-11ef-9b1f-0242ac110002",
        ..product()
    };
    is("ActiveMQ Artemis", artemis).await;
}

#[tokio::test]
async fn moquette() {
    let moquette = Product {
        // Response information: `/reqresp/response/` and the client id.
        level_5: Ok("11ffffffff 2501 2801 2901 2a01 <id> 1a0015 2f726571726573702f726573706f6e73652f616263"),
        assigned_id: "0123456789abcdef0123456789abcdef",
        ..product()
    };
    is("Moquette", moquette).await;
}

#[tokio::test]
async fn mochi() {
    let mochi = Product {
        level_5: Ok("<id> 210400"),
        assigned_id: "cq1a0vbd0cvjtcd3vfe0",
        sys_topics: &[("$SYS/broker/version", "2.6.5"), ("$SYS/broker/uptime", "7")],
        ..product()
    };
    is("mochi", mochi).await;
}

#[tokio::test]
async fn aws_iot() {
    let aws = Product {
        level_3: Does::Closes,
        level_5: Ok("1100000000 210064 2401 2501 <id> 2700024800 220008 2801 2900 2a01"),
        assigned_id: "$GEN/4fb4d2a6-0b53-11ef-9b1f-0242ac110002",
        sys: Does::Closes,
        ..product()
    };
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::create(folder.path(), &["*.iot.eu-west-1.amazonaws.com"]);
    let port = tls_front::in_front_of(aws.serve().await, &certificates).await;
    named("AWS IoT", look_at(&format!("mqtts://localhost:{port}")).await);
}

/// PUBREL of QoS 2 as mosca; and PUBLISH.
#[tokio::test]
async fn f51_what_is_not_acknowledged_is_said_of_who_answers_otherwise() {
    for (silent_to, qos_1, qos_2) in [(&[6][..], Severity::Good, Severity::Low), (&[3], Severity::Low, Severity::Low)] {
        let report = look_at_product(Product { silent_to, ..product() }).await;
        for (id, severity) in [("qos-1", qos_1), ("qos-2", qos_2)] {
            let found = report.findings.iter().find(|finding| finding.id == id);
            assert_eq!(found.map(|it| it.severity), Some(severity), "{silent_to:?} {id}: {found:?}");
        }
    }
    // Of who answers to nothing any more, nothing can be said.
    let report = look_at_product(Product { silent_to: &[3, 12], ..product() }).await;
    assert!(!report.findings.iter().any(|finding| finding.id == "qos-1" || finding.id == "qos-2"), "{report:#?}");
}

#[tokio::test]
async fn a_broker_without_any_mark_is_not_named() {
    let report = look_at_product(Product { level_5: Ok("<id>"), assigned_id: "x", ..product() }).await;
    assert_eq!(report.products[0].product, "unknown", "{:#?}", report.products);
    let most = report.products.get(1).map_or(0.0, |second| second.confidence);
    assert!(most <= 0.3, "{:#?}", report.products);
}
