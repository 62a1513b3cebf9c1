//! Reports to the key server, on a broker by script: when they go out, how, and what becomes of them where the broker does not
//! want them.
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
    scripted::{CONNECT, PUBLISH, Packet, SUBSCRIBE, Say, Scripted, UNSUBSCRIBE, packet, publish, usual},
    store::TestStore,
};
use e4::{
    AppliedCommand, Command, Timestamp, Topic, TopicFilter, TopicKey,
    controller::{Report, WhyRefused},
};
use e4_mqtt::{
    Builder, Connection, Event, QoS,
    bounds::{MAX_CLOSED_ON_REPORT, REFUSALS_EVERY, REPORT_WITHIN},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const BOTH: [Version; 2] = [Version::V4, Version::V5];

fn topic() -> Topic<'static> {
    Topic::new("plant/7").unwrap()
}

/// The reports that reached the broker.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Arrived>>>);

struct Arrived {
    at: Instant,
    /// Those of the packet.
    flags: u8,
    report: Vec<u8>,
}

impl Seen {
    fn is_report(party: &Party, asked: &Packet<'_>) -> bool {
        asked.kind == PUBLISH && asked.names(party.id.report_topic().as_str())
    }

    fn note(&self, party: &Party, version: Version, asked: &Packet<'_>) {
        if Self::is_report(party, asked) {
            let report = asked.payload(version).to_vec();
            self.0.lock().unwrap().push(Arrived { at: Instant::now(), flags: asked.flags, report });
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn flags(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().map(|seen| seen.flags).collect()
    }

    fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().iter().map(|seen| seen.at).collect()
    }

    fn last(&self, party: &Party) -> Report {
        let seen = self.0.lock().unwrap();
        party.recipient.open_report(&seen.last().expect("a report").report).unwrap()
    }
}

/// A device that reports, on a broker that does what is usual unless the script has something to say.
fn on(
    version: Version,
    party: &Party,
    shape: impl Fn(Builder) -> Builder,
    script: impl Fn(&Packet<'_>) -> Option<Vec<Say>> + Send + Sync + 'static,
) -> (Scripted, Device, Seen) {
    let seen = Seen::default();
    let (notes, of) = (seen.clone(), party.clone());
    let broker = Scripted::in_memory(move |asked| {
        notes.note(&of, version, asked);
        script(asked).unwrap_or_else(|| usual(version, asked))
    });
    let builder =
        Connection::builder(broker.options(version, "pump"), party.with_keys(&[])).report_within(Duration::ZERO);
    let device = Device::connect_with_reports(shape(builder));
    (broker, device, seen)
}

/// What the broker sends on the control topic once it is subscribed.
fn with_commands(
    version: Version,
    party: &Party,
    commands: Vec<Vec<u8>>,
) -> impl Fn(&Packet<'_>) -> Option<Vec<Say>> + use<> {
    let to = party.control_topic();
    move |asked| {
        (asked.kind == SUBSCRIBE && asked.names(&to) && asked.connection == 0).then(|| {
            let commands = (1..).zip(&commands).map(|(id, command)| publish(version, &to, Some(id), command));
            usual(version, asked).into_iter().chain(commands).collect()
        })
    }
}

fn sealed(party: &Party, command: &Command, sent: u64) -> Vec<u8> {
    party.recipient.seal_dated(command, Timestamp::from_unix(sent)).unwrap().as_bytes().to_vec()
}

fn set_key(party: &Party, sent: u64) -> Vec<u8> {
    sealed(party, &Command::set_topic_key(&topic(), TopicKey::generate().unwrap()), sent)
}

/// What the broker ends the connection for.
fn is_the_end(asked: &Packet<'_>) -> bool {
    asked.kind == UNSUBSCRIBE && asked.names("the end")
}

async fn end_connection(device: &mut Device) {
    // The session is gone with it, and so there is nothing to end.
    device.connection.unsubscribe("the end").await.unwrap();
    device.events.disconnected().await;
}

/// Longer than any report waits.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_series_of_commands_is_reported_once_and_after_it() {
    const FIRST: u64 = 1_800_000_000;
    for version in BOTH {
        let party = Party::symmetric("pump");
        let commands: Vec<_> = (0..20).map(|n| set_key(&party, FIRST + n)).collect();
        let last_v = commands[19][8..24].to_vec();
        // Only commands are reported, for so long.
        let (_broker, mut device, seen) =
            on(version, &party, |builder| builder.report_within(LONG * 1000), with_commands(version, &party, commands));
        for _ in 0..20 {
            assert_eq!(device.events.keys_changed().await, AppliedCommand::SetTopicKey(*topic().hash()));
        }
        sleep(LONG).await;
        assert_eq!(seen.count(), 1);
        let report = seen.last(&party);
        assert_eq!((report.newest.as_unix(), report.newest_v.to_vec(), report.topics), (FIRST + 19, last_v, 1));
        // Retained, at QoS 1.
        assert_eq!(seen.flags(), [0x03]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_connection_is_reported_within_the_time_that_was_set_and_not_all_at_once() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let close = |asked: &Packet<'_>| is_the_end(asked).then(|| vec![Say::Close]);
        let (_broker, mut device, seen) = on(version, &party, |builder| builder.report_within(REPORT_WITHIN), close);
        let mut waits = Vec::new();
        for connection in 1..=20 {
            device.events.connected().await;
            let since = Instant::now();
            sleep(REPORT_WITHIN).await;
            assert_eq!(seen.count(), connection);
            waits.push(seen.times()[connection - 1] - since);
            // A connection that lasts is none that is closed for what was sent on it.
            sleep(LONG).await;
            end_connection(&mut device).await;
        }
        assert!(waits.iter().all(|wait| *wait <= REPORT_WITHIN), "{waits:?}");
        let (first, last) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*last - *first > REPORT_WITHIN / 10, "all at once: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_authentic_commands_are_reported_and_no_more_often_than_they_may() {
    const NEWEST: u64 = 1_800_000_000;
    for version in BOTH {
        let party = Party::symmetric("pump");
        let newest = set_key(&party, NEWEST);
        let (old, other, to) = (set_key(&party, NEWEST - 1), set_key(&party, NEWEST - 2), party.control_topic());
        let (repeated, garbage) = (newest.clone(), [0x55; 57]);
        let answer = move |asked: &Packet<'_>| {
            let say = |command: &[u8]| publish(version, &to, None, command);
            let said = match asked.kind {
                SUBSCRIBE if asked.names(&to) && asked.connection == 0 => vec![say(&newest)],
                SUBSCRIBE if asked.names("not authentic") => vec![say(&garbage), say(&repeated), say(&repeated[..9])],
                SUBSCRIBE if asked.names("replays") => vec![say(&old), say(&other)],
                _ => return None,
            };
            Some(usual(version, asked).into_iter().chain(said).collect())
        };
        let (_broker, mut device, seen) = on(version, &party, |builder| builder, answer);
        device.events.keys_changed().await;
        sleep(LONG).await;
        let before = seen.count();
        assert_eq!(seen.last(&party).refused, None);

        device.subscribe("not authentic").await;
        for _ in 0..3 {
            device.events.refused().await;
        }
        sleep(LONG).await;
        assert_eq!(seen.count(), before, "nothing of the key server was refused");

        let since = Instant::now();
        // Somebody plays old ones back, again and again.
        while since.elapsed() < 5 * REFUSALS_EVERY {
            device.connection.unsubscribe("replays").await.unwrap();
            device.subscribe("replays").await;
            for _ in 0..2 {
                device.events.refused().await;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let reports = seen.count() - before;
        assert!((4..=6).contains(&reports), "{reports}");
        let refused = seen.last(&party).refused.unwrap();
        assert_eq!(refused.why, WhyRefused::Superseded);
        assert!(seen.times()[before] - since < Duration::from_secs(1), "the first one is reported at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_stored_is_reported_as_waiting_and_then_as_accepted() {
    const SENT: u64 = 1_800_000_000;
    for version in BOTH {
        let (party, store, seen) = (Party::symmetric("pump"), TestStore::default(), Seen::default());
        let (notes, of) = (seen.clone(), party.clone());
        let commands = with_commands(version, &party, vec![set_key(&party, SENT)]);
        let broker = Scripted::in_memory(move |asked| {
            notes.note(&of, version, asked);
            commands(asked).unwrap_or_else(|| usual(version, asked))
        });
        let client = party.builder().create(store.clone()).unwrap();
        store.set_failing(true);
        let builder = Connection::builder(broker.options(version, "pump"), client).report_within(Duration::ZERO);
        let mut device = Device::connect_with_reports(builder);
        let waits = |event: &Event| matches!(event, Event::CommandWaits(_)).then_some(());
        device.events.find("a command that waits", waits).await;
        sleep(LONG).await;
        let report = seen.last(&party);
        assert_eq!((report.command_waits, report.newest.as_unix()), (true, 0));
        assert_eq!(report.refused.map(|refused| refused.why), Some(WhyRefused::NotStored));
        store.set_failing(false);
        device.events.keys_changed().await;
        sleep(LONG).await;
        let report = seen.last(&party);
        assert_eq!((report.command_waits, report.newest.as_unix(), report.refused), (false, SENT, None));
    }
}

fn report_refused(event: &Event) -> Option<(String, bool)> {
    match event {
        Event::ReportRefused { reason, for_good } => Some((reason.clone(), *for_good)),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_the_broker_refuses_is_an_event_and_is_tried_again_on_the_next_connection() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let party = Party::symmetric("pump");
    let of = party.clone();
    let refuse = move |asked: &Packet<'_>| {
        if is_the_end(asked) {
            return Some(vec![Say::Close]);
        }
        let [high, low] = Seen::is_report(&of, asked).then(|| asked.publish_id())?;
        Some(vec![packet(0x40, &[high, low, NOT_AUTHORIZED])])
    };
    let (_broker, mut device, seen) = on(Version::V5, &party, |builder| builder, refuse);
    for connection in 1..=3 {
        device.events.connected().await;
        let (reason, for_good) = device.events.find("a refusal", report_refused).await;
        assert!(reason.contains("NotAuthorized") && !for_good, "{reason}");
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
        let made = Arc::clone(&connections);
        let close = move |asked: &Packet<'_>| {
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
        assert!(reason.contains("closes the connection") && for_good, "{reason}");
        delivery.await.unwrap();
        device.round_trip().await;
        sleep(10 * LONG).await;
        let connections = connections.load(Ordering::SeqCst);
        assert_eq!((seen.count(), connections), (MAX_CLOSED_ON_REPORT as usize, MAX_CLOSED_ON_REPORT as usize + 1));
        device.publish(&Topic::new("clear").unwrap(), b"and after", QoS::AtLeastOnce).await;
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
async fn who_is_told_not_to_reports_nothing_and_neither_does_who_has_no_lasting_session() {
    type Shape = fn(Builder) -> Builder;
    let silent: [Shape; 2] = [|builder| builder.no_reports(), |builder| builder.clean_session()];
    for (version, shape) in BOTH.into_iter().flat_map(|version| silent.map(|shape| (version, shape))) {
        let party = Party::symmetric("pump");
        let seen = Seen::default();
        let (notes, of) = (seen.clone(), party.clone());
        let commands = with_commands(version, &party, vec![set_key(&party, 1)]);
        let broker = Scripted::in_memory(move |asked| {
            notes.note(&of, version, asked);
            commands(asked).unwrap_or_else(|| usual(version, asked))
        });
        let builder = Connection::builder(broker.options(version, "pump"), party.with_keys(&[]));
        let mut device = Device::connect_with_reports(shape(builder));
        device.events.keys_changed().await;
        sleep(LONG).await;
        assert_eq!(seen.count(), 0);
        device.shutdown().await;
        assert_eq!(seen.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_reports_what_was_just_accepted_and_does_not_wait_to_report_a_connection() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let wait = |builder: Builder| builder.report_within(LONG * 1000);
        let (_broker, mut device, seen) =
            on(version, &party, wait, with_commands(version, &party, vec![set_key(&party, 7)]));
        device.events.keys_changed().await;
        device.shutdown().await;
        assert_eq!((seen.count(), seen.last(&party).newest.as_unix()), (1, 7));

        let (_broker, mut device, seen) = on(version, &party, wait, |_| None);
        device.events.connected().await;
        let since = Instant::now();
        device.shutdown().await;
        assert_eq!((seen.count(), since.elapsed().as_secs()), (0, 0));
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
