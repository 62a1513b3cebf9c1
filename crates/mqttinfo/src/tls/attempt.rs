//! One handshake on one fresh connection, within its time.

use super::{
    client_hello::{self, client_hello},
    limits::Limits,
    server_hello::{Answer, parse_certificates, parse_server_hello},
    suites,
};
use mqtt_advice::{
    Failure, Shape, TlsSettings,
    handshake::{Handshake, LINGER, Shown, read_more},
};
use rustls::pki_types::ServerName;
use std::io;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// Up to the server's suite comes much less.
const MAX_HELLO: usize = 4096;
/// A chain that is longer than this is not read by rustls either.
const MAX_CHAIN: usize = 1 << 16;
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
        let (stream, end) = match self.connect().await {
            Ok(connected) => connected,
            Err(failure) => {
                shown.failure = Some(failure);
                return shown;
            }
        };
        let mut handshake = Handshake::make(stream, self.name.clone(), self.settings, shape, end).await;
        if judge {
            handshake.judge(self.first_words).await;
        }
        handshake.finish().await
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
                    Answer::NotTls => return Err(Failure::not_tls(&input)),
                    Answer::Incomplete if input.len() > MAX_HELLO => return Err(Failure::not_tls(&input)),
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

/// The versions that only a hello of ours can ask for, with their names in a report.
pub(super) const OLD_VERSIONS: [(u16, &str); 2] = [(client_hello::TLS_1_0, "1.0"), (client_hello::TLS_1_1, "1.1")];
