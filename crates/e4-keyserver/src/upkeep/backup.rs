//! Backups: all rows in one file, encrypted to recipients (age), the same for both databases.

use super::{
    Findings, UpkeepError,
    cell::Cell,
    examine::Examiner,
    keys::has_vault,
    lines::{Header, LineReader, LineWriter},
    rows::{PAGE, insert, page},
    tables::{TABLES, Table},
};
use crate::{
    fleet::Held,
    store::{Store, Transaction, Value, schema::schema_version},
    vault::{RootFingerprint, Slot, SlotKind, Stored, Vault},
};
use age::{DecryptError, Decryptor, EncryptError, Encryptor, x25519};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

/// Seconds that a lane may be ahead of the clock, and commands of one second.
const LANE_AHEAD: i64 = 30;
const LANE_FULL: i64 = 15;

/// Writes all rows, as they are at one moment, encrypted to the recipients (`age1…`). The server may go on meanwhile.
///
/// # Errors
///
/// The database, the file, or a recipient that is none.
pub async fn create_backup(
    store: &Store,
    vault: &Vault,
    recipients: &[String],
    now: i64,
    output: impl Write,
) -> Result<u64, UpkeepError> {
    let recipients = recipients.iter().map(|it| recipient(it)).collect::<Result<Vec<_>, _>>()?;
    let encryptor = Encryptor::with_recipients(recipients.iter().map(|it| it as &dyn age::Recipient)).map_err(
        |error| match error {
            EncryptError::MissingRecipients => {
                UpkeepError::State("a backup needs a recipient: `age-keygen` makes one".to_owned())
            }
            error => UpkeepError::State(error.to_string()),
        },
    )?;
    let mut tx = store.read().await?;
    let output = encryptor.wrap_output(BufWriter::new(output))?;
    let mut lines = LineWriter::new(output, &Header::new(schema_version(), now))?;
    for table in TABLES {
        lines.table(table)?;
        let mut rows = page(&mut tx, table, None).await?;
        while let Some(last) = rows.last() {
            for row in &rows {
                lines.row(row)?;
            }
            rows = page(&mut tx, table, Some(last)).await?;
        }
    }
    let (output, rows) = lines.end(vault)?;
    output.finish()?.flush()?;
    Ok(rows)
}

fn recipient(text: &str) -> Result<x25519::Recipient, UpkeepError> {
    text.parse().map_err(|reason| UpkeepError::State(format!("`{text}` is no recipient of age (age1…): {reason}")))
}

/// Opens the lines of a backup with the identity (`AGE-SECRET-KEY-1…`) of one of its recipients.
fn decrypt<R: Read>(input: R, identity: &str) -> Result<impl BufRead + use<R>, UpkeepError> {
    let identity: x25519::Identity = identity
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .and_then(|line| line.parse().ok())
        .ok_or_else(|| UpkeepError::State("the identity is none of age (AGE-SECRET-KEY-1…)".to_owned()))?;
    let decryptor = Decryptor::new_buffered(BufReader::new(input)).map_err(not_decrypted)?;
    Ok(BufReader::new(decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(not_decrypted)?))
}

fn not_decrypted(error: DecryptError) -> UpkeepError {
    match error {
        DecryptError::Io(error) => error.into(),
        DecryptError::NoMatchingKeys => {
            UpkeepError::Backup("it is encrypted to somebody else than this identity".to_owned())
        }
        error => UpkeepError::Backup(error.to_string()),
    }
}

/// Examines a backup without restoring it: opens every row, verifies the audit, and that it was written by the server whose vault
/// is in it. `open` opens that vault.
///
/// # Errors
///
/// The file, a backup that is not whole or not of this server, or a vault that does not open. What is wrong in rows is in the findings.
pub fn verify_backup(
    input: impl Read,
    identity: &str,
    open: impl FnOnce(&[Slot], &Stored) -> Result<Vault, UpkeepError>,
) -> Result<(Vault, Findings), UpkeepError> {
    let (mut lines, header) = LineReader::new(decrypt(input, identity)?)?;
    if header.schema != schema_version() {
        return Err(UpkeepError::Backup(format!(
            "its tables have version {}, and this program has version {}: use the program that wrote it",
            header.schema,
            schema_version()
        )));
    }
    // The rows of the vault come first.
    let mut first = Vec::new();
    let mut next = lines.next_row()?;
    while let Some((table, row)) = next.take_if(|(table, _)| ["meta", "counters", "slots"].contains(&table.name)) {
        first.push((table, row));
        next = lines.next_row()?;
    }
    let vault = open(&slots(&first), &stored(&first)?)?;
    let mut examiner = Examiner::new(&vault);
    for (table, row) in &first {
        examiner.row(table, row);
    }
    while let Some((table, row)) = next {
        examiner.row(table, &row);
        next = lines.next_row()?;
    }
    let findings = examiner.end();
    lines.verify(&vault)?;
    Ok((vault, findings))
}

