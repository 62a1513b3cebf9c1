//! The connection to the broker: connects again, and subscribes to reports until the broker lets it.

use super::{
    broker::Broker,
    nobody::nobody,
    standing::{Bells, Board, BrokerState, Hearing},
};
use e4::{ClientId, TopicFilter};
use e4_mqtt::{BrokerError, Connection, Event, Message, QoS};
use std::{future::pending, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// Where all devices report.
pub(super) const ALL_REPORTS: &str = "e4/+/report";

/// What arrived on the report topic of a device. Anybody may have written it.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) device: ClientId,
    pub(super) payload: Vec<u8>,
    /// From a snapshot.
    pub(super) retained: bool,
}

impl Heard {
    /// None for what is no report by its topic or its size.
    pub(super) fn of(message: Message, retained: bool) -> Option<Self> {
        /// No report has so many bytes: 83 in this version.
        const TOO_LONG: usize = 1024;
        let device = ClientId::of_report_topic(&message.topic)?;
        (message.payload.len() < TOO_LONG).then_some(Self { device, payload: message.payload, retained })
    }
}

/// What the link tells the other parts.
pub(super) struct Outputs {
    pub(super) board: Board,
    /// What arrived. While there is no room, the broker keeps what has QoS 1.
    pub(super) heard: mpsc::Sender<Heard>,
    /// The connection, while it is up.
    pub(super) up: watch::Sender<Option<Connection>>,
    pub(super) bells: Arc<Bells>,
}

/// Messages that wait to be taken from a connection, each way.
const QUEUE: usize = 8192;

/// Keeps the connection, for ever. `retry`: how soon what the broker did not grant is asked for again.
pub(super) async fn keep(broker: &Broker, retry: Duration, outputs: &Outputs) {
    loop {
        if let Err(reason) = keep_one(broker, retry, outputs).await {
            outputs.down(reason);
        }
        // It was closed for good, as when another client took its id over.
        sleep(retry).await;
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<QoS, BrokerError>> + Send>>;

/// Asks for the live reports.
fn ask(connection: &Connection, after: Duration) -> Asking {
    let connection = connection.clone();
    Box::pin(async move {
        sleep(after).await;
        connection.subscribe(ALL_REPORTS, QoS::AtLeastOnce).await
    })
}

async fn keep_one(broker: &Broker, retry: Duration, outputs: &Outputs) -> Result<(), String> {
    let reports = TopicFilter::new(ALL_REPORTS).map_err(|error| error.to_string())?;
    let builder = Connection::builder(broker.options(""), nobody()?).clear(&reports).clean_session().queue(QUEUE);
    let (connection, mut events) = builder.connect().map_err(|error| error.to_string())?;
    let mut asking: Asking = Box::pin(pending());
    loop {
        tokio::select! {
            // One after the other: the event after this one says that this one was taken.
            event = async {
                let permit = outputs.heard.reserve().await;
                (permit, events.next_event().await)
            } => {
                let (Ok(permit), Some(event)) = event else { return Ok(()) };
                match event {
                    Event::Message(message) => {
                        metrics::counter!("e4_reports_arrived_total").increment(1);
                        // What the broker keeps comes here as well, and only a part of it.
                        let retained = message.retained;
                        outputs.board.hears();
                        if let Some(heard) = Heard::of(message, retained) {
                            permit.send(heard);
                        }
                    }
                    // Its own control topic exists in name only.
                    Event::Connected(_) => {
                        outputs.up(&connection);
                        asking = ask(&connection, Duration::ZERO);
                    }
                    Event::SubscriptionRefused { filter, reason } => {
                        if filter == ALL_REPORTS {
                            outputs.board.hearing(Hearing::refused(&reason));
                            asking = ask(&connection, retry);
                        } else {
                            outputs.up(&connection);
                            asking = ask(&connection, Duration::ZERO);
                        }
                    }
                    Event::SubscriptionLowered { granted, .. } => {
                        outputs.board.hearing(Hearing::of_granted(granted));
                        asking = ask(&connection, retry);
                    }
                    Event::Disconnected(loss) => {
                        asking = Box::pin(pending());
                        outputs.down(loss.to_string());
                    }
                    Event::Overflowed(lost) => {
                        metrics::counter!("e4_reports_overflowed_total").increment(lost.messages);
                        outputs.bells.missed.notify_one();
                    }
                    _ => (),
                }
            }
            answer = &mut asking => {
                asking = Box::pin(pending());
                let hearing = match answer {
                    Ok(granted) => Hearing::of_granted(granted),
                    Err(error) => Hearing::refused(&error.to_string()),
                };
                if hearing != Hearing::Subscribed {
                    asking = ask(&connection, retry);
                }
                outputs.board.hearing(hearing);
            }
        }
    }
}

impl Outputs {
    fn up(&self, connection: &Connection) {
        self.board.broker(BrokerState::Connected);
        self.up.send_replace(Some(connection.clone()));
        // Meanwhile devices may have reported.
        self.bells.missed.notify_one();
    }

    fn down(&self, reason: String) {
        self.board.broker(BrokerState::Away(reason));
        self.board.hearing(Hearing::NotYet);
        self.up.send_replace(None);
    }
}
