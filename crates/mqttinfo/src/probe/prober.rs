//! What probes of one target share, and how they connect.

use crate::{
    dial::{Dialer, Trust},
    report::{Answer, Level, LevelReport, Reaction, Report, TlsReport},
    session::{Hello, Session, hello},
    settings::Settings,
    target::Transport,
    tls,
};
use futures_util::future::BoxFuture;
use std::io;
use tokio::time::Instant;
use zeroize::Zeroizing;

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

/// Random letters and digits.
pub(super) fn random(len: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(len).map(|one| one.to_ascii_lowercase()).collect()
}

impl<'a> Prober<'a> {
    pub(crate) fn new(dialer: &'a Dialer, settings: &'a Settings) -> Self {
        Self { dialer, settings, run: random(12) }
    }

    /// A client id that says who we are. MQTT 3.1.1 has brokers take 23 characters (section 3.1.3.1).
    pub(super) fn client_id(&self) -> String {
        format!("mqttinfo-{}", random(12))
    }

    /// A topic of our own.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("mqttinfo/{}/{name}", self.run)
    }

    /// Whether it is a topic of ours, or of another look at the same broker at the same time.
    pub(super) fn is_own(topic: &str) -> bool {
        let topic = topic.strip_prefix("$SYS/").or_else(|| topic.strip_prefix('$')).unwrap_or(topic);
        topic.starts_with("mqttinfo/")
    }

    /// The words to connect with.
    pub(super) fn words<'w>(&self, level: u8, who: Who, client_id: &'w str) -> Hello<'w>
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
    pub(super) fn soon(&self) -> Instant {
        Instant::now() + self.settings.answer_within
    }

    pub(super) async fn hello(&self, greeting: &Hello<'_>) -> (Answer, Option<Session>) {
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
    pub(super) async fn session(&self, level: Level, who: Who) -> Result<Session, Reaction> {
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
}

/// A probe whose result goes to the part that is about a version of MQTT.
pub(super) fn note<'p, T: Send + 'static>(
    level: Level,
    look: impl Future<Output = T> + Send + 'p,
    put: impl FnOnce(&mut LevelReport, T) + Send + 'static,
) -> Probe<'p> {
    Box::pin(async move {
        let seen = look.await;
        Box::new(move |report: &mut Report| {
            if let Some(part) = report.level_mut(level) {
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
