//! Nothing that is logged gives a payload or a key away, at the finest level and by any crate.
#![cfg(all(feature = "v4", feature = "v5", feature = "tls"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    Setup, Version,
    broker::{BrokerKind, Transport},
    device::{Device, Party},
    outsider::Outsider,
    proxy::Proxy,
    run,
    search::gives_away,
    store::TestStore,
};
use e4::{C2SecretKey, Command, RootKey, Subtree, Timestamp, Topic, TopicKey};
use e4_mqtt::{Connection, Event, LastWill, QoS};
use std::{
    io,
    sync::{Arc, Mutex},
};

const PAYLOADS: [&[u8]; 4] = [
    b"a payload that nobody may see",
    b"\x00\x01\xfe\xffanother one \xc3\x28 that is no text\x80",
    b"a last will that nobody may see",
    b"a payload that is too large to leave, and that nobody may see all the same",
];

#[test]
fn what_is_logged_of_whole_sessions_has_no_payload_and_no_key_in_it() {
    let logged = Logged::default();
    let writer = logged.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let secrets = Arc::new(Mutex::new(PAYLOADS.map(<[u8]>::to_vec).to_vec()));
    for (version, transport) in [(Version::V4, Transport::Tls), (Version::V5, Transport::Plain)] {
        let secrets = Arc::clone(&secrets);
        run(BrokerKind::Embedded, version, transport, |setup| session(setup, secrets));
    }

    let text = String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned();
    for word in ["e4_mqtt", "rumqttc", "carried out", "a command waits", "refused", "without the last will"] {
        assert!(text.contains(word), "nothing is logged of {word:?}");
    }
    for secret in secrets.lock().unwrap().iter() {
        assert!(!gives_away(&text, secret), "logged: {}", String::from_utf8_lossy(secret));
    }
}

/// A session in which everything happens once, in both modes; adds its keys to the secrets.
async fn session(setup: Setup, secrets: Arc<Mutex<Vec<Vec<u8>>>>) {
    let c2 = C2SecretKey::generate().unwrap();
    let keep = |secret: &[u8; 32]| secrets.lock().unwrap().push(secret.to_vec());
    keep(c2.as_bytes());
    let controller = setup.controller().await;
    let outsider = Outsider::join(&setup, "outsider", &["#"]).await;
    let proxy = Proxy::to(setup.broker.port()).await;
    for party in [Party::symmetric("pump"), Party::public_key("signing pump", &c2)] {
        keep(&party.secret);
        let (topic, subtree) = (Topic::new("plant/7").unwrap(), Subtree::new("fleet/#").unwrap());
        let (key, root) = (TopicKey::generate().unwrap(), RootKey::generate().unwrap());
        let subtree_key = root.subtree_key(1, &subtree);
        [key.as_bytes(), root.as_bytes(), subtree_key.as_bytes()].into_iter().for_each(keep);

        let store = TestStore::default();
        let client = party.builder().create(store.clone()).unwrap();
        let builder = Connection::builder(setup.options_at(proxy.port, &party.name), client).max_packet(10_000);
        let mut device = Device::connect(builder.last_will(LastWill::new(&topic, PAYLOADS[2]))).await;
        device.subscribe("plant/7").await;
        store.set_failing(true);
        controller.send(&party, &Command::set_topic_key(&topic, key)).await;
        let waits = |event: &Event| matches!(event, Event::CommandWaits(_)).then_some(());
        device.events.find("word of the store", waits).await;
        store.set_failing(false);
        device.events.keys_changed().await;
        controller.send(&party, &Command::set_subtree_key(&subtree, &subtree_key)).await;
        device.events.keys_changed().await;
        if let Some(key) = party.verifying_key {
            controller.send(&party, &Command::SetPubKey { client: party.id, key }).await;
            device.events.keys_changed().await;
        }

        for (n, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
            for payload in &PAYLOADS[..2] {
                let payload = [*payload, &[u8::try_from(n).unwrap()]].concat();
                device.publish(&topic, &payload, qos).await;
                assert_eq!(device.events.message().await.payload, payload);
            }
        }
        let too_large = PAYLOADS[3].repeat(200);
        device.connection.publish(&topic, &too_large, QoS::AtLeastOnce).await.unwrap_err();
        outsider.publish("plant/7", b"garbage that is long enough to be opened", QoS::AtLeastOnce).await;
        device.events.refused().await;
        let sealed = party.recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(1)).unwrap();
        outsider.publish(&party.control_topic(), sealed.as_bytes(), QoS::AtLeastOnce).await;
        device.events.refused().await;

        // With a will this time, which is published.
        proxy.cut();
        device.events.disconnected().await;
        device.events.connected().await;
        device.publish(&topic, &[PAYLOADS[0], b", again"].concat(), QoS::AtLeastOnce).await;
        device.shutdown().await;
    }
}

#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_secret_is_found_in_every_form_in_which_it_may_be_printed() {
    let secret: Vec<u8> = (64..96).collect();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        format!("Bytes {{ {secret:?} }}"),
        format!("{secret:#?}"),
        format!("key={hex}"),
        format!("key={}", hex.to_uppercase()),
        format!("b\"x{}\"", secret.escape_ascii()),
        String::from_utf8_lossy(&secret).into_owned(),
    ];
    for form in forms {
        assert!(gives_away(&format!("some text {form} and more"), &secret), "{form}");
        assert!(!gives_away(&form, b"another secret"));
    }
    assert!(!gives_away("no secret at all, 64, 65", &secret));
}
