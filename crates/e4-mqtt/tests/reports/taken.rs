//! What becomes of reports: how they are sent, where the broker does not take them, and when they come back.

use crate::{
    BOTH, LONG, Seen,
    common::{
        Version,
        device::{Party, report_refused},
        scripted::{CONNECT, Packet, Say, UNSUBSCRIBE, packet, publish, usual},
    },
    end_connection, is_the_end, on, set_key,
};
use e4::{Topic, TopicFilter};
use e4_mqtt::{Event, QoS, bounds::MAX_ENDED_ON_REPORT};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_report_that_the_broker_refuses_is_an_event_and_is_tried_again_on_the_next_connection() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let party = Party::symmetric("pump");
    let (of, command) = (party.clone(), set_key(&party, 1_800_000_000));
    let refuse = move |asked: &Packet<'_>| {
        if is_the_end(asked) {
            return Some(vec![Say::Close]);
        }
        if asked.kind == UNSUBSCRIBE {
            let command = publish(Version::V5, &of.control_topic(), Some(1), &command);
            return Some([usual(Version::V5, asked), vec![command]].concat());
        }
        let [high, low] = Seen::is_report(&of, asked).then(|| asked.publish_id())?;
        Some(vec![packet(0x40, &[high, low, NOT_AUTHORIZED])])
    };
    let (_broker, mut device, seen) = on(Version::V5, &party, |builder| builder, refuse);
    for connection in 1..=3 {
        device.events.connected().await;
        let (reason, for_good) = device.events.find("a refusal", report_refused).await;
        assert!(reason.contains("NotAuthorized") && !for_good, "{reason}");
        if connection == 1 {
            device.connection.unsubscribe("a command").await.unwrap();
            device.events.keys_changed().await;
        }
        sleep(LONG).await;
        assert_eq!(seen.count(), connection, "once for each connection");
        assert!(!device.events.passed().iter().any(|event| matches!(event, Event::Disconnected(_))));
        end_connection(&mut device).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_on_reports_gets_no_more_of_them_and_nothing_else_is_lost() {
    for (version, keeps) in BOTH.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        let party = Party::symmetric("pump");
        let (of, connections) = (party.clone(), Arc::new(AtomicUsize::new(0)));
        let (made, command) = (Arc::clone(&connections), set_key(&party, 1_800_000_000));
        let close = move |asked: &Packet<'_>| {
            if asked.kind == UNSUBSCRIBE && asked.names("a command") {
                let command = publish(version, &of.control_topic(), Some(1), &command);
                return Some([usual(version, asked), vec![command]].concat());
            }
            if asked.kind == CONNECT {
                made.fetch_add(1, Ordering::SeqCst);
                let kept = u8::from(keeps && asked.connection > 0);
                let taken: &[u8] = if version == Version::V5 { &[kept, 0, 0] } else { &[kept, 0] };
                return Some(vec![packet(0x20, taken)]);
            }
            let disconnect = packet(0xe0, &[0x87, 0]);
            let last_words = (version == Version::V5).then_some(disconnect);
            Seen::is_report(&of, asked).then(|| last_words.into_iter().chain([Say::Close]).collect())
        };
        let clear = TopicFilter::new("clear").unwrap();
        let (_broker, mut device, seen) = on(version, &party, |builder| builder.clear(&clear), close);
        let delivery = device.connection.publish("clear", b"meanwhile", QoS::AtLeastOnce).await.unwrap();
        let (reason, for_good) = device.events.find("that reports are not wanted", report_refused).await;
        assert!(reason.contains("in a row ended") && for_good, "{reason}");
        delivery.await.unwrap();
        device.round_trip().await;
        sleep(10 * LONG).await;
        let connections = connections.load(Ordering::SeqCst);
        assert_eq!((seen.count(), connections), (MAX_ENDED_ON_REPORT as usize, MAX_ENDED_ON_REPORT as usize + 1));
        device.publish(&Topic::new("clear").unwrap(), b"and after", QoS::AtLeastOnce).await;

        device.connection.unsubscribe("a command").await.unwrap();
        device.events.keys_changed().await;
        let since = Instant::now();
        device.shutdown().await;
        assert_eq!(seen.count(), MAX_ENDED_ON_REPORT as usize);
        // Nobody waits for what will not be. In a session that was kept, the library of MQTT 5 still counts what it forgot.
        assert!((version, keeps) == (Version::V5, true) || since.elapsed().is_zero());
    }
}

