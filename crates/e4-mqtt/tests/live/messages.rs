//! Messages arrive as they were sealed, and nothing else is taken for one.

use crate::common::{
    Setup,
    device::{Controller, Device, Party},
    outsider::Outsider,
    scenario,
    store::TestClock,
};
use e4::{
    AppliedCommand, C2SecretKey, Command, MaxAge, MemoryStore, OpenError, Refusal, RootKey, Subtree, Timestamp, Topic,
    TopicFilter, TopicKey,
};
use e4_mqtt::{Connection, Event, Protection, QoS};

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

scenario!(a_sealed_message_arrives_at_every_qos_and_in_both_modes and with tls);
async fn a_sealed_message_arrives_at_every_qos_and_in_both_modes(setup: Setup) {
    let controller = setup.controller().await;
    let c2 = C2SecretKey::generate().unwrap();
    let symmetric = (Party::symmetric("pump"), Party::symmetric("panel"));
    let signed = (Party::public_key("signing pump", &c2), Party::public_key("signing panel", &c2));
    for (pump, panel) in [symmetric, signed] {
        let mut sender = setup.join(&pump).await;
        let mut receiver = setup.join(&panel).await;
        receiver.subscribe("plant/7/pressure").await;
        let topic = Topic::new("plant/7/pressure").unwrap();
        let key = TopicKey::generate().unwrap();
        controller.give(&topic, &key, &mut [(&pump, &mut sender), (&panel, &mut receiver)]).await;
        if let Some(key) = pump.verifying_key {
            controller.send(&panel, &Command::SetPubKey { client: pump.id, key }).await;
            assert_eq!(receiver.events.keys_changed().await, AppliedCommand::SetPubKey(pump.id));
        }
        for qos in EVERY_QOS {
            let payload = format!("4.2 bar at {qos:?}");
            sender.publish(&topic, payload.as_bytes(), qos).await;
            let message = receiver.events.message().await;
            assert_eq!(message.payload, payload.as_bytes());
            assert_eq!((message.topic.as_str(), message.qos, message.retained), (topic.as_str(), qos, false));
            let seal = message.seal().expect("it was sealed");
            assert_eq!(seal.signer, pump.verifying_key.map(|_| pump.id));
            assert!(seal.age.unwrap() < 60 && seal.key == e4::KeyRole::Current && !seal.repeated);
        }
    }
}

#[test]
fn a_broker_with_a_certificate_of_a_stranger_is_not_trusted() {
    use crate::common::{Version, broker, run};
    run(broker::BrokerKind::Embedded, Version::V5, broker::Transport::Tls, |mut setup| async move {
        let port = setup.broker.port();
        let stranger = broker::Broker::start(broker::BrokerKind::Embedded, broker::Transport::Tls).await;
        let _running = std::mem::replace(&mut setup.broker, stranger);
        for version in [Version::V4, Version::V5] {
            setup.version = version;
            let party = Party::symmetric("pump");
            let builder = Connection::builder(setup.options_at(port, "pump"), party.with_keys(&[]));
            let (_connection, mut events) = builder.connect().unwrap();
            assert!(matches!(events.next_event().await, Some(Event::Disconnected(_))));
        }
    });
}

