//! No command is lost, whatever happens to the device: they wait, in their order.

use crate::common::{
    Setup,
    broker::Settings,
    device::{Controller, Device, Party, Process},
    outsider::Outsider,
    proxy::Proxy,
    scenario,
    store::{TestClock, TestStore},
    until,
};
use e4::{AppliedCommand, Client, Command, MemoryStore, OpenError, Refusal, Timestamp, Topic, TopicKey};
use e4_mqtt::{Connection, Event, MqttOptions, QoS, rumqttc_v5::PublishOptions};
use std::time::Duration;

const TOPICS: [&str; 3] = ["plant/1", "plant/2", "plant/3"];

async fn send_keys(controller: &Controller, party: &Party) {
    for topic in TOPICS {
        let command = Command::set_topic_key(&Topic::new(topic).unwrap(), TopicKey::generate().unwrap());
        controller.send(party, &command).await;
    }
}

fn waits(event: &Event) -> Option<OpenError> {
    match event {
        Event::CommandWaits(reason) => Some(*reason),
        Event::KeysChanged(command) => panic!("carried out: {command:?}"),
        _ => None,
    }
}

/// Asserts that the commands are carried out in their order, and nothing between.
async fn carried_out_in_order(device: &mut Device) {
    for topic in TOPICS {
        let change = |event: &Event| match event {
            Event::KeysChanged(command) => Some(*command),
            Event::Refused(refused) => panic!("{refused:?}"),
            _ => None,
        };
        let applied = device.events.find("a command", change).await;
        assert_eq!(applied, AppliedCommand::SetTopicKey(*Topic::new(topic).unwrap().hash()));
    }
}

scenario!(a_round_trip_ends_when_commands_that_came_before_it_are_carried_out);
async fn a_round_trip_ends_when_commands_that_came_before_it_are_carried_out(setup: Setup) {
    // As many as mosquitto sends without waiting for an acknowledgement.
    const COMMANDS: usize = 20;
    let (party, store) = (Party::symmetric("pump"), TestStore::default());
    let client = party.builder().create(store.clone()).unwrap();
    // So that the broker's answer is read together with the last commands, but not with all.
    let options = match setup.options("pump") {
        MqttOptions::V4(mut options) => {
            options.set_read_batch_size(7);
            MqttOptions::V4(options)
        }
        MqttOptions::V5(mut options) => {
            options.set_read_batch_size(7);
            MqttOptions::V5(options)
        }
        other => other,
    };
    let device = Device::connect(Connection::builder(options, client)).await;
    let controller = setup.controller().await;
    // They are read faster than they are stored.
    store.set_slow(Duration::from_millis(20));
    for n in 0..COMMANDS {
        let topic = Topic::new(&format!("plant/{n}")).unwrap().into_owned();
        controller.send(&party, &Command::set_topic_key(&topic, TopicKey::generate().unwrap())).await;
    }
    device.round_trip().await;
    assert_eq!(device.connection.with_device(|device| device.topics().count()).await, Ok(COMMANDS));
}

scenario!(a_round_trip_brings_nothing_that_is_retained);
async fn a_round_trip_brings_nothing_that_is_retained(setup: Setup) {
    let party = Party::symmetric("pump");
    let outsider = Outsider::join(&setup, "outsider", &[]).await;
    let retained = PublishOptions::at_least_once().retain(true);
    outsider.put(&party.control_topic(), b"garbage", retained).wait_completion_async().await.unwrap();
    let mut device = setup.join(&party).await;
    assert!(device.events.refused().await.retained);
    for _ in 0..3 {
        device.round_trip().await;
    }
    device.shutdown().await;
    let mut events = device.events.into_events();
    assert!(events.next_event().await.is_none());
}

