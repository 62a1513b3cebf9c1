//! Messages on their way out: bounded, in order as long as the session lasts, and sent again when the broker has forgotten
//! it.

use crate::{
    QoS,
    error::BrokerError,
    limits::BrokerLimits,
    protocol::{Answer, NotTaken, Outgoing, Requests, Taken},
    shared::Shared,
};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::FuturesUnordered,
    task::{Context, Poll},
};
use std::{
    collections::{HashMap, VecDeque},
    future::ready,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

/// How long a connection that nobody holds any more tries to deliver what it has.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The broker's answer to a published message; nobody has to wait for it. What it says is [`Taken`], and never that
/// somebody received the message.
///
/// QoS 0 is answered when the message is on the network, QoS 1 and 2 when the broker has taken it over.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Taken, BrokerError>>);

impl Future for Delivery {
    type Output = Result<Taken, BrokerError>;

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
    Message(Message),
    Flush(oneshot::Sender<()>),
}

/// A message, and who waits for the broker's answer.
struct Message {
    outgoing: Outgoing,
    answer: oneshot::Sender<Result<Taken, BrokerError>>,
}

impl Outbox {
    /// Starts the task that sends what is handed in. When all outboxes are dropped it sends what it has, disconnects, and
    /// says so. It ends with the connection.
    pub(crate) fn start(capacity: usize, shared: &Arc<Shared>) -> Self {
        let (queue, items) = mpsc::channel(capacity);
        let undelivered = Arc::new(AtomicUsize::new(0));
        let mut ended = shared.ended.clone();
        let delivery = Deliveries {
            limit: capacity,
            requests: shared.requests.clone(),
            broker: shared.broker.subscribe(),
            undelivered: Arc::clone(&undelivered),
            under_way: FuturesUnordered::new(),
            burst: 0,
            flushing: 0,
            commands: HashMap::new(),
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            tokio::select! {
                () = delivery.deliver(items) => {
                    shared.requests.disconnect(LAST_PATIENCE);
                    shared.ending.notify_one();
                }
                // Also when the task that would say so is gone. Whoever waits for a delivery is told that it is closed.
                _ended = ended.wait_for(|ended| *ended) => (),
            }
        });
        Self { queue, undelivered }
    }

    /// Waits for room, and puts a message in.
    pub(crate) async fn put(&self, outgoing: Outgoing) -> Delivery {
        let (answer, delivery) = oneshot::channel();
        if let Ok(room) = self.queue.reserve().await {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
            room.send(Item::Message(Message { outgoing, answer }));
        }
        Delivery(delivery)
    }

    /// Waits until the broker has everything that was put in before.
    pub(crate) async fn flush(&self) {
        if self.undelivered() == 0 {
            return;
        }
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            let _ended = flushed.await;
        }
    }

    pub(crate) fn undelivered(&self) -> usize {
        self.undelivered.load(Ordering::Relaxed)
    }
}

/// What the answer to a message makes room for.
enum Answered {
    /// A message of QoS 0 is on the network.
    Flushed,
    Message,
    /// The next command for the same client may go out.
    Command(String),
}

type UnderWay = FuturesUnordered<BoxFuture<'static, Answered>>;

struct Deliveries {
    limit: usize,
    requests: Requests,
    broker: watch::Receiver<Option<BrokerLimits>>,
    undelivered: Arc<AtomicUsize>,
    under_way: UnderWay,
    /// Messages of QoS 0 since the library had none to send.
    burst: usize,
    /// Those of them that are not on the network.
    flushing: usize,
    /// Commands that wait for the one before them, by control topic, while that one is under way.
    commands: HashMap<String, VecDeque<Message>>,
}

impl Deliveries {
    /// The library sends before it reads. So that a fast publisher does not keep it from reading, it gets no more than so
    /// many messages of QoS 0 before it has sent them all.
    const BURST: usize = 128;

    async fn deliver(mut self, mut items: mpsc::Receiver<Item>) {
        let Some(first) = hold(self.limit, self.broker.clone(), &mut items).await else { return };
        for item in first {
            self.begin(item).await;
        }
        loop {
            let room = self.under_way.len() < self.limit && self.burst < Self::BURST;
            tokio::select! {
                item = items.recv(), if room => match item {
                    Some(item) => self.begin(item).await,
                    None => break,
                },
                Some(answered) = self.under_way.next() => self.answered(answered),
            }
        }
        let _given_up = timeout(LAST_PATIENCE, self.drain()).await;
    }