scenario!(a_late_joiner_opens_a_retained_message_only_if_its_age_is_allowed and with tls);
async fn a_late_joiner_opens_a_retained_message_only_if_its_age_is_allowed(setup: Setup) {
    let topic = Topic::new("plant/7/state").unwrap();
    let key = TopicKey::generate().unwrap();
    let hour_ago = TestClock::at(Timestamp::now().as_unix() - 3600);
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let client = pump.builder().topic_key(topic.hash(), key.clone()).unwrap();
    let sender = setup.join_as(&pump, client.create_with_clock(MemoryStore::new(), hour_ago.clone()).unwrap()).await;
    let retained = sender.connection.publish_retained(&topic, b"running", QoS::AtLeastOnce).await.unwrap();
    retained.await.unwrap();

    let mut late = setup.join_as(&panel, panel.with_keys(&[(&topic, &key)])).await;
    late.subscribe("plant/7/#").await;
    let refused = late.events.refused().await;
    assert!(refused.retained && refused.topic == topic.as_str(), "{refused:?}");
    assert!(matches!(refused.reason, OpenError::Refused(Refusal::TooOld { age, .. }) if age >= 3600), "{refused:?}");

    let filter = TopicFilter::new("plant/+/state").unwrap();
    late.connection.with_device(|device| device.set_max_age(&filter, MaxAge::Any)).await.unwrap().unwrap();
    late.connection.unsubscribe("plant/7/#").await.unwrap();
    late.subscribe("plant/7/#").await;
    let message = late.events.message().await;
    assert_eq!(message.payload, b"running");
    assert!(message.retained && message.seal().unwrap().age.unwrap() >= 3600, "{message:?}");

    sender.connection.clear_retained(&topic).await.unwrap().await.unwrap();
    let refused = late.events.refused().await;
    assert_eq!((refused.reason, refused.retained), (OpenError::Refused(Refusal::TooShort), false));
    let later = Party::symmetric("later");
    let mut later = setup.join_as(&later, later.with_keys(&[(&topic, &key)])).await;
    later.subscribe("plant/7/#").await;
    hour_ago.set(Timestamp::now().as_unix());
    sender.publish(&topic, b"stopped", QoS::AtLeastOnce).await;
    assert_eq!(later.events.message().await.payload, b"stopped", "the broker has forgotten what it retained");
}

scenario!(the_key_of_a_subtree_opens_what_a_wildcard_subscription_brings and with tls);
async fn the_key_of_a_subtree_opens_what_a_wildcard_subscription_brings(setup: Setup) {
    let root = RootKey::generate().unwrap();
    let (inner, outer) = (Subtree::new("plant/7/#").unwrap(), Subtree::new("plant/#").unwrap());
    let controller = setup.controller().await;
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let (mut sender, mut receiver) = (setup.join(&pump).await, setup.join(&panel).await);
    let with_subtree = async |party: &Party, device: &mut Device, subtree: &Subtree<'_>| {
        controller.send(party, &Command::set_subtree_key(subtree, &root.subtree_key(3, subtree))).await;
        device.events.keys_changed().await;
    };
    with_subtree(&pump, &mut sender, &outer).await;
    with_subtree(&panel, &mut receiver, &inner).await;
    receiver.subscribe("plant/#").await;

    for topic in ["plant/7", "plant/7/pressure", "plant/7/pump/valve/3"] {
        sender.publish(&Topic::new(topic).unwrap(), topic.as_bytes(), QoS::AtLeastOnce).await;
        let message = receiver.events.message().await;
        assert_eq!((message.topic.as_str(), message.payload.as_slice()), (topic, topic.as_bytes()));
    }
    sender.publish(&Topic::new("plant/8/pressure").unwrap(), b"not for 7", QoS::AtLeastOnce).await;
    let refused = receiver.events.refused().await;
    assert_eq!((refused.topic.as_str(), refused.reason), ("plant/8/pressure", Refusal::NoTopicKey.into()));
}

scenario!(a_message_of_mqtt_5_says_that_it_is_sealed: embedded_v5 mosquitto_v5);
async fn a_message_of_mqtt_5_says_that_it_is_sealed(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let party = Party::symmetric("pump");
    let builder = Connection::builder(setup.options("pump"), party.with_keys(&[(&topic, &key)]));
    let sender = Device::connect(builder.clear(&TopicFilter::new("open/#").unwrap())).await;
    let mut outsider = Outsider::join(&setup, "outsider", &["plant/#", "open/#"]).await;
    sender.publish(&topic, b"sealed", QoS::AtLeastOnce).await;
    sender.publish(&Topic::new("open/7").unwrap(), b"not sealed", QoS::AtLeastOnce).await;
    assert_eq!(outsider.next().await.content_type.as_deref(), Some("application/e4"));
    assert_eq!(outsider.next().await.content_type, None);
}

