//! Whether the audit is as it was written.

use super::{AuditEntry, BEGINS, HEAD, Link, TRIM, array, page};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind},
    store::{Transaction, Value},
    vault::{CHAIN_BEGINS, Checkpoint, Vault, digest},
};

const PAGE: i64 = 1_000;

/// What was found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Entries.
    pub entries: u64,
    /// Of which so many are covered by a signed checkpoint.
    pub signed: u64,
    /// Checkpoints.
    pub checkpoints: u64,
}

/// A checkpoint with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Signed {
    pub(in crate::fleet) checkpoint: Checkpoint,
    pub(in crate::fleet) signature: Vec<u8>,
}

pub(in crate::fleet) async fn checkpoints(tx: &mut Transaction, from: i64) -> Result<Vec<Signed>, Refusal> {
    let sql = "SELECT audit, at, digest, signature FROM checkpoints WHERE audit >= $1 ORDER BY audit";
    let rows = tx.query(sql, &[Value::from(from)]).await?;
    rows.iter()
        .map(|row| {
            let checkpoint = Checkpoint { audit: row.int(0)?, at: row.int(1)?, digest: array(row.bytes(2)?)? };
            Ok(Signed { checkpoint, signature: row.bytes(3)?.to_vec() })
        })
        .collect()
}

impl Fleet {
    /// Verifies the whole audit: each entry follows the one before, nothing is missing at the end, and the checkpoints are signed.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Damaged`] with the first entry that is not as it was written; the database.
    pub async fn verify_audit(&self) -> Result<Verified, Refusal> {
        let mut tx = self.store().read().await?;
        verify(&mut tx, self.vault()).await
    }
}

/// As [`Fleet::verify_audit`].
///
/// # Errors
///
/// The same.
async fn verify(tx: &mut Transaction, vault: &Vault) -> Result<Verified, Refusal> {
    let (begins, head) = (Link::read(tx, BEGINS).await?, Link::read(tx, HEAD).await?);
    let mut signed = checkpoints(tx, begins.id).await?.into_iter().peekable();
    let mut found = Verified { entries: 0, signed: 0, checkpoints: 0 };
    let mut stands = CHAIN_BEGINS;
    if begins.id > 0 {
        let first = signed.next_if(|it| it.checkpoint.audit == begins.id);
        let first = first.ok_or_else(|| wrong(begins.id, "is where what is kept begins, and has no checkpoint"))?;
        is_signed(vault, &first)?;
        stands = first.checkpoint.digest;
    }
    let (mut link, mut is_trimmed) = (begins, begins.id == 0);
    loop {
        let entries = page(tx, link.id, i64::MAX, PAGE).await?;
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            if entry.id != link.id + 1 {
                return Err(wrong(link.id + 1, "is missing"));
            }
            if entry.mac != vault.audit_mac(&link.mac, &entry.as_entry()) {
                return Err(wrong(entry.id, "is not as it was written, or the one before it is not"));
            }
            is_trimmed |= says_trimmed(entry, begins.id);
            link = Link { id: entry.id, mac: entry.mac };
            stands = digest(&stands, &entry.as_entry(), &entry.mac);
            found.entries += 1;
            if let Some(signed) = signed.next_if(|it| it.checkpoint.audit == entry.id) {
                is_signed(vault, &signed)?;
                if signed.checkpoint.digest != stands {
                    return Err(wrong(entry.id, "has a checkpoint that is of other entries"));
                }
                found.signed = found.entries;
                found.checkpoints += 1;
            }
        }
    }
    if let Some(signed) = signed.next() {
        return Err(wrong(signed.checkpoint.audit, "has a checkpoint and is missing"));
    }
    if link != head {
        return Err(wrong(link.id + 1, "is missing at the end"));
    }
    if !is_trimmed {
        return Err(wrong(begins.id, "and those before it are missing, and no entry says that they were removed"));
    }
    Ok(found)
}

fn is_signed(vault: &Vault, signed: &Signed) -> Result<(), Refusal> {
    if signed.checkpoint.is_signed_by(&vault.checkpoint_key(), &signed.signature) {
        return Ok(());
    }
    Err(wrong(signed.checkpoint.audit, "has a checkpoint that this server did not sign"))
}

/// Whether an entry says that those up to `id` were removed.
fn says_trimmed(entry: &AuditEntry, id: i64) -> bool {
    entry.action == TRIM && entry.subject == id.to_string()
}

fn wrong(id: i64, what: &str) -> Refusal {
    RefusalKind::Damaged.because(format!("the audit was changed outside of the key server: entry {id} {what}"))
}