scenario!(commands_wait_for_a_store_that_fails_and_the_broker_keeps_them_meanwhile);
async fn commands_wait_for_a_store_that_fails_and_the_broker_keeps_them_meanwhile(setup: Setup) {
    let controller = setup.controller().await;
    let (party, store) = (Party::symmetric("pump"), TestStore::default());
    let client = party.builder().create(store.clone()).unwrap();
    let process = Process::start();
    let mut device = process.connect(Connection::builder(setup.options("pump"), client)).await;
    store.set_failing(true);
    send_keys(&controller, &party).await;
    assert_eq!(device.events.find("word of the store", waits).await, OpenError::Store(TestStore::FAILURE));
    until("the device to try again", async || store.failures() >= 2).await;
    assert_eq!(device.newest_command().await, None);
    process.kill(device).await;

    // In the next life the broker delivers them again, as none was acknowledged.
    let process = Process::start();
    let client = Client::load(store.clone()).unwrap();
    let (mut device, kept) = process.connect_again(Connection::builder(setup.options("pump"), client)).await;
    assert!(kept);
    assert_eq!(device.events.find("word of the store", waits).await, OpenError::Store(TestStore::FAILURE));
    store.set_failing(false);
    carried_out_in_order(&mut device).await;
    assert_eq!(device.connection.with_device(|device| device.topics().count()).await, Ok(TOPICS.len()));
    // Nothing is left in the broker.
    device.shutdown().await;
    drop((process, device));
    let mut device = setup.join_as(&party, Client::load(store).unwrap()).await;
    controller.send(&party, &Command::ResetTopics).await;
    assert_eq!(device.events.keys_changed().await, AppliedCommand::ResetTopics);
    assert!(!device.events.passed().iter().any(|event| matches!(event, Event::Refused(_))));
}

scenario!(commands_that_wait_survive_a_broker_that_forgets_them: embedded_v4 mosquitto_v5);
async fn commands_that_wait_survive_a_broker_that_forgets_them(mut setup: Setup) {
    let (party, store) = (Party::symmetric("pump"), TestStore::default());
    let proxy = Proxy::to(setup.broker.port()).await;
    let client = party.builder().create(store.clone()).unwrap();
    let mut device = Device::connect(Connection::builder(setup.options_at(proxy.port, "pump"), client)).await;
    let controller = setup.controller().await;
    store.set_failing(true);
    send_keys(&controller, &party).await;
    assert_eq!(device.events.find("word of the store", waits).await, OpenError::Store(TestStore::FAILURE));
    // All of them have arrived.
    device.round_trip().await;
    controller.0.shutdown().await;

    proxy.close();
    setup.broker.stop().await;
    device.events.disconnected().await;
    setup.broker.resume().await;
    proxy.open(setup.broker.port());
    assert!(!device.events.connected().await, "the session is gone");
    let failures = store.failures();
    until("the device to try again", async || store.failures() > failures).await;
    assert_eq!(device.newest_command().await, None);
    store.set_failing(false);
    carried_out_in_order(&mut device).await;
    assert_eq!(device.connection.with_device(|device| device.topics().count()).await, Ok(TOPICS.len()));
    let controller = setup.controller().await;
    controller.send(&party, &Command::ResetTopics).await;
    assert_eq!(device.events.keys_changed().await, AppliedCommand::ResetTopics);
    assert!(!device.events.passed().iter().any(|event| matches!(event, Event::Refused(_))));
}

scenario!(f11_a_command_that_makes_room_goes_before_what_cannot_be_stored);
async fn f11_a_command_that_makes_room_goes_before_what_cannot_be_stored(setup: Setup) {
    let controller = setup.controller().await;
    let (party, store) = (Party::symmetric("pump"), TestStore::default());
    let key = || TopicKey::generate().unwrap();
    let topic = |name| Topic::new(name).unwrap().into_owned();
    let client = party.builder().topic_key(topic("old").hash(), key()).unwrap().create(store.clone()).unwrap();
    let mut device = setup.join_as(&party, client).await;
    // Room for the record of a command, and not for another key.
    store.set_room(store.len() + 40);
    let start = Timestamp::now();
    controller.send_at(&party, &Command::set_topic_key(&topic("new"), key()), start).await;
    device.events.find("word of the store", waits).await;
    // Of the same second, it stays in its place.
    controller.send_at(&party, &Command::remove_topic(&topic("absent")), start).await;
    controller.send_at(&party, &Command::set_topic_key(&topic("newer"), key()), start.plus(1)).await;
    controller.send_at(&party, &Command::ResetTopics, start.plus(2)).await;
    assert_eq!(device.events.keys_changed().await, AppliedCommand::ResetTopics);
    // The others are out of the way for good, and what comes next has room.
    for _ in 0..3 {
        let reason = device.events.refused().await.reason;
        assert_eq!(reason, OpenError::Refused(Refusal::Superseded { newest: start.plus(2) }));
    }
    controller.send_at(&party, &Command::set_topic_key(&topic("last"), key()), start.plus(3)).await;
    assert_eq!(device.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic("last").hash()));
    assert_eq!(device.connection.with_device(|device| device.topics().count()).await, Ok(1));
}

