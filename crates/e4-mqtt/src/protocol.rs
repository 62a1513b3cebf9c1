//! The two versions of MQTT behind one face: what a connection asks for, and what happens on it.
//!
//! [`Requests`] is cloned to whoever asks for something, [`Link`] is the network side, which one task drives.

mod common;
#[cfg(feature = "v4")]
mod v4;
#[cfg(feature = "v5")]
mod v5;
mod values;

pub(crate) use values::{Answer, Arrived, Broken, Connected, Happening, Limits, NotTaken, Outgoing};
pub use values::{QoS, Taken};

use crate::{error::BuildError, loss::Cause};
use common::common;
use std::{fmt, time::Duration};

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

/// Asks for things. Never waits: the queues behind it are bounded by whoever asks.
#[derive(Clone)]
pub(crate) enum Requests {
    #[cfg(feature = "v4")]
    V4(v4::Requests),
    #[cfg(feature = "v5")]
    V5(v5::Requests),
}

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
