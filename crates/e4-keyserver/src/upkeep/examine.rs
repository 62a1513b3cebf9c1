//! Goes through all rows, and says what is wrong with them: every sealed value is opened in its place, and the audit is
//! verified, by the chain of MACs and by the signed checkpoints.

use super::{UpkeepError, cell::Cell, tables::Table};
use crate::vault::{CHAIN_BEGINS, Checkpoint, Column, Entry, Place, Vault, digest};
use std::{collections::BTreeMap, fmt};

/// More are counted, and not told one by one.
const MOST_TOLD: usize = 20;

/// What was found in all rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rows of all tables.
    pub rows: u64,
    /// Sealed values that opened.
    pub opened: u64,
    /// Entries of the audit whose MAC, or place in the chain, is good.
    pub entries: u64,
    /// Checkpoints whose signature is good and that say what the entries say.
    pub checkpoints: u64,
    /// What is wrong, in sentences; not more than the first 20.
    pub faults: Vec<String>,
    /// How much is wrong.
    pub wrong: u64,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.wrong == 0
    }

    pub(crate) fn fault(&mut self, fault: impl fmt::Display) {
        self.wrong += 1;
        if self.faults.len() < MOST_TOLD {
            self.faults.push(fault.to_string());
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, opened, entries, checkpoints, faults, wrong } = self;
        write!(
            f,
            "{rows} rows; {opened} sealed values opened; audit: {entries} entries and {checkpoints} checkpoints verified"
        )?;
        for fault in faults {
            write!(f, "\n- {fault}")?;
        }
        let told = u64::try_from(faults.len()).unwrap_or(u64::MAX);
        if *wrong > told { write!(f, "\n- and {} more", wrong - told) } else { Ok(()) }
    }
}

/// Number and MAC of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link {
    id: i64,
    mac: [u8; 32],
}

impl Link {
    const FIRST: Self = Self { id: 0, mac: CHAIN_BEGINS };

    /// From a row of the table `meta`.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (id, mac) = bytes.split_at_checked(8)?;
        Some(Self { id: i64::from_be_bytes(id.try_into().ok()?), mac: mac.try_into().ok()? })
    }
}

/// Takes the rows table by table, each in the order of its key; checkpoints before the audit.
pub(crate) struct Examiner<'a> {
    vault: &'a Vault,
    findings: Findings,
    checkpoints: BTreeMap<i64, [u8; 32]>,
    /// Where the chain stood before the entries that are kept, and where it stands in the end, as the database says.
    begins: Option<Link>,
    head: Option<Link>,
    /// The last entry, and where the chain of digests stood after it.
    last: Option<(Link, [u8; 32])>,
}

impl<'a> Examiner<'a> {
    pub(crate) fn new(vault: &'a Vault) -> Self {
        Self {
            vault,
            findings: Findings::default(),
            checkpoints: BTreeMap::new(),
            begins: None,
            head: None,
            last: None,
        }
    }

    pub(crate) fn row(&mut self, table: &Table, row: &[Cell]) {
        self.findings.rows += 1;
        let row = NamedRow { table, row };
        for column in Column::ALL {
            match sealed_value(column, &row) {
                Ok(Some((place, sealed))) => match self.vault.open_sealed(place, sealed) {
                    Ok(_) => self.findings.opened += 1,
                    Err(error) => self.findings.fault(error),
                },
                Ok(None) => {}
                Err(Malformed) => {
                    self.findings.fault(format_args!("a row of {} has no key, or one that is none", table.name));
                }
            }
        }
        match table.name {
            "meta" => match row.text("name") {
                Some("audit_begins") => self.begins = row.bytes("value").and_then(Link::read),
                Some("head") => self.head = row.bytes("value").and_then(Link::read),
                _ => {}
            },
            "checkpoints" => self.checkpoint(&row),
            "audit" => self.entry(&row),
            _ => {}
        }
    }

    pub(crate) fn end(mut self) -> Findings {
        let last = self.last.map_or(self.begins, |(link, _)| Some(link));
        if last != self.head {
            self.findings.fault("the audit does not end where it was last written: entries are missing at its end");
        }
        for audit in self.checkpoints.keys().filter(|audit| last.is_none_or(|last| last.id < **audit)) {
            self.findings
                .fault(format_args!("entries of the audit up to {audit} were signed, and the last ones are missing"));
        }
        self.findings
    }

    fn checkpoint(&mut self, row: &NamedRow<'_>) {
        let checkpoint = || {
            let [audit, at] = ["audit", "at"].map(|name| row.number(name));
            Some(Checkpoint { audit: audit?, at: at?, digest: row.array("digest")? })
        };
        match checkpoint() {
            Some(it) if it.is_signed_by(&self.vault.checkpoint_key(), row.bytes("signature").unwrap_or_default()) => {
                self.findings.checkpoints += 1;
                self.checkpoints.insert(it.audit, it.digest);
            }
            Some(it) => self
                .findings
                .fault(format_args!("the checkpoint at entry {} of the audit is not signed by this server", it.audit)),
            None => self.findings.fault("a checkpoint of the audit cannot be read"),
        }
    }

