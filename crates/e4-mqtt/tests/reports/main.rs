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

#[path = "../common/mod.rs"]
mod common;

mod taken;
mod when;

use common::{
    Version,
    device::{Device, Party},
    scripted::{PUBLISH, Packet, SUBSCRIBE, Say, Scripted, UNSUBSCRIBE, publish, usual},
};
use e4::{Command, Timestamp, Topic, TopicKey, controller::Report};
use e4_mqtt::{Builder, Connection};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

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
