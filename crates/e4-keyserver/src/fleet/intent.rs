//! One change of intention as one transaction.

use super::{Actor, Fleet, Once, Refusal, RefusalKind, audit::append};
use crate::{
    model::Role,
    store::{Transaction, Value},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};
use std::{future::Future, pin::Pin};

/// How often an attempt is made again that met another transaction.
const ATTEMPTS: u32 = 8;

/// A change of intention under way: the transaction in which everything of it happens, or nothing.
#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) tx: Transaction,
    pub(super) fleet: Fleet,
    pub(super) actor: Actor,
    pub(super) now: i64,
}

/// What an attempt leads to: the transaction, to be committed, and the answer.
pub(super) type Attempted<T> = Result<(Intent, T), Refusal>;

impl Fleet {
    /// Carries out a change of intention: in one transaction, one after the other, once per [`Once`], and with an entry in the
    /// audit if it is refused. `attempt` may be called more than once, each time in a new transaction.
    pub(super) fn intention<'a, T, F, Fut>(
        &'a self,
        actor: &'a Actor,
        at_least: Role,
        (action, subject): (&'a str, &'a str),
        attempt: F,
    ) -> Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'a,
        F: Fn(Intent) -> Fut + Send + Sync + 'a,
        Fut: Future<Output = Attempted<T>> + Send + 'a,
    {
        // In a box, since the compiler does not see otherwise that what awaits it may move between threads.
        Box::pin(async move {
            let done = match actor.must_be(at_least) {
                Ok(()) => self.attempts(actor, attempt).await,
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = &done
                && refusal.is_about_the_request()
            {
                self.refused(actor, action, subject, &refusal.to_string()).await?;
            }
            done
        })
    }

    async fn attempts<T, F, Fut>(&self, actor: &Actor, attempt: F) -> Result<T, Refusal>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Intent) -> Fut,
        Fut: Future<Output = Attempted<T>>,
    {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match self.try_once(actor, &attempt).await {
                Err(refusal) if refusal.again && left > 0 => {}
                done => return done,
            }
        }
    }

    async fn try_once<T, F, Fut>(&self, actor: &Actor, attempt: &F) -> Result<T, Refusal>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Intent) -> Fut,
        Fut: Future<Output = Attempted<T>>,
    {
        let mut intent = self.begin(actor).await?;
        let Some(once) = &actor.once else {
            let (intent, answer) = attempt(intent).await?;
            intent.tx.commit().await?;
            return Ok(answer);
        };
        if let Some(answer) = intent.answered(once).await? {
            return serde_json::from_str(&answer).map_err(|_| {
                RefusalKind::Conflict.because("that Idempotency-Key belongs to a request of another kind")
            });
        }
        let (mut intent, answer) = attempt(intent).await?;
        intent.keep_answer(once, &answer).await?;
        intent.tx.commit().await?;
        Ok(answer)
    }

    pub(crate) async fn begin(&self, actor: &Actor) -> Result<Intent, Refusal> {
        let tx = self.store().intend().await?;
        Ok(Intent { tx, fleet: self.clone(), actor: actor.clone(), now: self.now() })
    }

    /// Writes into the audit that something was refused, in a transaction of its own.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Unavailable`]: it could not be written.
    pub async fn refused(&self, actor: &Actor, action: &str, subject: &str, why: &str) -> Result<(), Refusal> {
        let mut intent = self.begin(actor).await?;
        intent.audit(&format!("refused: {action}"), subject, &json!({ "why": why })).await?;
        intent.tx.commit().await?;
        Ok(())
    }
}

impl Intent {
    /// An entry in the audit: what was done to what, with what was before and is after, without secrets.
    pub(crate) async fn audit(&mut self, action: &str, subject: &str, detail: &Json) -> Result<(), Refusal> {
        let Self { tx, fleet, actor, now } = self;
        append(tx, fleet.vault(), (actor, *now), (action, subject, &detail.to_string())).await
    }

    /// The next number of a kind.
    pub(super) async fn next(&mut self, kind: &str) -> Result<i64, Refusal> {
        let row = self
            .tx
            .query_opt(
                "INSERT INTO counters (name, value) VALUES ($1, 1)
                 ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
                &[Value::from(kind)],
            )
            .await?;
        Ok(row.ok_or_else(|| Refusal::damaged("a counter gives no number"))?.int(0)?)
    }

    /// What was answered to the same request before.
    async fn answered(&mut self, once: &Once) -> Result<Option<String>, Refusal> {
        let row = self
            .tx
            .query_opt(
                "SELECT request, answer FROM idempotency WHERE principal = $1 AND name = $2",
                &[Value::from(self.actor.name.as_str()), Value::from(once.key.as_str())],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        if row.bytes(0)? != once.request {
            return Err(RefusalKind::Invalid.because(
                "this Idempotency-Key was used for another request: take a new one for each request, and the same one only to send the same again",
            ));
        }
        Ok(Some(row.text(1)?.to_owned()))
    }

    /// Keeps the answer, which has no secrets: what is told once only is told once only.
    async fn keep_answer(&mut self, once: &Once, answer: &impl Serialize) -> Result<(), Refusal> {
        let answer = serde_json::to_string(answer).map_err(|_| Refusal::damaged("an answer cannot be written"))?;
        self.tx
            .execute(
                "INSERT INTO idempotency (principal, name, request, answer, created) VALUES ($1, $2, $3, $4, $5)",
                &[
                    Value::from(self.actor.name.as_str()),
                    Value::from(once.key.as_str()),
                    Value::from(once.request.as_slice()),
                    Value::from(answer),
                    Value::from(self.now),
                ],
            )
            .await?;
        Ok(())
    }
}
