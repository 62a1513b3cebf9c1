//! The audit: every change and every refused attempt, in the transaction of the change, chained by a MAC.

mod offline;
mod verify;

pub use offline::{ExportCursor, verify_export};
pub use verify::Verified;
pub(super) use verify::checkpoints;

use super::{Actor, Fleet, Refusal};
use crate::{
    store::{Row, Transaction, Value},
    vault::{CHAIN_BEGINS, Entry, Vault},
};

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Who, or which rule.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Before and after, as JSON.
    pub detail: String,
    /// Its MAC, over it and the one before.
    pub mac: [u8; 32],
}

const COLUMNS: &str = "SELECT id, at, actor, origin, action, subject, detail, mac FROM audit";

impl AuditEntry {
    fn of(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            id: row.int(0)?,
            at: row.int(1)?,
            actor: row.text(2)?.to_owned(),
            origin: row.text(3)?.to_owned(),
            action: row.text(4)?.to_owned(),
            subject: row.text(5)?.to_owned(),
            detail: row.text(6)?.to_owned(),
            mac: array(row.bytes(7)?)?,
        })
    }

    pub(super) fn as_entry(&self) -> Entry<'_> {
        Entry {
            id: self.id,
            at: self.at,
            actor: &self.actor,
            origin: &self.origin,
            action: &self.action,
            subject: &self.subject,
            detail: &self.detail,
        }
    }
}

/// Where the chain stands: the number and the MAC of its last entry; or where what is kept of it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: i64,
    pub(super) mac: [u8; 32],
}

impl Link {
    const BEGINS: Self = Self { id: 0, mac: CHAIN_BEGINS };

    pub(super) async fn read(tx: &mut Transaction, name: &str) -> Result<Self, Refusal> {
        let row = tx.query_opt("SELECT value FROM meta WHERE name = $1", &[Value::from(name)]).await?;
        let Some(row) = row else { return Ok(Self::BEGINS) };
        match row.bytes(0)? {
            [] => Ok(Self::BEGINS),
            bytes => {
                let (id, mac) = bytes.split_at_checked(8).ok_or_else(broken)?;
                Ok(Self { id: i64::from_be_bytes(array(id)?), mac: array(mac)? })
            }
        }
    }

    pub(super) async fn write(self, tx: &mut Transaction, name: &str) -> Result<(), Refusal> {
        let value = [self.id.to_be_bytes().as_slice(), &self.mac].concat();
        tx.execute(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            &[Value::from(name), Value::from(value)],
        )
        .await?;
        Ok(())
    }
}

/// The row of the table `meta` with the last link; whoever changes intentions holds it.
const HEAD: &str = "head";
/// The last link that is not kept any more.
pub(super) const BEGINS: &str = "audit_begins";

/// The action of the entry that says that entries were removed.
pub(super) const TRIM: &str = "trim audit";

/// Writes an entry behind the last one, in a transaction that holds the lock of intentions.
pub(super) async fn append(
    tx: &mut Transaction,
    vault: &Vault,
    (actor, at): (&Actor, i64),
    (action, subject, detail): (&str, &str, &str),
) -> Result<(), Refusal> {
    let last = Link::read(tx, HEAD).await?;
    let (actor, origin) = (actor.name.as_str(), actor.origin.as_str());
    let entry = Entry { id: last.id + 1, at, actor, origin, action, subject, detail };
    let mac = vault.audit_mac(&last.mac, &entry);
    let values = [
        Value::from(entry.id),
        Value::from(entry.at),
        Value::from(entry.actor),
        Value::from(entry.origin),
        Value::from(entry.action),
        Value::from(entry.subject),
        Value::from(entry.detail),
        Value::from(mac.as_slice()),
    ];
    let sql = "INSERT INTO audit (id, at, actor, origin, action, subject, detail, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.execute(sql, &values).await?;
    Link { id: entry.id, mac }.write(tx, HEAD).await
}

impl Fleet {
    /// Entries after the one with this number, in their order.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn audit_entries(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>, Refusal> {
        let mut tx = self.store().read().await?;
        page(&mut tx, after, i64::MAX, i64::from(limit)).await
    }
}

pub(super) async fn page(tx: &mut Transaction, after: i64, to: i64, limit: i64) -> Result<Vec<AuditEntry>, Refusal> {
    let rows = tx
        .query(
            &format!("{COLUMNS} WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"),
            &[Value::from(after), Value::from(to), Value::from(limit)],
        )
        .await?;
    rows.iter().map(AuditEntry::of).collect()
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Refusal> {
    bytes.try_into().map_err(|_| broken())
}

fn broken() -> Refusal {
    Refusal::damaged("the audit was changed outside of the key server: a field does not have its length")
}
