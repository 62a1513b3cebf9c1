//! The probes: each goes on a short connection of its own, and notes what it saw.

mod access;
mod flows;
mod limits;
mod logins;
mod oddities;

use crate::{
    dial::{Dialer, Trust},
    packets::Frame,
    report::{Answer, Level, LevelReport, Reaction, Report, TlsReport},
    session::{Hello, Received, Session, hello},
    settings::Settings,
    target::Transport,
    tls,
};
use futures_util::future::BoxFuture;
use mqtt5_protocol::PacketType;
use std::{io, time::Duration};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub(crate) use limits::limits;

/// What a probe saw, to be put where it belongs.
pub(crate) type Seen = Box<dyn FnOnce(&mut Report) + Send>;

/// A probe under way.
pub(crate) type Probe<'a> = BoxFuture<'a, Seen>;

/// What probes of one target share.
pub(crate) struct Prober<'a> {
    pub(crate) dialer: &'a Dialer,
    pub(crate) settings: &'a Settings,
    /// A random name. All that is published goes below `mqttinfo/` and this.
    run: String,
}

/// As whom a probe connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Without credentials.
    Stranger,
    /// With those that were given.
    User,
}

/// How long an answer may come behind that of a PINGREQ: some brokers answer on several threads.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// Random letters and digits.
fn random(len: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(len).map(|one| one.to_ascii_lowercase()).collect()
}

impl<'a> Prober<'a> {
    pub(crate) fn new(dialer: &'a Dialer, settings: &'a Settings) -> Self {
        Self { dialer, settings, run: random(12) }
    }

    /// A client id that says who we are. MQTT 3.1.1 has brokers take 23 characters (section 3.1.3.1).
    fn client_id(&self) -> String {
        format!("mqttinfo-{}", random(12))
    }

    /// A topic of our own.
    fn topic(&self, name: &str) -> String {
        format!("mqttinfo/{}/{name}", self.run)
    }

    /// Whether it is a topic of ours, or of another look at the same broker at the same time.
    fn is_own(topic: &str) -> bool {
        let topic = topic.strip_prefix("$SYS/").or_else(|| topic.strip_prefix('$')).unwrap_or(topic);
        topic.starts_with("mqttinfo/")
    }

    /// The words to connect with.
    fn words<'w>(&self, level: u8, who: Who, client_id: &'w str) -> Hello<'w>
    where
        'a: 'w,
    {
        let (credentials, trust) = match who {
            Who::Stranger => (None, Trust::Anyone),
            Who::User => (self.settings.credentials.as_ref(), Trust::Verified),
        };
        Hello { level, client_id, clean: true, credentials, trust }
    }

    /// The end of what begins now and waits for one answer.
    fn soon(&self) -> Instant {
        Instant::now() + self.settings.answer_within
    }

    async fn hello(&self, greeting: &Hello<'_>) -> (Answer, Option<Session>) {
        hello(self.dialer, greeting, self.settings.answer_within).await
    }

    /// Connects with a protocol level that need not exist, and goes again.
    pub(crate) async fn greet(&self, level: u8, who: Who) -> Answer {
        let client_id = self.client_id();
        let (answer, session) = self.hello(&self.words(level, who, &client_id)).await;
        if let Some(session) = session {
            session.leave().await;
        }
        answer
    }

    /// A connection for a probe; or why there is none, although there was one before.
    async fn session(&self, level: Level, who: Who) -> Result<Session, Reaction> {
        let client_id = self.client_id();
        let (answer, session) = self.hello(&self.words(level.byte(), who, &client_id)).await;
        session.ok_or_else(|| Reaction::Unclear { reason: format!("could not connect again: {}", in_words(&answer)) })
    }

    /// What the TLS of the target is like.
    pub(crate) async fn tls(&self) -> TlsReport {
        let limits = tls::Limits { attempt: self.settings.answer_within, ..tls::Limits::default() };
        let target = self.dialer.target();
        let client_id = self.client_id();
        // To see whether a server that asks for a certificate answers to who has none.
        let first_words = match target.transport() {
            Transport::SecureWebSocket => {
                Zeroizing::new(format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target.path(), target.authority()).into())
            }
            _ => self.words(Level::V5.byte(), Who::Stranger, &client_id).packet(),
        };
        let dial = || async { self.dialer.stream().await.map_err(io::Error::other) };
        tls::look(target, dial, &self.settings.tls, &limits, &first_words).await
    }

    /// The probes that have to come before others subscribe to everything.
    pub(crate) fn behaviour(&self, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'_>> {
        let mut probes = flows::probes(self, level, who, seen);
        probes.extend(oddities::probes(self, level, who));
        probes.extend(logins::probes(self, level, who, seen));
        probes.extend(self.login_errors(level));
        probes
    }

    /// The probes that read and write.
    pub(crate) fn access(&self, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'_>> {
        access::probes(self, level, who, seen)
    }
}

