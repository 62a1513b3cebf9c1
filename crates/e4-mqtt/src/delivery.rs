//! Messages on their way out: bounded, in order as long as the session lasts, and sent again when the broker has forgotten
//! it.

use crate::{
    QoS,
    bounds::{MAX_EQUAL_WAITING, MAX_FRUITLESS},
    error::BrokerError,
    event::Event,
    limits::BrokerLimits,
    pacing::{Later, Waiting},
    protocol::{Answer, NotTaken, Outgoing, Requests, Taken},
    shared::{Lost, Shared},
};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::FuturesUnordered,
    task::{Context, Poll},
};
use std::{
    collections::{HashMap, VecDeque},
    future::{pending, ready},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
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
    /// Messages that wait for their second.
    later: Arc<watch::Sender<usize>>,
    /// Messages of QoS 0 went out.
    unanswered: Arc<AtomicBool>,
    capacity: usize,
}

enum Item {
    Message(Message),
    Flush(oneshot::Sender<()>),
}

/// A message, and who waits for the broker's answer.
struct Message {
    outgoing: Outgoing,
    answer: oneshot::Sender<Result<Taken, BrokerError>>,
    /// Given back with the answer.
    room: Option<OwnedSemaphorePermit>,
}

impl Outbox {
    /// Starts the task that sends what is handed in. When all outboxes are dropped it sends what it has, disconnects, and
    /// says so. It ends with the connection.
    pub(crate) fn start(capacity: usize, shared: &Arc<Shared>) -> Self {
        let (queue, items) = mpsc::channel(capacity);
        let undelivered = Arc::new(AtomicUsize::new(0));
        let unanswered = Arc::<AtomicBool>::default();
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
            waiting_commands: 0,
            unanswered: Arc::clone(&unanswered),
            shared: Arc::clone(shared),
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
        Self { queue, undelivered, later: Arc::default(), unanswered, capacity }
    }

    /// Waits for room, and puts a message in.
    pub(crate) async fn put(&self, outgoing: Outgoing, room: Option<OwnedSemaphorePermit>) -> Delivery {
        let (answer, delivery) = oneshot::channel();
        if let Ok(place) = self.queue.reserve().await {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
            place.send(Item::Message(Message { outgoing, answer, room }));
        }
        Delivery(delivery)
    }

    /// Puts a message in that equals another of this second, or comes behind such a one: it goes out when its second has
    /// come. Waits for room among those of its topic.
    pub(crate) async fn put_later(&self, shared: &Arc<Shared>, message: Later) -> Delivery {
        let (answer, delivery) = oneshot::channel();
        let mut waiting = Waiting(message, answer);
        self.undelivered.fetch_add(1, Ordering::Relaxed);
        self.later.send_modify(|later| *later += 1);
        let mut counted = Counted { outbox: self, armed: true };
        loop {
            let topic = waiting.0.topic.as_str().to_owned();
            let (queue, begun) = shared.pacing.begin(&topic, || mpsc::channel(MAX_EQUAL_WAITING));
            if let Some(messages) = begun {
                tokio::spawn(self.clone().send_later(Arc::clone(shared), topic.clone(), messages));
            }
            waiting = match queue.try_send(waiting) {
                Ok(()) => break,
                Err(mpsc::error::TrySendError::Closed(waiting)) => waiting,
                Err(mpsc::error::TrySendError::Full(waiting)) => {
                    shared.queue.push(Event::EqualMessagesWait { topic });
                    match queue.send(waiting).await {
                        Ok(()) => break,
                        Err(mpsc::error::SendError(waiting)) => waiting,
                    }
                }
            };
        }
        counted.armed = false;
        Delivery(delivery)
    }

    /// Sends the messages of one topic, each in its second, until none waits.
    async fn send_later(self, shared: Arc<Shared>, topic: String, mut messages: mpsc::Receiver<Waiting>) {
        loop {
            let Waiting(message, answer) = match messages.try_recv() {
                Ok(waiting) => waiting,
                Err(_) => {
                    // Who has found the queue before it was taken away has put something in, or finds it closed.
                    shared.pacing.end(&topic);
                    messages.close();
                    match messages.recv().await {
                        Some(waiting) => waiting,
                        None => return,
                    }
                }
            };
            let _given_up = match seal_in_time(&shared, &message).await {
                Ok(outgoing) => {
                    let message = Message { outgoing, answer, room: None };
                    self.queue.send(Item::Message(message)).await.map_err(drop)
                }
                Err(error) => {
                    self.undelivered.fetch_sub(1, Ordering::Relaxed);
                    answer.send(Err(error)).map_err(drop)
                }
            };
            self.later.send_modify(|later| *later -= 1);
        }
    }

