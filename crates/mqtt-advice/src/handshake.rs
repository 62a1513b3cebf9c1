//! One handshake on one connection: what the server shows in it, even if it fails, and the first words behind it.

use crate::{
    certificate::clean,
    failure::Failure,
    settings::{Shape, TlsSettings},
    verify::Watch,
};
use rustls::{
    ClientConnection, Error, ProtocolVersion, SupportedCipherSuite,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io::{self, Read as _},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};

/// How long a server may take to refuse who showed no certificate, before it gets the first words to answer.
pub const LINGER: Duration = Duration::from_millis(300);

/// Bytes of an answer that are kept.
const KEPT: usize = 64;

/// What one handshake of rustls showed, as far as it went.
#[derive(Debug, Default)]
pub struct Shown {
    /// The version of TLS, once there was a `ServerHello`.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite, once there was a `ServerHello`.
    pub suite: Option<SupportedCipherSuite>,
    /// What was chosen of what ALPN offered.
    pub alpn: Option<Vec<u8>>,
    /// The certificates that the server sent, its own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether a client certificate was asked for.
    pub asked: bool,
    /// The server would not go on without a client certificate, or with the one that was shown.
    pub refused: bool,
    /// Why it went no further.
    pub failure: Option<Failure>,
}

impl Shown {
    /// Whether there was a `ServerHello` at least.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.version.is_some()
    }
}

/// A handshake that was made, whether or not it went well.
#[derive(Debug)]
pub struct Handshake<S> {
    shown: Shown,
    /// None if there never was one.
    open: Option<(Wire<S>, ClientConnection)>,
    began: Instant,
    end: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// Makes a handshake on a stream that was just connected. With `shape.credentials`, the client certificate is shown,
    /// and the server has to be trusted; else it need not, and none is shown. It, and all that follows on it, is over at
    /// `end`.
    pub async fn make(
        stream: S,
        name: ServerName<'static>,
        settings: &TlsSettings,
        shape: &Shape<'_>,
        end: Instant,
    ) -> Self {
        let began = Instant::now();
        let mut shown = Shown::default();
        let watch = Watch::new(settings.own().filter(|_| shape.credentials).cloned());
        let config = settings.config(shape, &watch).map(Arc::new);
        let mut connection = match config.and_then(|config| ClientConnection::new(config, name)) {
            Ok(connection) => connection,
            Err(error) => {
                shown.failure = Some(Failure::Broken(error.to_string()));
                return Self { shown, open: None, began, end };
            }
        };
        let mut wire = Wire { stream, first: Vec::new() };
        let done = timeout_at(end, wire.complete(&mut connection)).await;
        shown.failure = done.map_or(Some(Failure::Silent), Result::err);
        shown.version = connection.protocol_version();
        shown.suite = connection.negotiated_cipher_suite();
        shown.alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
        shown.chain = watch.chain();
        shown.asked = watch.asked();
        shown.refused = shown.asked && matches!(shown.failure, Some(Failure::Alert(_) | Failure::Closed));
        Self { shown, open: Some((wire, connection)), began, end }
    }

    /// What it showed so far.
    pub const fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Finds out whether a server that asked for a client certificate goes on, when the handshake is complete for us.
    ///
    /// In TLS 1.3 its refusal comes after our last word of the handshake (RFC 8446, 4.4.2.4 and 6.2). `first_words` are
    /// sent to see whether it answers; they may be empty.
    pub async fn judge(&mut self, first_words: &[u8]) {
        if !self.shown.asked || self.shown.failure.is_some() {
            return;
        }
        // The handshake took at least one way there and back.
        let linger = self.end.min(Instant::now() + LINGER.max(self.began.elapsed() * 2));
        match self.first_answer(linger).await {
            Ok(_) => return,
            Err(Failure::Silent) if first_words.is_empty() => return,
            Err(Failure::Silent) => {}
            Err(_) => {
                self.shown.refused = true;
                return;
            }
        }
        // Now a server that closes may just not like the words.
        self.shown.refused = matches!(self.say(first_words).await, Err(Failure::Alert(_)));
    }

