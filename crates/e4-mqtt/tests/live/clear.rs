//! Topics that pass in the clear do so because somebody said so, and are marked; all others are closed.

use crate::common::{
    Setup,
    device::{Device, Party},
    outsider::Outsider,
    scenario,
    search::contains,
};
use e4::{AppliedCommand, Command, Refusal, SealError, Timestamp, Topic, TopicFilter, TopicKey};
use e4_mqtt::{Connection, Protection, PublishError, QoS};

fn open(setup: &Setup, party: &Party, filter: &str) -> e4_mqtt::Builder {
    let builder = Connection::builder(setup.options(&party.name), party.with_keys(&[]));
    builder.clear(&TopicFilter::new(filter).unwrap())
}

scenario!(a_clear_topic_passes_both_ways_and_is_marked);
async fn a_clear_topic_passes_both_ways_and_is_marked(setup: Setup) {
    let (pump, panel, strict) = (Party::symmetric("pump"), Party::symmetric("panel"), Party::symmetric("strict"));
    let sender = Device::connect(open(&setup, &pump, "open/#")).await;
    let mut receiver = Device::connect(open(&setup, &panel, "open/+")).await;
    let mut strict = setup.join(&strict).await;
    receiver.subscribe("open/#").await;
    strict.subscribe("open/#").await;
    let mut outsider = Outsider::join(&setup, "outsider", &["open/#"]).await;

    sender.publish(&Topic::new("open/weather").unwrap(), b"sunny", QoS::AtLeastOnce).await;
    assert_eq!(outsider.next().await.payload, b"sunny");
    let message = receiver.events.message().await;
    assert_eq!(
        (message.payload.as_slice(), message.protection, message.seal()),
        (&b"sunny"[..], Protection::Clear, None)
    );
    assert_eq!(strict.events.refused().await.reason, Refusal::TooShort.into());

    // Looks sealed, and just now.
    let forged =
        [&Timestamp::now().as_unix().to_le_bytes()[..], b"rain, in many more words than a seal takes"].concat();
    outsider.publish("open/weather", &forged, QoS::AtLeastOnce).await;
    let message = receiver.events.message().await;
    assert_eq!(message.protection, Protection::Clear);
    assert_eq!(message.payload, forged);
    assert_eq!(strict.events.refused().await.reason, Refusal::NoTopicKey.into());
    // One level below the receiver's filter.
    outsider.publish("open/weather/deep", &forged, QoS::AtLeastOnce).await;
    let refused = receiver.events.refused().await;
    assert_eq!((refused.topic.as_str(), refused.reason), ("open/weather/deep", Refusal::NoTopicKey.into()));
}

scenario!(a_clear_topic_stays_clear_when_there_is_a_key_for_it);
async fn a_clear_topic_stays_clear_when_there_is_a_key_for_it(setup: Setup) {
    let (topic, party) = (Topic::new("open/weather").unwrap(), Party::symmetric("pump"));
    let client = party.with_keys(&[(&topic, &TopicKey::generate().unwrap())]);
    let builder = Connection::builder(setup.options("pump"), client);
    let mut device = Device::connect(builder.clear(&TopicFilter::new("open/weather").unwrap())).await;
    device.subscribe("open/weather").await;
    device.publish(&topic, b"sunny", QoS::AtLeastOnce).await;
    assert_eq!(device.events.message().await.protection, Protection::Clear);
}

scenario!(without_a_key_nothing_leaves);
async fn without_a_key_nothing_leaves(setup: Setup) {
    let party = Party::symmetric("pump");
    let sender = Device::connect(open(&setup, &party, "open/#")).await;
    let mut outsider = Outsider::join(&setup, "outsider", &["#"]).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let error = sender.connection.publish("plant/7", b"4.2 bar", qos).await.unwrap_err();
        assert_eq!(error, PublishError::Seal(SealError::NoTopicKey));
        let error = sender.connection.publish_retained("opener", b"4.2 bar", qos).await.unwrap_err();
        assert_eq!(error, PublishError::Seal(SealError::NoTopicKey));
    }
    assert!(matches!(sender.connection.publish("a/#", b"", QoS::AtLeastOnce).await, Err(PublishError::Name(_))));
    sender.publish(&Topic::new("open/end").unwrap(), b"end", QoS::AtLeastOnce).await;
    let left: Vec<String> = outsider.all_before("open/end").await.into_iter().map(|seen| seen.topic).collect();
    assert_eq!(left, Vec::<String>::new());
}

scenario!(the_own_control_topic_never_passes_in_the_clear);
async fn the_own_control_topic_never_passes_in_the_clear(setup: Setup) {
    let controller = setup.controller().await;
    let party = Party::symmetric("pump");
    let mut device = Device::connect(open(&setup, &party, "#")).await;
    device.subscribe("#").await;
    let own = party.control_topic();
    let error = device.connection.publish(own.as_str(), b"looks like a command", QoS::AtLeastOnce).await.unwrap_err();
    assert_eq!(error, PublishError::Seal(SealError::ControlTopic));

    let outsider = Outsider::join(&setup, "outsider", &[]).await;
    let forged = b"a text that is long enough to be taken for a sealed command";
    outsider.publish(&own, forged, QoS::AtMostOnce).await;
    // It may come twice, as two subscriptions match.
    let refused = device.events.refused().await;
    assert_eq!((refused.topic, refused.reason), (own.clone(), Refusal::NotAuthentic.into()));

    let topic = Topic::new("plant/7").unwrap();
    controller.send(&party, &Command::set_topic_key(&topic, TopicKey::generate().unwrap())).await;
    assert_eq!(device.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic.hash()));
    device.publish(&topic, b"in the clear all the same", QoS::AtLeastOnce).await;
    let find = |event: &e4_mqtt::Event| match event {
        e4_mqtt::Event::Message(message) => Some(message.clone()),
        _ => None,
    };
    let message = device.events.find("a message", find).await;
    assert_eq!((message.topic.as_str(), message.protection), ("plant/7", Protection::Clear));
    assert!(contains(&message.payload, b"all the same"));
}
