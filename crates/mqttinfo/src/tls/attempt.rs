//! One handshake on one fresh connection, within its time.

use super::{
    chain::clean,
    client_hello::{self, client_hello},
    look::Limits,
    server_hello::{Answer, parse_certificates, parse_server_hello},
    settings::{Shape, TlsSettings},
    suites,
    verify::Watch,
};
use rustls::{
    AlertDescription, ClientConnection, Error, ProtocolVersion, SupportedCipherSuite,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io::{self, Read as _},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// Up to the server's suite comes much less.
const MAX_HELLO: usize = 4096;
/// A chain that is longer than this is not read by rustls either.
const MAX_CHAIN: usize = 1 << 16;
/// How long a server may take to refuse who showed no certificate, before it gets the first words to answer.
const LINGER: Duration = Duration::from_millis(300);

/// Why there is no more to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was none.
    Connect(String),
    /// Nothing more came in time.
    Silent,
    /// The server ended it without a word.
    Closed,
    /// The server ended it with this word of TLS.
    Alert(AlertDescription),
    /// What came is no TLS: its first bytes.
    NotTls(Vec<u8>),
    /// The server speaks only what rustls does not.
    Incompatible(String),
    /// The server made a mistake.
    Broken(String),
    /// The time for the whole target is over.
    OutOfTime,
}

/// What one handshake of rustls showed, as far as it went.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) version: Option<ProtocolVersion>,
    pub(super) suite: Option<SupportedCipherSuite>,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether a client certificate was asked for.
    pub(super) asked: bool,
    /// The server would not go on without a client certificate.
    pub(super) refused: bool,
    /// Why it went no further.
    pub(super) failure: Option<Failure>,
}

/// What the answer to a hello of ours was.
#[derive(Debug)]
pub(super) struct RawHello {
    pub(super) version: u16,
    pub(super) suite: u16,
    /// Its chain, if asked for.
    pub(super) chain: Vec<Vec<u8>>,
}

/// Makes connections, so many at once and within the time.
pub(super) struct Prober<'a, F> {
    pub(super) dial: F,
    pub(super) name: ServerName<'static>,
    pub(super) settings: &'a TlsSettings,
    pub(super) limits: &'a Limits,
    pub(super) first_words: &'a [u8],
    pub(super) permits: Semaphore,
    /// When the time for the target is over.
    pub(super) end: Instant,
}