scenario!(a_client_that_is_sent_its_own_message_opens_it);
async fn a_client_that_is_sent_its_own_message_opens_it(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let party = Party::symmetric("pump");
    let mut device = setup.join_as(&party, party.with_keys(&[(&topic, &key)])).await;
    device.subscribe("plant/7").await;
    device.publish(&topic, b"to myself", QoS::ExactlyOnce).await;
    let message = device.events.message().await;
    assert_eq!(message.payload, b"to myself");
    assert!(matches!(message.protection, Protection::Sealed(_)));
}

scenario!(what_is_shown_of_a_session_has_no_payload_and_no_key_in_it);
async fn what_is_shown_of_a_session_has_no_payload_and_no_key_in_it(setup: Setup) {
    use crate::common::search::gives_away;
    let payload = b"a payload that nobody may see";
    let topic = Topic::new("plant/7").unwrap();
    let party = Party::symmetric("pump");
    let controller: Controller = setup.controller().await;
    let mut device = setup.join(&party).await;
    device.subscribe("plant/7").await;
    let key = TopicKey::generate().unwrap();
    controller.send(&party, &Command::set_topic_key(&topic, key.clone())).await;
    let mut shown = format!("{:?}", device.events.keys_changed().await);
    let delivery = device.connection.publish(&topic, payload, QoS::AtLeastOnce).await.unwrap();
    let message = device.events.message().await;
    let will = e4_mqtt::LastWill::new(&topic, payload.to_vec());
    shown += &format!("{:?}{:#?}{delivery:?}{will:?}{:?}", Event::Message(message.clone()), message, device.connection);
    let builder = Connection::builder(setup.options("another"), party.with_keys(&[(&topic, &key)]));
    shown += &format!("{:?}{:#?}", builder.last_will(will.clone()), device.events.passed());
    shown += &format!("{:?}", device.shutdown().await);
    assert!(shown.contains("plant/7") && shown.contains("Connection") && shown.contains("LastWill"), "{shown}");
    for secret in [&payload[..], key.as_bytes(), &party.secret] {
        assert!(!gives_away(&shown, secret), "{shown}");
    }
}

scenario!(f19_equal_payloads_arrive_in_order_at_every_qos);
async fn f19_equal_payloads_arrive_in_order_at_every_qos(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic, &key)])).await;
    let mut receiver = setup.join_as(&panel, panel.with_keys(&[(&topic, &key)])).await;
    receiver.subscribe("plant/#").await;
    for qos in EVERY_QOS {
        for payload in ["ON", "OFF", "ON", "ON", "OFF"] {
            let _answer = sender.connection.publish(&topic, payload.as_bytes(), qos).await.unwrap();
        }
        let mut sent = Vec::new();
        for payload in ["ON", "OFF", "ON", "ON", "OFF"] {
            let message = receiver.events.message().await;
            assert_eq!(message.payload, payload.as_bytes(), "{qos:?}");
            let seal = message.seal().unwrap();
            assert!(seal.age.is_some(), "no message is dated ahead");
            sent.push((seal.sent, message.payload));
        }
        sent.sort();
        sent.dedup();
        assert_eq!(sent.len(), 5, "no two are equal");
    }
    // What waits for its second goes out before the end.
    for _ in 0..2 {
        let _answer = sender.connection.publish(&topic, b"the end", QoS::AtLeastOnce).await.unwrap();
    }
    assert_eq!(sender.shutdown().await.undelivered, 0);
    for _ in 0..2 {
        assert_eq!(receiver.events.message().await.payload, b"the end");
    }
}

scenario!(f33_overlapping_filters_are_no_replay);
async fn f33_overlapping_filters_are_no_replay(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic, &key)])).await;
    let mut receiver = setup.join_as(&panel, panel.with_keys(&[(&topic, &key)])).await;
    for filter in ["plant/#", "plant/+", "plant/7"] {
        receiver.subscribe(filter).await;
    }
    for n in 0..10 {
        let qos = EVERY_QOS[n % 3];
        sender.publish(&topic, format!("{n}").as_bytes(), qos).await;
        // It fails if something was refused before.
        assert_eq!(receiver.events.message().await.payload, format!("{n}").as_bytes());
    }
}