    /// Says the first words of an application, and waits for the answer: how that begins.
    ///
    /// # Errors
    ///
    /// The server ends the connection instead, or does not answer in time, or the handshake had failed already.
    pub async fn say(&mut self, words: &[u8]) -> Result<Vec<u8>, Failure> {
        if let Some(failure) = &self.shown.failure {
            return Err(failure.clone());
        }
        let end = self.end;
        if let Some((wire, connection)) = &mut self.open {
            // Into memory, which cannot fail; what is too much for its buffer is no first word.
            let _ = io::Write::write_all(&mut connection.writer(), words);
            wire.flush(connection).await;
        }
        self.first_answer(end).await
    }

    /// Waits for bytes of the server's application. To close in order is an answer too.
    async fn first_answer(&mut self, end: Instant) -> Result<Vec<u8>, Failure> {
        let Some((wire, connection)) = &mut self.open else { return Err(Failure::Closed) };
        timeout_at(end, wire.first_answer(connection)).await.unwrap_or(Err(Failure::Silent))
    }

    /// Ends the connection, with good manners.
    pub async fn finish(mut self) -> Shown {
        if let (None, Some((wire, connection))) = (&self.shown.failure, &mut self.open) {
            // The server need not wait for more.
            connection.send_close_notify();
            let _ = timeout_at(self.end, wire.flush(connection)).await;
        }
        self.shown
    }
}

#[derive(Debug)]
struct Wire<S> {
    stream: S,
    /// The first bytes that came.
    first: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    async fn complete(&mut self, connection: &mut ClientConnection) -> Result<(), Failure> {
        loop {
            self.flush(connection).await;
            if !connection.is_handshaking() {
                return Ok(());
            }
            self.receive(connection).await?;
        }
    }

    /// Errors show when reading: a server that closed has often said why before.
    async fn flush(&mut self, connection: &mut ClientConnection) {
        let mut bytes = Vec::new();
        while connection.wants_write() && connection.write_tls(&mut bytes).is_ok() {}
        let _ = self.stream.write_all(&bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Reads once.
    async fn receive(&mut self, connection: &mut ClientConnection) -> Result<(), Failure> {
        let mut input = Vec::new();
        read_more(&mut self.stream, &mut input).await?;
        self.first.extend(input.iter().take(32_usize.saturating_sub(self.first.len())));
        let mut input = input.as_slice();
        while !input.is_empty() {
            match connection.read_tls(&mut input) {
                Ok(0) => return Err(Failure::Closed),
                Ok(_) => {}
                Err(error) => return Err(Failure::Broken(error.to_string())),
            }
            if let Err(error) = connection.process_new_packets() {
                self.flush(connection).await;
                return Err(self.failure(error, connection));
            }
        }
        Ok(())
    }

    fn failure(&self, error: Error, connection: &ClientConnection) -> Failure {
        match error {
            Error::AlertReceived(alert) => Failure::Alert(alert),
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. }
                if connection.protocol_version().is_none() =>
            {
                Failure::not_tls(&self.first)
            }
            Error::PeerIncompatible(why) => Failure::Incompatible(format!("{why:?}")),
            error => Failure::Broken(clean(&error.to_string())),
        }
    }

    async fn first_answer(&mut self, connection: &mut ClientConnection) -> Result<Vec<u8>, Failure> {
        loop {
            let mut answer = [0; KEPT];
            match connection.reader().read(&mut answer) {
                Ok(count) => return Ok(answer.get(..count).unwrap_or_default().to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Failure::Closed),
            }
            self.receive(connection).await?;
        }
    }
}

/// Reads once, and appends what came.
///
/// # Errors
///
/// [`Failure::Closed`]
pub async fn read_more<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<(), Failure> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => Err(Failure::Closed),
        Ok(count) => {
            input.extend(buffer.iter().take(count));
            Ok(())
        }
    }
}
