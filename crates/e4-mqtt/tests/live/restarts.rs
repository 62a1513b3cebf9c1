//! Devices, networks and brokers come and go; keys and messages stay.

use crate::common::{
    Setup,
    broker::Settings,
    device::{Device, Party, Process},
    proxy::Proxy,
    scenario, until,
};
use e4::{AppliedCommand, Client, Command, FileStore, MaxAge, Topic, TopicFilter, TopicKey};
use e4_mqtt::{Connection, Event, QoS};
use std::collections::BTreeSet;

scenario!(a_rotation_waits_in_the_broker_for_a_device_that_is_offline and with tls);
async fn a_rotation_waits_in_the_broker_for_a_device_that_is_offline(setup: Setup) {
    let topic = Topic::new("plant/7").unwrap();
    let controller = setup.controller().await;
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let (mut sender, mut receiver) = (setup.join(&pump).await, setup.join(&panel).await);
    receiver.subscribe("plant/#").await;
    let first = TopicKey::generate().unwrap();
    controller.give(&topic, &first, &mut [(&pump, &mut sender), (&panel, &mut receiver)]).await;

    let offline = receiver.shutdown().await;
    assert_eq!(offline.undelivered, 0);
    let second = TopicKey::generate().unwrap();
    controller.send(&panel, &Command::set_topic_key(&topic, second.clone())).await;
    controller.give(&topic, &second, &mut [(&pump, &mut sender)]).await;
    sender.publish(&topic, b"under the new key", QoS::AtLeastOnce).await;

    let mut receiver = setup.join_as(&panel, offline.device).await;
    assert_eq!(receiver.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic.hash()));
    let message = receiver.events.message().await;
    assert_eq!(message.payload, b"under the new key");
    assert_eq!(message.seal().unwrap().key, e4::KeyRole::Current);
    sender.publish(&topic, b"and after", QoS::AtLeastOnce).await;
    assert_eq!(receiver.events.message().await.payload, b"and after");
}

scenario!(a_broker_that_forgot_its_sessions_gets_subscriptions_and_messages_again and with tls);
async fn a_broker_that_forgot_its_sessions_gets_subscriptions_and_messages_again(mut setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let (to_pump, to_panel) = (Proxy::to(setup.broker.port()).await, Proxy::to(setup.broker.port()).await);
    let keys = [(&topic, &key)];
    let mut sender =
        Device::connect(Connection::builder(setup.options_at(to_pump.port, "pump"), pump.with_keys(&keys))).await;
    let mut receiver =
        Device::connect(Connection::builder(setup.options_at(to_panel.port, "panel"), panel.with_keys(&keys))).await;
    receiver.subscribe("plant/#").await;
    receiver.subscribe("other").await;
    receiver.connection.unsubscribe("other").await.unwrap();

    to_pump.close();
    to_panel.close();
    setup.broker.stop().await;
    sender.events.disconnected().await;
    receiver.events.disconnected().await;
    let mut deliveries = Vec::new();
    for n in 0..30 {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][n % 3];
        deliveries.push(sender.connection.publish(&topic, format!("{n}").as_bytes(), qos).await.unwrap());
    }

    setup.broker.resume().await;
    to_panel.open(setup.broker.port());
    assert!(!receiver.events.connected().await, "the session is gone");
    // Answered after the subscriptions that were made again.
    receiver.subscribe("nothing").await;
    to_pump.open(setup.broker.port());
    assert!(!sender.events.connected().await);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let mut received = BTreeSet::new();
    while received.len() < 30 {
        let payload = String::from_utf8(receiver.events.message().await.payload).unwrap();
        assert!(received.insert(payload.parse::<usize>().unwrap()), "{payload} was opened twice");
    }

    let controller = setup.controller().await;
    for (party, device) in [(&pump, &mut sender), (&panel, &mut receiver)] {
        controller.send(party, &Command::set_topic_key(&topic, TopicKey::generate().unwrap())).await;
        assert_eq!(device.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic.hash()));
    }
    sender.publish(&Topic::new("plant/7").unwrap(), b"under different keys", QoS::AtLeastOnce).await;
    receiver.events.refused().await;
}

