//! The application's side of a connection.

use crate::{
    QoS,
    bounds::{ANSWER_TIMEOUT, MAX_CLOSED_ON_QUESTION, MAX_COMMANDS_TO_ONE},
    delivery::{Delivery, Outbox},
    error::{BrokerError, Closed, PublishError},
    event::Event,
    limits::{BrokerLimits, has_control_character},
    loss::Loss,
    pacing::Later,
    protocol::{Answer, NotTaken, Outgoing},
    shared::{Lost, Shared},
};
use bytes::Bytes;
use e4::{AsTopic, ControlTopic, Topic, controller::SealedCommand};
use std::{
    fmt,
    future::pending,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// A connection to a broker, on behalf of one [`e4::Client`]. Clones share it.
///
/// It publishes and subscribes; what happens on it comes from its [`Events`]. A task in the background keeps it alive,
/// connects it again, and follows the key server's commands, whether or not events are taken. When all clones and the
/// events are dropped, it sends what it has and disconnects; [`shutdown`](Self::shutdown) does so and waits.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    outbox: Outbox,
}

/// What happens on a [`Connection`].
pub struct Events {
    shared: Arc<Shared>,
    /// Keeps the connection for whoever only listens.
    _outbox: Outbox,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, outbox: Outbox) -> (Self, Events) {
        let events = Events { shared: Arc::clone(&shared), _outbox: outbox.clone() };
        (Self { shared, outbox }, events)
    }

    /// Seals a message and hands it over to be published. Waits for room in the queue, not for the broker: for that,
    /// wait for the [`Delivery`].
    ///
    /// While there is no connection messages wait in the queue, with the time at which they were sealed. One that would
    /// equal another of the same topic and second [waits for the next second](crate#equal-messages), and so do those on its
    /// topic that come after it; they are sealed when they go out. What waits is lost with the program.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; nothing was published. There is no falling back to the clear.
    pub async fn publish(&self, topic: impl AsTopic, payload: &[u8], qos: QoS) -> Result<Delivery, PublishError> {
        self.seal_and_put(topic, payload, qos, false).await
    }

    /// As [`publish`](Self::publish), and the broker keeps the message for those who subscribe later. They have to
    /// [allow its age](e4::Client::set_max_age).
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_retained(
        &self,
        topic: impl AsTopic,
        payload: &[u8],
        qos: QoS,
    ) -> Result<Delivery, PublishError> {
        self.seal_and_put(topic, payload, qos, true).await
    }

    /// Has the broker forget the message that it keeps for a topic, by an empty message that goes out untouched.
    /// Subscribers refuse it: nothing vouches for it, and anybody can do the same.
    ///
    /// # Errors
    ///
    /// [`PublishError::Name`], [`PublishError::Closed`].
    pub async fn clear_retained(&self, topic: impl AsTopic) -> Result<Delivery, PublishError> {
        let topic = checked(topic.as_topic()?)?.as_str().to_owned();
        let (payload, qos) = (Bytes::new(), QoS::AtLeastOnce);
        self.put(Outgoing { topic, payload, qos, retain: true, is_command: false, sealed: false }, None).await
    }

    /// Publishes a command to a client, as its key server, at QoS 1 (protocol page, section 4). The command is sealed
    /// already. Waits for room: [so many](crate::bounds::MAX_COMMANDS_TO_ONE) may be on their way to one client.
    ///
    /// [`Taken::NoSubscriber`](crate::Taken::NoSubscriber) says that the broker has no session for that client, and that the
    /// command is lost. Anything else does not say that the client will get it.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooLarge`], [`PublishError::Closed`].
    pub async fn send_command(&self, to: &ControlTopic, command: &SealedCommand) -> Result<Delivery, PublishError> {
        let payload = Bytes::copy_from_slice(command.as_bytes());
        let topic = to.as_str().to_owned();
        let room = self.command_room(&topic).await;
        let command = Outgoing { topic, payload, qos: QoS::AtLeastOnce, retain: false, is_command: true, sealed: true };
        self.put(command, room).await
    }

    /// Waits for room for a command to one client: who is stuck stops only itself.
    async fn command_room(&self, topic: &str) -> Option<OwnedSemaphorePermit> {
        /// Those of clients that nothing is on its way to are dropped now and then.
        const MANY: usize = 1024;
        let room = {
            let mut rooms = self.shared.command_room.lock().unwrap_or_else(PoisonError::into_inner);
            if rooms.len() >= MANY {
                rooms.retain(|_, room| Arc::strong_count(room) > 1);
            }
            let commands = (self.outbox.capacity() / 2).clamp(1, MAX_COMMANDS_TO_ONE);
            Arc::clone(rooms.entry(topic.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(commands))))
        };
        let mut ended = self.shared.ended.clone();
        tokio::select! {
            // It is never closed.
            room = room.acquire_owned() => room.ok(),
            _ended = ended.wait_for(|ended| *ended) => None,
        }
    }

    async fn seal_and_put(
        &self,
        topic: impl AsTopic,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Delivery, PublishError> {
        let topic = checked(topic.as_topic()?)?;
        let message = {
            let device = self.shared.device.read().await;
            let device = device.as_ref().ok_or(Closed)?;
            self.shared.protect(device, &topic, payload, qos, retain)?
        };
        self.limits().check_size(&message)?;
        let pacing = &self.shared.pacing;
        if message.sealed && (pacing.waits(&message.topic) || !pacing.is_first(&message.topic, &message.payload)) {
            let later = Later { topic: topic.into_owned(), payload: payload.to_vec(), qos, retain };
            return Ok(self.outbox.put_later(&self.shared, later).await);
        }
        self.put(message, None).await
    }

    async fn put(&self, message: Outgoing, room: Option<OwnedSemaphorePermit>) -> Result<Delivery, PublishError> {
        self.limits().check_size(&message)?;
        Ok(self.outbox.put(message, room).await)
    }

    fn limits(&self) -> BrokerLimits {
        let before_any = BrokerLimits { max_packet: self.shared.max_packet, max_qos: QoS::ExactlyOnce };
        self.shared.broker.borrow().unwrap_or(before_any)
    }

    /// Subscribes to a filter, waits for the broker's word, and returns the QoS that it grants. The subscription is made
    /// again whenever the broker has forgotten it; not so if this is cancelled or fails.
    ///
    /// It waits [20 seconds](crate::bounds::ANSWER_TIMEOUT) at most, and not until the broker has closed the connection
    /// again and again. Events go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; also for the device's own control topic, which is subscribed already, and for filters with control
    /// characters.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<QoS, BrokerError> {
        self.refuse_filter(filter)?;
        let subscribe = async {
            loop {
                let session = self.shared.sessions.load(Ordering::Acquire);
                match self.answer(self.shared.requests.subscribe(filter, qos)).await {
                    Ok(granted) => {
                        self.shared.subscriptions().insert(filter.to_owned(), qos);
                        // Else a new session began between the two, and may have missed it.
                        if self.shared.sessions.load(Ordering::Acquire) == session {
                            return Ok(granted);
                        }
                    }
                    Err(NotTaken::SessionLost) => (),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        self.in_time(true, subscribe).await
    }

    /// Ends a subscription. It waits as long as [`subscribe`](Self::subscribe) does.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; also for the device's own control topic. The subscription is not made again in any case.
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), BrokerError> {
        self.refuse_filter(filter)?;
        self.shared.subscriptions().remove(filter);
        let unsubscribe = async {
            match self.answer(self.shared.requests.unsubscribe(filter)).await {
                // In a session that begins anew there is nothing to end.
                Ok(()) | Err(NotTaken::SessionLost) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        self.in_time(false, unsubscribe).await
    }

    /// Waits until the broker has answered: what it sent before that has arrived, and commands among it are carried out,
    /// unless [they have to wait](Event::CommandWaits). Others that the broker sends when these are acknowledged are on
    /// their way. It waits as long as [`subscribe`](Self::subscribe) does.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn round_trip(&self) -> Result<(), BrokerError> {
        let round_trip = async {
            loop {
                let connection = self.shared.connections.load(Ordering::Acquire);
                let answers = async {
                    self.ask().await?;
                    // The answer was read, but what was read before it may not have been taken in yet. The library sends
                    // nothing meanwhile, so that the answer to a second question says that it was.
                    self.ask().await
                };
                match answers.await {
                    // What was read and not taken in when a connection ended comes again on the next one.
                    Ok(()) if self.shared.connections.load(Ordering::Acquire) == connection => return Ok(()),
                    Ok(()) | Err(NotTaken::SessionLost) => (),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        self.in_time(false, round_trip).await
    }

    /// Waits no longer than a broker may take; nor, where the question may be the reason, until it has closed connection
    /// after connection.
    async fn in_time<T>(
        &self,
        may_be_closed_for: bool,
        answer: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let mut lost = self.shared.lost.subscribe();
        let enough = lost.borrow().connections.saturating_add(MAX_CLOSED_ON_QUESTION.into());
        let closed_on_it = async {
            let is_enough = |lost: &Lost| lost.connections >= enough && lost.fruitless >= MAX_CLOSED_ON_QUESTION;
            if !may_be_closed_for || lost.wait_for(is_enough).await.is_err() {
                // In the second case the connection has ended, and that is said.
                pending::<()>().await;
            }
        };
        let given_up = tokio::select! {
            answer = answer => return answer,
            () = closed_on_it => self.shared.closed_on(),
            () = sleep(ANSWER_TIMEOUT) => BrokerError::NoAnswer(self.shared.last_loss().clone().map(Box::new)),
        };
        // Else the library would ask again on each connection.
        self.shared.forget.store(true, Ordering::Release);
        Err(given_up)
    }

    async fn ask(&self) -> Result<(), NotTaken> {
        self.answer(self.shared.requests.ask(self.shared.control_topic.as_str())).await
    }

    fn refuse_filter(&self, filter: &str) -> Result<(), BrokerError> {
        if filter == self.shared.control_topic.as_str() {
            return Err(BrokerError::Refused("the control topic is subscribed as long as the connection lives".into()));
        }
        if has_control_character(filter) {
            return Err(BrokerError::Refused(
                "the filter has a control character in it, which MQTT advises against and brokers refuse".into(),
            ));
        }
        Ok(())
    }

    /// Waits for the broker's answer, and no longer than the connection lives.
    async fn answer<T>(&self, answer: Answer<T>) -> Result<T, NotTaken> {
        let mut ended = self.shared.ended.clone();
        tokio::select! {
            // What was answered before the end counts.
            biased;
            answer = answer => answer,
            _ended = ended.wait_for(|ended| *ended) => Err(NotTaken::Closed),
        }
    }

    /// Looks at the device, or changes its settings. Keep it short: nothing is sealed or opened meanwhile.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub async fn with_device<T>(&self, look: impl FnOnce(&mut e4::Client) -> T) -> Result<T, Closed> {
        self.shared.device.write().await.as_mut().map(look).ok_or(Closed)
    }

    /// Waits until the broker has everything that was published before. Without a connection that may be for ever.
    pub async fn flush(&self) {
        self.outbox.flush().await;
    }

    /// Sends what waits, disconnects, and gives the device back. It says that the application is done with the message that
    /// it took last, which is acknowledged; what it has not taken stays in the broker for the next time, if its QoS is 1
    /// or 2.
    ///
    /// It takes as long as the broker needs for its answers, and not much longer than `patience`. The device is lost if
    /// this is cancelled.
    ///
    /// # Errors
    ///
    /// [`Closed`]: it was shut down before.
    pub async fn shutdown(self, patience: Duration) -> Result<Shutdown, Closed> {
        let flushed = timeout(patience, self.flush()).await.is_ok();
        let loss = self.lost_meanwhile(patience).await;
        // Whoever sent the last commands may wait to hear of them.
        let _reported = timeout(FAREWELL.min(patience), self.shared.due.finish()).await;
        self.shared.queue.acknowledge_in_hand();
        // A DISCONNECT before would leave the broker with a message that it thinks was not delivered.
        let _acknowledged = timeout(FAREWELL, self.shared.queue.acknowledgements_sent()).await;
        let device = self.shared.device.write().await.take().ok_or(Closed)?;
        let undelivered = self.outbox.undelivered();
        // Else there is nothing more to wait for.
        self.shared.requests.disconnect(if flushed { FAREWELL } else { Duration::ZERO });
        self.shared.ending.notify_one();
        let mut ended = self.shared.ended.clone();
        let in_order = async { ended.wait_for(|ended| *ended).await.is_ok() };
        if timeout(FAREWELL, in_order).await.is_err()
            && let Some(driver) = self.shared.driver.get()
        {
            driver.abort();
        }
        self.shared.queue.close();
        Ok(Shutdown { device, undelivered, loss })
    }
}

impl Connection {
    /// Whether the connection is there after what was sent on it at QoS 0, for which the broker has no answer, and if not,
    /// why not.
    async fn lost_meanwhile(&self, patience: Duration) -> Option<Loss> {
        let mut lost = self.shared.lost.subscribe();
        let before = lost.borrow().connections;
        let is_down = !*self.shared.is_up.borrow();
        if is_down || !self.outbox.take_unanswered() || patience.is_zero() {
            return is_down.then(|| self.shared.last_loss().clone()).flatten();
        }
        // An answer to anything says that it has read what came before.
        let is_lost = tokio::select! {
            _or_not = timeout(FAREWELL.min(patience), self.ask()) => false,
            lost = lost.wait_for(|lost| lost.connections > before) => lost.is_ok(),
        };
        is_lost.then(|| self.shared.last_loss().clone()).flatten()
    }
}

/// How long a broker has to take the leave of who has nothing more to say.
const FAREWELL: Duration = Duration::from_secs(1);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("control_topic", &self.shared.control_topic.as_str()).finish_non_exhaustive()
    }
}

/// What remains of a connection that was shut down.
#[derive(Debug)]
#[non_exhaustive]
pub struct Shutdown {
    /// The device.
    pub device: e4::Client,
    /// How many messages the broker did not take in time.
    pub undelivered: usize,
    /// Why there was no connection to end in good order, if there was none: messages of QoS 0 that went out last may not have
    /// arrived, since brokers end a connection for a message that they do not take.
    pub loss: Option<Loss>,
}

impl Events {
    /// Waits for the next event; `None` after the connection was shut down. May be cancelled.
    ///
    /// To ask for the next event says that the application is done with the one before: a message of QoS 1 or 2 is
    /// acknowledged then, and delivered once more if the program ends before. After a restart such a message is opened
    /// again, unless [`refuse_sent_until`](e4::Client::refuse_sent_until) was called.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.shared.queue.take().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.queue.abandon();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Refuses topics that brokers close the connection for.
fn checked(topic: Topic<'_>) -> Result<Topic<'_>, PublishError> {
    if has_control_character(topic.as_str()) { Err(PublishError::ControlCharacter) } else { Ok(topic) }
}

impl From<NotTaken> for BrokerError {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Refused(reason) => Self::Refused(reason),
            NotTaken::Closed | NotTaken::SessionLost => Self::Closed,
        }
    }
}
