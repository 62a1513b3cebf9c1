//! The bounded queue between the network and the application.
//!
//! The network side never waits for a slow application: it has a connection to keep alive, and commands to follow. So
//! what may get lost gets lost here, and is counted: messages of QoS 0, refusals, notices. Messages of QoS 1 and 2 are
//! not acknowledged before the application is done with them, so that the broker stops sending more.

use crate::{
    QoS,
    event::{Event, Overflow},
    protocol::Requests,
};
use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// An acknowledgement that the broker waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt {
    /// Which connection it belongs to: on another one its number means another message.
    connection: u64,
    packet_id: u16,
    qos: QoS,
}

pub(crate) struct Queue {
    capacity: usize,
    requests: Requests,
    inner: Mutex<Inner>,
    arrived: Notify,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<(Event, Option<Receipt>)>,
    overflow: Overflow,
    /// Of the message that the application has in its hands.
    in_hand: Option<Receipt>,
    connection: u64,
    /// Nobody takes events.
    unread: bool,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize, requests: Requests) -> Self {
        Self { capacity, requests, inner: Mutex::default(), arrived: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn receipt(&self, packet_id: u16, qos: QoS) -> Option<Receipt> {
        (qos != QoS::AtMostOnce).then(|| Receipt { connection: self.lock().connection, packet_id, qos })
    }

    /// Puts in a message, which is acknowledged when the application is done with it.
    pub(crate) fn push_message(&self, event: Event, receipt: Option<Receipt>) {
        let mut inner = self.lock();
        if inner.unread {
            inner.acknowledge(&self.requests, receipt);
        } else if receipt.is_none() && inner.events.len() >= self.capacity {
            inner.overflow.messages += 1;
        } else {
            inner.events.push_back((event, receipt));
            self.arrived.notify_one();
        }
    }

    /// Puts in anything else.
    pub(crate) fn push(&self, event: Event) {
        let mut inner = self.lock();
        // Whoever floods us with what is refused leaves half of the room to the messages.
        let is_refusal = matches!(event, Event::Refused(_));
        let room = if is_refusal { self.capacity.div_ceil(2) } else { self.capacity };
        if inner.unread {
        } else if inner.events.len() < room {
            inner.events.push_back((event, None));
            self.arrived.notify_one();
        } else if is_refusal {
            inner.overflow.refusals += 1;
        } else {
            inner.overflow.others += 1;
        }
    }

    /// Takes the next event; `None` when there will be no more. Acknowledges the message that was taken before.
    pub(crate) async fn take(&self) -> Option<Event> {
        self.acknowledge_in_hand();
        loop {
            let arrived = self.arrived.notified();
            {
                let mut inner = self.lock();
                let overflow = mem::take(&mut inner.overflow);
                if overflow != Overflow::default() {
                    return Some(Event::Overflowed(overflow));
                }
                if let Some((event, receipt)) = inner.events.pop_front() {
                    inner.in_hand = receipt;
                    return Some(event);
                }
                if inner.closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    pub(crate) fn acknowledge(&self, receipt: Option<Receipt>) {
        self.lock().acknowledge(&self.requests, receipt);
    }

    /// The application is done with the message that it took last.
    pub(crate) fn acknowledge_in_hand(&self) {
        let mut inner = self.lock();
        let receipt = inner.in_hand.take();
        inner.acknowledge(&self.requests, receipt);
    }

    /// The connection is gone, and with it all acknowledgements that it waited for.
    pub(crate) fn connection_lost(&self) {
        self.lock().connection += 1;
    }

    /// Nobody will take events any more.
    pub(crate) fn abandon(&self) {
        let mut inner = self.lock();
        inner.unread = true;
        // What was not taken stays in the broker for the next time, as far as its QoS goes.
        inner.events.clear();
        inner.in_hand = None;
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

impl Inner {
    /// Under the lock, so that the connection does not change meanwhile.
    fn acknowledge(&self, requests: &Requests, receipt: Option<Receipt>) {
        if let Some(Receipt { connection, packet_id, qos }) = receipt
            && connection == self.connection
        {
            requests.acknowledge(packet_id, qos);
        }
    }
}
