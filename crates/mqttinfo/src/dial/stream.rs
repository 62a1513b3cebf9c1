//! What bytes travel on, and why there is nothing for them to travel on.

use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite};

/// What bytes travel on, below MQTT.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A stream of any kind.
pub(crate) type BoxedStream = Box<dyn ByteStream>;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The name has no address.
    Lookup(io::Error),
    /// No address took the connection; the last one's reason.
    Connect(io::Error),
    /// The proxy did not make the connection.
    Proxy(String),
    /// TLS failed.
    Tls(io::Error),
    /// The server does not speak WebSocket there.
    WebSocket(String),
    /// It took too long; what was being waited for.
    TimedOut(&'static str),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(error) => write!(f, "the name was not found ({error})"),
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("nothing listens on this port (connection refused)")
            }
            Self::Connect(error) => write!(f, "no connection ({error})"),
            Self::Proxy(reason) => write!(f, "the proxy did not connect ({reason})"),
            Self::Tls(error) => write!(f, "TLS failed ({error})"),
            Self::WebSocket(reason) => write!(f, "no WebSocket ({reason})"),
            Self::TimedOut(what) => write!(f, "no answer in time ({what})"),
        }
    }
}

impl core::error::Error for DialError {}
