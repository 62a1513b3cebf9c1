//! What is not needed any more.

use super::{Fleet, Refusal};
use crate::store::Value;

const DAY: i64 = 86_400;
/// How long the answer to a request is kept that may be sent again.
const ANSWERS: i64 = 2 * DAY;
/// How long it is kept that an invitation was not used.
const INVITATIONS: i64 = 30 * DAY;

impl Fleet {
    /// Signs checkpoints of the audit, and removes what was kept long enough. To be called every minute.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn sweep(&self) -> Result<(), Refusal> {
        self.keep_audit().await?;
        let mut tx = self.store().write().await?;
        let now = self.now();
        tx.execute("DELETE FROM idempotency WHERE created < $1", &[Value::from(now - ANSWERS)]).await?;
        // Those that were used say that a device has begun.
        let sql = "DELETE FROM invitations WHERE used IS NULL AND expires < $1";
        tx.execute(sql, &[Value::from(now - INVITATIONS)]).await?;
        tx.commit().await?;
        Ok(())
    }
}
