//! What can go wrong on the application's side. What others do wrong is an [`Event`](crate::Event).

use crate::loss::Loss;
use e4::{NameError, SealError};
use std::{error::Error, fmt};

/// The connection is closed for good, by [`Connection::shutdown`](crate::Connection::shutdown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed")
    }
}

impl Error for Closed {}

/// Why no connection was started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A persistent session has no MQTT client id.
    NoMqttClientId,
    /// The options have a last will, which would not be sealed.
    UnsealedWill,
    /// The MQTT library does not take the options; its reason.
    Options(String),
    /// The topic of the last will has a control character in it.
    ControlCharacter,
    /// It was not called from within a Tokio runtime.
    NoRuntime,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMqttClientId => f.write_str(
                "a persistent session needs an MQTT client id: set one in the options, or ask for a clean session",
            ),
            Self::UnsealedWill => f.write_str(
                "the last will in the options would not be sealed: give it to the connection's builder instead",
            ),
            Self::Options(reason) => write!(f, "the MQTT options are not valid: {reason}"),
            Self::ControlCharacter => {
                f.write_str("the topic of the last will has a control character in it, which brokers refuse")
            }
            Self::NoRuntime => f.write_str("connect from within a Tokio runtime, which drives the connection"),
        }
    }
}

impl Error for BuildError {}

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// It could not be sealed. Nothing went out.
    Seal(SealError),
    /// The topic is not the name of a topic.
    Name(NameError),
    /// The topic has a control character in it: MQTT advises against them, and brokers close the connection
    /// (MQTT 5, section 1.5.4).
    ControlCharacter,
    /// The packet would be larger than the connection or the broker takes.
    TooLarge {
        /// Bytes of the packet.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The connection is closed for good.
    Closed,
}

impl From<SealError> for PublishError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl From<NameError> for PublishError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<Closed> for PublishError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal(error) => error.fmt(f),
            Self::Name(error) => error.fmt(f),
            Self::ControlCharacter => f.write_str("the topic has a control character in it, which brokers refuse"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "the message makes a packet of {bytes} bytes, and at most {limit} are allowed")
            }
            Self::Closed => Closed.fmt(f),
        }
    }
}

impl Error for PublishError {}

/// Why the broker does not have a message, a subscription or an unsubscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerError {
    /// The broker did not take it, or would not; the reason, in words.
    Refused(String),
    /// The broker did not answer in time. If there was no connection for some of it, why the last one ended.
    NoAnswer(Option<Box<Loss>>),
    /// The broker closed the connection each time it was sent this; the last reason.
    ClosedOn(Option<Box<Loss>>),
    /// The message waited for the next second, since it is equal to another one, and could not be sealed any more then.
    Seal(SealError),
    /// The connection was closed before the broker answered.
    Closed,
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::NoAnswer(None) => f.write_str("the broker did not answer in time"),
            Self::NoAnswer(Some(loss)) => {
                write!(f, "the broker did not answer in time; the last connection ended: {loss}")
            }
            Self::ClosedOn(None) => f.write_str("the broker closes the connection each time it is sent this"),
            Self::ClosedOn(Some(loss)) => {
                write!(f, "the broker closes the connection each time it is sent this: {loss}")
            }
            Self::Seal(error) => error.fmt(f),
            Self::Closed => f.write_str("the connection was closed before the broker answered"),
        }
    }
}

impl Error for BrokerError {}
