//! What happens on a connection, as the application sees it.

use crate::{QoS, loss::Loss};
use e4::{AppliedCommand, ClientId, KeyRole, OpenError, SealError, Timestamp};
use std::fmt;

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The broker took the connection, and commands arrive: the control topic is subscribed. In a session that was kept,
    /// what waited there may come before this.
    ///
    /// What the broker grants may be [less than was asked for](Granted::shortcomings).
    Connected(Granted),
    /// The broker refused a subscription that this connection makes by itself: that to the control topic, without which
    /// no commands arrive, or one that the application had and that it lost with its session.
    SubscriptionRefused {
        /// What was to be subscribed.
        filter: String,
        /// The broker's reason.
        reason: String,
    },
    /// A subscription that the broker had lost with the session was made again, and it grants a lower QoS than was asked for.
    SubscriptionLowered {
        /// What is subscribed.
        filter: String,
        /// The QoS that was asked for.
        asked: QoS,
        /// The QoS that the broker grants.
        granted: QoS,
    },
    /// The connection is lost or could not be made. The next try follows by itself, unless the cause is
    /// [final](crate::Cause::is_final): then the connection is closed, as by a shutdown.
    Disconnected(Loss),
    /// A message arrived.
    Message(Message),
    /// A command of the key server was carried out and stored.
    KeysChanged(AppliedCommand),
    /// A command of the key server is authentic and cannot be stored yet, for this reason.
    /// It is tried again every second, and commands behind it wait. Until it succeeds the broker keeps it.
    CommandWaits(OpenError),
    /// Something arrived that is not acceptable, and was dropped.
    Refused(Refused),
    /// More equal messages are published on this topic than seconds pass, and publishing there waits. Within a second equal
    /// messages cannot be told from a replay: a counter in the payload makes them differ.
    EqualMessagesWait {
        /// The topic.
        topic: String,
    },
    /// The broker does not take reports to the key server. All else goes on, and the key server does not learn what this
    /// client holds. If it never will, [`Builder::no_reports`](crate::Builder::no_reports) keeps them from being tried.
    ReportRefused {
        /// The reason.
        reason: String,
        /// The broker [ended the connection](crate::bounds::MAX_ENDED_ON_REPORT) over reports, and this client tries no more of
        /// them; otherwise it is tried again after the next connect.
        for_good: bool,
    },
    /// The connection is made without the last will, which cannot be sealed. It is tried again at the next connect.
    WillWithheld(SealError),
    /// The application took events more slowly than they came, and these are lost.
    Overflowed(Overflow),
}

/// What the broker grants to this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// Whether the broker still had the session of this client, with its subscriptions and the messages since.
    pub session_kept: bool,
    /// For how many seconds the session was to outlive the connection. `None` in MQTT 3.1.1, which does not say.
    pub session_expiry_asked: Option<u32>,
    /// For how many seconds it will, at most, by the word of the broker.
    pub session_expiry: Option<u32>,
    /// The QoS of the subscription to the control topic.
    pub control_topic: QoS,
    /// The highest QoS of messages that the broker takes. Always 2 in MQTT 3.1.1, which does not say.
    pub max_qos: QoS,
    /// Bytes of the largest packet that the broker takes, if it says so.
    pub max_packet: Option<u32>,
    /// Whether it keeps retained messages. Always true in MQTT 3.1.1, which does not say.
    pub retains: bool,
}

impl Granted {
    /// What a device has to do without that it asked for, in sentences; none if all is well as far as the broker says.
    pub fn shortcomings(&self) -> impl Iterator<Item = String> + use<> {
        let control = (self.control_topic == QoS::AtMostOnce).then(|| {
            "the broker grants QoS 0 for the control topic: it keeps no commands for this device while it is away"
                .to_owned()
        });
        let expiry = match (self.session_expiry_asked, self.session_expiry) {
            (Some(asked), Some(granted)) if granted < asked => Some(if granted == 0 {
                "the broker keeps no session: commands that are sent while this device is away are lost for it"
                    .to_owned()
            } else {
                format!(
                    "the broker keeps the session for {granted} seconds and not for {asked}: commands that are sent while this device is away for longer are lost for it"
                )
            }),
            _ => None,
        };
        control.into_iter().chain(expiry)
    }
}

/// A message that arrived.
#[derive(Clone)]
#[non_exhaustive]
pub struct Message {
    /// The topic that it arrived on.
    pub topic: String,
    /// What the sender published.
    pub payload: Vec<u8>,
    /// How it was protected.
    pub protection: Protection,
    /// Whether the broker had kept it for new subscribers.
    pub retained: bool,
    /// How the broker delivered it.
    pub qos: QoS,
}

/// How a message was protected on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It was sealed, and is authentic.
    Sealed(Seal),
    /// Not at all: its topic is one of those that pass in the clear. Anybody may have written it.
    Clear,
}

/// What the seal of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seal {
    /// When it was sealed, by the sender's clock.
    pub sent: Timestamp,
    /// How many seconds ago that was; `None` while this client does not know the time.
    pub age: Option<u64>,
    /// Who signed it; `None` in symmetric mode.
    pub signer: Option<ClientId>,
    /// Which of the topic's keys opened it.
    pub key: KeyRole,
    /// Whether an equal message was opened before; only with [`Repeated::Report`](e4::Repeated::Report).
    pub repeated: bool,
}

impl Message {
    /// What the seal says; `None` if the message came in the clear.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        match &self.protection {
            Protection::Sealed(seal) => Some(seal),
            Protection::Clear => None,
        }
    }

    pub(crate) fn opened(topic: String, message: e4::Message<Vec<u8>>, retained: bool, qos: QoS) -> Self {
        let e4::Message { payload, sent, age, signer, key, repeated, .. } = message;
        let protection = Protection::Sealed(Seal { sent, age, signer, key, repeated });
        Self { topic, payload, protection, retained, qos }
    }
}

/// Prints no payload.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("bytes", &self.payload.len())
            .field("protection", &self.protection)
            .field("retained", &self.retained)
            .field("qos", &self.qos)
            .finish()
    }
}

/// Something that arrived and is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The topic that it arrived on.
    pub topic: String,
    /// Why: [`OpenError::Refused`], or another error that is [final](OpenError::is_final).
    pub reason: OpenError,
    /// Whether the broker had kept it for new subscribers.
    pub retained: bool,
}

/// How many events were lost since the last one that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overflow {
    /// Messages, all of QoS 0: those of QoS 1 and 2 wait in the broker.
    pub messages: u64,
    /// Refusals.
    pub refusals: u64,
    /// Other events.
    pub others: u64,
}
