//! The two versions of MQTT behind one face: what a connection asks for, and what happens on it.
//!
//! [`Requests`] is cloned to whoever asks for something, [`Link`] is the network side, which one task drives.

mod common;
#[cfg(feature = "v4")]
mod v4;
#[cfg(feature = "v5")]
mod v5;

use crate::{
    error::BuildError,
    loss::{Cause, Loss},
};
use bytes::Bytes;
use common::common;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[cfg(all(feature = "v4", not(feature = "v5")))]
pub use rumqttc_v4::QoS;
#[cfg(feature = "v5")]
pub use rumqttc_v5::QoS;

macro_rules! either {
    ($this:ident, $it:ident => $result:expr) => {
        match $this {
            #[cfg(feature = "v4")]
            Self::V4($it) => $result,
            #[cfg(feature = "v5")]
            Self::V5($it) => $result,
        }
    };
}

/// Where and how to connect, as rumqttc takes it: broker, transport, TLS, credentials, proxy, MQTT client id, keep alive.
///
/// Both versions' options convert into this. What a connection decides itself is overridden: session, acknowledgements
/// and packet sizes ([`Builder`](crate::Builder)). A last will belongs into [`Builder::last_will`](crate::Builder::last_will).
#[derive(Clone)]
#[non_exhaustive]
pub enum MqttOptions {
    /// MQTT 3.1.1.
    #[cfg(feature = "v4")]
    V4(Box<rumqttc_v4::MqttOptions>),
    /// MQTT 5.
    #[cfg(feature = "v5")]
    V5(Box<rumqttc_v5::MqttOptions>),
}

/// Prints no password.
impl fmt::Debug for MqttOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        either!(self, options => f.debug_struct("MqttOptions").field("client_id", &options.client_id()).finish_non_exhaustive())
    }
}

#[cfg(feature = "v4")]
impl From<rumqttc_v4::MqttOptions> for MqttOptions {
    fn from(options: rumqttc_v4::MqttOptions) -> Self {
        Self::V4(Box::new(options))
    }
}

#[cfg(feature = "v5")]
impl From<rumqttc_v5::MqttOptions> for MqttOptions {
    fn from(options: rumqttc_v5::MqttOptions) -> Self {
        Self::V5(Box::new(options))
    }
}

/// Packet identifiers of messages of QoS 2 of which the broker said that nobody has subscribed to their topic. It says so
/// with its first answer, and the library hands on the last one.
type Unheard = Arc<Mutex<BTreeSet<u16>>>;

fn unheard(unheard: &Unheard) -> MutexGuard<'_, BTreeSet<u16>> {
    unheard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many requests go out in one write, if the user does not say.
const REQUEST_BATCH: usize = 64;

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

/// Asks for things. Never waits: the queues behind it are bounded by whoever asks.
#[derive(Clone)]
pub(crate) enum Requests {
    #[cfg(feature = "v4")]
    V4(v4::Requests),
    #[cfg(feature = "v5")]
    V5(v5::Requests),
}

/// An answer of the broker that is awaited.
pub(crate) type Answer<T> = futures_util::future::BoxFuture<'static, Result<T, NotTaken>>;

impl Requests {
    /// Queues a message; the answer comes when the broker has it, as far as its QoS goes.
    pub(crate) fn publish(&self, message: &Outgoing) -> Answer<Taken> {
        either!(self, requests => requests.publish(message))
    }

    /// Brings the QoS that was granted.
    pub(crate) fn subscribe(&self, filter: &str, qos: QoS) -> Answer<QoS> {
        either!(self, requests => requests.subscribe(filter, qos))
    }

    /// Asks for something that changes nothing and brings nothing but the answer, not even what is retained: `granted` is
    /// subscribed at QoS 1.
    pub(crate) fn ask(&self, granted: &str) -> Answer<()> {
        either!(self, requests => requests.ask(granted))
    }

    pub(crate) fn unsubscribe(&self, filter: &str) -> Answer<()> {
        either!(self, requests => requests.unsubscribe(filter))
    }

    pub(crate) fn acknowledge(&self, packet_id: u16, qos: QoS) {
        either!(self, requests => requests.acknowledge(packet_id, qos));
    }

    /// Ends the connection in good order, once the broker has answered what is under way or the time is over.
    pub(crate) fn disconnect(&self, patience: Duration) {
        either!(self, requests => requests.disconnect(patience));
    }
}

/// The network side of a connection.
pub(crate) enum Link {
    #[cfg(feature = "v4")]
    V4(Box<v4::Link>),
    #[cfg(feature = "v5")]
    V5(Box<v5::Link>),
}

impl Link {
    /// Nothing is connected before the first [`poll`](Self::poll).
    pub(crate) fn new(options: MqttOptions, limits: Limits) -> Result<(Requests, Self), BuildError> {
        match options {
            #[cfg(feature = "v4")]
            MqttOptions::V4(options) => {
                let (requests, link) = v4::link(*options, limits)?;
                Ok((Requests::V4(requests), Self::V4(Box::new(link))))
            }
            #[cfg(feature = "v5")]
            MqttOptions::V5(options) => {
                let (requests, link) = v5::link(*options, limits)?;
                Ok((Requests::V5(requests), Self::V5(Box::new(link))))
            }
        }
    }

    /// Connects if need be, and waits for what happens next. Not to be cancelled.
    pub(crate) async fn poll(&mut self) -> Result<Happening, Broken> {
        either!(self, link => link.poll().await)
    }

    /// Ends the connection without a word to the broker; to poll again connects again.
    pub(crate) fn cut(&mut self) {
        either!(self, link => link.cut());
    }

    /// Forgets what is under way to the broker, and says so to whoever waits for it. For a connection that was lost.
    pub(crate) fn forget(&mut self) {
        either!(self, link => link.forget());
    }

    /// Has the broker end the session at the next connect, which is lost then for this cause, and begin a new one at the one
    /// after it.
    pub(crate) fn begin_anew(&mut self, cause: Cause) {
        either!(self, link => link.begin_anew(cause));
    }

    /// Sets the last will for the next time of connecting; its payload as it goes out.
    pub(crate) fn set_will(&mut self, will: Option<&Outgoing>) {
        either!(self, link => link.set_will(will));
    }
}

/// How far a session is on its way to be given up.
#[derive(Clone, Copy)]
enum Anew {
    No,
    /// The next connection ends it, for this cause.
    Asked(Cause),
    /// The next connection begins a new one.
    Ended,
}

/// What it means that the broker answered with this reason code in a place where MQTT does not have it. The library says it
/// was an answer to CONNECT.
fn unknown_answer(code: u8) -> String {
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
fn cause_of_io(error: &std::io::Error, connected: bool) -> Cause {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe if !connected => Cause::ClosedBeforeAnswer,
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Cause::Closed,
        _ => Cause::Network,
    }
}
