//! Queues are bounded, nothing is lost silently, and what is promised to be flushed is.

use crate::common::{
    PATIENCE, Setup, Version,
    broker::Settings,
    device::{Device, Party, Process},
    outsider::Outsider,
    proxy::Proxy,
    scenario, until, within,
};
use e4::{Command, Topic, TopicKey};
use e4_mqtt::{BrokerError, Connection, Event, PublishError, QoS, rumqttc_v5::PublishOptions};
use std::time::Duration;

fn topic() -> Topic<'static> {
    Topic::new("plant/7").unwrap()
}

/// A device that publishes, and one with a queue of its own size that has subscribed.
async fn pump_and_panel(setup: &Setup, queue: usize) -> (Device, Party, Device) {
    let key = TopicKey::generate().unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic(), &key)])).await;
    let builder = Connection::builder(setup.options("panel"), panel.with_keys(&[(&topic(), &key)]));
    let receiver = Device::connect(builder.queue(queue)).await;
    receiver.subscribe("plant/#").await;
    (sender, panel, receiver)
}

// Of the two, mosquitto keeps a command of QoS 1 behind the messages of QoS 0 before it.
scenario!(an_application_that_takes_nothing_loses_qos_0_counted_and_follows_commands: mosquitto_v4 mosquitto_v5);
async fn an_application_that_takes_nothing_loses_qos_0_counted_and_follows_commands(setup: Setup) {
    const QUEUE: usize = 16;
    const FLOOD: usize = 500;
    let (sender, panel, mut receiver) = pump_and_panel(&setup, QUEUE).await;
    for n in 0..FLOOD {
        let _answer = sender.connection.publish(topic(), format!("{n}").as_bytes(), QoS::AtMostOnce).await.unwrap();
    }
    // On the same way as the flood, and behind it.
    let command = Command::set_topic_key(&topic(), TopicKey::generate().unwrap());
    let sealed = panel.recipient.seal_dated(&command, e4::Timestamp::now()).unwrap();
    let sent = sender.connection.send_command(&panel.recipient.control_topic(), &sealed).await.unwrap();
    within(PATIENCE, "the command to leave", sent).await.unwrap();
    until("the command to be followed", async || receiver.newest_command().await.is_some()).await;

    let Event::Overflowed(lost) = receiver.events.next().await else { panic!("what was lost comes first") };
    assert_eq!((lost.messages, lost.refusals), ((FLOOD - QUEUE) as u64, 0), "{lost:?}");
    // The word of the command, unless it comes just now: then it may be lost as well, and is counted after this.
    assert!(lost.others <= 1, "{lost:?}");
    let mut kept = Vec::new();
    while kept.len() < QUEUE {
        match receiver.events.next().await {
            Event::Message(message) => kept.push(message.payload),
            Event::Overflowed(late) => {
                assert_eq!((late.messages, late.refusals, late.others + lost.others), (0, 0, 1), "{lost:?}, {late:?}");
            }
            _ => (),
        }
    }
    assert_eq!(kept, Vec::from_iter((0..QUEUE).map(|n| format!("{n}").into_bytes())));
    // And there is room again, and counting begins anew.
    sender.publish(&topic(), b"under the previous key", QoS::AtMostOnce).await;
    assert_eq!(receiver.events.message().await.payload, b"under the previous key");
}

scenario!(what_waits_for_the_application_is_bounded_at_every_qos: embedded_v5 mosquitto_v4 mosquitto_v5);
async fn what_waits_for_the_application_is_bounded_at_every_qos(setup: Setup) {
    const QUEUE: usize = 8;
    const FLOOD: usize = 200;
    let key = TopicKey::generate().unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic(), &key)])).await;
    let proxy = Proxy::to(setup.broker.port()).await;
    let builder =
        Connection::builder(setup.options_at(proxy.port, "panel"), panel.with_keys(&[(&topic(), &key)])).queue(QUEUE);
    let mut receiver = Device::connect(builder).await;
    receiver.subscribe("plant/#").await;
    for n in 0..FLOOD {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][n % 2];
        let _answer = sender.connection.publish(topic(), format!("{n}").as_bytes(), qos).await.unwrap();
    }
    within(PATIENCE, "the broker to take the flood", sender.connection.flush()).await;
    // What the device has by now stays; what it has not stays in the broker, behind the closed proxy.
    proxy.close();
    receiver.events.find("the loss", |event| matches!(event, Event::Disconnected(_)).then_some(())).await;
    let had = receiver.events.passed().iter().filter(|event| matches!(event, Event::Message(_))).count();
    // Mosquitto sends 20 in MQTT 3.1.1, where the client cannot ask for fewer.
    let allowed = if setup.version == Version::V5 { QUEUE } else { 20 };
    assert!(had <= allowed, "{had} messages waited for the application");
    proxy.open(setup.broker.port());
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < FLOOD {
        if let Event::Message(message) = receiver.events.next().await {
            assert!(seen.insert(message.payload), "a message was opened twice");
        }
    }
}

