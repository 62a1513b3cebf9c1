//! The bounds of `e4_mqtt::bounds`, each broken by a broker, or by who publishes; see `scripted` for the others.
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
    Version,
    device::{Device, Party},
    scripted::{PUBACK, PUBLISH, Packet, SUBSCRIBE, Say, Scripted, UNSUBSCRIBE, publish, usual},
    store::{TestClock, TestStore},
};
use e4::{Command, MemoryStore, Timestamp, Topic, TopicFilter, TopicKey};
use e4_mqtt::{
    BrokerError, Cause, Connection, Event, QoS, Taken,
    bounds::{ANSWER_TIMEOUT, MAX_EQUAL_WAITING, MAX_UNACKNOWLEDGED, MAX_WAITING_COMMANDS},
};
use futures_util::FutureExt;
use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

const BOTH: [Version; 2] = [Version::V4, Version::V5];

fn topic() -> Topic<'static> {
    Topic::new("plant/7").unwrap()
}

/// What a broker does that sends this once it is asked for the control topic, on its first connection.
fn sends(version: Version, control_topic: String, what: Vec<Say>) -> impl Fn(&Packet<'_>) -> Vec<Say> {
    move |asked| {
        let mut said = usual(version, asked);
        if asked.kind == SUBSCRIBE && asked.connection == 0 && asked.names(&control_topic) {
            said.extend(what.iter().cloned());
        }
        said
    }
}

