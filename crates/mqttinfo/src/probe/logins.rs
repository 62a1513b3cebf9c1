//! Client ids and credentials: assigned ids, taking over a session, what a failed login says.

use super::{
    answers::{STRAGGLERS, reaction_of, without_answer},
    prober::{Probe, Prober, Who, in_words, note, random},
};
use crate::{
    report::{Answer, Level, LevelReport, LoginErrors, Reaction, Takeover},
    session::{Credentials, Hello, Received, Session},
};
use mqtt5_protocol::PacketType;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub(super) fn probes<'p>(prober: &'p Prober<'_>, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'p>> {
    let both = seen.anonymous.is_accepted() && seen.credentials.as_ref().is_some_and(Answer::is_accepted);
    vec![
        note(level, prober.empty_id(level, who), |part, answer| part.empty_id = Some(answer)),
        note(level, prober.takeover(level, who, both), |part, takeover| part.takeover = takeover),
    ]
}

impl Prober<'_> {
    /// The probe of failing logins, which needs a user name that exists. It makes one failing login with it.
    pub(crate) fn login_errors(&self, level: Level) -> Option<Probe<'_>> {
        let credentials = self.settings.credentials.as_ref()?;
        let look = async move {
            let secret = || Some(Zeroizing::new(random(20).into_bytes()));
            let wrong_password = Credentials { user: credentials.user.clone(), password: secret() };
            let unknown_user = Credentials { user: format!("mqttinfo-{}", random(8)), password: secret() };
            LoginErrors {
                wrong_password: self.log_in(level, &wrong_password).await,
                unknown_user: self.log_in(level, &unknown_user).await,
            }
        };
        Some(note(level, look, |part, errors| part.login_errors = Some(errors)))
    }

    async fn log_in(&self, level: Level, credentials: &Credentials) -> Answer {
        let client_id = self.client_id();
        let greeting = Hello { credentials: Some(credentials), ..self.words(level.byte(), Who::User, &client_id) };
        let (answer, session) = self.hello(&greeting).await;
        if let Some(session) = session {
            session.leave().await;
        }
        answer
    }

    /// Connects without a client id of its own.
    async fn empty_id(&self, level: Level, who: Who) -> Answer {
        let (answer, session) = self.hello(&self.words(level.byte(), who, "")).await;
        if let Some(session) = session {
            session.leave().await;
        }
        answer
    }

    /// Takes over a session of our own.
    async fn takeover(&self, level: Level, who: Who, both: bool) -> Option<Takeover> {
        let by_like = self.take_over(level, who, who).await?;
        let by_stranger = if both { self.take_over(level, Who::User, Who::Stranger).await } else { None };
        Some(Takeover { by_like, by_stranger })
    }

    /// What becomes of a connection when another one comes with its client id.
    async fn take_over(&self, level: Level, owner: Who, other: Who) -> Option<Reaction> {
        let client_id = self.client_id();
        let (_, first) = self.hello(&self.words(level.byte(), owner, &client_id)).await;
        let mut first = first?;
        let (answer, second) = self.hello(&self.words(level.byte(), other, &client_id)).await;
        let reaction = match &second {
            Some(_) => self.still_there(&mut first, level).await,
            // The newcomer is turned away, and the first one stays.
            None if matches!(answer, Answer::Refused(_) | Answer::Closed) => Reaction::Ignored,
            None => Reaction::Unclear { reason: in_words(&answer) },
        };
        for session in [Some(first), second].into_iter().flatten() {
            session.leave().await;
        }
        Some(reaction)
    }

    /// Whether a connection still lives. `RabbitMQ` answers a PINGREQ once more before it ends the connection, so
    /// the answer alone does not say that it stays.
    async fn still_there(&self, session: &mut Session, level: Level) -> Reaction {
        let mut end = self.soon();
        if session.ping(end).await.is_err() {
            return Reaction::Closed;
        }
        let mut pinged = false;
        loop {
            match session.receive(end).await {
                // Some close a moment after they have let the newcomer in.
                Received::Frame(frame) if frame.kind() == Some(PacketType::PingResp) => {
                    pinged = true;
                    end = end.min(Instant::now() + STRAGGLERS);
                }
                Received::Frame(frame) if frame.kind() == Some(PacketType::Disconnect) => {
                    return reaction_of(&frame, level).unwrap_or(Reaction::Closed);
                }
                Received::Frame(_) => (),
                Received::Silence if pinged => return Reaction::Ignored,
                other => return without_answer(&other),
            }
        }
    }
}