impl<F, Fut, S> Prober<'_, F>
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// Connects, and says until when the attempt may last.
    async fn connect(&self) -> Result<(S, Instant), Failure> {
        let now = Instant::now();
        if now >= self.end {
            return Err(Failure::OutOfTime);
        }
        let end = self.end.min(now + self.limits.attempt);
        let connected = timeout_at(end, (self.dial)()).await;
        let stream = connected.map_err(|_| Failure::Connect("nothing answers in time".to_owned()))?;
        stream.map(|stream| (stream, end)).map_err(|error| Failure::Connect(error.to_string()))
    }

    /// A handshake of rustls. `judge`: finds out too whether the server goes on without a client certificate.
    pub(super) async fn handshake(&self, shape: &Shape<'_>, judge: bool) -> Shown {
        let mut shown = Shown::default();
        let Ok(_permit) = self.permits.acquire().await else { return shown };
        let own = self.settings.own().filter(|_| shape.credentials).cloned();
        let watch = Watch::new(own);
        let config = self.settings.config(shape, &watch).map(Arc::new);
        let mut connection = match config.and_then(|config| ClientConnection::new(config, self.name.clone())) {
            Ok(connection) => connection,
            Err(error) => {
                shown.failure = Some(Failure::Broken(error.to_string()));
                return shown;
            }
        };
        let (stream, end) = match self.connect().await {
            Ok(connected) => connected,
            Err(failure) => {
                shown.failure = Some(failure);
                return shown;
            }
        };
        let began = Instant::now();
        let mut wire = Wire { stream, first: Vec::new() };
        let done = timeout_at(end, wire.complete(&mut connection)).await;
        shown.failure = done.map_or(Some(Failure::Silent), Result::err);
        shown.version = connection.protocol_version();
        shown.suite = connection.negotiated_cipher_suite();
        shown.alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
        shown.chain = watch.chain();
        shown.asked = watch.asked();
        if shown.asked {
            shown.refused = match shown.failure {
                Some(Failure::Alert(_) | Failure::Closed) => true,
                Some(_) => false,
                None if judge => wire.is_refused(&mut connection, self.first_words, began.elapsed(), end).await,
                None => false,
            };
        }
        if shown.failure.is_none() {
            // Good manners; the server need not wait for more.
            connection.send_close_notify();
            let _ = timeout_at(end, wire.flush(&mut connection)).await;
        }
        shown
    }

    /// Sends a hello of ours, and reads no more than the answer to it; with `chain` also the certificates after it.
    pub(super) async fn hello(&self, version: u16, suites: &[u16], chain: bool) -> Result<RawHello, Failure> {
        let Ok(_permit) = self.permits.acquire().await else { return Err(Failure::OutOfTime) };
        let (mut stream, end) = self.connect().await?;
        let name = match &self.name {
            ServerName::DnsName(name) => Some(name.as_ref()),
            // An address is no name to send (RFC 6066, 3).
            _ => None,
        };
        let random = core::array::from_fn(|_| fastrand::u8(..));
        let hello = client_hello(version, suites, name, random);
        timeout_at(end, async move {
            // A server that has closed already may have said why: what came is read in any case.
            let _ = stream.write_all(&hello).await;
            let mut input = Vec::new();
            let (version, suite) = loop {
                match parse_server_hello(&input) {
                    Answer::Hello { version, suite } => break (version, suite),
                    Answer::Alert(description) => return Err(Failure::Alert(description.into())),
                    Answer::NotTls => return Err(not_tls(&input)),
                    Answer::Incomplete if input.len() > MAX_HELLO => return Err(not_tls(&input)),
                    Answer::Incomplete => {}
                }
                read_more(&mut stream, &mut input).await?;
            };
            let mut found = RawHello { version, suite, chain: Vec::new() };
            while chain && input.len() < MAX_CHAIN {
                if let Some(chain) = parse_certificates(&input) {
                    found.chain = chain;
                    break;
                }
                // Without certificates, that of a shared key for one, something else follows, or nothing.
                match tokio::time::timeout(LINGER, read_more(&mut stream, &mut input)).await {
                    Ok(Ok(())) => {}
                    _ => break,
                }
            }
            Ok(found)
        })
        .await
        .unwrap_or(Err(Failure::Silent))
    }

    /// Which of these suites the server takes, in the order of its choice: offers them all, then all but the one that
    /// it chose, until it refuses. Also says why it refused.
    pub(super) async fn choices(&self, version: u16, suites: &[suites::Suite]) -> (Vec<u16>, Option<Failure>) {
        let mut left: Vec<u16> = suites.iter().map(|(number, _)| *number).collect();
        let mut taken = Vec::new();
        while !left.is_empty() {
            match self.hello(version, &left, false).await {
                Ok(hello) if hello.version == version && left.contains(&hello.suite) => {
                    left.retain(|suite| *suite != hello.suite);
                    taken.push(hello.suite);
                }
                // Another version, or a suite that was not offered.
                Ok(_) => return (taken, None),
                Err(failure) => return (taken, Some(failure)),
            }
        }
        (taken, None)
    }
}

async fn read_more<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<(), Failure> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => Err(Failure::Closed),
        Ok(count) => {
            input.extend(buffer.iter().take(count));
            Ok(())
        }
    }
}

