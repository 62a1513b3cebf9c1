//! Checkpoints of the audit, and how long its entries are kept.

use super::{
    Actor, Fleet, Refusal,
    audit::{BEGINS, Link, TRIM, array, checkpoints, page},
    intent::Intent,
};
use crate::{
    store::Value,
    vault::{CHAIN_BEGINS, Checkpoint, digest},
};
use serde_json::json;

/// A checkpoint is signed after so many entries,
const ENTRIES: i64 = 1_000;
/// or after this time, if there is an entry.
const INTERVAL: i64 = 3_600;
/// Entries that are removed in one transaction.
const BATCH: i64 = 10_000;

impl Fleet {
    /// Signs a checkpoint if it is time for one, and removes entries that were kept long enough. To be called every minute.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn keep_audit(&self) -> Result<(), Refusal> {
        while self.checkpoint().await? {}
        while self.trim_audit().await? {}
        Ok(())
    }

    async fn checkpoint(&self) -> Result<bool, Refusal> {
        if !self.is_time_for_checkpoint().await? {
            return Ok(false);
        }
        let mut intent = self.begin(&Actor::rule("audit")).await?;
        // Another server may have signed meanwhile: then what follows is empty.
        let last = last_checkpoint(&mut intent).await?;
        let (after, mut stands) = last.map_or((0, CHAIN_BEGINS), |last| (last.audit, last.digest));
        let entries = page(&mut intent.tx, after, i64::MAX, ENTRIES).await?;
        let Some(newest) = entries.last() else { return Ok(false) };
        for entry in &entries {
            stands = digest(&stands, &entry.as_entry(), &entry.mac);
        }
        let checkpoint = Checkpoint { audit: newest.id, at: self.now(), digest: stands };
        let signature = self.vault().sign_checkpoint(&checkpoint);
        let values = [
            Value::from(checkpoint.audit),
            Value::from(checkpoint.at),
            Value::from(checkpoint.digest.as_slice()),
            Value::from(signature.as_slice()),
        ];
        let sql = "INSERT INTO checkpoints (audit, at, digest, signature) VALUES ($1, $2, $3, $4)";
        intent.tx.execute(sql, &values).await?;
        intent.tx.commit().await?;
        Ok(true)
    }

    async fn is_time_for_checkpoint(&self) -> Result<bool, Refusal> {
        let mut tx = self.store().read().await?;
        let last = tx.query_opt("SELECT audit, at FROM checkpoints ORDER BY audit DESC LIMIT 1", &[]).await?;
        let (after, at) = match last {
            Some(row) => (row.int(0)?, Some(row.int(1)?)),
            None => (0, None),
        };
        let waiting = tx
            .query_opt(
                "SELECT MIN(at), COUNT(*) FROM (SELECT at FROM audit WHERE id > $1 ORDER BY id LIMIT $2) AS waiting",
                &[Value::from(after), Value::from(ENTRIES)],
            )
            .await?;
        let Some(row) = waiting else { return Ok(false) };
        let Some(oldest) = row.opt_int(0)? else { return Ok(false) };
        Ok(row.int(1)? >= ENTRIES || self.now() - at.unwrap_or(oldest).max(oldest) >= INTERVAL)
    }

    async fn trim_audit(&self) -> Result<bool, Refusal> {
        let kept = self.policy().audit_kept;
        if kept == 0 {
            return Ok(false);
        }
        let mut tx = self.store().read().await?;
        let begins = Link::read(&mut tx, BEGINS).await?;
        // The last checkpoint before which all is old enough, of those that one batch reaches.
        let sql = "SELECT c.audit, a.mac FROM checkpoints c JOIN audit a ON a.id = c.audit
                   WHERE c.audit > $1 AND c.audit <= $2 AND c.at < $3 ORDER BY c.audit DESC LIMIT 1";
        let values = [Value::from(begins.id), Value::from(begins.id + BATCH), Value::from(self.now() - kept)];
        let Some(row) = tx.query_opt(sql, &values).await? else { return Ok(false) };
        let to = Link { id: row.int(0)?, mac: array(row.bytes(1)?)? };
        drop(tx);

        let mut intent = self.begin(&Actor::rule("audit")).await?;
        if Link::read(&mut intent.tx, BEGINS).await? != begins {
            return Ok(true);
        }
        intent.tx.execute("DELETE FROM audit WHERE id <= $1", &[Value::from(to.id)]).await?;
        intent.tx.execute("DELETE FROM checkpoints WHERE audit < $1", &[Value::from(to.id)]).await?;
        to.write(&mut intent.tx, BEGINS).await?;
        intent.audit(TRIM, &to.id.to_string(), &json!({ "after": begins.id, "to": to.id })).await?;
        intent.tx.commit().await?;
        Ok(true)
    }

    /// Signed checkpoints from this entry on, to be sent off the machine.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn checkpoints(&self, from: i64) -> Result<Vec<(Checkpoint, Vec<u8>)>, Refusal> {
        let mut tx = self.store().read().await?;
        let signed = checkpoints(&mut tx, from).await?;
        Ok(signed.into_iter().map(|it| (it.checkpoint, it.signature)).collect())
    }
}

async fn last_checkpoint(intent: &mut Intent) -> Result<Option<Checkpoint>, Refusal> {
    let sql = "SELECT audit, at, digest FROM checkpoints ORDER BY audit DESC LIMIT 1";
    let Some(row) = intent.tx.query_opt(sql, &[]).await? else { return Ok(None) };
    Ok(Some(Checkpoint { audit: row.int(0)?, at: row.int(1)?, digest: array(row.bytes(2)?)? }))
}