scenario!(a_message_is_delivered_again_until_the_application_is_done_with_it);
async fn a_message_is_delivered_again_until_the_application_is_done_with_it(setup: Setup) {
    let key = TopicKey::generate().unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic(), &key)])).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let life = async || {
            let process = Process::start();
            let builder = Connection::builder(setup.options("panel"), panel.with_keys(&[(&topic(), &key)]));
            let device = process.connect(builder).await;
            (process, device)
        };
        let (process, mut device) = life().await;
        device.subscribe("plant/#").await;
        for n in ["first", "second", "third"] {
            sender.publish(&topic(), format!("{n} at {qos:?}").as_bytes(), qos).await;
        }
        assert_eq!(device.events.message().await.payload, format!("first at {qos:?}").as_bytes());
        // To ask for the second is to be done with the first.
        assert_eq!(device.events.message().await.payload, format!("second at {qos:?}").as_bytes());
        // The broker's answer comes after it has the acknowledgement.
        device.subscribe("else").await;
        process.kill(device).await;

        let (process, mut device) = life().await;
        for n in ["second", "third"] {
            let message = device.events.message().await;
            assert_eq!((message.payload.as_slice(), message.qos), (format!("{n} at {qos:?}").as_bytes(), qos));
        }
        // A shutdown in good order acknowledges what was taken last.
        device.shutdown().await;
        drop((process, device));
        setup.broker.only_serves(1).await;
        let (process, mut device) = life().await;
        sender.publish(&topic(), b"the end", QoS::AtLeastOnce).await;
        assert_eq!(device.events.message().await.payload, b"the end");
        device.shutdown().await;
        drop((process, device));
        setup.broker.only_serves(1).await;
    }
}

scenario!(a_shutdown_sends_what_was_published_before);
async fn a_shutdown_sends_what_was_published_before(setup: Setup) {
    const MESSAGES: usize = 1000;
    let key = TopicKey::generate().unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let mut receiver = setup.join_as(&panel, panel.with_keys(&[(&topic(), &key)])).await;
    receiver.subscribe("plant/#").await;
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic(), &key)])).await;
    for n in 0..MESSAGES {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][n % 3];
        let _answer = sender.connection.publish(topic(), format!("{n}").as_bytes(), qos).await.unwrap();
    }
    assert_eq!(sender.shutdown().await.undelivered, 0);
    assert!(matches!(sender.connection.publish(topic(), b"late", QoS::AtLeastOnce).await, Err(PublishError::Closed)));
    let mut received = std::collections::BTreeSet::new();
    while received.len() < MESSAGES {
        assert!(received.insert(receiver.events.message().await.payload), "a message was opened twice");
    }
}

scenario!(what_was_published_is_sent_when_all_handles_are_dropped);
async fn what_was_published_is_sent_when_all_handles_are_dropped(setup: Setup) {
    let key = TopicKey::generate().unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let mut receiver = setup.join_as(&panel, panel.with_keys(&[(&topic(), &key)])).await;
    receiver.subscribe("plant/#").await;
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic(), &key)])).await;
    for n in 0..100 {
        let _answer = sender.connection.publish(topic(), format!("{n}").as_bytes(), QoS::AtLeastOnce).await.unwrap();
    }
    drop(sender);
    for n in 0..100 {
        assert_eq!(receiver.events.message().await.payload, format!("{n}").as_bytes());
    }
}