scenario!(a_broker_that_keeps_its_sessions_delivers_after_its_restart: mosquitto_v4 mosquitto_v5);
async fn a_broker_that_keeps_its_sessions_delivers_after_its_restart(mut setup: Setup) {
    setup.broker.restart_with(Settings { persistent: true, ..Settings::default() }).await;
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let (to_pump, to_panel) = (Proxy::to(setup.broker.port()).await, Proxy::to(setup.broker.port()).await);
    let controller = setup.controller().await;
    let keys = [(&topic, &key)];
    let mut sender =
        Device::connect(Connection::builder(setup.options_at(to_pump.port, "pump"), pump.with_keys(&keys))).await;
    let mut receiver =
        Device::connect(Connection::builder(setup.options_at(to_panel.port, "panel"), panel.with_keys(&keys))).await;
    receiver.subscribe("plant/#").await;

    to_panel.close();
    receiver.events.disconnected().await;
    for n in 0..10 {
        sender.publish(&topic, format!("before {n}").as_bytes(), QoS::ExactlyOnce).await;
    }
    controller.send(&panel, &Command::set_topic_key(&topic, key.clone())).await;
    controller.0.shutdown().await;
    to_pump.close();
    setup.broker.stop().await;
    sender.events.disconnected().await;
    let later: Vec<_> = {
        let mut later = Vec::new();
        for n in 0..10 {
            later.push(sender.connection.publish(&topic, format!("during {n}").as_bytes(), QoS::AtLeastOnce).await);
        }
        later
    };

    setup.broker.resume().await;
    to_pump.open(setup.broker.port());
    assert!(sender.events.connected().await, "the session is kept");
    for delivery in later {
        delivery.unwrap().await.unwrap();
    }
    to_panel.open(setup.broker.port());
    assert!(receiver.events.connected().await, "the session is kept");
    for when in ["before", "during"] {
        for n in 0..10 {
            assert_eq!(receiver.events.message().await.payload, format!("{when} {n}").as_bytes());
        }
    }
    assert_eq!(receiver.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic.hash()));
}

scenario!(a_device_that_was_killed_goes_on_in_the_session_that_the_broker_has);
async fn a_device_that_was_killed_goes_on_in_the_session_that_the_broker_has(setup: Setup) {
    let folder = tempfile::tempdir().unwrap();
    let store = || FileStore::new(folder.path().join("state"));
    let topic = Topic::new("plant/7").unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let controller = setup.controller().await;
    let mut peer = setup.join(&panel).await;
    peer.subscribe("plant/#").await;

    let process = Process::start();
    let client = pump.builder().create(store()).unwrap();
    let mut device = process.connect(Connection::builder(setup.options("pump"), client)).await;
    let key = TopicKey::generate().unwrap();
    controller.give(&topic, &key, &mut [(&pump, &mut device), (&panel, &mut peer)]).await;
    device.subscribe("plant/#").await;
    device.publish(&topic, b"from the first life", QoS::ExactlyOnce).await;
    for listener in [&mut device.events, &mut peer.events] {
        assert_eq!(listener.message().await.payload, b"from the first life");
    }
    process.kill(device).await;
    peer.publish(&topic, b"between the lives", QoS::AtLeastOnce).await;
    peer.events.message().await;

    let process = Process::start();
    let builder = Connection::builder(setup.options("pump"), Client::load(store()).unwrap());
    let (mut device, session_kept) = process.connect_again(builder).await;
    assert!(session_kept, "the broker has the session");
    let between = |event: &Event| match event {
        Event::Message(message) => Some(message.payload == b"between the lives").filter(|yes| *yes),
        _ => None,
    };
    device.events.find("what was published in between", between).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        device.publish(&topic, format!("second life, {qos:?}").as_bytes(), qos).await;
        assert_eq!(peer.events.message().await.payload, format!("second life, {qos:?}").as_bytes());
    }
    device.subscribe("more/#").await;
    let rotated = TopicKey::generate().unwrap();
    controller.give(&topic, &rotated, &mut [(&pump, &mut device), (&panel, &mut peer)]).await;
    peer.publish(&topic, b"under the new key", QoS::AtLeastOnce).await;
    let rotated = |event: &Event| match event {
        Event::Message(message) => Some(message.payload == b"under the new key").filter(|yes| *yes),
        _ => None,
    };
    device.events.find("a message under the new key", rotated).await;
}

