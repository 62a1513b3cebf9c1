//! What the broker keeps of the reports: the truth, of which the live ones are only faster news.
//!
//! It is read on a connection of its own, so that the live subscription stays as it is, and at QoS 0: at QoS 1 mosquitto cuts off
//! what a wildcard brings after 1,020 messages, without a word.

use super::{
    broker::Broker,
    link::{ALL_REPORTS, Heard},
    nobody::nobody,
};
use e4::TopicFilter;
use e4_mqtt::{Connection, Event, QoS};
use std::{future::pending, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

/// Room for what arrives faster than it is taken: reports of some hundred bytes each.
const QUEUE: usize = 1 << 20;
const QUEUE_BYTES: usize = 512 << 20;
/// How long the broker has to connect, and to send the next one.
const PATIENCE: Duration = Duration::from_secs(20);
/// Brokers that send what they keep beside their answers are done when nothing more comes for so long.
const QUIET: Duration = Duration::from_secs(1);

/// What a snapshot came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) reports: u64,
    /// Some were lost on the way.
    pub(super) is_short: bool,
}

/// Reads them all, and hands them on.
pub(super) async fn take(broker: &Broker, heard: &mpsc::Sender<Heard>) -> Result<Snapshot, String> {
    let reports = TopicFilter::new(ALL_REPORTS).map_err(|error| error.to_string())?;
    let builder = Connection::builder(broker.options("-snapshot"), nobody()?);
    let builder = builder.clear(&reports).clean_session().queue(QUEUE).queue_bytes(QUEUE_BYTES);
    let (connection, mut events) = builder.connect().map_err(|error| error.to_string())?;
    let connected = async {
        loop {
            match events.next_event().await {
                Some(Event::Connected(_) | Event::SubscriptionRefused { .. }) => return Ok(()),
                Some(Event::Disconnected(loss)) => return Err(loss.to_string()),
                Some(_) => (),
                None => return Err("the connection was closed".to_owned()),
            }
        }
    };
    timeout(PATIENCE, connected).await.unwrap_or_else(|_| Err("the broker did not answer in time".to_owned()))?;
    let asker = connection.clone();
    let asked = async move {
        asker.subscribe(ALL_REPORTS, QoS::AtMostOnce).await?;
        // Most brokers have sent what they keep before they answer the next question.
        asker.round_trip().await
    };
    let mut asked = std::pin::pin!(asked);
    let mut snapshot = Snapshot { reports: 0, is_short: false };
    // Once the broker has answered.
    let mut quiet: Option<Instant> = None;
    let mut silent = Instant::now() + PATIENCE;
    loop {
        let over = async {
            match quiet {
                Some(quiet) => sleep_until(quiet).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            event = events.next_event() => match event {
                Some(Event::Message(message)) => {
                    if message.retained {
                        snapshot.reports += 1;
                        if let Some(report) = Heard::of(message, true) {
                            heard.send(report).await.map_err(|_| "delivery has ended".to_owned())?;
                        }
                        quiet = quiet.map(|_| Instant::now() + QUIET);
                        silent = Instant::now() + PATIENCE;
                    }
                }
                Some(Event::Overflowed(_)) => snapshot.is_short = true,
                Some(Event::Disconnected(loss)) => return Err(loss.to_string()),
                Some(_) => (),
                None => return Err("the connection was closed".to_owned()),
            },
            answer = &mut asked, if quiet.is_none() => {
                answer.map_err(|error| error.to_string())?;
                quiet = Some(Instant::now() + QUIET);
            }
            () = over => break,
            () = sleep_until(silent) => return Err("the broker did not go on in time".to_owned()),
        }
    }
    let _or_not = connection.shutdown(Duration::ZERO).await;
    Ok(snapshot)
}
