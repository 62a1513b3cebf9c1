//! The audit, for who reads it.

use super::{after_number, damaged, limit, moment, number, one_more, part};
use crate::{
    fleet::{Fleet, Refusal},
    store::{Row, Value},
};
use e4_keyserver_api as said;

impl Fleet {
    /// Entries of the audit, the newest first.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_audit(&self, query: &said::AuditQuery) -> Result<said::Page<said::AuditEntry>, Refusal> {
        let limit = limit(query.limit)?;
        let mut values = vec![Value::from(after_number(query.after.as_deref())?.unwrap_or(i64::MAX))];
        let mut conditions = String::new();
        for (column, asked) in [("actor", &query.actor), ("action", &query.action), ("subject", &query.subject)] {
            if let Some(asked) = asked {
                values.push(Value::from(asked.as_str()));
                conditions.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        let sql = format!(
            "SELECT id, at, actor, origin, action, subject, detail, mac FROM audit WHERE id < $1{conditions} ORDER BY id DESC LIMIT {}",
            one_more(limit)
        );
        let mut tx = self.store().read().await?;
        let rows = tx.query(&sql, &values).await?;
        let entries = rows.iter().map(entry_of).collect::<Result<Vec<_>, _>>()?;
        Ok(part(entries, limit, |entry| entry.id.to_string()))
    }
}

fn entry_of(row: &Row) -> Result<said::AuditEntry, Refusal> {
    Ok(said::AuditEntry {
        id: number(row.int(0)?)?,
        at: moment(row.int(1)?),
        actor: row.text(2)?.to_owned(),
        origin: row.text(3)?.to_owned(),
        action: row.text(4)?.to_owned(),
        subject: row.text(5)?.to_owned(),
        detail: serde_json::from_str(row.text(6)?).map_err(|_| damaged("an entry of the audit that is none"))?,
        mac: hex::encode(row.bytes(7)?),
    })
}
