//! When reports go out, and when not.

use crate::{
    BOTH, LONG, Seen,
    common::{
        device::{Device, Party},
        scripted::{CONNECT, PUBLISH, Packet, SUBSCRIBE, Say, Scripted, UNSUBSCRIBE, publish, usual},
        store::{TestClock, TestStore},
    },
    end_connection, is_the_end, on, set_key, topic, with_commands,
};
use e4::{AppliedCommand, MemoryStore, Snapshot, Store, StoreError, controller::WhyRefused};
use e4_mqtt::{
    Builder, Connection, Event,
    bounds::{MAX_REPORT_DELAY, REFUSALS_EVERY, REPORT_WITHIN},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};
use tokio::time::{Instant, advance, sleep};

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
async fn a_series_ends_when_nothing_more_comes_and_a_long_one_is_reported_meanwhile() {
    const FIRST: u64 = 1_800_000_000;
    for version in BOTH {
        let party = Party::symmetric("pump");
        let (to, sent) = (party.control_topic(), AtomicUsize::new(0));
        let commands: Vec<_> = (0..48).map(|n| set_key(&party, FIRST + n)).collect();
        let one_by_one = move |asked: &Packet<'_>| {
            let is_asked = asked.kind == UNSUBSCRIBE && asked.names("the next command");
            let command = is_asked.then(|| &commands[sent.fetch_add(1, Ordering::SeqCst)])?;
            Some(usual(version, asked).into_iter().chain([publish(version, &to, Some(1), command)]).collect())
        };
        let (_broker, mut device, seen) = on(version, &party, |builder| builder.report_within(LONG * 1000), one_by_one);
        device.events.connected().await;
        let mut series = async |commands: usize| {
            let before = seen.count();
            for _ in 0..commands {
                device.connection.unsubscribe("the next command").await.unwrap();
                device.events.keys_changed().await;
                sleep(Duration::from_millis(60)).await;
            }
            sleep(LONG).await;
            seen.count() - before
        };
        assert_eq!(series(8).await, 1);
        // Two seconds and a half.
        let reports = series(40).await;
        assert!((2..=4).contains(&reports), "{reports}");
        assert_eq!(seen.last(&party).newest.as_unix(), FIRST + 47);
    }
}

/// A store that waits for leave before each save.
struct HeldStore(MemoryStore, Mutex<mpsc::Receiver<()>>);

impl Store for HeldStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.0.load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let _left = self.1.lock().unwrap().recv();
        self.0.save(state)
    }
}

#[tokio::test(start_paused = true)]
async fn a_series_is_one_however_slow_the_disk_is() {
    const COMMANDS: u64 = 5;
    for version in BOTH {
        let (party, seen) = (Party::symmetric("pump"), Seen::default());
        let (notes, of) = (seen.clone(), party.clone());
        let commands = with_commands(version, &party, (0..COMMANDS).map(|n| set_key(&party, n)).collect());
        let broker = Scripted::in_memory(move |asked| {
            notes.note(&of, version, asked);
            commands(asked).unwrap_or_else(|| usual(version, asked))
        });
        let (leave, left) = mpsc::channel();
        leave.send(()).unwrap();
        let client = party.builder().create(HeldStore(MemoryStore::new(), Mutex::new(left))).unwrap();
        let builder = Connection::builder(broker.options(version, "pump"), client).report_within(LONG * 1000);
        let mut device = Device::connect_with_reports(builder);
        device.events.connected().await;
        for _ in 0..COMMANDS {
            // Longer than a series may be silent, and not as long as a report waits for it.
            advance(MAX_REPORT_DELAY / 6).await;
            leave.send(()).unwrap();
            device.events.keys_changed().await;
        }
        sleep(LONG).await;
        assert_eq!(seen.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_reported_before_a_loss_is_reported_as_it_is_after_it() {
    const BEFORE: u64 = 1_800_000_000;
    const AFTER: u64 = BEFORE + 3600;
    for version in BOTH {
        let (party, seen, clock) = (Party::symmetric("pump"), Seen::default(), TestClock::at(BEFORE));
        let (notes, of, command) = (seen.clone(), party.clone(), set_key(&party, BEFORE));
        let is_back = Arc::new(AtomicBool::new(false));
        let back = Arc::clone(&is_back);
        let broker = Scripted::in_memory(move |asked| {
            notes.note(&of, version, asked);
            let command = publish(version, &of.control_topic(), None, &command);
            match asked.kind {
                SUBSCRIBE if asked.connection == 0 => usual(version, asked).into_iter().chain([command]).collect(),
                UNSUBSCRIBE => vec![Say::Close],
                CONNECT if asked.connection > 0 && !back.load(Ordering::SeqCst) => vec![Say::Close],
                _ => usual(version, asked),
            }
        });
        let client = party.builder().create_with_clock(MemoryStore::new(), clock.clone()).unwrap();
        let builder = Connection::builder(broker.options(version, "pump"), client).report_within(LONG);
        let mut device = Device::connect_with_reports(builder);
        device.events.keys_changed().await;
        // Before it is reported. There is no answer.
        let _none = device.connection.unsubscribe("the end").await;
        device.events.disconnected().await;
        sleep(10 * LONG).await;
        assert_eq!(seen.count(), 0, "there was no connection");
        clock.set(AFTER);
        is_back.store(true, Ordering::SeqCst);
        sleep(10 * LONG).await;
        let report = seen.last(&party);
        assert_eq!((seen.count(), report.sent.as_unix(), report.newest.as_unix()), (1, AFTER, BEFORE));
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
async fn a_shutdown_reports_what_was_accepted_while_another_report_was_under_way() {
    for version in BOTH {
        let party = Party::symmetric("pump");
        let (of, first, second) = (party.clone(), set_key(&party, 7), set_key(&party, 8));
        let answer = move |asked: &Packet<'_>| {
            let command = |command| publish(version, &of.control_topic(), None, command);
            match asked.kind {
                SUBSCRIBE => Some(usual(version, asked).into_iter().chain([command(&first)]).collect()),
                PUBLISH => Some([command(&second)].into_iter().chain(usual(version, asked)).collect()),
                _ => None,
            }
        };
        let (_broker, mut device, seen) = on(version, &party, |builder| builder.report_within(LONG * 1000), answer);
        for _ in 0..2 {
            device.events.keys_changed().await;
        }
        sleep(Duration::from_millis(10)).await;
        device.shutdown().await;
        assert_eq!((seen.count(), seen.last(&party).newest.as_unix()), (2, 8));
    }
}
