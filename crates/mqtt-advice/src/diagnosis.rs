//! Finding out what keeps a connection from being made: by a few connections of its own, which show no credentials.

use crate::{
    cause::{Cause, Version},
    certificate::distrust,
    failure::Failure,
    first_bytes::{connack, is_tls, looks_like},
    handshake::{Handshake, read_more},
    settings::{Shape, TlsSettings, server_name},
};
use rustls::pki_types::{ServerName, UnixTime};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};

/// The connection that was not made.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// The host, as a certificate has to name it.
    pub host: &'a str,
    /// How TLS was spoken; none if it was not.
    pub tls: Option<&'a TlsSettings>,
    /// The version of MQTT that was asked for.
    pub version: Version,
}

/// How long each connection has for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Finds out why a connection is not made. `dial` makes connections of TCP to the place where it was tried; up to six are
/// made, one after the other, all of it within `within`.
///
/// None if nothing is in the way of a client without credentials.
///
/// # Security
///
/// No credentials are sent, and the client certificate only to a server that is trusted. What is found out is for people
/// to read: whoever is on the way can make up anything.
pub async fn diagnose<F, Fut, S>(tried: &Connection<'_>, dial: F, within: Duration) -> Option<Cause>
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<S>>,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asking = Asking { tried, dial, end: Instant::now() + within };
    asking.first().await.err()
}

/// Whether a server that was just connected to speaks TLS, of whatever kind.
pub async fn speaks_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S, host: &str, end: Instant) -> bool {
    let Ok(name) = server_name(host) else { return false };
    let Ok(anyone) = TlsSettings::anyone() else { return false };
    let shown = Handshake::make(stream, name, &anyone, &Shape::default(), end).await.finish().await;
    shown.is_tls() || matches!(shown.failure, Some(Failure::Alert(_) | Failure::Incompatible(_)))
}

/// What was said to the first words.
enum Answer {
    /// It begins like this.
    Bytes(Vec<u8>),
    Closed,
    Silent,
}

impl From<Result<Vec<u8>, Failure>> for Answer {
    fn from(answer: Result<Vec<u8>, Failure>) -> Self {
        match answer {
            Ok(bytes) if bytes.is_empty() => Self::Closed,
            Ok(bytes) => Self::Bytes(bytes),
            Err(Failure::Silent | Failure::OutOfTime) => Self::Silent,
            Err(_) => Self::Closed,
        }
    }
}

struct Asking<'a, F> {
    tried: &'a Connection<'a>,
    dial: F,
    end: Instant,
}

