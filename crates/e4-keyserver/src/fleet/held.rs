//! A server that holds: it sends nothing and runs no rule until somebody says that it goes on.

use super::{
    Actor, Fleet, Refusal, RefusalKind,
    intent::{Attempted, Intent},
};
use crate::{
    model::Role,
    plan::Standing,
    store::{Transaction, Value},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

const HELD: &str = "held";
const SEEN: &str = "seen";
/// How far a lane runs ahead of the clock by itself, and some more.
const AHEAD: i64 = 60;
/// How exactly it is known when the server last looked.
const SEEN_EVERY: i64 = 60;

/// Why a server holds, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// In a sentence.
    pub reason: String,
    /// Since when.
    pub since: i64,
}

impl Held {
    /// Whether the server of this database holds.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn read(tx: &mut Transaction) -> Result<Option<Self>, Refusal> {
        match meta(tx, HELD).await? {
            None => Ok(None),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| Refusal::damaged("why the server holds cannot be read")),
        }
    }

    /// Has the server of this database hold, unless it does already.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn write(self, tx: &mut Transaction) -> Result<(), Refusal> {
        let text = serde_json::to_vec(&self).map_err(|_| Refusal::damaged("why the server holds cannot be written"))?;
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        tx.execute(sql, &[Value::from(HELD), Value::from(text)]).await?;
        Ok(())
    }
}

impl Fleet {
    /// Whether the server holds, and why.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn held(&self) -> Result<Option<Held>, Refusal> {
        let mut tx = self.store().read().await?;
        Held::read(&mut tx).await
    }

    /// Holds from now on.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn hold(&self, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        self.intention(actor, Role::Operator, ("hold", "server"), |intent| hold(intent, reason)).await
    }

    /// Goes on. What the clock says now counts, and devices that took commands of another server are given everything anew.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] if the server does not hold, and no device is ahead.
    pub async fn release(&self, actor: &Actor) -> Result<(), Refusal> {
        self.intention(actor, Role::Operator, ("release", "server"), release).await
    }

    /// Holds if the clock cannot be right: it was set back behind what was sent already, or jumped since the server last
    /// looked. To be called at the start and every minute; returns whether the server holds.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn check_clock(&self) -> Result<Option<Held>, Refusal> {
        let mut tx = self.store().read().await?;
        if let Some(held) = Held::read(&mut tx).await? {
            return Ok(Some(held));
        }
        let (now, seen) = (self.now(), seen(&mut tx).await?);
        let reason = match seen {
            Some(seen) if now < seen.saturating_sub(AHEAD) => Some(format!(
                "the clock is {} behind the time at which this server last looked",
                span(seen.saturating_sub(now))
            )),
            Some(seen) if now.saturating_sub(seen) > self.policy().clock_jump => Some(format!(
                "the clock is {} after the time at which this server last looked",
                span(now.saturating_sub(seen))
            )),
            _ => behind_lanes(&mut tx, now).await?,
        };
        drop(tx);
        if let Some(reason) = reason {
            let reason = format!("{reason}: check the time of this machine, then release");
            self.hold(&Actor::rule("clock"), &reason).await?;
            return self.held().await;
        }
        if seen.is_none_or(|seen| now.saturating_sub(seen) >= SEEN_EVERY) {
            let mut tx = self.store().write().await?;
            see(&mut tx, now).await?;
            tx.commit().await?;
        }
        Ok(None)
    }
}

async fn hold(mut intent: Intent, reason: &str) -> Attempted<()> {
    let held = Held { reason: reason.to_owned(), since: intent.now };
    held.write(&mut intent.tx).await?;
    intent.audit("hold", "server", &json!({ "reason": reason })).await?;
    Ok((intent, ()))
}

async fn release(mut intent: Intent) -> Attempted<()> {
    let (held, now) = (Held::read(&mut intent.tx).await?, intent.now);
    let [unknown, ahead] = [Standing::Unknown, Standing::Ahead].map(|standing| Value::from(standing.word()));
    let sql = "UPDATE devices SET standing = $1, standing_since = $2, due = $2, attempts = 0 WHERE standing = $3";
    let devices = intent.tx.execute(sql, &[unknown, Value::from(now), ahead]).await?;
    if held.is_none() && devices == 0 {
        return Err(RefusalKind::Conflict.because("the server does not hold: there is nothing to release"));
    }
    intent.tx.execute("DELETE FROM meta WHERE name = $1", &[Value::from(HELD)]).await?;
    see(&mut intent.tx, now).await?;
    intent.audit("release", "server", &json!({ "held": held, "devices": devices })).await?;
    Ok((intent, ()))
}

/// Whether lanes are ahead of the clock that were not brought there by their devices.
async fn behind_lanes(tx: &mut Transaction, now: i64) -> Result<Option<String>, Refusal> {
    let sql = "SELECT COUNT(*), MAX(lane_last) FROM devices WHERE lane_last > $1 AND lane_last > report_newest + $2";
    let row = tx.query_opt(sql, &[Value::from(now.saturating_add(AHEAD)), Value::from(AHEAD)]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(row.opt_int(1)?.map(|last| (row.int(0), last)).map(|(count, last)| {
        let count = count.unwrap_or(0);
        format!("the clock is {} behind the newest command that was sent, and behind {count} devices", span(last - now))
    }))
}

async fn seen(tx: &mut Transaction) -> Result<Option<i64>, Refusal> {
    let Some(bytes) = meta(tx, SEEN).await? else { return Ok(None) };
    let bytes =
        bytes.as_slice().try_into().map_err(|_| Refusal::damaged("when the server last looked cannot be read"))?;
    Ok(Some(i64::from_be_bytes(bytes)))
}

async fn see(tx: &mut Transaction, now: i64) -> Result<(), Refusal> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, &[Value::from(SEEN), Value::from(now.to_be_bytes())]).await?;
    Ok(())
}

async fn meta(tx: &mut Transaction, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let row = tx.query_opt("SELECT value FROM meta WHERE name = $1", &[Value::from(name)]).await?;
    Ok(row.map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()?)
}

/// A time in words.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
