//! Brokers that refuse, do not answer, close the connection, or send more than they may: what they do is said, ends in time,
//! and breaks none of the bounds.
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
    PATIENCE, Version,
    device::{Device, Party},
    scripted::{CONNECT, PUBLISH, Packet, SUBSCRIBE, Say, Scripted, UNSUBSCRIBE, packet, publish, usual},
    store::TestStore,
    until, within,
};
use e4::{Command, OpenError, Refusal, Timestamp, Topic, TopicFilter, TopicKey};
use e4_mqtt::{BrokerError, Cause, Connection, Event, QoS, Taken, bounds::MAX_COMMANDS_TO_ONE};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const BOTH: [Version; 2] = [Version::V4, Version::V5];

fn topic() -> Topic<'static> {
    Topic::new("plant/7").unwrap()
}

/// A device with a key, on a broker that does what is usual unless the script has something to say.
async fn on(
    version: Version,
    script: impl Fn(&Packet<'_>) -> Option<Vec<Say>> + Send + Sync + 'static,
) -> (Scripted, Device) {
    let broker = Scripted::in_memory(move |asked| script(asked).unwrap_or_else(|| usual(version, asked)));
    let (party, key) = (Party::symmetric("pump"), TopicKey::generate().unwrap());
    let builder = Connection::builder(broker.options(version, "pump"), party.with_keys(&[(&topic(), &key)]));
    let device = Device::connect_unseen(builder);
    (broker, device)
}

#[tokio::test(start_paused = true)]
async fn f20_a_broker_that_closes_on_subscribe_is_an_error_with_the_reason() {
    for version in BOTH {
        let close =
            |asked: &Packet<'_>| (asked.kind == SUBSCRIBE && asked.names("forbidden")).then(|| vec![Say::Close]);
        let (_broker, mut device) = on(version, close).await;
        device.events.connected().await;
        let subscribed = device.connection.subscribe("forbidden", QoS::AtLeastOnce);
        let refused = within(PATIENCE, "an error", subscribed).await.unwrap_err();
        let BrokerError::ClosedOn(Some(loss)) = refused else { panic!("{refused:?}") };
        assert_eq!(loss.cause, Cause::Closed, "{loss:?}");
        device.events.disconnected().await;
        // It is not asked again, and others are.
        within(PATIENCE, "a subscription", device.connection.subscribe("plant/#", QoS::AtLeastOnce)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn f21_a_message_that_the_broker_closes_on_is_given_up_with_the_reason() {
    let close = |asked: &Packet<'_>| (asked.kind == PUBLISH).then(|| vec![Say::Close]);
    let (_broker, mut device) = on(Version::V4, close).await;
    device.events.connected().await;
    let delivery = device.connection.publish(topic(), b"too large", QoS::AtLeastOnce).await.unwrap();
    let refused = within(PATIENCE, "an error", delivery).await.unwrap_err();
    assert!(matches!(refused, BrokerError::ClosedOn(Some(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn f21_a_connection_that_ended_for_a_message_of_qos_0_is_said_at_shutdown() {
    for version in BOTH {
        let close = |asked: &Packet<'_>| (asked.kind == PUBLISH).then(|| vec![Say::Close]);
        let (_broker, mut device) = on(version, close).await;
        device.events.connected().await;
        device.publish(&topic(), b"too large", QoS::AtMostOnce).await;
        let shutdown = device.shutdown().await;
        assert!(shutdown.loss.is_some(), "{shutdown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f24_what_is_longer_than_a_command_is_refused_at_once_and_no_stranger_makes_commands_wait() {
    for version in BOTH {
        let (party, store) = (Party::symmetric("pump"), TestStore::default());
        let (to, authentic) = (party.control_topic(), {
            let command = Command::set_topic_key(&topic(), TopicKey::generate().unwrap());
            party.recipient.seal_dated(&command, Timestamp::now()).unwrap().as_bytes().to_vec()
        });
        let broker = Scripted::in_memory(move |asked| {
            let mut say = usual(version, asked);
            if asked.kind == SUBSCRIBE && asked.names(&to) {
                say.push(publish(version, &to, Some(1), &authentic));
                say.extend((2..100).map(|id| publish(version, &to, Some(id), &vec![0x55; 20_000])));
                say.extend((100..200).map(|id| publish(version, &to, Some(id), &[0x55; 57])));
            }
            say
        });
        let client = party.builder().create(store.clone()).unwrap();
        store.set_failing(true);
        let mut device = Device::connect_unseen(Connection::builder(broker.options(version, "pump"), client));
        let waits = |event: &Event| matches!(event, Event::CommandWaits(_)).then_some(());
        device.events.find("a command that waits", waits).await;
        for _ in 2..200 {
            assert_eq!(device.events.refused().await.reason, OpenError::Refused(Refusal::NotAuthentic));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f24_more_bytes_than_are_kept_end_the_connection() {
    for version in BOTH {
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&connections);
        let broker = Scripted::in_memory(move |asked| {
            let mut say = usual(version, asked);
            if asked.kind == CONNECT {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            if asked.kind == SUBSCRIBE && asked.connection == 0 {
                say.extend((1..10).map(|id| publish(version, "clear", Some(id), &[0x55; 600])));
            }
            say
        });
        let party = Party::symmetric("pump");
        let builder = Connection::builder(broker.options(version, "pump"), party.with_keys(&[]))
            .clear(&TopicFilter::new("clear").unwrap())
            .queue_bytes(2_000);
        let mut device = Device::connect_unseen(builder);
        // Nothing is taken meanwhile.
        until("the second connection", async || connections.load(Ordering::SeqCst) > 1).await;
        let loss = |event: &Event| match event {
            Event::Disconnected(loss) => Some(loss.clone()),
            _ => None,
        };
        assert_eq!(device.events.find("the loss", loss).await.cause, Cause::OverBounds);
        assert!(device.events.passed().iter().filter(|event| matches!(event, Event::Message(_))).count() <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn f25_commands_to_one_client_are_bounded_and_do_not_hold_up_others() {
    for (version, queue, room) in
        BOTH.into_iter().flat_map(|version| [(version, 8, 4), (version, 1024, MAX_COMMANDS_TO_ONE)])
    {
        let stuck = Party::symmetric("stuck");
        let to_stuck = stuck.control_topic();
        let silent = move |asked: &Packet<'_>| (asked.kind == PUBLISH && asked.names(&to_stuck)).then(Vec::new);
        let broker = Scripted::in_memory(move |asked| silent(asked).unwrap_or_else(|| usual(version, asked)));
        let party = Party::symmetric("controller");
        let builder = Connection::builder(broker.options(version, "controller"), party.with_keys(&[])).queue(queue);
        let device = Device::connect(builder).await;
        let command = stuck.recipient.seal_dated(&Command::ResetTopics, Timestamp::now()).unwrap();
        let to = stuck.recipient.control_topic();
        let mut taken = Vec::new();
        for _ in 0..room {
            let sent = device.connection.send_command(&to, &command);
            taken.push(within(PATIENCE, "room", sent).await.unwrap());
        }
        let one_more = device.connection.send_command(&to, &command);
        assert!(tokio::time::timeout(Duration::from_millis(200), one_more).await.is_err(), "it waits for room");
        let other = Party::symmetric("other");
        let command = other.recipient.seal_dated(&Command::ResetTopics, Timestamp::now()).unwrap();
        let send = async {
            let sent = device.connection.send_command(&other.recipient.control_topic(), &command).await;
            sent.unwrap().await.unwrap()
        };
        assert_eq!(within(PATIENCE, "the other's command", send).await, Taken::ByBroker);
    }
}

#[tokio::test(start_paused = true)]
async fn f27_no_subscriber_is_said_at_qos_1_and_2() {
    let nobody = |asked: &Packet<'_>| {
        let id = (asked.kind == PUBLISH).then(|| asked.publish_id())?;
        let first = if asked.flags & 0x06 == 0x02 { 0x40 } else { 0x50 };
        Some(vec![packet(first, &[id[0], id[1], 0x10])])
    };
    let (_broker, mut device) = on(Version::V5, nobody).await;
    device.events.connected().await;
    for (n, qos) in [QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
        let delivery = device.connection.publish(topic(), format!("{n}").as_bytes(), qos).await.unwrap();
        assert_eq!(within(PATIENCE, "an answer", delivery).await, Ok(Taken::NoSubscriber));
    }
}

#[tokio::test(start_paused = true)]
async fn f29_a_broker_that_does_not_answer_unsubscribe_answers_round_trips() {
    for version in BOTH {
        let silent = |asked: &Packet<'_>| (asked.kind == UNSUBSCRIBE).then(Vec::new);
        let (_broker, mut device) = on(version, silent).await;
        device.events.connected().await;
        device.round_trip().await;
    }
}

#[tokio::test(start_paused = true)]
async fn f31_a_refused_subscription_is_an_error_in_both_versions() {
    for (version, code) in [(Version::V4, 0x80), (Version::V5, 0x87)] {
        let refuse = move |asked: &Packet<'_>| {
            let id = (asked.kind == SUBSCRIBE && asked.names("forbidden")).then(|| asked.id())?;
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            Some(vec![packet(0x90, &[&id, properties, &[code]].concat())])
        };
        let (_broker, mut device) = on(version, refuse).await;
        device.events.connected().await;
        let refused = within(PATIENCE, "an error", device.connection.subscribe("forbidden", QoS::AtLeastOnce)).await;
        assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f32_who_is_taken_over_stops_with_the_cause() {
    // With the length of the properties, which there are none of: the library does not read it without, though it may be
    // left out, and then it is the end of the connection that counts.
    let take_over = |asked: &Packet<'_>| (asked.kind == PUBLISH).then(|| vec![packet(0xe0, &[0x8e, 0]), Say::Close]);
    let (_broker, mut device) = on(Version::V5, take_over).await;
    device.events.connected().await;
    let delivery = device.connection.publish(topic(), b"", QoS::AtLeastOnce).await.unwrap();
    let loss = |event: &Event| match event {
        Event::Disconnected(loss) => Some(loss.cause),
        _ => None,
    };
    assert_eq!(device.events.find("the loss", loss).await, Cause::TakenOver);
    assert_eq!(within(PATIENCE, "an answer", delivery).await, Err(BrokerError::Closed));
    let mut events = device.events.into_events();
    assert!(within(PATIENCE, "the end", events.next_event()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn f28_what_cannot_be_taken_does_not_lock_a_device_out() {
    for version in BOTH {
        let unreadable = vec![publish(version, "plant/+", Some(7), b"whatever")];
        // What belongs to messages of an earlier program: its own, and one that comes once more with its release.
        let mut message = [&8_u16.to_be_bytes()[..], b"plant/77", &[0, 5]].concat();
        message.extend((version == Version::V5).then_some(0));
        let released = vec![packet(0x34, &message), packet(0x62, &[0, 5])];
        let acknowledged = [0x40, 0x50, 0x70].map(|first| vec![packet(first, &[0, 5])]);
        let out_of_turn = acknowledged.into_iter().chain([released]).map(|rest| (rest, Cause::OutOfTurn));
        for (rest, cause) in out_of_turn.chain([(unreadable, Cause::Unreadable)]) {
            let (script, ends) = stuck_session(version, rest);
            let (_broker, mut device) = on(version, script).await;
            let ended = |event: &Event| match event {
                Event::Disconnected(loss) if loss.reason.contains("session was ended") => Some(loss.cause),
                _ => None,
            };
            assert_eq!(device.events.find("the end of the session", ended).await, cause);
            device.subscribe("plant/#").await;
            device.publish(&topic(), b"and after", QoS::AtLeastOnce).await;
            assert_eq!(ends.load(Ordering::SeqCst), 1);
        }
    }
}

/// A broker that sends this in each connection, as long as there is the session that it was left in, and counts how often
/// that is ended.
fn stuck_session(
    version: Version,
    rest: Vec<Say>,
) -> (impl Fn(&Packet<'_>) -> Option<Vec<Say>> + Send + Sync, Arc<AtomicUsize>) {
    let ends = Arc::new(AtomicUsize::new(0));
    let ended = Arc::clone(&ends);
    let script = move |asked: &Packet<'_>| {
        const CLEAN: u8 = 2;
        if asked.kind != CONNECT {
            return None;
        }
        if asked.body[7] & CLEAN != 0 {
            ended.fetch_add(1, Ordering::SeqCst);
        }
        let has_it = ended.load(Ordering::SeqCst) == 0;
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        let taken = packet(0x20, &[&[u8::from(has_it), 0], properties].concat());
        Some([vec![taken], if has_it { rest.clone() } else { Vec::new() }].concat())
    };
    (script, ends)
}

#[tokio::test(start_paused = true)]
async fn f21_an_answer_with_a_reason_that_mqtt_does_not_have_there_is_an_error_with_its_meaning() {
    const PACKET_TOO_LARGE: u8 = 0x95;
    for (qos, first) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
        // Nothing of what waits in the session may be lost for this.
        let (keeps, ends) = stuck_session(Version::V5, Vec::new());
        let refuse = move |asked: &Packet<'_>| match asked.kind {
            PUBLISH if asked.body.len() > 500 => {
                let [high, low] = asked.publish_id();
                Some(vec![packet(first, &[high, low, PACKET_TOO_LARGE])])
            }
            _ => keeps(asked),
        };
        let (_broker, mut device) = on(Version::V5, refuse).await;
        device.events.connected().await;
        let delivery = device.connection.publish(topic(), &[b'x'; 1000], qos).await.unwrap();
        let refused = within(PATIENCE, "an error", delivery).await.unwrap_err();
        let BrokerError::ClosedOn(Some(loss)) = refused else { panic!("{refused:?}") };
        assert_eq!(loss.cause, Cause::UnknownAnswer(PACKET_TOO_LARGE));
        assert!(loss.reason.contains("larger than it takes"), "{loss}");
        // It is not sent again, and others are.
        device.publish(&topic(), b"short", qos).await;
        device.round_trip().await;
        assert_eq!(ends.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn f31_a_subscription_that_is_refused_in_the_words_of_another_version_is_an_error_and_the_session_is_kept() {
    for version in BOTH {
        let (keeps, ends) = stuck_session(version, Vec::new());
        let refuse = move |asked: &Packet<'_>| {
            if asked.kind != SUBSCRIBE || !asked.names("forbidden") {
                return keeps(asked);
            }
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            Some(vec![packet(0x90, &[&asked.id(), properties, &[0x7f]].concat())])
        };
        let (_broker, mut device) = on(version, refuse).await;
        device.events.connected().await;
        let subscribed = device.connection.subscribe("forbidden", QoS::AtLeastOnce);
        let refused = within(PATIENCE, "an error", subscribed).await.unwrap_err();
        let BrokerError::ClosedOn(Some(loss)) = refused else { panic!("{refused:?}") };
        assert_eq!(loss.cause, Cause::UnknownAnswer(0x7f));
        device.round_trip().await;
        assert_eq!(ends.load(Ordering::SeqCst), 0);
    }
}