// The embedded broker answers a client of MQTT 3.1.1 that repeats a PUBREL in the words of MQTT 5.
scenario!(a_connection_that_is_cut_again_and_again_loses_nothing: embedded_v5 mosquitto_v4 mosquitto_v5);
async fn a_connection_that_is_cut_again_and_again_loses_nothing(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let (to_pump, to_panel) = (Proxy::to(setup.broker.port()).await, Proxy::to(setup.broker.port()).await);
    let keys = [(&topic, &key)];
    let sender =
        Device::connect(Connection::builder(setup.options_at(to_pump.port, "pump"), pump.with_keys(&keys)).queue(32))
            .await;
    let mut receiver =
        Device::connect(Connection::builder(setup.options_at(to_panel.port, "panel"), panel.with_keys(&keys))).await;
    receiver.subscribe("plant/#").await;

    const MESSAGES: usize = 300;
    let connection = sender.connection.clone();
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            if n % 75 == 50 {
                to_pump.cut();
            }
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][n % 2];
            let _answer = connection.publish("plant/7", format!("{n}").as_bytes(), qos).await.unwrap();
        }
        connection.flush().await;
        to_pump
    });
    let mut received = BTreeSet::new();
    let mut arrivals = 0;
    while received.len() < MESSAGES {
        match receiver.events.next().await {
            Event::Message(message) => {
                let n: usize = String::from_utf8(message.payload).unwrap().parse().unwrap();
                assert!(received.insert(n), "{n} was opened twice");
                arrivals += 1;
                if arrivals % 80 == 40 {
                    to_panel.cut();
                }
            }
            // QoS 1 may bring a message twice; e4 recognizes it.
            Event::Refused(refused) => assert_eq!(refused.reason, e4::Refusal::Repeated.into()),
            Event::Connected(granted) => assert!(granted.session_kept),
            Event::Disconnected(_) => (),
            other => panic!("{other:?}"),
        }
    }
    crate::common::within(crate::common::PATIENCE, "the sender", sending).await.unwrap();
}

scenario!(what_is_delivered_again_after_a_cut_comes_once_and_is_acknowledged_when_the_application_is_done);
async fn what_is_delivered_again_after_a_cut_comes_once_and_is_acknowledged_when_the_application_is_done(setup: Setup) {
    let topics = ["sealed", "any age", "clear"].map(|name| Topic::new(name).unwrap());
    let key = TopicKey::generate().unwrap();
    let keys = [(&topics[0], &key), (&topics[1], &key)];
    let clear = TopicFilter::new("clear").unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let sender = Device::connect(Connection::builder(setup.options("pump"), pump.with_keys(&keys)).clear(&clear)).await;
    let proxy = Proxy::to(setup.broker.port()).await;
    // Each time anew: it does not know what it has opened before.
    let builder = || {
        let mut client = panel.with_keys(&keys);
        client.set_max_age(&TopicFilter::new("any age").unwrap(), MaxAge::Any).unwrap();
        Connection::builder(setup.options_at(proxy.port, "panel"), client).clear(&clear)
    };
    let cut = async |device: &Device| {
        let made = proxy.made();
        proxy.cut();
        until("the next connection", async || proxy.made() > made).await;
        // What is delivered again has arrived after the first, and what it was answered with after the second.
        device.round_trip().await;
        device.round_trip().await;
    };
    let (in_hand, waits) = (&b"in the application's hands"[..], &b"waits to be taken"[..]);
    for topic in &topics {
        let process = Process::start();
        let mut device = process.connect(builder()).await;
        device.subscribe(topic.as_str()).await;
        for payload in [in_hand, waits] {
            sender.publish(topic, payload, QoS::AtLeastOnce).await;
        }
        device.round_trip().await;
        assert_eq!(device.events.message().await.payload, in_hand);
        cut(&device).await;
        process.kill(device).await;

        // The application was not done with any of them: the broker has them still.
        let process = Process::start();
        let mut device = process.connect_unseen(builder());
        device.round_trip().await;
        assert_eq!(device.events.message().await.payload, in_hand);
        cut(&device).await;
        // Twice in a row, and another one comes.
        cut(&device).await;
        sender.publish(topic, b"another one", QoS::AtLeastOnce).await;
        for payload in [waits, b"another one"] {
            assert_eq!(device.events.message().await.payload, payload);
        }
        device.shutdown().await;
        drop((process, device));
        proxy.until_all_ended().await;

        // And now it has none.
        let process = Process::start();
        let mut device = process.connect(builder()).await;
        sender.publish(topic, b"the end", QoS::AtLeastOnce).await;
        assert_eq!(device.events.message().await.payload, b"the end");
        device.shutdown().await;
        drop((process, device));
        proxy.until_all_ended().await;
    }
}
