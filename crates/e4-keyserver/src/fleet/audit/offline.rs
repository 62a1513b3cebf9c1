//! The audit as JSON lines, to be verified anywhere with the public key of the checkpoints.
//!
//! The first line says where the chain begins. Then come the entries, and after the last entry that a checkpoint covers, the
//! checkpoint.

use super::{AuditEntry, BEGINS, Link, Verified, page, verify::checkpoints};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind},
    vault::{CHAIN_BEGINS, Checkpoint, digest},
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Begins {
        after: i64,
        #[serde(with = "hex::serde")]
        digest: [u8; 32],
        #[serde(with = "hex::serde")]
        checkpoint_key: [u8; 32],
    },
    Entry {
        id: i64,
        at: i64,
        actor: String,
        origin: String,
        action: String,
        subject: String,
        detail: String,
        #[serde(with = "hex::serde")]
        mac: [u8; 32],
    },
    Checkpoint {
        audit: i64,
        at: i64,
        #[serde(with = "hex::serde")]
        digest: [u8; 32],
        #[serde(with = "hex::serde")]
        signature: Vec<u8>,
    },
}

/// Where an export goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportCursor {
    after: Option<i64>,
}

impl Fleet {
    /// The next lines of the audit, each with its line break; nothing at the end.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn export_audit(&self, cursor: &mut ExportCursor) -> Result<String, Refusal> {
        let mut tx = self.store().read().await?;
        let mut lines = Vec::new();
        let after = match cursor.after {
            Some(after) => after,
            None => {
                let begins = Link::read(&mut tx, BEGINS).await?;
                let first =
                    checkpoints(&mut tx, begins.id).await?.into_iter().find(|it| it.checkpoint.audit == begins.id);
                let digest = first.map_or(CHAIN_BEGINS, |it| it.checkpoint.digest);
                let checkpoint_key = self.vault().checkpoint_key();
                lines.push(Line::Begins { after: begins.id, digest, checkpoint_key });
                begins.id
            }
        };
        let entries = page(&mut tx, after, i64::MAX, 1_000).await?;
        let mut signed = checkpoints(&mut tx, after + 1).await?.into_iter().peekable();
        cursor.after = Some(entries.last().map_or(after, |entry| entry.id));
        for entry in entries {
            let AuditEntry { id, at, actor, origin, action, subject, detail, mac } = entry;
            lines.push(Line::Entry { id, at, actor, origin, action, subject, detail, mac });
            if let Some(it) = signed.next_if(|it| it.checkpoint.audit == id) {
                let Checkpoint { audit, at, digest } = it.checkpoint;
                lines.push(Line::Checkpoint { audit, at, digest, signature: it.signature });
            }
        }
        lines.iter().try_fold(String::new(), |mut text, line| {
            text.push_str(&serde_json::to_string(line).map_err(|_| Refusal::damaged("the audit cannot be written"))?);
            text.push('\n');
            Ok(text)
        })
    }
}

/// Verifies an export with nothing but the public key of the checkpoints, which is not taken from the export.
///
/// # Errors
///
/// [`RefusalKind::Damaged`] with the first line that is not as it was written, [`RefusalKind::Invalid`] if it is no export.
pub fn verify_export<'t>(
    lines: impl IntoIterator<Item = &'t str>,
    checkpoint_key: &[u8; 32],
) -> Result<Verified, Refusal> {
    let mut found = Verified { entries: 0, signed: 0, checkpoints: 0 };
    let mut stands: Option<(i64, [u8; 32])> = None;
    for (at, line) in lines.into_iter().enumerate() {
        let wrong = |what: &str| RefusalKind::Damaged.because(format!("line {} {what}", at + 1));
        let line: Line = serde_json::from_str(line).map_err(|_| {
            RefusalKind::Invalid.because(format!("line {} is no line of an export of the audit", at + 1))
        })?;
        match (line, &mut stands) {
            (Line::Begins { after, digest, .. }, None) => stands = Some((after, digest)),
            (Line::Entry { id, at, actor, origin, action, subject, detail, mac }, Some((last, stands))) => {
                if id != *last + 1 {
                    return Err(wrong("does not follow the entry before"));
                }
                let entry = AuditEntry { id, at, actor, origin, action, subject, detail, mac };
                *stands = digest(stands, &entry.as_entry(), &mac);
                *last = id;
                found.entries += 1;
            }
            (Line::Checkpoint { audit, at, digest, signature }, Some((last, stands))) => {
                let checkpoint = Checkpoint { audit, at, digest };
                if !checkpoint.is_signed_by(checkpoint_key, &signature) {
                    return Err(wrong("is a checkpoint that was not signed with this key"));
                }
                if audit != *last || digest != *stands {
                    return Err(wrong("is a checkpoint of other entries: one before it was changed, added or removed"));
                }
                found.signed = found.entries;
                found.checkpoints += 1;
            }
            _ => return Err(wrong("stands where it does not belong: an export begins with its beginning")),
        }
    }
    Ok(found)
}