fn loss(event: &Event) -> Option<Cause> {
    match event {
        Event::Disconnected(loss) => Some(loss.cause),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn more_commands_than_may_wait_end_the_connection_and_those_that_wait_are_carried_out() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let first = Timestamp::now().as_unix() - 10_000;
        let commands = (0..=MAX_WAITING_COMMANDS).map(|n| {
            let command = Command::set_topic_key(&topic(), TopicKey::generate().unwrap());
            let sealed = party.recipient.seal_dated(&command, Timestamp::from_unix(first + n as u64)).unwrap();
            let id = u16::try_from(n + 1).unwrap();
            publish(version, &party.control_topic(), Some(id), sealed.as_bytes())
        });
        let broker = Scripted::in_memory(sends(version, party.control_topic(), commands.collect()));
        let store = TestStore::default();
        let client = party.builder().create(store.clone()).unwrap();
        store.set_failing(true);
        let mut device = Device::connect_unseen(Connection::builder(broker.options(version, "pump"), client));
        assert_eq!(device.events.find("the loss", loss).await, Cause::OverBounds);
        store.set_failing(false);
        for _ in 0..MAX_WAITING_COMMANDS {
            device.events.keys_changed().await;
        }
        let newest = first + MAX_WAITING_COMMANDS as u64 - 1;
        assert_eq!(
            device.newest_command().await,
            Some(Timestamp::from_unix(newest)),
            "the last one stays in the broker"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn more_unacknowledged_messages_than_there_are_packet_identifiers_end_the_connection() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let ids = (1..=u16::MAX).chain([1]);
        let messages = ids.map(|id| publish(version, "clear", Some(id), b""));
        let broker = Scripted::in_memory(sends(version, party.control_topic(), messages.collect()));
        let builder = Connection::builder(broker.options(version, "pump"), party.with_keys(&[]))
            .clear(&TopicFilter::new("clear").unwrap())
            .queue(2 * MAX_UNACKNOWLEDGED);
        let mut device = Device::connect_unseen(builder);
        // Nothing is taken meanwhile.
        device.round_trip().await;
        let mut messages = 0;
        let count = |event: &Event| {
            messages += usize::from(matches!(event, Event::Message(_)));
            loss(event)
        };
        let cause = device.events.find("the loss", count).await;
        assert_eq!((messages, cause), (MAX_UNACKNOWLEDGED, Cause::OverBounds));
    }
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_is_larger_than_was_allowed_ends_the_connection() {
    let version = Version::V5;
    let party = Party::symmetric("pump");
    let message = move |id, len: usize| {
        // First byte and length, topic, identifier, no properties.
        let said = publish(version, "clear", Some(id), &vec![0x55; len - 3 - 2 - "clear".len() - 2 - 1]);
        assert!(matches!(&said, Say::Bytes(bytes) if bytes.len() == len));
        said
    };
    let broker = Scripted::in_memory(move |asked| match asked.kind {
        SUBSCRIBE if asked.connection == 0 => [usual(version, asked), vec![message(1, 2000)]].concat(),
        PUBACK if asked.id() == [0, 1] => vec![message(2, 2001)],
        _ => usual(version, asked),
    });
    let builder = Connection::builder(broker.options(version, "pump"), party.with_keys(&[]))
        .clear(&TopicFilter::new("clear").unwrap())
        .max_packet(2000);
    let mut device = Device::connect_unseen(builder);
    device.events.message().await;
    assert_eq!(device.events.find("the loss", loss).await, Cause::Unreadable);
}

#[tokio::test(start_paused = true)]
async fn f20_an_answer_is_awaited_for_20_seconds_and_events_go_on_meanwhile() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let control_topic = party.control_topic();
        let broker = Scripted::in_memory(move |asked| {
            let is_first = asked.kind == SUBSCRIBE && asked.names(&control_topic) && asked.id() == [0, 1];
            match asked.kind {
                SUBSCRIBE | UNSUBSCRIBE if !is_first => vec![publish(version, "clear", None, b"and a message")],
                _ => usual(version, asked),
            }
        });
        let builder = Connection::builder(broker.options(version, "pump"), party.with_keys(&[]))
            .clear(&TopicFilter::new("clear").unwrap());
        let mut device = Device::connect(builder).await;
        let connection = device.connection.clone();
        let subscribe = async || connection.subscribe("plant/#", QoS::AtLeastOnce).await.map(drop);
        let since = Instant::now();
        let (answer, ()) = tokio::join!(subscribe(), async {
            device.events.message().await;
            assert!(since.elapsed() < Duration::from_secs(1), "events wait for the answer");
        });
        assert_eq!(answer, Err(BrokerError::NoAnswer(None)));
        assert_eq!(since.elapsed().as_secs(), ANSWER_TIMEOUT.as_secs());
        let since = Instant::now();
        assert_eq!(connection.unsubscribe("plant/#").await, Err(BrokerError::NoAnswer(None)));
        assert_eq!(since.elapsed().as_secs(), ANSWER_TIMEOUT.as_secs());
        let since = Instant::now();
        assert_eq!(connection.round_trip().await, Err(BrokerError::NoAnswer(None)));
        assert_eq!(since.elapsed().as_secs(), ANSWER_TIMEOUT.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn f19_more_equal_messages_than_may_wait_are_said_and_all_arrive_each_in_its_second() {
    // One goes out, one waits for its second, and one more does not find room.
    const EQUAL: usize = MAX_EQUAL_WAITING + 3;
    for version in BOTH {
        const FIRST: u64 = 1_800_000_000;
        let (clock, seconds) = (TestClock::at(FIRST), Arc::<Mutex<Vec<u64>>>::default());
        let (ticks, seen) = (clock.clone(), Arc::clone(&seconds));
        let broker = Scripted::in_memory(move |asked| {
            if asked.kind == PUBLISH && asked.names("plant/7") {
                let second = u64::from_le_bytes(asked.payload(version)[..8].try_into().unwrap());
                seen.lock().unwrap().push(second);
                // After the first one each that arrives lets a second go by.
                if second > FIRST {
                    ticks.set(second + 1);
                }
            }
            usual(version, asked)
        });
        let (party, key) = (Party::symmetric("pump"), TopicKey::generate().unwrap());
        let other = Topic::new("other").unwrap();
        let keys = [topic().hash(), other.hash()].map(|topic| *topic);
        let builder =
            keys.iter().fold(party.builder(), |builder, topic| builder.topic_key(topic, key.clone()).unwrap());
        let client = builder.create_with_clock(MemoryStore::new(), clock.clone()).unwrap();
        let mut device = Device::connect(Connection::builder(broker.options(version, "pump"), client)).await;
        let connection = device.connection.clone();
        let mut deliveries = Vec::new();
        for _ in 0..EQUAL - 1 {
            deliveries.push(connection.publish(topic(), b"ON", QoS::AtLeastOnce).await.unwrap());
        }
        let mut one_more = pin!(connection.publish(topic(), b"ON", QoS::AtLeastOnce));
        assert!(one_more.as_mut().now_or_never().is_none(), "it waits for room");
        let waits = |event: &Event| match event {
            Event::EqualMessagesWait { topic } => Some(topic.clone()),
            _ => None,
        };
        assert_eq!(device.events.find("that messages wait", waits).await, "plant/7");
        device.publish(&other, b"ON", QoS::AtLeastOnce).await;
        assert_eq!(seconds.lock().unwrap().len(), 1, "other topics go on, and this one waits");

        clock.set(FIRST + 1);
        deliveries.push(one_more.await.unwrap());
        for delivery in deliveries {
            assert_eq!(delivery.await, Ok(Taken::ByBroker));
        }
        let seconds = seconds.lock().unwrap();
        assert_eq!(seconds.len(), EQUAL);
        assert!(seconds.is_sorted_by(|one, next| one < next), "{seconds:?}");
    }
}