/// The part of a report that is about a version of MQTT, if there is one.
pub(crate) const fn level_mut(report: &mut Report, level: Level) -> Option<&mut LevelReport> {
    match level {
        Level::V3_1_1 => report.mqtt_3_1_1.as_mut(),
        Level::V5 => report.mqtt_5.as_mut(),
    }
}

/// A probe whose result goes to the part that is about a version of MQTT.
fn note<'p, T: Send + 'static>(
    level: Level,
    look: impl Future<Output = T> + Send + 'p,
    put: impl FnOnce(&mut LevelReport, T) + Send + 'static,
) -> Probe<'p> {
    Box::pin(async move {
        let seen = look.await;
        Box::new(move |report: &mut Report| {
            if let Some(part) = level_mut(report, level) {
                put(part, seen);
            }
        }) as Seen
    })
}

/// An answer to a CONNECT in a few words.
pub(crate) fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Accepted(_) => "accepted".to_owned(),
        Answer::Refused(connack) => format!("refused, code 0x{:02x}", connack.code),
        Answer::Closed => "closed without an answer".to_owned(),
        Answer::Silent => "no answer".to_owned(),
        Answer::Other { looks_like, .. } => format!("not MQTT, but {looks_like}"),
        Answer::Failed { reason } => reason.clone(),
    }
}

/// What a packet says about something that was sent before, if it says anything about that.
fn reaction_of(frame: &Frame, level: Level) -> Option<Reaction> {
    let (name, code) = match frame.kind()? {
        // The code is the last byte in both versions, as we ask for one thing at a time.
        PacketType::SubAck => ("SUBACK", frame.body.last().copied()),
        PacketType::PubAck => ("PUBACK", ack_code(frame, level)),
        PacketType::PubRec => ("PUBREC", ack_code(frame, level)),
        PacketType::PubComp => ("PUBCOMP", ack_code(frame, level)),
        PacketType::ConnAck => ("CONNACK", frame.body.get(1).copied()),
        PacketType::Publish => ("PUBLISH", None),
        PacketType::Disconnect => {
            let code = (level == Level::V5).then(|| frame.body.first().copied().unwrap_or(0));
            return Some(Reaction::Refused { by: with_code("DISCONNECT", code) });
        }
        _ => return None,
    };
    let by = with_code(name, code);
    let refused = match frame.kind()? {
        // Codes of MQTT 3.1.1 from 1 on refuse.
        PacketType::ConnAck => code != Some(0),
        _ => code.is_some_and(|code| code >= 0x80),
    };
    Some(if refused { Reaction::Refused { by } } else { Reaction::Accepted { by } })
}

/// The reason code of an acknowledgement; MQTT 5 leaves it out where it is 0, and 3.1.1 has none.
fn ack_code(frame: &Frame, level: Level) -> Option<u8> {
    (level == Level::V5).then(|| frame.body.get(2).copied().unwrap_or(0))
}

fn with_code(name: &str, code: Option<u8>) -> String {
    code.map_or_else(|| name.to_owned(), |code| format!("{name} 0x{code:02x}"))
}

/// What became of something, when no packet says so.
fn without_answer(received: &Received) -> Reaction {
    match received {
        Received::Closed => Reaction::Closed,
        Received::Silence => Reaction::Unclear { reason: "no answer in time".into() },
        Received::Garbage | Received::Frame(_) => Reaction::Unclear { reason: "what came back cannot be read".into() },
    }
}

/// Waits for the packets of one kind, passing over others; a DISCONNECT ends the wait.
async fn wait_for(session: &mut Session, level: Level, kind: PacketType, deadline: Instant) -> Result<Frame, Reaction> {
    loop {
        match session.receive(deadline).await {
            Received::Frame(frame) if frame.kind() == Some(kind) => return Ok(frame),
            Received::Frame(frame) if frame.kind() == Some(PacketType::Disconnect) => {
                return Err(reaction_of(&frame, level).unwrap_or(Reaction::Closed));
            }
            Received::Frame(_) => (),
            other => return Err(without_answer(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_looks_are_told_from_others_below_sys_too() {
        for own in ["mqttinfo/abc/write", "$SYS/mqttinfo/abc/write"] {
            assert!(Prober::is_own(own), "{own}");
        }
        for foreign in ["mqttinfo", "plant/mqttinfo/x", "$SYS/broker/version", "other/$SYS/mqttinfo/x"] {
            assert!(!Prober::is_own(foreign), "{foreign}");
        }
    }
}
