//! The bounded queue between the network and the application.
//!
//! The network side never waits for a slow application: it has a connection to keep alive, and commands to follow. So
//! what may get lost gets lost here, and is counted: messages of QoS 0, refusals, notices. Messages of QoS 1 and 2 are
//! not acknowledged before the application is done with them, so that the broker stops sending more.

use crate::{
    QoS,
    bounds::MAX_UNACKNOWLEDGED,
    event::{Event, Message, Overflow},
    protocol::{Arrived, Requests},
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, watch};

/// An acknowledgement that the broker waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt {
    /// Which connection it belongs to: on another one its number means another message.
    connection: u64,
    packet_id: u16,
    qos: QoS,
}

/// A message that the broker waits for an acknowledgement of, as it arrived.
struct Unacknowledged {
    receipt: Receipt,
    topic: Bytes,
    payload: Bytes,
}

/// More has arrived than is kept.
#[derive(Debug)]
pub(crate) struct NoRoom;

/// What a message weighs while it waits, in bytes.
fn weight(message: &Message) -> usize {
    /// The event itself.
    const AROUND: usize = 256;
    AROUND + message.topic.len() + message.payload.len()
}

pub(crate) struct Queue {
    capacity: usize,
    max_bytes: usize,
    requests: Requests,
    inner: Mutex<Inner>,
    arrived: Notify,
    /// Acknowledgements that were asked for and have not left.
    unsent: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<(Event, Option<Unacknowledged>)>,
    overflow: Overflow,
    /// The last event was that of the overflow.
    told: bool,
    /// Bytes of the messages among the events.
    bytes: usize,
    /// How many of them are of QoS 1 or 2.
    unacknowledged: usize,
    /// The message that the application has in its hands.
    in_hand: Option<Unacknowledged>,
    connection: u64,
    /// There are messages of an earlier connection.
    stale: bool,
    /// Nobody takes events.
    unread: bool,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize, max_bytes: usize, requests: Requests) -> Self {
        Self {
            capacity,
            max_bytes,
            requests,
            inner: Mutex::default(),
            arrived: Notify::new(),
            unsent: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn receipt(&self, arrived: &Arrived) -> Option<Receipt> {
        let Arrived { packet_id, qos, .. } = *arrived;
        (qos != QoS::AtMostOnce).then(|| Receipt { connection: self.lock().connection, packet_id, qos })
    }

    /// Whether this is a message of an earlier connection, delivered once more since it is not acknowledged yet: then it
    /// is the one that the application has already, or will take.
    pub(crate) fn is_delivered_again(&self, arrived: &Arrived, receipt: Option<Receipt>) -> bool {
        let Some(receipt) = receipt else { return false };
        let mut inner = self.lock();
        inner.stale && inner.rebind(arrived, receipt)
    }

    /// Puts in a message, which is acknowledged when the application is done with it. Fails if it is one of QoS 1 or 2 and
    /// there is no room for it: then the broker has to keep it.
    pub(crate) fn push_message(
        &self,
        message: Message,
        arrived: Arrived,
        receipt: Option<Receipt>,
    ) -> Result<(), NoRoom> {
        let mut inner = self.lock();
        if inner.unread {
            // It stays in the broker, if its QoS is 1 or 2.
            return Ok(());
        }
        let bytes = weight(&message);
        let is_light = inner.bytes == 0 || inner.bytes.saturating_add(bytes) <= self.max_bytes;
        let is_few = match receipt {
            Some(_) => inner.unacknowledged < MAX_UNACKNOWLEDGED,
            None => inner.events.len() < self.capacity,
        };
        if !(is_light && is_few) {
            if receipt.is_some() {
                return Err(NoRoom);
            }
            inner.overflow.messages += 1;
            return Ok(());
        }
        let Arrived { topic, payload, .. } = arrived;
        inner.bytes += bytes;
        inner.unacknowledged += usize::from(receipt.is_some());
        let unacknowledged = receipt.map(|receipt| Unacknowledged { receipt, topic, payload });
        inner.events.push_back((Event::Message(message), unacknowledged));
        self.arrived.notify_one();
        Ok(())
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
                // Never twice in a row, or a flood would keep the messages from ever being taken.
                if inner.overflow != Overflow::default() && (!inner.told || inner.events.is_empty()) {
                    inner.told = true;
                    return Some(Event::Overflowed(mem::take(&mut inner.overflow)));
                }
                if let Some((event, unacknowledged)) = inner.events.pop_front() {
                    inner.told = false;
                    if let Event::Message(message) = &event {
                        inner.bytes = inner.bytes.saturating_sub(weight(message));
                        inner.unacknowledged -= usize::from(unacknowledged.is_some());
                    }
                    inner.in_hand = unacknowledged;
                    return Some(event);
                }
                if inner.closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Under the lock, so that the connection does not change meanwhile. One that slips in between the end of a connection
    /// and `connection_lost` costs one more reconnect, as the library refuses to send it, and no message.
    pub(crate) fn acknowledge(&self, receipt: Option<Receipt>) {
        let inner = self.lock();
        if let Some(Receipt { connection, packet_id, qos }) = receipt
            && connection == inner.connection
        {
            self.unsent.send_modify(|unsent| *unsent += 1);
            self.requests.acknowledge(packet_id, qos);
        }
    }

    /// An acknowledgement is on its way: of QoS 2, the last part of it.
    pub(crate) fn acknowledgement_sent(&self) {
        self.unsent.send_modify(|unsent| *unsent = unsent.saturating_sub(1));
    }

    /// Waits until all acknowledgements that were asked for have left.
    pub(crate) async fn acknowledgements_sent(&self) {
        let mut unsent = self.unsent.subscribe();
        let _or_gone = unsent.wait_for(|unsent| *unsent == 0).await;
    }

    /// The application is done with the message that it took last.
    pub(crate) fn acknowledge_in_hand(&self) {
        let receipt = self.lock().in_hand.take().map(|message| message.receipt);
        self.acknowledge(receipt);
    }

    /// The connection is gone, and with it all acknowledgements that it waited for.
    pub(crate) fn connection_lost(&self) {
        let mut inner = self.lock();
        inner.connection += 1;
        let stale = inner.unacknowledged().next().is_some();
        inner.stale = stale;
        self.unsent.send_replace(0);
    }

    /// Nobody will take events any more. What was not taken stays in the broker, as far as its QoS goes.
    pub(crate) fn abandon(&self) {
        let mut inner = self.lock();
        inner.unread = true;
        inner.events.clear();
        (inner.bytes, inner.unacknowledged) = (0, 0);
        inner.in_hand = None;
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

impl Inner {
    fn unacknowledged(&mut self) -> impl Iterator<Item = &mut Unacknowledged> {
        self.events.iter_mut().filter_map(|(_, message)| message.as_mut()).chain(&mut self.in_hand)
    }

    /// Gives the message of an earlier connection that is equal to this one its new receipt.
    fn rebind(&mut self, arrived: &Arrived, receipt: Receipt) -> bool {
        let mut stale = self.unacknowledged().filter(|message| message.receipt.connection != receipt.connection);
        let same = |message: &&mut Unacknowledged| {
            message.receipt.qos == receipt.qos && message.topic == arrived.topic && message.payload == arrived.payload
        };
        match stale.find(same) {
            Some(message) => {
                message.receipt = receipt;
                true
            }
            None => false,
        }
    }
}