scenario!(messages_arrive_while_a_command_waits);
async fn messages_arrive_while_a_command_waits(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap());
    let controller = setup.controller().await;
    let (party, store) = (Party::symmetric("pump"), TestStore::default());
    let client = party.builder().topic_key(topic.hash(), key).unwrap().create(store.clone()).unwrap();
    let mut device = setup.join_as(&party, client).await;
    device.subscribe("plant/7").await;
    store.set_failing(true);
    send_keys(&controller, &party).await;
    device.events.find("word of the store", waits).await;
    // More than mosquitto sends without an acknowledgement.
    for n in 0..40 {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][n % 3];
        device.publish(&topic, format!("{n}").as_bytes(), qos).await;
        assert_eq!(device.events.message().await.payload, format!("{n}").as_bytes());
    }
    store.set_failing(false);
    carried_out_in_order(&mut device).await;
}

scenario!(f1_commands_of_a_future_do_not_wait_for_the_clock);
async fn f1_commands_of_a_future_do_not_wait_for_the_clock(setup: Setup) {
    let controller = setup.controller().await;
    let party = Party::symmetric("pump");
    let clock = TestClock::at(Timestamp::now().as_unix() - 1000);
    let client = party.builder().create_with_clock(MemoryStore::new(), clock).unwrap();
    let mut device = setup.join_as(&party, client).await;
    send_keys(&controller, &party).await;
    carried_out_in_order(&mut device).await;
}

scenario!(a_command_that_is_played_back_is_refused);
async fn a_command_that_is_played_back_is_refused(setup: Setup) {
    let controller = setup.controller().await;
    let (party, other) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let mut device = setup.join(&party).await;
    let own = party.control_topic();
    let mut outsider = Outsider::join(&setup, "outsider", &["e4/+"]).await;
    let (topic, sent) = (Topic::new("plant/7").unwrap(), Timestamp::now().as_unix() - 100);
    for n in 0..3 {
        let command = Command::set_topic_key(&topic, TopicKey::generate().unwrap());
        controller.send_at(&party, &command, Timestamp::from_unix(sent + n)).await;
        device.events.keys_changed().await;
    }
    controller.send(&other, &Command::ResetTopics).await;
    let mut recorded = Vec::new();
    for _ in 0..4 {
        recorded.push(outsider.next().await.payload);
    }
    let newest = Timestamp::from_unix(sent + 2);
    let expected =
        [Refusal::Superseded { newest }, Refusal::Superseded { newest }, Refusal::Repeated, Refusal::NotAuthentic];
    for (payload, refusal) in recorded.iter().zip(expected) {
        outsider.publish(&own, payload, QoS::ExactlyOnce).await;
        let refused = device.events.refused().await;
        assert_eq!((refused.topic.as_str(), refused.reason), (own.as_str(), refusal.into()));
    }
    assert_eq!(device.newest_command().await, Some(newest));
}

scenario!(commands_go_out_at_the_highest_qos_that_the_broker_takes: embedded_v5);
async fn commands_go_out_at_the_highest_qos_that_the_broker_takes(mut setup: Setup) {
    setup.broker.restart_with(Settings { max_qos: Some(1), ..Settings::default() }).await;
    let (topic, key, party) =
        (Topic::new("plant/7").unwrap(), TopicKey::generate().unwrap(), Party::symmetric("panel"));
    let mut device = setup.join_as(&party, party.with_keys(&[(&topic, &key)])).await;
    // Not so messages, whose QoS is the application's to choose.
    let refused = device.connection.publish(&topic, b"", QoS::ExactlyOnce).await.unwrap().await.unwrap_err();
    assert!(refused.to_string().contains("the broker takes 1 at most"), "{refused}");
    setup.controller().await.send(&party, &Command::ResetTopics).await;
    assert_eq!(device.events.keys_changed().await, AppliedCommand::ResetTopics);
}