fn not_tls(input: &[u8]) -> Failure {
    Failure::NotTls(input.iter().take(32).copied().collect())
}

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
                not_tls(&self.first)
            }
            Error::PeerIncompatible(why) => Failure::Incompatible(format!("{why:?}")),
            error => Failure::Broken(clean(&error.to_string())),
        }
    }

    /// Whether the server ends a connection whose handshake was complete for us, because we showed no certificate.
    ///
    /// In TLS 1.3 its refusal comes after our last word of the handshake (RFC 8446, 4.4.2.4 and 6.2).
    async fn is_refused(
        &mut self,
        connection: &mut ClientConnection,
        first_words: &[u8],
        round_trips: Duration,
        end: Instant,
    ) -> bool {
        // The handshake took at least one way there and back.
        let linger = end.min(Instant::now() + LINGER.max(round_trips * 2));
        match timeout_at(linger, self.first_answer(connection)).await {
            Ok(Ok(())) => return false,
            Ok(Err(_)) => return true,
            Err(_) if first_words.is_empty() => return false,
            Err(_) => {}
        }
        let _ = io::Write::write_all(&mut connection.writer(), first_words);
        self.flush(connection).await;
        // Now a server that closes may just not like the words.
        matches!(timeout_at(end, self.first_answer(connection)).await, Ok(Err(Failure::Alert(_))))
    }

    /// Waits for a byte of the server's application, or its end. To close in order is an answer too.
    async fn first_answer(&mut self, connection: &mut ClientConnection) -> Result<(), Failure> {
        loop {
            match connection.reader().read(&mut [0]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Failure::Closed),
            }
            self.receive(connection).await?;
        }
    }
}

impl Failure {
    /// Whether the server may still speak TLS, just not like this.
    pub(super) const fn may_be_tls(&self) -> bool {
        matches!(self, Self::Alert(_) | Self::Closed | Self::Incompatible(_) | Self::Broken(_))
    }

    /// Whether the server said no, in its way, and did not just take too long.
    pub(super) const fn is_answer(&self) -> bool {
        !matches!(self, Self::Connect(_) | Self::Silent | Self::OutOfTime)
    }

    /// A sentence for a person.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Connect(why) => format!("no connection could be made: {why}"),
            Self::Silent => "the server did not finish the handshake in time".to_owned(),
            Self::Closed => "the server closed the connection when TLS began: it may speak no TLS".to_owned(),
            Self::Alert(alert) => format!("the server refused the handshake: {}", alert_in_words(*alert)),
            Self::NotTls(bytes) => format!("the server speaks no TLS: {}", looks_like(bytes)),
            Self::Incompatible(why) => format!("the server speaks only what is no longer safe: {why}"),
            Self::Broken(why) => format!("the handshake failed: {why}"),
            Self::OutOfTime => "the time for it was over".to_owned(),
        }
    }
}

fn alert_in_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure => "nothing in common (handshake_failure)".to_owned(),
        AlertDescription::ProtocolVersion => "it does not speak this version (protocol_version)".to_owned(),
        AlertDescription::UnrecognisedName => "it does not know this name (unrecognized_name)".to_owned(),
        AlertDescription::InternalError => "something is wrong with it (internal_error)".to_owned(),
        AlertDescription::Unknown(number) => format!("alert {number}"),
        other => format!("alert {} ({other:?})", u8::from(other)),
    }
}

fn looks_like(bytes: &[u8]) -> String {
    match bytes {
        [0x20, _, 0..=1, ..] => "it answers with a CONNACK of MQTT".to_owned(),
        [b'H', b'T', b'T', b'P', b'/', ..] => "it answers with HTTP".to_owned(),
        [b'S', b'S', b'H', b'-', ..] => "it answers with SSH".to_owned(),
        bytes => match core::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
                format!("it answers with the text {:?}", text.trim())
            }
            _ => format!("it answers with the bytes {}", hex::encode(bytes)),
        },
    }
}

/// The versions that only a hello of ours can ask for, with their names in a report.
pub(super) const OLD_VERSIONS: [(u16, &str); 2] = [(client_hello::TLS_1_0, "1.0"), (client_hello::TLS_1_1, "1.1")];
