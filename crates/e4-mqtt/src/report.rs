//! Reports to the key server: what a device holds, and which commands it took (protocol page, section 11).

use crate::{
    bounds::MAX_ENDED_ON_REPORT,
    delivery::publish,
    due::Terms,
    event::Event,
    protocol::{NotTaken, Outgoing},
    shared::Shared,
};
use bytes::Bytes;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// Reports whenever it is due, for as long as the connection lives. One report is under way at most.
///
/// Not by the queue of messages: one that the broker has forgotten is not sent again, but a new one made, so that no report
/// comes after a newer one.
pub(crate) async fn report(shared: Arc<Shared>) {
    // Connections in a row that the broker ended over a report, as it seems.
    let mut ended = 0;
    let mut answered: Option<Answered> = None;
    loop {
        let terms = shared.due.next().await;
        if let Some(answered) = answered.take() {
            ended = if answered.was_the_end(&shared) { ended + 1 } else { 0 };
        }
        let sent = if ended < MAX_ENDED_ON_REPORT {
            let Some(report) = make(&shared, terms).await else { return };
            send(&shared, &report, &mut ended).await
        } else {
            Sent::EndedOn
        };
        match sent {
            Sent::Taken(when) => {
                answered = Some(when);
                shared.due.is_reported();
            }
            Sent::Refused(when, reason) => {
                tracing::warn!(reason, "the broker refused a report");
                shared.due.is_refused(when.connections + 1);
                answered = Some(when);
                shared.queue.push(Event::ReportRefused { reason, for_good: false });
            }
            // The next connection reports anyway.
            Sent::Lost => (),
            Sent::EndedOn => {
                let reason = format!(
                    "{MAX_ENDED_ON_REPORT} connections in a row ended while a report was under way or right after it"
                );
                tracing::warn!(reason, "no more reports");
                shared.due.give_up();
                shared.queue.push(Event::ReportRefused { reason, for_good: true });
                return;
            }
        }
    }
}

enum Sent {
    Taken(Answered),
    Refused(Answered, String),
    /// The connection was lost, and the report with it.
    Lost,
    /// The broker has ended the connection too often.
    EndedOn,
}

/// When the broker answered to a report, and how many connections were lost before.
struct Answered {
    at: Instant,
    connections: u64,
}

impl Answered {
    /// Whether the broker ended the connection right after its answer. mosquitto 2.0.11 does so for what it forbids, if its
    /// `max_queued_messages` is 0.
    fn was_the_end(&self, shared: &Shared) -> bool {
        const RIGHT_AFTER: Duration = Duration::from_secs(1);
        let lost = *shared.lost.borrow();
        let is_next = lost.connections == self.connections + 1;
        let is_soon = lost.last.is_some_and(|(last, _)| last.saturating_duration_since(self.at) < RIGHT_AFTER);
        is_next && is_soon && lost.is_by_broker()
    }
}

/// None when there is no device any more.
async fn make(shared: &Shared, Terms { qos, retain, .. }: Terms) -> Option<Outgoing> {
    let device = shared.device.read().await;
    let device = device.as_ref()?;
    let payload = Bytes::from(device.report());
    let topic = shared.report_topic.as_str().to_owned();
    Some(Outgoing { topic, payload, qos, retain, is_command: false, sealed: true })
}

/// Sends a report and waits for the answer. Counts the connections in a row that the broker ended while a report was under way.
async fn send(shared: &Shared, report: &Outgoing, ended: &mut u32) -> Sent {
    let mut lost = shared.lost.subscribe();
    let mut before = lost.borrow().connections;
    let mut answer = publish(&shared.requests, *shared.broker.borrow(), report);
    loop {
        let answer = tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            Ok(_) = lost.wait_for(|lost| lost.connections > before) => None,
        };
        let when = Answered { at: Instant::now(), connections: before };
        match answer {
            Some(Ok(_)) => return Sent::Taken(when),
            Some(Err(NotTaken::Refused(reason))) => return Sent::Refused(when, reason),
            Some(Err(NotTaken::SessionLost | NotTaken::Closed)) | None => (),
        }
        let now = *lost.borrow();
        if now.connections > before {
            before = now.connections;
            *ended = if now.is_by_broker() { *ended + 1 } else { 0 };
        }
        if *ended >= MAX_ENDED_ON_REPORT {
            // Else the library would send it again on each connection.
            shared.forget.store(true, Ordering::Release);
            return Sent::EndedOn;
        }
        if answer.is_some() {
            return Sent::Lost;
        }
    }
}
