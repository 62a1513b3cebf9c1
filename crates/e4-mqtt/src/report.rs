//! Reports to the key server: what a device holds, and which commands it took (protocol page, section 11).

use crate::{
    bounds::MAX_CLOSED_ON_REPORT,
    due::Terms,
    event::Event,
    loss::Cause,
    protocol::{NotTaken, Outgoing},
    shared::Shared,
};
use bytes::Bytes;
use std::sync::{Arc, atomic::Ordering};

/// Reports whenever it is due, for as long as the connection lives. One report is under way at most.
///
/// Not by the queue of messages: one that the broker has forgotten is not sent again, but a new one made, so that no report
/// comes after a newer one.
pub(crate) async fn report(shared: Arc<Shared>) {
    let mut closed = 0;
    loop {
        let terms = shared.due.next().await;
        let Some(report) = make(&shared, terms).await else { return };
        match send(&shared, &report, &mut closed).await {
            Sent::Taken => {
                closed = 0;
                shared.due.is_reported();
            }
            // The next connection reports anyway.
            Sent::Lost => (),
            Sent::Refused(reason) => {
                tracing::warn!(reason, "the broker refused a report");
                shared.due.is_refused();
                shared.queue.push(Event::ReportRefused { reason, for_good: false });
            }
            Sent::ClosedOn => {
                let reason = shared.closed_on().to_string();
                tracing::warn!(reason, "the broker closes the connection for a report");
                // Else the library would send it again on each connection.
                shared.forget.store(true, Ordering::Release);
                shared.due.give_up();
                shared.queue.push(Event::ReportRefused { reason, for_good: true });
                return;
            }
        }
    }
}

enum Sent {
    Taken,
    /// The connection was lost, and the report with it.
    Lost,
    Refused(String),
    /// The broker closes the connection each time.
    ClosedOn,
}

/// None when there is no device any more.
async fn make(shared: &Shared, Terms { qos, retain }: Terms) -> Option<Outgoing> {
    let device = shared.device.read().await;
    let device = device.as_ref()?;
    let payload = Bytes::from(device.report());
    let topic = shared.report_topic.as_str().to_owned();
    Some(Outgoing { topic, payload, qos, retain, is_command: false, sealed: true })
}

/// Sends a report and waits for the answer. Counts the connections in a row that the broker closed while a report was under way.
async fn send(shared: &Shared, report: &Outgoing, closed: &mut u32) -> Sent {
    let limits = *shared.broker.borrow();
    if let Some(Err(reason)) = limits.map(|limits| limits.fit(report)) {
        return Sent::Refused(reason);
    }
    let mut lost = shared.lost.subscribe();
    let mut before = lost.borrow().connections;
    let mut answer = shared.requests.publish(report);
    loop {
        let answer = tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            Ok(_) = lost.wait_for(|lost| lost.connections > before) => None,
        };
        match answer {
            Some(Ok(_)) => return Sent::Taken,
            Some(Err(NotTaken::Refused(reason))) => return Sent::Refused(reason),
            Some(Err(NotTaken::SessionLost | NotTaken::Closed)) | None => (),
        }
        let connections = lost.borrow().connections;
        if connections > before {
            before = connections;
            let is_closed = shared.last_loss().as_ref().is_some_and(|loss| is_by_broker(loss.cause));
            *closed = if is_closed { *closed + 1 } else { 0 };
        }
        if *closed >= MAX_CLOSED_ON_REPORT {
            return Sent::ClosedOn;
        }
        if answer.is_some() {
            return Sent::Lost;
        }
    }
}

/// Whether the broker may have ended a connection for what it was sent.
fn is_by_broker(cause: Cause) -> bool {
    matches!(cause, Cause::Closed | Cause::Ended(_) | Cause::UnknownAnswer(_))
}