scenario!(a_shutdown_without_a_broker_says_how_much_was_not_delivered);
async fn a_shutdown_without_a_broker_says_how_much_was_not_delivered(setup: Setup) {
    let (key, party) = (TopicKey::generate().unwrap(), Party::symmetric("pump"));
    let proxy = Proxy::to(setup.broker.port()).await;
    let builder = Connection::builder(setup.options_at(proxy.port, "pump"), party.with_keys(&[(&topic(), &key)]));
    let mut device = Device::connect(builder).await;
    device.publish(&topic(), b"delivered", QoS::AtLeastOnce).await;
    proxy.close();
    device.events.disconnected().await;
    let mut deliveries = Vec::new();
    for n in 0..7 {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][n % 2];
        deliveries.push(device.connection.publish(topic(), b"not delivered", qos).await.unwrap());
    }
    let end = device.connection.clone().shutdown(Duration::from_millis(200));
    let end = within(PATIENCE, "the end of a connection without a broker", end).await.unwrap();
    assert_eq!(end.undelivered, 7);
    assert!(end.device.has_key_for(&topic()), "the device comes back");
    assert!(device.connection.clone().shutdown(PATIENCE).await.is_err());
    assert!(device.connection.with_device(|_| ()).await.is_err());
    // With the last handle goes the last hope.
    drop(device);
    for delivery in deliveries {
        let answer = within(PATIENCE, "the answer to a message that is lost", delivery).await;
        assert_eq!(answer, Err(BrokerError::Closed));
    }
}

scenario!(after_a_shutdown_there_are_no_more_events);
async fn after_a_shutdown_there_are_no_more_events(setup: Setup) {
    let party = Party::symmetric("pump");
    let device = setup.join(&party).await;
    device.shutdown().await;
    let Device { connection, events } = device;
    let mut events = events.into_events();
    assert!(within(PATIENCE, "the end of the events", events.next_event()).await.is_none());
    let refused = connection.subscribe("plant/7", QoS::AtLeastOnce).await;
    assert_eq!(refused, Err(BrokerError::Closed));
    assert_eq!(connection.unsubscribe("plant/7").await, Err(BrokerError::Closed));
}

scenario!(a_message_that_is_too_large_is_an_error_and_the_connection_lives_on);
async fn a_message_that_is_too_large_is_an_error_and_the_connection_lives_on(setup: Setup) {
    let (key, party) = (TopicKey::generate().unwrap(), Party::symmetric("pump"));
    let builder = Connection::builder(setup.options("pump"), party.with_keys(&[(&topic(), &key)]));
    let mut device = Device::connect(builder.max_packet(2000)).await;
    device.subscribe("plant/#").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let error = device.connection.publish(topic(), &[b'x'; 2000], qos).await.unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { bytes, limit: 2000 } if bytes > 2024), "{error:?}");
        // Different ones, or they would be taken for repeated.
        let fits = [format!("{qos:?}").as_bytes(), &[b'x'; 1850]].concat();
        device.publish(&topic(), &fits, qos).await;
        assert_eq!(device.events.message().await.payload, fits);
    }
    assert!(!device.events.passed().iter().any(|event| matches!(event, Event::Disconnected(_))));
}

scenario!(what_is_too_large_for_the_broker_is_an_error_too: embedded_v5 mosquitto_v5);
async fn what_is_too_large_for_the_broker_is_an_error_too(mut setup: Setup) {
    setup.broker.restart_with(Settings { max_packet: Some(2000), ..Settings::default() }).await;
    let (key, party) = (TopicKey::generate().unwrap(), Party::symmetric("pump"));
    let mut device = setup.join_as(&party, party.with_keys(&[(&topic(), &key)])).await;
    device.subscribe("plant/#").await;
    let error = device.connection.publish(topic(), &[b'x'; 2000], QoS::AtLeastOnce).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { limit: 2000, .. }), "{error:?}");
    device.publish(&topic(), &[b'x'; 1900], QoS::AtLeastOnce).await;
    assert_eq!(device.events.message().await.payload.len(), 1900);
    assert!(!device.events.passed().iter().any(|event| matches!(event, Event::Disconnected(_))));
}

scenario!(a_large_message_of_somebody_else_does_not_end_the_connection);
async fn a_large_message_of_somebody_else_does_not_end_the_connection(setup: Setup) {
    let (key, party) = (TopicKey::generate().unwrap(), Party::symmetric("panel"));
    let builder = Connection::builder(setup.options("panel"), party.with_keys(&[(&topic(), &key)]));
    let mut device = Device::connect(builder.max_packet(10_000)).await;
    device.subscribe("plant/#").await;
    let outsider = Outsider::join(&setup, "outsider", &[]).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        outsider.publish("plant/7", &vec![7; 500_000], qos).await;
        let goes_on = format!("goes on at {qos:?}");
        device.publish(&topic(), goes_on.as_bytes(), qos).await;
        let message = |event: &Event| match event {
            Event::Message(message) => Some(message.payload.clone()),
            Event::Disconnected(reason) => panic!("disconnected: {reason}"),
            _ => None,
        };
        assert_eq!(device.events.find("a message", message).await, goes_on.as_bytes());
    }
}

