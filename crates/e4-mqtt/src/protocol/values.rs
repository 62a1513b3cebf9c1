//! What goes through either version, and what comes of it.

use crate::loss::{Cause, Loss};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[cfg(all(feature = "v4", not(feature = "v5")))]
pub use rumqttc_v4::QoS;
#[cfg(feature = "v5")]
pub use rumqttc_v5::QoS;

/// Packet identifiers of messages of QoS 2 of which the broker said that nobody has subscribed to their topic. It says so
/// with its first answer, and the library hands on the last one.
pub(super) type Unheard = Arc<Mutex<BTreeSet<u16>>>;

pub(super) fn unheard(unheard: &Unheard) -> MutexGuard<'_, BTreeSet<u16>> {
    unheard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many requests go out in one write, if the user does not say.
pub(super) const REQUEST_BATCH: usize = 64;

/// What a connection adds to the options of its user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages that may arrive and wait for the application.
    pub(crate) queue: usize,
    /// Bytes of a packet that is sent, and on MQTT 5 also of one that is received.
    pub(crate) packet: u32,
    /// Whether the broker keeps subscriptions and messages while the client is away.
    pub(crate) persistent: bool,
}

/// A message on its way to the broker.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// A command of the key server.
    pub(crate) is_command: bool,
    /// MQTT 5 names the content type of these; 3.1.1 has no place for it.
    pub(crate) sealed: bool,
}

/// Why the broker did not take a message, a subscription or an unsubscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The broker has forgotten the session, and this with it; or the library has lost track of it, as it does when it is
    /// cut off twice in a row. Ask again: if the connection is closed for good, that says so.
    SessionLost,
    /// The connection is closed for good.
    Closed,
    /// The broker's reason, in words.
    Refused(String),
}

/// What the network brought.
pub(crate) enum Happening {
    Connected(Connected),
    Arrived(Arrived),
    /// The acknowledgement of a message left; of QoS 2, the last part of it.
    Acknowledged,
    /// Traffic that only the client library cares for.
    Other,
}

/// What the broker says of itself and of the session when it takes a connection.
pub(crate) struct Connected {
    pub(crate) session_kept: bool,
    /// For how many seconds the session was to outlive the connection; `None`: this version does not say.
    pub(crate) session_expiry_asked: Option<u32>,
    /// For how many it will.
    pub(crate) session_expiry: Option<u32>,
    /// Bytes of the largest packet that the broker takes, if it says so.
    pub(crate) max_packet: Option<u32>,
    /// The highest QoS that the broker takes.
    pub(crate) max_qos: QoS,
    /// Whether it keeps retained messages.
    pub(crate) retains: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Taken {
    /// QoS 0: it is on the network. Nobody says what becomes of it.
    Sent,
    /// The broker has taken it over. Whether anybody gets it is not said.
    ByBroker,
    /// The broker has taken it over and has nobody to give it to: no session is subscribed to its topic. Said by brokers of
    /// MQTT 5 that care to, for QoS 1 (reason code 0x10; MQTT 5, section 3.4.2.1).
    NoSubscriber,
}

/// A message as it came from the broker, not acknowledged yet.
#[derive(Clone)]
pub(crate) struct Arrived {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retained: bool,
    pub(crate) packet_id: u16,
}

/// The connection has ended, or was not made.
pub(crate) enum Broken {
    /// It was asked to end.
    Closed,
    /// To poll again connects again.
    Lost(Loss),
}

/// An answer of the broker that is awaited.
pub(crate) type Answer<T> = futures_util::future::BoxFuture<'static, Result<T, NotTaken>>;

/// How far a session is on its way to be given up.
#[derive(Clone, Copy)]
pub(super) enum Anew {
    No,
    /// The next connection ends it, for this cause.
    Asked(Cause),
    /// The next connection begins a new one.
    Ended,
}

/// What it means that the broker answered with this reason code in a place where MQTT does not have it. The library says it
/// was an answer to CONNECT.
pub(super) fn unknown_answer(code: u8) -> String {
    const PACKET_TOO_LARGE: u8 = 0x95;
    let meaning = match code {
        PACKET_TOO_LARGE => {
            "the broker refused a message as larger than it takes, in words that MQTT does not have there"
        }
        _ => "the broker answered what it was sent in words that MQTT does not have there",
    };
    format!("{meaning} (reason code {code})")
}

/// What it means that an input or output failed.
pub(super) fn cause_of_io(error: &std::io::Error, connected: bool) -> Cause {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe if !connected => Cause::ClosedBeforeAnswer,
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Cause::Closed,
        _ => Cause::Network,
    }
}