    async fn begin(&mut self, item: Item) {
        match item {
            Item::Message(message) if message.outgoing.is_command => self.begin_command(message),
            Item::Message(message) => {
                if message.outgoing.qos == QoS::AtMostOnce {
                    self.burst += 1;
                    self.flushing += 1;
                }
                self.send(message);
            }
            Item::Flush(mut done) => tokio::select! {
                () = self.drain() => {
                    let _nobody_waits = done.send(());
                }
                () = done.closed() => (),
            },
        }
    }

    /// Commands for one client go out one after the other: a client takes none that is older than one it took before, and
    /// the library sends again in another order.
    fn begin_command(&mut self, message: Message) {
        match self.commands.get_mut(&message.outgoing.topic) {
            Some(waiting) => waiting.push_back(message),
            None => {
                self.commands.insert(message.outgoing.topic.clone(), VecDeque::new());
                self.send(message);
            }
        }
    }

    fn answered(&mut self, answered: Answered) {
        match answered {
            Answered::Message => (),
            Answered::Flushed => {
                self.flushing = self.flushing.saturating_sub(1);
                if self.flushing == 0 {
                    self.burst = 0;
                }
            }
            Answered::Command(topic) => match self.commands.get_mut(&topic).and_then(VecDeque::pop_front) {
                Some(next) => self.send(next),
                None => {
                    self.commands.remove(&topic);
                }
            },
        }
    }

    async fn drain(&mut self) {
        while let Some(answered) = self.under_way.next().await {
            self.answered(answered);
        }
    }

    /// Hands the message to the MQTT library at once, so that the order is kept, and waits for the broker's answer.
    fn send(&mut self, message: Message) {
        let Message { mut outgoing, answer } = message;
        let (requests, broker, undelivered) =
            (self.requests.clone(), self.broker.clone(), Arc::clone(&self.undelivered));
        let first = publish(&requests, &broker, &mut outgoing);
        self.under_way.push(Box::pin(async move {
            let mut taken = first;
            let result = loop {
                match taken.await {
                    Err(NotTaken::SessionLost) => taken = publish(&requests, &broker, &mut outgoing),
                    Err(NotTaken::Closed) => break Err(BrokerError::Closed),
                    Err(NotTaken::Refused(reason)) => break Err(BrokerError::Refused(reason)),
                    Ok(taken) => break Ok(taken),
                }
            };
            undelivered.fetch_sub(1, Ordering::Relaxed);
            let _nobody_waits = answer.send(result);
            match outgoing {
                Outgoing { is_command: true, topic, .. } => Answered::Command(topic),
                Outgoing { qos: QoS::AtMostOnce, .. } => Answered::Flushed,
                Outgoing { .. } => Answered::Message,
            }
        }));
    }
}

/// Holds what is put in until it is known what the broker takes: anything else would end every connection. None when
/// nobody is left who could put anything in.
async fn hold(
    limit: usize,
    broker: watch::Receiver<Option<BrokerLimits>>,
    items: &mut mpsc::Receiver<Item>,
) -> Option<VecDeque<Item>> {
    let mut held = VecDeque::new();
    let mut known = pin!(known(broker));
    loop {
        tokio::select! {
            () = &mut known => return Some(held),
            item = items.recv(), if held.len() < limit => match item {
                Some(item) => held.push_back(item),
                None => return timeout(LAST_PATIENCE, known).await.is_ok().then_some(held),
            },
            () = sleep(LAST_PATIENCE), if items.is_closed() => return None,
        }
    }
}

/// Waits until the broker has said what it takes.
async fn known(mut broker: watch::Receiver<Option<BrokerLimits>>) {
    // It fails when the connection has ended, and with it whoever waits here.
    let _known = broker.wait_for(Option::is_some).await;
}

/// Publishes what the broker takes: what it does not take would end this connection, and each one after it.
fn publish(
    requests: &Requests,
    broker: &watch::Receiver<Option<BrokerLimits>>,
    outgoing: &mut Outgoing,
) -> Answer<Taken> {
    let limits = *broker.borrow();
    match limits.map_or(Ok(()), |limits| limits.fit(outgoing)) {
        Ok(()) => requests.publish(outgoing),
        Err(reason) => Box::pin(ready(Err(NotTaken::Refused(reason)))),
    }
}