scenario!(who_floods_with_what_is_refused_does_not_keep_messages_from_being_taken);
async fn who_floods_with_what_is_refused_does_not_keep_messages_from_being_taken(setup: Setup) {
    const QUEUE: usize = 8;
    const MESSAGES: usize = 20;
    let (sender, _, mut receiver) = pump_and_panel(&setup, QUEUE).await;
    let outsider = Outsider::join(&setup, "outsider", &[]).await;
    // More than there is room for comes before each event that the application takes.
    let flood = async || {
        for _ in 0..2 * QUEUE {
            outsider.put(
                "plant/7",
                b"what nobody has sealed, in more words than a seal takes",
                PublishOptions::at_most_once(),
            );
        }
        // Behind the flood.
        outsider.publish("elsewhere", b"", QoS::AtLeastOnce).await;
    };
    flood().await;
    for n in 0..MESSAGES {
        let _answer = sender.connection.publish(topic(), format!("{n}").as_bytes(), QoS::AtLeastOnce).await.unwrap();
    }
    within(PATIENCE, "the broker to take the messages", sender.connection.flush()).await;

    let (mut messages, mut overflows, mut told) = (0, 0, false);
    while messages < MESSAGES {
        flood().await;
        receiver.round_trip().await;
        let event = receiver.events.next().await;
        let told_before = std::mem::replace(&mut told, matches!(event, Event::Overflowed(_)));
        match event {
            Event::Message(message) => {
                assert_eq!(message.payload, format!("{messages}").as_bytes());
                messages += 1;
            }
            Event::Overflowed(lost) => {
                assert!(!told_before, "twice in a row, and messages wait");
                assert_eq!((lost.messages, lost.others), (0, 0), "{lost:?}");
                overflows += 1;
            }
            Event::Refused(_) => (),
            other => panic!("{other:?}"),
        }
    }
    assert!(overflows >= MESSAGES / 2, "the flood is one: {overflows}");
}