fn slots(rows: &[(&'static Table, Vec<Cell>)]) -> Vec<Slot> {
    rows.iter()
        .filter(|(table, _)| table.name == "slots")
        .filter_map(|(_, row)| match row.as_slice() {
            [name, kind, parameters, wrapped, created] => Some(Slot {
                name: name.text()?.to_owned(),
                kind: SlotKind::from_word(kind.text()?)?,
                parameters: parameters.text()?.to_owned(),
                wrapped: wrapped.bytes()?.to_vec(),
                created: created.number()?,
            }),
            _ => None,
        })
        .collect()
}

fn stored(rows: &[(&'static Table, Vec<Cell>)]) -> Result<Stored, UpkeepError> {
    let meta = |wanted: &str| {
        rows.iter().filter(|(table, _)| table.name == "meta").find_map(|(_, row)| match row.as_slice() {
            [name, value] if name.text() == Some(wanted) => value.bytes(),
            _ => None,
        })
    };
    let stored = || {
        Some(Stored {
            root: RootFingerprint::from_slice(meta("root")?)?,
            lasting: meta("lasting")?.to_vec(),
            previous_root: meta("previous_root").map(<[u8]>::to_vec),
            checkpoint_key: meta("checkpoint_key")?.try_into().ok()?,
        })
    };
    stored().ok_or_else(|| UpkeepError::Backup("it has no vault".to_owned()))
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Rows.
    pub rows: u64,
    /// When the backup was made.
    pub made: i64,
}

/// Writes the rows of a backup, which [`verify_backup`] has found good, into a new database, and has the server begin held: it sends
/// nothing and runs no rule until somebody has seen what it would do.
///
/// # Errors
///
/// The file, the database, or one that is not empty. Nothing was written then.
pub async fn restore_backup(
    store: &Store,
    vault: &Vault,
    input: impl Read,
    identity: &str,
    now: i64,
) -> Result<Restored, UpkeepError> {
    let (mut lines, header) = LineReader::new(decrypt(input, identity)?)?;
    let mut tx = store.write().await?;
    if has_vault(&mut tx).await? {
        return Err(UpkeepError::State(
            "the database belongs to a key server already, and nothing was changed".to_owned(),
        ));
    }
    // A new database has rows of its own there, which the backup has as well.
    tx.execute("DELETE FROM meta", &[]).await?;
    let mut batch: Vec<Vec<Cell>> = Vec::new();
    let mut of: Option<&'static Table> = None;
    while let Some((table, row)) = lines.next_row()? {
        if of.is_none_or(|of| of.name != table.name) || batch.len() >= PAGE {
            if let Some(of) = of {
                insert(&mut tx, of, std::mem::take(&mut batch)).await?;
            }
            of = Some(table);
        }
        batch.push(row);
    }
    if let Some(of) = of {
        insert(&mut tx, of, batch).await?;
    }
    let rows = lines.verify(vault)?;
    hold(&mut tx, header.made, now).await?;
    tx.commit().await?;
    Ok(Restored { rows, made: header.made })
}

/// A restored server holds: what was sent since the backup is not known to it. Each lane goes past that, nothing that was sealed
/// before is sent again, and somebody has to say that it goes on.
async fn hold(tx: &mut Transaction, made: i64, now: i64) -> Result<(), UpkeepError> {
    let past = now.max(made).saturating_add(LANE_AHEAD);
    tx.execute(
        "UPDATE devices SET lane_last = $1, lane_used = $2 WHERE lane_last < $1",
        &[Value::from(past), Value::from(LANE_FULL)],
    )
    .await?;
    tx.execute("UPDATE outbox SET bytes = $1 WHERE bytes IS NOT NULL", &[Value::Null]).await?;
    let reason =
        "it was restored from a backup, and what was sent since is not known: look at what it would do, then release";
    Ok(Held { reason: reason.to_owned(), since: now }.write(tx).await?)
}
