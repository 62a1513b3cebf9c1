//! A last will is sealed, and says so when it cannot be.

use crate::common::{
    Setup,
    device::{Device, Party, Process},
    outsider::Outsider,
    proxy::Proxy,
    scenario,
    search::contains,
};
use e4::{SealError, Topic, TopicKey};
use e4_mqtt::{Connection, Event, LastWill, QoS};

const WILL: &[u8] = b"the pump is gone";

scenario!(a_last_will_is_sealed_and_opened_by_those_who_have_the_key and with tls);
async fn a_last_will_is_sealed_and_opened_by_those_who_have_the_key(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7/will").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let mut watcher = setup.join_as(&panel, panel.with_keys(&[(&topic, &key)])).await;
    watcher.subscribe("plant/#").await;
    let mut outsider = Outsider::join(&setup, "outsider", &["plant/#"]).await;

    let process = Process::start();
    let builder = Connection::builder(setup.options("pump"), pump.with_keys(&[(&topic, &key)]));
    let device = process.connect(builder.last_will(LastWill::new(&topic, WILL).qos(QoS::ExactlyOnce))).await;
    process.kill(device).await;

    let message = watcher.events.message().await;
    assert_eq!((message.topic.as_str(), message.payload.as_slice()), (topic.as_str(), WILL));
    assert!(message.seal().is_some() && message.qos == QoS::ExactlyOnce);
    let seen = outsider.next().await;
    assert!(!contains(&seen.payload, WILL) && seen.payload.len() == WILL.len() + e4::SYMMETRIC_OVERHEAD);
}

scenario!(no_will_is_published_when_the_connection_ends_in_good_order);
async fn no_will_is_published_when_the_connection_ends_in_good_order(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7/will").unwrap(), TopicKey::generate().unwrap());
    let party = Party::symmetric("pump");
    let mut outsider = Outsider::join(&setup, "outsider", &["plant/#"]).await;
    let builder = Connection::builder(setup.options("pump"), party.with_keys(&[(&topic, &key)]));
    let device = Device::connect(builder.last_will(LastWill::new(&topic, WILL))).await;
    device.shutdown().await;
    outsider.publish("plant/end", b"", QoS::AtLeastOnce).await;
    assert!(outsider.all_before("plant/end").await.is_empty());
}

scenario!(a_will_without_a_key_is_withheld_and_made_good_once_there_is_one);
async fn a_will_without_a_key_is_withheld_and_made_good_once_there_is_one(setup: Setup) {
    let (topic, key) = (Topic::new("plant/7/will").unwrap(), TopicKey::generate().unwrap());
    let (pump, panel) = (Party::symmetric("pump"), Party::symmetric("panel"));
    let controller = setup.controller().await;
    let mut watcher = setup.join_as(&panel, panel.with_keys(&[(&topic, &key)])).await;
    watcher.subscribe("plant/#").await;
    let proxy = Proxy::to(setup.broker.port()).await;
    let builder = Connection::builder(setup.options_at(proxy.port, "pump"), pump.with_keys(&[]));
    let mut device = Device::connect(builder.last_will(LastWill::new(&topic, WILL))).await;
    let withheld = |event: &Event| match event {
        Event::WillWithheld(error) => Some(*error),
        _ => None,
    };
    assert_eq!(device.events.find("word of the will", withheld).await, SealError::NoTopicKey);

    // Lost without a will; then with one.
    controller.give(&topic, &key, &mut [(&pump, &mut device)]).await;
    proxy.cut();
    device.events.disconnected().await;
    assert!(device.events.connected().await);
    proxy.close();
    assert_eq!(watcher.events.message().await.payload, WILL);
    assert!(!watcher.events.passed().iter().any(|event| matches!(event, Event::Message(_))));
    assert!(!device.events.passed().iter().any(|event| matches!(event, Event::WillWithheld(_))));
}