scenario!(refusals_leave_half_of_the_queue_to_messages);
async fn refusals_leave_half_of_the_queue_to_messages(setup: Setup) {
    const QUEUE: usize = 8;
    const FLOOD: usize = 50;
    let (sender, _, mut receiver) = pump_and_panel(&setup, QUEUE).await;
    let outsider = Outsider::join(&setup, "outsider", &[]).await;
    for _ in 0..FLOOD {
        outsider.put("plant/7", b"what nobody has sealed, in more words than a seal", PublishOptions::at_most_once());
    }
    // Behind the flood, once at the broker and once at the receiver.
    outsider.publish("elsewhere", b"", QoS::AtLeastOnce).await;
    receiver.round_trip().await;
    for n in 0..QUEUE / 2 {
        sender.publish(&topic(), format!("{n}").as_bytes(), QoS::AtMostOnce).await;
    }
    let (mut messages, mut refusals) = (0, 0);
    while messages < QUEUE / 2 {
        match receiver.events.next().await {
            Event::Message(message) => {
                assert_eq!(message.payload, format!("{messages}").as_bytes());
                messages += 1;
            }
            Event::Refused(_) => refusals += 1,
            Event::Overflowed(lost) => {
                assert_eq!((lost.messages, lost.refusals), (0, (FLOOD - QUEUE / 2) as u64), "{lost:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusals, QUEUE / 2);
}

scenario!(a_shutdown_with_nothing_to_send_does_not_wait_for_a_connection: embedded_v5);
async fn a_shutdown_with_nothing_to_send_does_not_wait_for_a_connection(setup: Setup) {
    let proxy = Proxy::to(setup.broker.port()).await;
    proxy.close();
    let builder = Connection::builder(setup.options_at(proxy.port, "pump"), Party::symmetric("pump").with_keys(&[]));
    let mut device = Device::connect_unseen(builder);
    device.events.disconnected().await;
    let shutdown = device.connection.clone().shutdown(Duration::from_secs(3600));
    assert_eq!(within(PATIENCE, "the end", shutdown).await.unwrap().undelivered, 0);
}

scenario!(what_is_published_before_the_broker_can_be_reached_is_delivered_once_it_can);
async fn what_is_published_before_the_broker_can_be_reached_is_delivered_once_it_can(setup: Setup) {
    let key = TopicKey::generate().unwrap();
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let mut receiver = setup.join_as(&panel, panel.with_keys(&[(&topic(), &key)])).await;
    receiver.subscribe("plant/#").await;
    let proxy = Proxy::to(setup.broker.port()).await;
    proxy.close();
    let builder = Connection::builder(setup.options_at(proxy.port, "pump"), pump.with_keys(&[(&topic(), &key)]));
    let mut sender = Device::connect_unseen(builder);
    let mut deliveries = Vec::new();
    for n in 0..9 {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][n % 3];
        deliveries.push(sender.connection.publish(topic(), format!("{n}").as_bytes(), qos).await.unwrap());
    }
    sender.events.disconnected().await;
    proxy.open(setup.broker.port());
    for delivery in deliveries {
        within(PATIENCE, "a delivery", delivery).await.unwrap();
    }
    let mut received = std::collections::BTreeSet::new();
    while received.len() < 9 {
        assert!(received.insert(receiver.events.message().await.payload), "a message was opened twice");
    }
    sender.publish(&topic(), b"and after", QoS::AtLeastOnce).await;
    assert_eq!(receiver.events.message().await.payload, b"and after");
}

scenario!(what_turns_out_to_be_too_large_for_the_broker_is_an_error_and_the_connection_lives: embedded_v5 mosquitto_v5);
async fn what_turns_out_to_be_too_large_for_the_broker_is_an_error_and_the_connection_lives(mut setup: Setup) {
    setup.broker.restart_with(Settings { max_packet: Some(2000), ..Settings::default() }).await;
    let (key, party) = (TopicKey::generate().unwrap(), Party::symmetric("pump"));
    let proxy = Proxy::to(setup.broker.port()).await;
    proxy.close();
    let builder = Connection::builder(setup.options_at(proxy.port, "pump"), party.with_keys(&[(&topic(), &key)]));
    let mut device = Device::connect_unseen(builder);
    // Before the broker has said what it takes.
    let (mut too_large, mut fitting) = (Vec::new(), Vec::new());
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        too_large.push(device.connection.publish(topic(), &[b'x'; 2000], qos).await.unwrap());
        fitting.push(device.connection.publish(topic(), format!("{qos:?}").as_bytes(), qos).await.unwrap());
    }
    proxy.open(setup.broker.port());
    for delivery in too_large {
        let answer = within(PATIENCE, "the word that a message is too large", delivery).await;
        assert!(matches!(&answer, Err(BrokerError::Refused(reason)) if reason.contains("2000")), "{answer:?}");
    }
    for delivery in fitting {
        within(PATIENCE, "a delivery", delivery).await.unwrap();
    }
    device.events.connected().await;
    device.subscribe("plant/#").await;
    device.publish(&topic(), b"and after", QoS::AtLeastOnce).await;
    assert_eq!(device.events.message().await.payload, b"and after");
    assert_eq!(proxy.made(), 1, "the connection has lived on");
}

// The broker has no part in it; both versions at once, as it takes ten seconds.
scenario!(when_all_handles_are_dropped_and_the_broker_hangs_the_tasks_end: embedded_v5);
async fn when_all_handles_are_dropped_and_the_broker_hangs_the_tasks_end(mut setup: Setup) {
    let (key, party) = (TopicKey::generate().unwrap(), Party::symmetric("pump"));
    let (connected, never) = (Proxy::to(setup.broker.port()).await, Proxy::to(setup.broker.port()).await);
    let (mut processes, mut devices) = (Vec::new(), Vec::new());
    for (proxy, waits) in [(&connected, true), (&never, false)] {
        for version in [Version::V4, Version::V5] {
            setup.version = version;
            let options = setup.options_at(proxy.port, &format!("{version:?}"));
            let builder = Connection::builder(options, party.with_keys(&[(&topic(), &key)]));
            let process = Process::start();
            devices.push(if waits { process.connect(builder).await } else { process.connect_unseen(builder) });
            processes.push(process);
        }
        // The other one before anything is connected to it.
        proxy.freeze();
        never.freeze();
    }
    until("the broker to hang", async || never.made() >= 2).await;
    let mut deliveries = Vec::new();
    for device in &devices {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            deliveries.push((qos, device.connection.publish(topic(), b"the last words", qos).await.unwrap()));
        }
    }
    assert!(processes.iter().all(|process| process.tasks() > 0));
    drop(devices);
    // Well before the keep alive would end the first connection.
    let end = until("the end of the tasks", async || processes.iter().all(|process| process.tasks() == 0));
    within(PATIENCE, "the end of the tasks", end).await;
    for (qos, delivery) in deliveries {
        let answer = within(PATIENCE, "the answer to a message that is lost", delivery).await;
        // What the network took of QoS 0 is gone.
        assert!(answer == Err(BrokerError::Closed) || qos == QoS::AtMostOnce, "{answer:?}");
    }
}
