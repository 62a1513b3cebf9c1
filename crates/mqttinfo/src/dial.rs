//! Connections to a target: TCP, through a proxy if there is one, TLS and WebSocket on top as the target wants it.

mod proxy;
mod stream;
mod websocket;

pub use proxy::{InvalidProxy, Proxy};
pub(crate) use stream::DialError;

use crate::{
    target::{Target, Transport},
    tls::TlsSettings,
};
use bytes::BytesMut;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use stream::BoxedStream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use websocket::WebSocket;

/// Makes connections to one target, all of them to the same address.
#[derive(Debug)]
pub(crate) struct Dialer {
    target: Target,
    proxy: Option<Arc<Proxy>>,
    tls: Arc<TlsSettings>,
    connect_within: Duration,
    /// The address that took the first connection. Other addresses of the same name may be other brokers.
    address: OnceLock<SocketAddr>,
}

/// How much a connection has to know whom it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It only looks, and takes any certificate.
    Anyone,
    /// It carries credentials, and takes only a certificate that can be verified.
    Verified,
}

impl Dialer {
    /// A dialer for a target. No connection is made yet.
    #[must_use]
    pub(crate) fn new(
        target: Target,
        proxy: Option<Arc<Proxy>>,
        tls: Arc<TlsSettings>,
        connect_within: Duration,
    ) -> Self {
        let proxy = proxy.filter(|proxy| !proxy.passes_over(target.host()));
        Self { target, proxy, tls, connect_within, address: OnceLock::new() }
    }

    /// What is dialed.
    #[must_use]
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// The address that connections go to, once there was one.
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// A connection without TLS or WebSocket on it.
    ///
    /// # Errors
    ///
    /// [`DialError`]
    pub(crate) async fn stream(&self) -> Result<BoxedStream, DialError> {
        let within = timeout(self.connect_within, async {
            match &self.proxy {
                Some(proxy) => proxy.connect(&self.target).await,
                None => Ok(Box::new(self.connect().await?) as BoxedStream),
            }
        });
        within.await.unwrap_or(Err(DialError::TimedOut("TCP")))
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let known = self.address.get().map(|address| VecDeque::from([*address]));
        let mut addresses = match known {
            Some(addresses) => addresses,
            None => {
                let found = tokio::net::lookup_host((self.target.host(), self.target.port())).await;
                found.map_err(DialError::Lookup)?.collect()
            }
        };
        let mut last = DialError::Lookup(io::Error::other("no address"));
        let deadline = Instant::now() + self.connect_within;
        while let Some(address) = addresses.pop_front() {
            // Each gets its share of the time, so that a dead address does not use up that of a living one.
            let waiting = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_add(1);
            let share = deadline.saturating_duration_since(Instant::now()) / waiting;
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // To be fast, not more: it works without.
                    let _without = stream.set_nodelay(true);
                    self.address.get_or_init(|| address);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = DialError::Connect(error),
                Err(_) => last = DialError::TimedOut("TCP"),
            }
        }
        Err(last)
    }

    /// A connection that MQTT can be spoken on.
    ///
    /// # Errors
    ///
    /// [`DialError`]
    pub(crate) async fn wire(&self, trust: Trust) -> Result<Wire, DialError> {
        let stream = self.stream().await?;
        let deadline = Instant::now() + self.connect_within;
        let transport = self.target.transport();
        let stream = match transport.is_tls() {
            true => {
                let tls = self.secure(stream, trust);
                timeout_at(deadline, tls).await.unwrap_or(Err(DialError::TimedOut("TLS")))?
            }
            false => stream,
        };
        if !transport.is_websocket() {
            return Ok(Wire::Stream(stream));
        }
        let upgrade = WebSocket::connect(&self.target, stream);
        let websocket = timeout_at(deadline, upgrade).await.unwrap_or(Err(DialError::TimedOut("WebSocket")))?;
        Ok(Wire::WebSocket(Box::new(websocket)))
    }

    async fn secure(&self, stream: BoxedStream, trust: Trust) -> Result<BoxedStream, DialError> {
        let alpn: &[&[u8]] = match self.target.transport() {
            Transport::SecureWebSocket => &[b"http/1.1"],
            _ => &[],
        };
        let config = match trust {
            Trust::Anyone => self.tls.lenient(alpn),
            Trust::Verified => self.tls.strict(alpn),
        };
        let name = crate::tls::server_name(self.target.host())
            .map_err(|_| DialError::Tls(io::Error::other("no certificate can have this name")))?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(DialError::Tls)?;
        Ok(Box::new(stream))
    }
}

/// A connection that MQTT is spoken on.
pub(crate) enum Wire {
    /// TCP or TLS.
    Stream(BoxedStream),
    /// WebSocket.
    WebSocket(Box<WebSocket>),
}

impl Wire {
    /// Waits for bytes and appends them. None mean that the other side has closed.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        /// Bytes that are read at once.
        const CHUNK: usize = 16 * 1024;
        match self {
            Self::Stream(stream) => {
                buffer.reserve(CHUNK);
                let before = buffer.len();
                let read = (&mut *stream).take(CHUNK as u64).read_buf(buffer).await?;
                debug_assert_eq!(buffer.len(), before + read);
                Ok(read)
            }
            Self::WebSocket(websocket) => websocket.read(buffer).await,
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::WebSocket(websocket) => websocket.write(bytes).await,
        }
    }

    /// Closes in order, as far as the other side plays along.
    pub(crate) async fn close(&mut self) {
        /// It is over either way.
        const PATIENCE: Duration = Duration::from_millis(200);
        let _closed = timeout(PATIENCE, async {
            match self {
                Self::Stream(stream) => stream.shutdown().await,
                Self::WebSocket(websocket) => websocket.close().await,
            }
        })
        .await;
    }
}
