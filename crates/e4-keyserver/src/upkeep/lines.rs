//! All rows as lines of JSON, the same whatever database they come from.
//!
//! ```text
//! {"rows of":"e4-keyserver","format":1,"schema":1,"made":1795900000}
//! {"table":"meta"}
//! ["root",{"b":"…"}]
//! …
//! {"table":"counters"}
//! …
//! {"end":1234,"mac":"…"}
//! ```
//!
//! The MAC is over SHA3-256 of all lines before.

use super::{
    UpkeepError,
    cell::{Cell, from_line, to_line},
    tables::{TABLES, Table},
};
use crate::vault::Vault;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};
use std::io::{BufRead, Read, Write};

const OF: &str = "e4-keyserver";
const FORMAT: u32 = 1;

/// Bytes that a line has at most: reports and outbox entries are some kilobytes.
const MAX_LINE: u64 = 16 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    #[serde(rename = "rows of")]
    of: String,
    format: u32,
    /// The version of the tables.
    pub(crate) schema: usize,
    /// When the rows were read.
    pub(crate) made: i64,
}

impl Header {
    pub(crate) fn new(schema: usize, made: i64) -> Self {
        Self { of: OF.to_owned(), format: FORMAT, schema, made }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableLine {
    table: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: u64,
    mac: String,
}

/// Writes the lines.
pub(crate) struct LineWriter<W> {
    output: W,
    digest: Sha3_256,
    rows: u64,
}

impl<W: Write> LineWriter<W> {
    pub(crate) fn new(output: W, header: &Header) -> Result<Self, UpkeepError> {
        let mut writer = Self { output, digest: Sha3_256::new(), rows: 0 };
        writer.json(header)?;
        Ok(writer)
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<(), UpkeepError> {
        self.json(&TableLine { table: table.name.to_owned() })
    }

    pub(crate) fn row(&mut self, row: &[Cell]) -> Result<(), UpkeepError> {
        self.rows += 1;
        self.line(&to_line(row))
    }

    /// Ends the lines, and gives back what they were written to.
    pub(crate) fn end(mut self, vault: &Vault) -> Result<(W, u64), UpkeepError> {
        let mac = vault.backup_mac(&self.digest.clone().finalize().into());
        self.json(&EndLine { end: self.rows, mac: hex::encode(mac) })?;
        Ok((self.output, self.rows))
    }

    fn json(&mut self, line: &impl Serialize) -> Result<(), UpkeepError> {
        let line = serde_json::to_string(line).map_err(|error| UpkeepError::File(error.into()))?;
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> Result<(), UpkeepError> {
        self.digest.update(line);
        self.digest.update("\n");
        self.output.write_all(line.as_bytes())?;
        self.output.write_all(b"\n")?;
        Ok(())
    }
}

/// Reads the lines, row by row; nothing of them is to be believed before [`LineReader::verify`].
pub(crate) struct LineReader<R> {
    input: R,
    digest: Sha3_256,
    line: u64,
    table: usize,
    rows: u64,
    end: Option<EndLine>,
}

impl<R: BufRead> LineReader<R> {
    pub(crate) fn new(input: R) -> Result<(Self, Header), UpkeepError> {
        let mut reader = Self { input, digest: Sha3_256::new(), line: 0, table: 0, rows: 0, end: None };
        let bytes = reader.next_line()?.ok_or_else(|| reader.malformed())?;
        let header: Header = serde_json::from_slice(&bytes).map_err(|_| reader.malformed())?;
        if header.of != OF || header.format != FORMAT {
            return Err(UpkeepError::Backup(format!(
                "format {} of {} is not known to this version of e4-keyserver",
                header.format, header.of
            )));
        }
        reader.digest(&bytes);
        Ok((reader, header))
    }

    /// The next row; `None` at the end.
    pub(crate) fn next_row(&mut self) -> Result<Option<(&'static Table, Vec<Cell>)>, UpkeepError> {
        loop {
            let Some(bytes) = self.next_line()? else {
                return if self.end.is_some() {
                    Ok(None)
                } else {
                    Err(UpkeepError::Backup("the end is missing".to_owned()))
                };
            };
            if self.end.is_some() {
                return Err(self.malformed());
            }
            if let Ok(end) = serde_json::from_slice::<EndLine>(&bytes) {
                if end.end != self.rows || self.table != TABLES.len() {
                    return Err(UpkeepError::Backup("rows are missing".to_owned()));
                }
                self.end = Some(end);
                continue;
            }
            self.digest(&bytes);
            if let Ok(TableLine { table }) = serde_json::from_slice(&bytes) {
                // All tables, in their order.
                if TABLES.get(self.table).is_none_or(|it| it.name != table) {
                    return Err(self.malformed());
                }
                self.table += 1;
                continue;
            }
            let json = serde_json::from_slice(&bytes).map_err(|_| self.malformed())?;
            let table = self.table.checked_sub(1).and_then(|at| TABLES.get(at)).ok_or_else(|| self.malformed())?;
            let row = from_line(&json, table).ok_or_else(|| self.malformed())?;
            self.rows += 1;
            return Ok(Some((table, row)));
        }
    }

    /// Whether all that was read to the end was written by the server with this vault.
    pub(crate) fn verify(self, vault: &Vault) -> Result<u64, UpkeepError> {
        let mac = vault.backup_mac(&self.digest.finalize().into());
        let end = self.end.ok_or_else(|| UpkeepError::Backup("the end is missing".to_owned()))?;
        if end.mac == hex::encode(mac) {
            Ok(self.rows)
        } else {
            Err(UpkeepError::Backup("it was changed since the key server wrote it".to_owned()))
        }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, UpkeepError> {
        self.line += 1;
        let mut bytes = Vec::new();
        self.input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
        match bytes.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(bytes)),
            Some(_) => Err(self.malformed()),
        }
    }

    fn digest(&mut self, line: &[u8]) {
        self.digest.update(line);
        self.digest.update("\n");
    }

    fn malformed(&self) -> UpkeepError {
        UpkeepError::Backup(format!("line {} is not of a backup", self.line))
    }
}
