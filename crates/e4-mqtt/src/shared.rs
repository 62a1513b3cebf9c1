//! What the handles and the tasks of a connection have in common.

use crate::{
    QoS,
    due::Due,
    error::BrokerError,
    limits::BrokerLimits,
    loss::{Cause, Loss},
    pacing::{Pacing, Waiting},
    protocol::{Outgoing, Requests},
    queue::Queue,
    will::LastWill,
};
use bytes::Bytes;
use e4::{ControlTopic, ReportTopic, Topic, TopicFilter};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, RwLock, Semaphore, mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

pub(crate) struct Shared {
    /// None once the connection was shut down.
    pub(crate) device: Arc<RwLock<Option<e4::Client>>>,
    pub(crate) control_topic: ControlTopic,
    pub(crate) report_topic: ReportTopic,
    /// Within how long after a connection is made the client reports; `None`: it never does.
    pub(crate) report_within: Option<Duration>,
    pub(crate) due: Due,
    pub(crate) clear: Vec<TopicFilter<'static>>,
    pub(crate) will: Option<LastWill>,
    pub(crate) leave_messages: bool,
    pub(crate) queue: Queue,
    pub(crate) requests: Requests,
    /// What the application has subscribed.
    pub(crate) subscriptions: Mutex<BTreeMap<String, QoS>>,
    /// Counts the sessions that began anew, in which the broker knows no subscriptions.
    pub(crate) sessions: AtomicU64,
    /// Counts the connections that the broker took.
    pub(crate) connections: AtomicU64,
    /// The control topic is subscribed in this session, and the broker grants this QoS.
    pub(crate) following: Mutex<Option<QoS>>,
    /// Why the last connection ended.
    pub(crate) last_loss: Mutex<Option<Loss>>,
    /// There is a connection.
    pub(crate) is_up: watch::Sender<bool>,
    /// How connections were lost.
    pub(crate) lost: watch::Sender<Lost>,
    /// What the library holds for the broker is to be forgotten when the connection is lost next.
    pub(crate) forget: AtomicBool,
    pub(crate) pacing: Pacing<mpsc::Sender<Waiting>>,
    /// Room for commands, by control topic.
    pub(crate) command_room: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// What the broker takes; none before the first connection.
    pub(crate) broker: watch::Sender<Option<BrokerLimits>>,
    /// Told once when the connection is to end, connected or not.
    pub(crate) ending: Notify,
    /// Bytes of the largest packet that this side sends.
    pub(crate) max_packet: u32,
    pub(crate) driver: OnceLock<AbortHandle>,
    /// The task that drives the connection has ended: told, or gone.
    pub(crate) ended: watch::Receiver<bool>,
}

/// How connections were lost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lost {
    /// How many that the broker had taken.
    pub(crate) connections: u64,
    /// How many in a row it closed soon, with nothing done.
    pub(crate) fruitless: u32,
    /// When the last one was lost, and by what. An attempt that failed is none.
    pub(crate) last: Option<(Instant, Cause)>,
}

impl Lost {
    /// Whether the last connection may have ended for what the broker was sent.
    pub(crate) fn is_by_broker(&self) -> bool {
        self.last.is_some_and(|(_, cause)| matches!(cause, Cause::Closed | Cause::Ended(_) | Cause::UnknownAnswer(_)))
    }
}

impl Shared {
    /// That the broker closes the connection for what it was sent.
    pub(crate) fn closed_on(&self) -> BrokerError {
        BrokerError::ClosedOn(self.last_loss().clone().map(Box::new))
    }

    /// How many subscriptions of the application bring messages of a topic.
    pub(crate) fn filters_that_match(&self, topic: &str) -> usize {
        let Ok(topic) = Topic::new(topic) else { return 0 };
        let matches = |filter: &str| {
            let shared = filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
            let filter = shared.map_or(filter, |(_group, filter)| filter);
            TopicFilter::new(filter).is_ok_and(|filter| filter.matches(&topic))
        };
        self.subscriptions().keys().filter(|filter| matches(filter)).count()
    }

    pub(crate) fn following(&self) -> MutexGuard<'_, Option<QoS>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_loss(&self) -> MutexGuard<'_, Option<Loss>> {
        self.last_loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<String, QoS>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages of a topic are neither sealed nor opened.
    pub(crate) fn passes_in_the_clear(&self, topic: &Topic<'_>) -> bool {
        let is_own = [self.control_topic.as_str(), self.report_topic.as_str()].contains(&topic.as_str());
        !is_own && self.clear.iter().any(|filter| filter.matches(topic))
    }

    pub(crate) fn protect(
        &self,
        device: &e4::Client,
        topic: &Topic<'_>,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Outgoing, e4::SealError> {
        let sealed = !self.passes_in_the_clear(topic);
        let payload = if sealed { Bytes::from(device.seal(topic, payload)?) } else { Bytes::copy_from_slice(payload) };
        Ok(Outgoing { topic: topic.as_str().to_owned(), payload, qos, retain, is_command: false, sealed })
    }
}