    /// Waits until the broker has everything that was put in before.
    pub(crate) async fn flush(&self) {
        if self.undelivered() == 0 {
            return;
        }
        // Those that wait for their second come into the queue first. It fails when the connection has ended.
        let mut later = self.later.subscribe();
        let _ended = later.wait_for(|later| *later == 0).await.is_err();
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            let _ended = flushed.await;
        }
    }

    /// How many messages it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether messages of QoS 0 went out since this was asked.
    pub(crate) fn take_unanswered(&self) -> bool {
        self.unanswered.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn undelivered(&self) -> usize {
        self.undelivered.load(Ordering::Relaxed)
    }
}

/// Takes a message back that nobody waits to put in any more.
struct Counted<'a> {
    outbox: &'a Outbox,
    armed: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.outbox.undelivered.fetch_sub(1, Ordering::Relaxed);
            self.outbox.later.send_modify(|later| *later -= 1);
        }
    }
}

/// Seals a message as soon as no other of the second equals it.
async fn seal_in_time(shared: &Shared, message: &Later) -> Result<Outgoing, BrokerError> {
    /// A clock that stands still for so long says nothing.
    const CLOCK_STANDS: Duration = Duration::from_secs(3);
    let since = Instant::now();
    loop {
        let sealed = {
            let device = shared.device.read().await;
            let device = device.as_ref().ok_or(BrokerError::Closed)?;
            let Later { topic, payload, qos, retain } = message;
            shared.protect(device, topic, payload, *qos, *retain).map_err(BrokerError::Seal)?
        };
        if shared.pacing.is_first(&sealed.topic, &sealed.payload) || since.elapsed() >= CLOCK_STANDS {
            return Ok(sealed);
        }
        sleep(until_the_next_second()).await;
    }
}

/// By the clock of the system. That of the device may be another: who wakes up too early looks again.
fn until_the_next_second() -> Duration {
    const A_LITTLE: Duration = Duration::from_millis(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(1).saturating_sub(Duration::from_nanos(now.subsec_nanos().into())).max(A_LITTLE)
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
    waiting_commands: usize,
    unanswered: Arc<AtomicBool>,
    shared: Arc<Shared>,
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
            let room = self.under_way.len() + self.waiting_commands < self.limit && self.burst < Self::BURST;
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
                    self.unanswered.store(true, Ordering::Relaxed);
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
            Some(waiting) => {
                self.waiting_commands += 1;
                waiting.push_back(message);
            }
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
                Some(next) => {
                    self.waiting_commands -= 1;
                    self.send(next);
                }
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
        let Message { outgoing, answer, room } = message;
        let (requests, broker, undelivered) =
            (self.requests.clone(), self.broker.clone(), Arc::clone(&self.undelivered));
        let shared = Arc::clone(&self.shared);
        let first = publish(&requests, *broker.borrow(), &outgoing);
        self.under_way.push(Box::pin(async move {
            let mut taken = first;
            let mut lost = shared.lost.subscribe();
            // What was lost before is not the fault of this message.
            let before = lost.borrow().connections;
            let result = loop {
                let answer = tokio::select! {
                    answer = &mut taken => answer,
                    () = closed_for_it(&mut lost, before) => {
                        shared.forget.store(true, Ordering::Release);
                        break Err(shared.closed_on());
                    }
                };
                match answer {
                    Err(NotTaken::SessionLost) => taken = publish(&requests, *broker.borrow(), &outgoing),
                    Err(NotTaken::Closed) => break Err(BrokerError::Closed),
                    Err(NotTaken::Refused(reason)) => break Err(BrokerError::Refused(reason)),
                    Ok(delivered) => break Ok(delivered),
                }
            };
            if result.is_ok() && outgoing.qos != QoS::AtMostOnce {
                shared.lost.send_if_modified(|lost| {
                    lost.fruitless = 0;
                    false
                });
            }
            undelivered.fetch_sub(1, Ordering::Relaxed);
            let _nobody_waits = answer.send(result);
            drop(room);
            match outgoing {
                Outgoing { is_command: true, topic, .. } => Answered::Command(topic),
                Outgoing { qos: QoS::AtMostOnce, .. } => Answered::Flushed,
                Outgoing { .. } => Answered::Message,
            }
        }));
    }
}

/// Waits until the broker has closed so many connections in a row, and nothing came of them, that a message which was under
/// way on all of them is to blame, or is among those that are.
async fn closed_for_it(lost: &mut watch::Receiver<Lost>, before: u64) {
    let is_to_blame = |lost: &Lost| {
        lost.fruitless >= MAX_FRUITLESS && lost.connections.saturating_sub(before) >= u64::from(MAX_FRUITLESS)
    };
    if lost.wait_for(is_to_blame).await.is_err() {
        // The connection has ended, and that is said.
        pending::<()>().await;
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
pub(crate) fn publish(requests: &Requests, limits: Option<BrokerLimits>, outgoing: &Outgoing) -> Answer<Taken> {
    match limits.map_or(Ok(()), |limits| limits.fit(outgoing)) {
        Ok(()) => requests.publish(outgoing),
        Err(reason) => Box::pin(ready(Err(NotTaken::Refused(reason)))),
    }
}
