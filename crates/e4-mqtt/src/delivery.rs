//! Messages on their way out: in order, bounded, and sent again when the broker has forgotten the session.

use crate::{
    error::BrokerError,
    protocol::{NotTaken, Outgoing, Requests},
};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::FuturesUnordered,
    task::{Context, Poll},
};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

/// How long a connection that nobody holds any more tries to deliver what it has.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The broker's answer to a published message; nobody has to wait for it.
///
/// QoS 0 is answered when the message is on the network, QoS 1 and 2 when the broker has taken it over.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<(), BrokerError>>);

impl Future for Delivery {
    type Output = Result<(), BrokerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(BrokerError::Closed)))
    }
}

/// Where messages are handed in.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Item>,
    undelivered: Arc<AtomicUsize>,
}

enum Item {
    Message(Outgoing, oneshot::Sender<Result<(), BrokerError>>),
    Flush(oneshot::Sender<()>),
}

impl Outbox {
    /// Starts the task that sends what is handed in. When all outboxes are dropped it sends what it has, disconnects, and
    /// says so. It ends with the connection.
    pub(crate) fn start(
        capacity: usize,
        requests: Requests,
        abandoned: Arc<Notify>,
        mut ended: watch::Receiver<bool>,
    ) -> Self {
        let (queue, items) = mpsc::channel(capacity);
        let undelivered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&undelivered);
        tokio::spawn(async move {
            tokio::select! {
                () = deliver(items, capacity, &requests, counter) => {
                    requests.disconnect();
                    abandoned.notify_one();
                }
                // Also when the task that would say so is gone. Whoever waits for a delivery is told that it is closed.
                _ended = ended.wait_for(|ended| *ended) => (),
            }
        });
        Self { queue, undelivered }
    }

    /// Waits for room, and puts a message in.
    pub(crate) async fn put(&self, message: Outgoing) -> Delivery {
        let (answer, delivery) = oneshot::channel();
        if let Ok(room) = self.queue.reserve().await {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
            room.send(Item::Message(message, answer));
        }
        Delivery(delivery)
    }

    /// Waits until the broker has everything that was put in before.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            let _ended = flushed.await;
        }
    }

    pub(crate) fn undelivered(&self) -> usize {
        self.undelivered.load(Ordering::Relaxed)
    }
}

async fn deliver(mut items: mpsc::Receiver<Item>, limit: usize, requests: &Requests, undelivered: Arc<AtomicUsize>) {
    let mut under_way = FuturesUnordered::<BoxFuture<'static, ()>>::new();
    loop {
        tokio::select! {
            item = items.recv(), if under_way.len() < limit => match item {
                Some(Item::Message(message, answer)) => {
                    under_way.push(send(message, answer, requests.clone(), Arc::clone(&undelivered)));
                }
                Some(Item::Flush(mut done)) => tokio::select! {
                    () = drain(&mut under_way) => {
                        let _nobody_waits = done.send(());
                    }
                    () = done.closed() => (),
                },
                None => break,
            },
            Some(()) = under_way.next() => (),
        }
    }
    let _given_up = timeout(LAST_PATIENCE, drain(&mut under_way)).await;
}

async fn drain(under_way: &mut FuturesUnordered<BoxFuture<'static, ()>>) {
    while under_way.next().await.is_some() {}
}

/// Hands the message to the MQTT library at once, so that the order is kept, and waits for the broker's answer.
fn send(
    message: Outgoing,
    answer: oneshot::Sender<Result<(), BrokerError>>,
    requests: Requests,
    undelivered: Arc<AtomicUsize>,
) -> BoxFuture<'static, ()> {
    let mut taken = requests.publish(&message);
    Box::pin(async move {
        let result = loop {
            match taken.await {
                Err(NotTaken::SessionLost) => taken = requests.publish(&message),
                Err(NotTaken::Closed) => break Err(BrokerError::Closed),
                Err(NotTaken::Refused(reason)) => break Err(BrokerError::Refused(reason)),
                Ok(()) => break Ok(()),
            }
        };
        undelivered.fetch_sub(1, Ordering::Relaxed);
        let _nobody_waits = answer.send(result);
    })
}