impl<F, Fut, S> Asking<'_, F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<S>>,
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn first(&self) -> Result<(), Cause> {
        let asked = self.tried.version;
        let answer = self.say(asked).await?;
        let code = match &answer {
            Answer::Bytes(bytes) => match connack(bytes) {
                Some(code) => Some(code),
                None if self.tried.tls.is_none() && is_tls(bytes) => return Err(Cause::WantsTls),
                None => return Err(Cause::NotMqtt(looks_like(bytes))),
            },
            Answer::Closed | Answer::Silent => None,
        };
        match code {
            Some(0) => return Ok(()),
            // Unacceptable protocol version, of both versions.
            Some(0x01 | 0x84) => {
                let speaks = self.speaks(asked.other()).await?.then_some(asked.other());
                return Err(Cause::Version { asked, speaks });
            }
            // Bad user name or password, not authorized, of both versions; bad authentication method.
            Some(code @ (0x04 | 0x05 | 0x86 | 0x87 | 0x8c)) => return Err(Cause::WantsCredentials(code)),
            Some(code) => return Err(Cause::Refuses(code)),
            None => {}
        }
        let said_nothing = match answer {
            Answer::Silent => Cause::Silent,
            _ => Cause::Closes,
        };
        match self.what_else().await {
            Ok(()) => Err(said_nothing),
            // It was there a moment ago.
            Err(Cause::NoConnection(_)) => Err(said_nothing),
            Err(cause) => Err(cause),
        }
    }

    /// What it may be that says nothing to CONNECT.
    async fn what_else(&self) -> Result<(), Cause> {
        if self.tried.tls.is_none() {
            if speaks_tls(self.dial().await?, self.tried.host, self.soon()).await {
                return Err(Cause::WantsTls);
            }
            self.look_for_http().await?;
        }
        let asked = self.tried.version;
        if self.speaks(asked.other()).await? {
            return Err(Cause::Version { asked, speaks: Some(asked.other()) });
        }
        Ok(())
    }

    /// Some brokers that do not know a version close.
    async fn speaks(&self, version: Version) -> Result<bool, Cause> {
        let answer = self.say(version).await?;
        Ok(matches!(answer, Answer::Bytes(bytes) if connack(&bytes).is_some_and(|code| !matches!(code, 0x01 | 0x84))))
    }

    /// Says CONNECT, in TLS if that was tried.
    async fn say(&self, version: Version) -> Result<Answer, Cause> {
        let words = connect(version);
        match self.tried.tls {
            None => self.say_in_the_clear(&words).await,
            Some(settings) => self.say_in_tls(settings, &words).await,
        }
    }

    async fn say_in_the_clear(&self, words: &[u8]) -> Result<Answer, Cause> {
        let (mut stream, end) = (self.dial().await?, self.soon());
        let answered = timeout_at(end, async {
            // A server that has closed may have said why before.
            let _ = stream.write_all(words).await;
            let _ = stream.flush().await;
            let mut answer = Vec::new();
            // A broker may send its answer in pieces.
            while answer.len() < 4 {
                if let Err(failure) = read_more(&mut stream, &mut answer).await {
                    return if answer.is_empty() { Err(failure) } else { Ok(answer) };
                }
            }
            Ok(answer)
        });
        let answer = answered.await.unwrap_or(Err(Failure::Silent));
        if answer.is_ok() {
            let _ = timeout_at(end, stream.write_all(DISCONNECT)).await;
        }
        let _ = timeout_at(end, stream.shutdown()).await;
        Ok(answer.into())
    }

    async fn say_in_tls(&self, settings: &TlsSettings, words: &[u8]) -> Result<Answer, Cause> {
        let name = server_name(self.tried.host).map_err(|_| Cause::NoCertificateName)?;
        let (stream, end) = (self.dial().await?, self.soon());
        // To see all that it shows, the first one takes any certificate, and shows none.
        let mut lenient = Handshake::make(stream, name.clone(), settings, &Shape::default(), end).await;
        lenient.judge(words).await;
        let shown = lenient.shown();
        let problems = distrust(&shown.chain, &name, settings.roots(), settings.provider(), UnixTime::now());
        if !problems.is_empty() && !settings.is_insecure() {
            let _ = lenient.finish().await;
            return Err(Cause::Certificate(problems));
        }
        if shown.asked {
            let (refused, had_own) = (shown.refused, settings.has_client_certificate());
            let _ = lenient.finish().await;
            return match (refused, had_own) {
                (true, false) => Err(Cause::NoClientCertificate),
                _ => self.show_certificate(settings, name, words).await,
            };
        }
        if let Some(failure) = shown.failure.clone() {
            return Err(self.without_tls(failure).await?);
        }
        let answer = lenient.say(words).await;
        if answer.is_ok() {
            let _ = lenient.say(DISCONNECT).await;
        }
        let _ = lenient.finish().await;
        Ok(answer.into())
    }

    /// As the client that was refused: with its certificate, if it has one. Only a server that is trusted gets to see it.
    async fn show_certificate(
        &self,
        settings: &TlsSettings,
        name: ServerName<'static>,
        words: &[u8],
    ) -> Result<Answer, Cause> {
        let (stream, end) = (self.dial().await?, self.soon());
        let shape = Shape { credentials: true, ..Shape::default() };
        let mut strict = Handshake::make(stream, name, settings, &shape, end).await;
        let answer = strict.say(words).await;
        if answer.is_ok() {
            let _ = strict.say(DISCONNECT).await;
        }
        let had_own = settings.has_client_certificate();
        let shown = strict.finish().await;
        match answer {
            Err(Failure::Alert(alert)) if had_own => Err(Cause::ClientCertificate(Some(alert))),
            Err(Failure::Alert(_)) => Err(Cause::NoClientCertificate),
            Err(_) if shown.refused && had_own => Err(Cause::ClientCertificate(None)),
            Err(failure) if shown.failure.is_some() => Err(Cause::Tls(failure)),
            answer => Ok(answer.into()),
        }
    }

    /// What a server is that TLS cannot be spoken with.
    async fn without_tls(&self, failure: Failure) -> Result<Cause, Cause> {
        if let Failure::NotTls(bytes) = &failure
            && connack(bytes).is_none()
            && looks_like(bytes) != "nothing known"
        {
            return Ok(Cause::NotMqtt(looks_like(bytes)));
        }
        if matches!(failure, Failure::Alert(_) | Failure::Incompatible(_)) {
            return Ok(Cause::Tls(failure));
        }
        match self.say_in_the_clear(&connect(self.tried.version)).await? {
            Answer::Bytes(bytes) if connack(&bytes).is_some() => Ok(Cause::NoTls),
            Answer::Bytes(bytes) if looks_like(&bytes) != "nothing known" => Ok(Cause::NotMqtt(looks_like(&bytes))),
            _ => {
                self.look_for_http().await?;
                Ok(Cause::Tls(failure))
            }
        }
    }

    /// A server of HTTP may wait for the end of a line before it says that it does not understand.
    async fn look_for_http(&self) -> Result<(), Cause> {
        match self.say_in_the_clear(b"HEAD / HTTP/1.0\r\n\r\n").await? {
            Answer::Bytes(bytes) if bytes.starts_with(b"HTTP/") => Err(Cause::NotMqtt(looks_like(&bytes))),
            _ => Ok(()),
        }
    }

    async fn dial(&self) -> Result<S, Cause> {
        let dialed = timeout_at(self.end, (self.dial)()).await;
        dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Cause::NoConnection)
    }

    /// When what begins now has to be over.
    fn soon(&self) -> Instant {
        self.end.min(Instant::now() + ANSWER_WITHIN)
    }
}

/// DISCONNECT, in order (section 3.14 of both versions).
const DISCONNECT: &[u8] = &[0xe0, 0];

/// CONNECT with a session that ends with the connection and a client id of its own (section 3.1 of both versions).
fn connect(version: Version) -> Vec<u8> {
    /// Seconds.
    const KEEP_ALIVE: u8 = 30;
    const CLEAN: u8 = 0x02;
    let id = format!("advice-{:08x}", fastrand::u32(..));
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([version.level(), CLEAN, 0, KEEP_ALIVE]);
    if version == Version::V5 {
        // No properties.
        body.push(0);
    }
    body.extend([0, u8::try_from(id.len()).unwrap_or_default()]);
    body.extend(id.as_bytes());
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap_or_default()];
    packet.extend(body);
    packet
}