/// As mosquitto 2.0.11 does for what it forbids, in MQTT 3.1.1 with a confirmation, if it is to keep any number of messages.
#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_to_a_report_and_closes_gets_no_more_of_them() {
    for (version, code) in [(Version::V4, &[][..]), (Version::V5, &[0x87])] {
        let party = Party::symmetric("pump");
        let of = party.clone();
        let close = move |asked: &Packet<'_>| {
            let id = Seen::is_report(&of, asked).then(|| asked.publish_id())?;
            Some(vec![packet(0x40, &[&id, code].concat()), Say::Close])
        };
        let (_broker, mut device, seen) = on(version, &party, |builder| builder, close);
        let for_good = |event: &Event| report_refused(event).filter(|(_, for_good)| *for_good);
        device.events.find("that reports are not wanted", for_good).await;
        sleep(10 * LONG).await;
        assert_eq!(seen.count(), MAX_ENDED_ON_REPORT as usize);
        let losses = device.events.passed().iter().filter(|event| matches!(event, Event::Disconnected(_))).count();
        assert_eq!(losses, MAX_ENDED_ON_REPORT as usize);
        device.round_trip().await;
    }
}

/// An attempt that fails in between is no connection that went well.
#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_after_reports_and_at_each_second_attempt_gets_no_more_of_them() {
    for (version, code) in [(Version::V4, &[][..]), (Version::V5, &[0x87])] {
        let party = Party::symmetric("pump");
        let of = party.clone();
        let close = move |asked: &Packet<'_>| {
            if asked.kind == CONNECT && !asked.connection.is_multiple_of(2) {
                return Some(vec![Say::Close]);
            }
            let id = Seen::is_report(&of, asked).then(|| asked.publish_id())?;
            Some(vec![packet(0x40, &[&id, code].concat()), Say::Close])
        };
        let (_broker, mut device, seen) = on(version, &party, |builder| builder, close);
        let for_good = |event: &Event| report_refused(event).filter(|(_, for_good)| *for_good);
        device.events.find("that reports are not wanted", for_good).await;
        assert_eq!(seen.count(), MAX_ENDED_ON_REPORT as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_now_and_then_while_a_report_is_under_way_do_not_end_reports() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let of = party.clone();
        let close = move |asked: &Packet<'_>| {
            let by_chance = Seen::is_report(&of, asked) && asked.connection.is_multiple_of(2);
            (by_chance || is_the_end(asked)).then(|| vec![Say::Close])
        };
        let (_broker, mut device, seen) = on(version, &party, |builder| builder, close);
        for _ in 0..5 {
            device.events.connected().await;
            device.events.disconnected().await;
            let before = seen.count();
            device.events.connected().await;
            sleep(LONG).await;
            assert!(seen.count() > before, "it is reported on the next connection");
            end_connection(&mut device).await;
        }
        assert!(!device.events.passed().iter().any(|event| report_refused(event).is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_asks_for_no_more_than_the_broker_offers() {
    // Maximum QoS 0, no retained messages.
    let offers = [([0x24, 0], 0x01), ([0x25, 0], 0x02)];
    for (property, flags) in offers {
        let party = Party::symmetric("pump");
        let connack = packet(0x20, &[&[0, 0, 2][..], &property].concat());
        let offer = move |asked: &Packet<'_>| (asked.kind == CONNECT).then(|| vec![connack.clone()]);
        let (_broker, mut device, seen) = on(Version::V5, &party, |builder| builder, offer);
        device.events.connected().await;
        sleep(LONG).await;
        assert_eq!(seen.flags(), [flags]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_reported_itself_is_nothing_new_to_it_and_is_never_sent_in_the_clear() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let of = party.clone();
        let reflect = move |asked: &Packet<'_>| {
            let report = Seen::is_report(&of, asked).then(|| asked.payload(version))?;
            let topics = [of.id.report_topic().as_str().to_owned(), of.control_topic()];
            let back = (9..).zip(topics).map(|(id, topic)| publish(version, &topic, Some(id), report));
            Some(usual(version, asked).into_iter().chain(back).collect())
        };
        let everything = TopicFilter::new("#").unwrap();
        let (_broker, mut device, seen) = on(version, &party, |builder| builder.clear(&everything), reflect);
        device.events.connected().await;
        // On its own topic it is passed over; on the control topic it is no command.
        let refused = device.events.refused().await;
        assert_eq!((refused.topic, refused.reason), (party.control_topic(), e4::Refusal::NotAuthentic.into()));
        sleep(LONG).await;
        assert_eq!((seen.count(), device.events.passed().len()), (1, 0));
        let own = party.id.report_topic().as_str().to_owned();
        device.connection.publish(own.as_str(), b"in the clear", QoS::AtLeastOnce).await.unwrap_err();
    }
}
