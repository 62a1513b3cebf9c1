//! The task that drives a connection: connects, takes in what arrives, follows the key server.

use crate::{
    QoS,
    bounds::MAX_WAITING_COMMANDS,
    copies::Copies,
    due::Terms,
    event::{Event, Granted, Message, Protection, Refused},
    limits::BrokerLimits,
    loss::{Cause, Loss},
    pause::{Life, Pause},
    protocol::{Arrived, Broken, Connected, Happening, Limits, Link, NotTaken},
    queue::{NoRoom, Receipt},
    report,
    shared::Shared,
};
use e4::{NameError, OpenError, Opened, Refusal, Timestamp, Topic, controller::SealedCommand};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{Notify, RwLock, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Drives the connection until it is asked to end.
pub(crate) async fn drive(mut link: Link, shared: Arc<Shared>, limits: Limits, end: watch::Sender<bool>) {
    let commands = Arc::new(Commands { shared: Arc::clone(&shared), waiting: Mutex::default(), more: Notify::new() });
    let mut beside =
        vec![tokio::spawn(Arc::clone(&commands).retry()), tokio::spawn(erase_expired_keys(Arc::clone(&shared.device)))];
    if shared.report_within.is_some() {
        beside.push(tokio::spawn(report::report(Arc::clone(&shared))));
    }
    let mut pause = Pause::default();
    let mut copies = Copies::default();
    renew_will(&shared, &mut link).await;
    loop {
        let loss = match link.poll().await {
            Ok(Happening::Connected(connected)) => {
                tracing::debug!(session_kept = connected.session_kept, "connected");
                pause.connected();
                shared.is_up.send_replace(true);
                commands.connected(connected.session_kept);
                let max_packet = connected.max_packet.map_or(limits.packet, |broker| broker.min(limits.packet));
                let max_qos = connected.max_qos;
                shared.connected(&connected);
                shared.broker.send_replace(Some(BrokerLimits { max_packet, max_qos }));
                continue;
            }
            Ok(Happening::Arrived(arrived)) => match take_in(&shared, &commands, &mut copies, arrived).await {
                Ok(()) => continue,
                Err(NoRoom) => {
                    link.cut();
                    let reason = "the broker sent more than is kept here without an acknowledgement".to_owned();
                    Loss { cause: Cause::OverBounds, reason, in_a_row: 0 }
                }
            },
            Ok(Happening::Acknowledged) => {
                shared.queue.acknowledgement_sent();
                continue;
            }
            Ok(Happening::Other) => continue,
            Err(Broken::Closed) => break,
            Err(Broken::Lost(loss)) => loss,
        };
        let (loss, life) = pause.lost(loss);
        tracing::debug!(%loss, "disconnected");
        copies.clear();
        shared.due.disconnected();
        shared.queue.connection_lost();
        let is_final = loss.cause.is_final();
        let cause = loss.cause;
        shared.lost(loss, life);
        if is_final {
            break;
        }
        tokio::select! {
            () = sleep(pause.next()) => (),
            () = shared.ending.notified() => break,
        }
        // Whoever gave up in between has been told so; what it asked for is not asked again.
        if shared.forget.swap(false, Ordering::AcqRel) {
            link.forget();
        }
        renew_will(&shared, &mut link).await;
        if pause.take_stuck() && limits.persistent {
            // It is not acknowledged, so that the broker would deliver it for ever.
            link.begin_anew(cause);
        }
    }
    beside.iter().for_each(JoinHandle::abort);
    // Whoever waits for an answer of the broker is told that it will not come.
    drop(link);
    shared.queue.close();
    end.send_replace(true);
}

/// Seals the will anew, with the key and the time of now.
async fn renew_will(shared: &Shared, link: &mut Link) {
    let Some(will) = &shared.will else { return };
    let sealed = {
        let device = shared.device.read().await;
        let Some(device) = device.as_ref() else { return };
        shared.protect(device, &will.topic, &will.payload, will.qos, will.retain)
    };
    link.set_will(sealed.as_ref().ok());
    if let Err(error) = sealed {
        tracing::warn!(%error, "connecting without the last will");
        shared.queue.push(Event::WillWithheld(error));
    }
}

/// Takes in a message or command. Fails if the broker has to keep it.
async fn take_in(shared: &Shared, commands: &Commands, copies: &mut Copies, arrived: Arrived) -> Result<(), NoRoom> {
    let receipt = shared.queue.receipt(&arrived);
    if arrived.topic == shared.control_topic.as_str().as_bytes() {
        return commands.take(arrived, receipt).await;
    }
    if arrived.topic == shared.report_topic.as_str().as_bytes() {
        // What this client said itself comes back by a filter that is wide enough.
        shared.queue.acknowledge(receipt);
        return Ok(());
    }
    if shared.leave_messages || shared.queue.is_delivered_again(&arrived, receipt) {
        return Ok(());
    }
    let Arrived { qos, retained, .. } = arrived;
    let message = match open(shared, &arrived.topic, &arrived.payload).await {
        Ok((topic, Some(message))) => {
            if message.repeated && copies.is_one(&arrived) {
                shared.queue.acknowledge(receipt);
                return Ok(());
            }
            copies.expect(&arrived, shared.filters_that_match(&topic).saturating_sub(1));
            Message::opened(topic, message, retained, qos)
        }
        Ok((topic, None)) => {
            Message { topic, payload: arrived.payload.to_vec(), protection: Protection::Clear, retained, qos }
        }
        Err(Some(reason)) => {
            shared.queue.acknowledge(receipt);
            if !(reason == OpenError::Refused(Refusal::Repeated) && copies.is_one(&arrived)) {
                shared.queue.push(refused(&arrived.topic, reason, retained));
            }
            return Ok(());
        }
        Err(None) => return Ok(()),
    };
    shared.queue.push_message(message, arrived, receipt)
}

/// A message with its topic, none if it passes in the clear.
type OpenedMessage = (String, Option<e4::Message<Vec<u8>>>);

/// Opens a message; no error means that there is no device any more.
async fn open(shared: &Shared, topic: &[u8], payload: &[u8]) -> Result<OpenedMessage, Option<OpenError>> {
    // The library has checked it.
    let not_utf8 = |_| Some(OpenError::Name(NameError::NullCharacter));
    let topic = str::from_utf8(topic).map_err(not_utf8)?;
    let topic = Topic::new(topic).map_err(|error| Some(error.into()))?;
    let owned = topic.as_str().to_owned();
    if shared.passes_in_the_clear(&topic) {
        return Ok((owned, None));
    }
    let mut device = shared.device.write().await;
    match device.as_mut().ok_or(None)?.open(&topic, payload).map_err(Some)? {
        Opened::Message(message) => Ok((owned, Some(message))),
        // Commands are what arrives on the control topic, and nothing else.
        Opened::Command(_) => Err(Some(Refusal::NotAuthentic.into())),
    }
}

fn refused(topic: &[u8], reason: OpenError, retained: bool) -> Event {
    let topic = String::from_utf8_lossy(topic).into_owned();
    tracing::debug!(topic, %reason, "refused");
    Event::Refused(Refused { topic, reason, retained })
}

impl Shared {
    /// Makes the subscriptions that the broker does not have.
    fn connected(self: &Arc<Self>, connected: &Connected) {
        let connection = self.connections.fetch_add(1, Ordering::AcqRel) + 1;
        let granted = |control_topic| Granted {
            session_kept: connected.session_kept,
            session_expiry_asked: connected.session_expiry_asked,
            session_expiry: connected.session_expiry,
            control_topic,
            max_qos: connected.max_qos,
            max_packet: connected.max_packet,
            retains: connected.retains,
        };
        if !connected.session_kept {
            *self.following() = None;
        }
        if let Some(control_topic) = *self.following() {
            self.hears_commands(granted(control_topic), connection);
            return;
        }
        // Asked for here and not in the task, so that it goes out before anything else.
        let answer = self.requests.subscribe(self.control_topic.as_str(), QoS::AtLeastOnce);
        let (this, granted) = (Arc::clone(self), granted(QoS::AtLeastOnce));
        tokio::spawn(async move {
            match answer.await {
                // Else a later connection says so for itself.
                Ok(control_topic) if this.connections.load(Ordering::Acquire) == connection => {
                    *this.following() = Some(control_topic);
                    this.hears_commands(Granted { control_topic, ..granted }, connection);
                }
                Ok(_) => (),
                Err(error) => this.subscription_failed(this.control_topic.as_str(), error),
            }
        });
        if connected.session_kept {
            return;
        }
        self.sessions.fetch_add(1, Ordering::AcqRel);
        for (filter, asked) in self.subscriptions().clone() {
            let answer = self.requests.subscribe(&filter, asked);
            let this = Arc::clone(self);
            tokio::spawn(async move {
                match answer.await {
                    Ok(granted) if (granted as u8) < asked as u8 => {
                        this.queue.push(Event::SubscriptionLowered { filter, asked, granted });
                    }
                    Ok(_) => (),
                    Err(error) => this.subscription_failed(&filter, error),
                }
            });
        }
    }

    /// Commands arrive on the connection that there is.
    fn hears_commands(&self, granted: Granted, connection: u64) {
        if let Some(within) = self.report_within {
            // As one report is as good as another, QoS 0 will do where there is nothing better.
            let qos = if granted.max_qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let terms = Terms { qos, retain: granted.retains, connection };
            self.due.connected(terms, within.mul_f64(fastrand::f64()));
        }
        self.queue.push(Event::Connected(granted));
    }

    fn lost(&self, loss: Loss, life: Life) {
        *self.last_loss() = Some(loss.clone());
        self.is_up.send_replace(false);
        if life != Life::NotMade {
            self.lost.send_modify(|lost| {
                lost.connections += 1;
                lost.last = Some((Instant::now(), loss.cause));
                lost.fruitless = if life == Life::ClosedSoon { lost.fruitless.saturating_add(1) } else { 0 };
            });
        }
        self.queue.push(Event::Disconnected(loss));
    }

    fn subscription_failed(&self, filter: &str, error: NotTaken) {
        // In the other cases it is made again, or not needed any more.
        if let NotTaken::Refused(reason) = error {
            tracing::warn!(filter, reason, "the broker refused a subscription");
            self.queue.push(Event::SubscriptionRefused { filter: filter.to_owned(), reason });
        }
    }
}

/// The commands of the key server: in the order in which they arrive, and none left out.
///
/// One that cannot be stored waits here and is tried again;
/// those behind it wait too, for once a later one is accepted the earlier one would be refused for ever. Only
/// what makes room goes first ([`e4::Client::may_overtake`]).
struct Commands {
    shared: Arc<Shared>,
    waiting: Mutex<VecDeque<Waiting>>,
    more: Notify,
}

struct Waiting {
    arrived: Arrived,
    /// None if the broker does not wait for an acknowledgement: this is the only copy.
    receipt: Option<Receipt>,
}

impl Commands {
    const RETRY_AFTER: Duration = Duration::from_secs(1);

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits comes again if the broker has kept the session, as it was not acknowledged. If it has not, what waits
    /// here is the only copy.
    fn connected(&self, session_kept: bool) {
        let mut waiting = self.waiting();
        if session_kept {
            waiting.retain(|command| command.receipt.is_none());
        } else {
            waiting.iter_mut().for_each(|command| command.receipt = None);
        }
    }

    /// Carries a command out, and acknowledges it once its result is stored. Fails if it would have to wait and there is no
    /// room for it.
    async fn take(&self, arrived: Arrived, receipt: Option<Receipt>) -> Result<(), NoRoom> {
        if arrived.payload.len() > SealedCommand::MAX_LEN {
            self.done(receipt, refused(&arrived.topic, Refusal::NotAuthentic.into(), arrived.retained));
            return Ok(());
        }
        let others_wait = !self.waiting().is_empty();
        if others_wait {
            return match self.judge(&arrived.payload).await {
                Some(refusal) => {
                    self.done(receipt, refused(&arrived.topic, refusal.into(), arrived.retained));
                    Ok(())
                }
                None => self.wait(Waiting { arrived, receipt }),
            };
        }
        match self.try_to_carry_out(&arrived).await {
            Ok(event) => self.done(receipt, event),
            Err(None) => (),
            Err(Some(reason)) => {
                tracing::warn!(%reason, "a command waits");
                self.shared.due.refused();
                self.shared.queue.push(Event::CommandWaits(reason));
                self.wait(Waiting { arrived, receipt })?;
            }
        }
        Ok(())
    }

    /// Why a command need not wait, if so: it will never be carried out.
    async fn judge(&self, command: &[u8]) -> Option<Refusal> {
        let device = self.shared.device.read().await;
        let device = device.as_ref()?;
        if !device.is_authentic_command(command) {
            return Some(Refusal::NotAuthentic);
        }
        let sent = command.first_chunk().map(|bytes| Timestamp::from_unix(u64::from_le_bytes(*bytes)));
        device.newest_command().filter(|newest| sent < Some(*newest)).map(|newest| Refusal::Superseded { newest })
    }

    fn wait(&self, command: Waiting) -> Result<(), NoRoom> {
        let mut waiting = self.waiting();
        // The same one again says nothing new; but the broker keeps it if it was not kept there before.
        if let Some(same) = waiting.iter_mut().find(|other| other.arrived.payload == command.arrived.payload) {
            let receipt = match same.receipt {
                Some(_) => command.receipt,
                None => std::mem::replace(&mut same.receipt, command.receipt),
            };
            drop(waiting);
            self.shared.queue.acknowledge(receipt);
            return Ok(());
        }
        if waiting.len() < MAX_WAITING_COMMANDS {
            waiting.push_back(command);
            self.more.notify_one();
            return Ok(());
        }
        if command.receipt.is_some() {
            return Err(NoRoom);
        }
        tracing::warn!("too many commands wait: one of QoS 0 is dropped");
        Ok(())
    }

    /// Tries again, for as long as the connection lives.
    async fn retry(self: Arc<Self>) {
        loop {
            let next = self.waiting().front().map(|command| command.arrived.clone());
            let Some(arrived) = next else {
                self.more.notified().await;
                continue;
            };
            let Ok(event) = self.try_to_carry_out(&arrived).await else {
                self.let_overtake().await;
                sleep(Self::RETRY_AFTER).await;
                continue;
            };
            let mut waiting = self.waiting();
            // Unless it was taken out meanwhile. It may have come again, with another receipt.
            let is_same = waiting.front().is_some_and(|front| front.arrived.payload == arrived.payload);
            let done = if is_same { waiting.pop_front() } else { None };
            self.done(done.and_then(|done| done.receipt), event);
        }
    }

    /// What only removes keys may go before what could not be stored, as it makes room. What it overtakes is refused when it
    /// is tried next.
    async fn let_overtake(&self) {
        let waiting: Vec<_> = self.waiting().iter().map(|command| command.arrived.clone()).collect();
        let overtakes = {
            let device = self.shared.device.read().await;
            let Some(device) = device.as_ref() else { return };
            let may = |at: usize, command: &Arrived| {
                waiting.iter().take(at).all(|before| device.may_overtake(&command.payload, &before.payload))
            };
            waiting.iter().enumerate().skip(1).rev().find(|(at, command)| may(*at, command))
        };
        let Some((_, command)) = overtakes else { return };
        let Ok(event) = self.try_to_carry_out(command).await else { return };
        tracing::debug!("a command went before those that could not be stored");
        let mut waiting = self.waiting();
        let at = waiting.iter().position(|other| other.arrived.payload == command.payload);
        let done = at.and_then(|at| waiting.remove(at));
        drop(waiting);
        self.done(done.and_then(|done| done.receipt), event);
    }

    /// The application may end the connection when it sees the event: the acknowledgement goes first.
    fn done(&self, receipt: Option<Receipt>, event: Event) {
        match &event {
            Event::KeysChanged(_) => self.shared.due.accepted(),
            Event::Refused(refused) if is_of_an_authentic_command(&refused.reason) => self.shared.due.refused(),
            _ => (),
        }
        self.shared.queue.acknowledge(receipt);
        self.shared.queue.push(event);
    }

    /// Carries a command out or refuses it, and returns the event: it may be acknowledged. If not, returns why it has to
    /// wait; no reason means that there is no device any more.
    async fn try_to_carry_out(&self, arrived: &Arrived) -> Result<Event, Option<OpenError>> {
        let _under_way = self.shared.due.under_way();
        match carry_out(&self.shared.device, &self.shared.control_topic, arrived).await.ok_or(None)? {
            Err(reason) if !reason.is_final() => Err(Some(reason)),
            Err(reason) => Ok(refused(&arrived.topic, reason, arrived.retained)),
            Ok(Opened::Command(command)) => {
                tracing::debug!(?command, "carried out");
                Ok(Event::KeysChanged(command))
            }
            // Messages are what arrives on other topics.
            Ok(Opened::Message(_)) => Ok(refused(&arrived.topic, Refusal::NotAuthentic.into(), arrived.retained)),
        }
    }
}

/// Whether the key server learns of it (protocol page, section 11): what is not from it says nothing, and the repetition of what
/// was accepted is no refusal.
fn is_of_an_authentic_command(refusal: &OpenError) -> bool {
    !matches!(refusal, OpenError::Refused(Refusal::TooShort | Refusal::NotAuthentic | Refusal::Repeated))
}

/// Opens a command and stores its result, which takes the time of a disk. None when there is no device any more.
async fn carry_out(
    device: &Arc<RwLock<Option<e4::Client>>>,
    control_topic: &e4::ControlTopic,
    arrived: &Arrived,
) -> Option<Result<Opened<Vec<u8>>, OpenError>> {
    let mut device = Arc::clone(device).write_owned().await;
    let (control_topic, payload) = (*control_topic, arrived.payload.clone());
    let open = move || device.as_mut().map(|device| device.open(control_topic, &payload));
    // The thread ends early only with the runtime.
    tokio::task::spawn_blocking(open).await.ok().flatten()
}

/// Erases previous keys when they have expired, also on a device that nothing arrives at.
async fn erase_expired_keys(device: Arc<RwLock<Option<e4::Client>>>) {
    const NOW_AND_THEN: Duration = Duration::from_secs(60);
    loop {
        sleep(NOW_AND_THEN).await;
        let mut device = Arc::clone(&device).write_owned().await;
        let erased = tokio::task::spawn_blocking(move || device.as_mut().map(e4::Client::erase_expired_keys)).await;
        if let Ok(Some(Err(error))) = erased {
            // They are erased in memory, and it is tried again.
            tracing::warn!(%error, "expired keys are still stored");
        }
    }
}