    fn entry(&mut self, row: &NamedRow<'_>) {
        let Some((entry, mac)) = read_entry(row) else {
            return self.findings.fault("an entry of the audit cannot be read");
        };
        let id = entry.id;
        let (previous, digest_before) = self.last.unwrap_or_else(|| self.beginning());
        if previous.id.checked_add(1) != Some(id) {
            self.findings.fault(format_args!("entries of the audit between {} and {id} are missing", previous.id));
        }
        if self.vault.audit_mac(&previous.mac, &entry) == mac {
            self.findings.entries += 1;
        } else {
            self.findings.fault(format_args!("entry {id} of the audit, or the one before, was changed"));
        }
        let stands = digest(&digest_before, &entry, &mac);
        if self.checkpoints.get(&id).is_some_and(|signed| *signed != stands) {
            self.findings.fault(format_args!("the audit up to entry {id} is not what was signed at its checkpoint"));
        }
        self.last = Some((Link { id, mac }, stands));
    }

    /// What comes before the first entry: nothing; or, where older ones were taken away, what was signed of them.
    fn beginning(&mut self) -> (Link, [u8; 32]) {
        let Some(begins) = self.begins else { return (Link::FIRST, CHAIN_BEGINS) };
        let signed = self.checkpoints.get(&begins.id).copied();
        if signed.is_none() {
            self.findings.fault(format_args!("the audit begins after entry {}, at which no checkpoint is", begins.id));
        }
        (begins, signed.unwrap_or(CHAIN_BEGINS))
    }
}

fn read_entry<'a>(row: &NamedRow<'a>) -> Option<(Entry<'a>, [u8; 32])> {
    let entry = Entry {
        id: row.number("id")?,
        at: row.number("at")?,
        actor: row.text("actor")?,
        origin: row.text("origin")?,
        action: row.text("action")?,
        subject: row.text("subject")?,
        detail: row.text("detail")?,
    };
    Some((entry, row.array("mac")?))
}

/// A row, whose values are found by the names of their columns.
pub(crate) struct NamedRow<'a> {
    pub(crate) table: &'a Table,
    pub(crate) row: &'a [Cell],
}

impl<'a> NamedRow<'a> {
    pub(crate) fn cell(&self, name: &str) -> Option<&'a Cell> {
        let at = self.table.columns.iter().position(|(column, _)| *column == name)?;
        self.row.get(at)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.cell(name).and_then(Cell::number)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.cell(name).and_then(Cell::text)
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.cell(name).and_then(Cell::bytes)
    }

    fn array(&self, name: &str) -> Option<[u8; 32]> {
        self.bytes(name)?.try_into().ok()
    }

    fn version(&self, name: &str) -> Option<u64> {
        self.number(name).and_then(|version| u64::try_from(version).ok())
    }
}

/// A row without what its sealed value is bound to.
pub(crate) struct Malformed;

/// The sealed value that a row has in a column, if it has one, and where it is sealed to.
pub(crate) fn sealed_value<'a>(column: Column, row: &NamedRow<'a>) -> Result<Option<(Place<'a>, &'a [u8])>, Malformed> {
    if row.table.name != column.table() {
        return Ok(None);
    }
    if row.table.name == "meta" {
        let is_it = row.text("name") == Some(column.name());
        return Ok(if is_it { row.bytes("value").map(|sealed| (Place::of_vault(column), sealed)) } else { None });
    }
    let Some(sealed) = row.bytes(column.name()) else { return Ok(None) };
    let place = match column {
        Column::ServerKey => row.version("version").map(Place::server_key),
        Column::DeviceKey => {
            row.bytes("id").zip(row.version("key_version")).map(|(id, version)| Place::device_key(id, version))
        }
        Column::NextDeviceKey => row
            .bytes("id")
            .zip(row.version("key_version"))
            .and_then(|(id, version)| Some(Place::next_device_key(id, version.checked_add(1)?))),
        Column::TopicKey => {
            row.number("topic").zip(row.version("version")).map(|(topic, version)| Place::topic_key(topic, version))
        }
        Column::Invitation => row.bytes("hash").map(Place::invitation),
        Column::Lasting | Column::PreviousRoot => None,
    };
    place.map(|place| Some((place, sealed))).ok_or(Malformed)
}

/// The sealed values of a row that are not under the current root key yet, under it.
pub(crate) fn resealed(vault: &Vault, row: &NamedRow<'_>) -> Result<Vec<(Column, Vec<u8>)>, UpkeepError> {
    let mut new = Vec::new();
    for column in Column::ALL {
        let sealed = sealed_value(column, row);
        let sealed = sealed.map_err(|Malformed| {
            UpkeepError::State(format!("a row of {} has no key, or one that is none", row.table.name))
        })?;
        if let Some((place, sealed)) = sealed
            && let Some(sealed) = vault.reseal(place, sealed)?
        {
            new.push((column, sealed));
        }
    }
    Ok(new)
}
