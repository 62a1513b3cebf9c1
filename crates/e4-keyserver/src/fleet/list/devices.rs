//! Devices, and what is said of one.

use super::{damaged, hex_id, limit, moment, no_cursor, no_such_device, number, one_more, part, word_of};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind, Said},
    model::{Selector, Status},
    plan::Standing,
    store::{Row, Transaction, Value},
};
use e4::ClientId;
use e4_keyserver_api as said;
use std::collections::HashMap;

const COLUMNS: &str = "SELECT d.id, d.name, d.mode, d.status, d.standing, d.standing_since, d.labels, d.notes, d.public_key, \
                       d.client_key_since, d.created, d.withdrawn, d.confirmed, d.reported, d.report, d.revision FROM devices d";

impl Fleet {
    /// Devices in the order of their ids.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_devices(&self, query: &said::DevicesQuery) -> Result<said::Page<said::Device>, Refusal> {
        let limit = limit(query.limit)?;
        let mut filter = Filter::default();
        if let Some(after) = &query.after {
            let after: ClientId = after.parse().map_err(|_| no_cursor())?;
            filter.add("d.id >", Value::from(after.as_bytes().as_slice()));
        }
        if let Some(name) = &query.name {
            filter.add("d.name =", Value::from(name.as_str()));
        }
        if let Some(standing) = query.standing {
            filter.add("d.standing =", Value::from(standing.word()));
        }
        match query.status {
            Some(status) => {
                let status = Status::from_word(status.word()).ok_or_else(|| damaged("no status"))?;
                filter.add("d.status =", Value::from(status.code()));
            }
            None => filter.add("d.status <>", Value::from(Status::Withdrawn.code())),
        }
        if let Some(labels) = &query.label {
            let selector = Selector::parse(labels).map_err(|error| RefusalKind::Invalid.because(error.to_string()))?;
            for (name, value) in selector.labels().iter() {
                filter.add_label(name, value)?;
            }
        }
        let mut tx = self.store().read().await?;
        if let Some(group) = &query.group {
            let found = tx.query_opt("SELECT id FROM groups WHERE name = $1", &[Value::from(group.as_str())]).await?;
            let group = found.ok_or_else(|| RefusalKind::NotFound.because("there is no group of this name"))?.int(0)?;
            filter.add_member(group);
        }
        let sql = format!("{COLUMNS}{} ORDER BY d.id LIMIT {}", filter.clause(), one_more(limit));
        let rows = tx.query(&sql, &filter.values).await?;
        let devices = devices_of(&mut tx, &rows).await?;
        Ok(part(devices, limit, |device| device.id.clone()))
    }

    /// What is said of one device.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; the database.
    pub async fn device(&self, id: &ClientId) -> Result<said::Device, Refusal> {
        let mut tx = self.store().read().await?;
        let rows = tx.query(&format!("{COLUMNS} WHERE d.id = $1"), &[Value::from(id.as_bytes().as_slice())]).await?;
        devices_of(&mut tx, &rows).await?.pop().ok_or_else(no_such_device)
    }
}

/// What rows are asked for.
#[derive(Default)]
struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    /// A condition on a value, which comes behind it.
    fn add(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        self.conditions.push(format!("{condition} ${}", self.values.len()));
    }

    /// Labels are stored as one JSON object without spaces, and have no characters that JSON would write otherwise.
    fn add_label(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let pair = [name, value].map(serde_json::to_string);
        let [Ok(name), Ok(value)] = pair else { return Err(damaged("a label that cannot be written")) };
        self.values.push(Value::from(format!("{name}:{value}")));
        self.conditions.push(format!("REPLACE(d.labels, ${}, '') <> d.labels", self.values.len()));
        Ok(())
    }

    fn add_member(&mut self, group: i64) {
        self.values.push(Value::from(group));
        self.conditions.push(format!("d.id IN (SELECT device FROM members WHERE grp = ${})", self.values.len()));
    }

    fn clause(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!(" WHERE {}", self.conditions.join(" AND ")) }
    }
}

async fn devices_of(tx: &mut Transaction, rows: &[Row]) -> Result<Vec<said::Device>, Refusal> {
    let ids = rows.iter().map(|row| Ok(row.bytes(0)?.to_vec())).collect::<Result<Vec<_>, Refusal>>()?;
    let sql =
        "SELECT m.device, g.name FROM members m JOIN groups g ON g.id = m.grp WHERE m.device = ANY($1) ORDER BY g.name";
    let mut groups: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for row in tx.query(sql, &[Value::list(ids)]).await? {
        groups.entry(row.bytes(0)?.to_vec()).or_default().push(row.text(1)?.to_owned());
    }
    rows.iter().map(|row| device_of(row, groups.remove(row.bytes(0)?).unwrap_or_default())).collect()
}

fn device_of(row: &Row, groups: Vec<String>) -> Result<said::Device, Refusal> {
    let standing = Standing::from_word(row.text(4)?).ok_or_else(|| damaged("no standing of a device"))?;
    let at = |column| Ok::<_, Refusal>(row.opt_int(column)?.map(moment));
    Ok(said::Device {
        id: hex_id(row.bytes(0)?),
        name: row.opt_text(1)?.map(str::to_owned),
        mode: word_of!(Mode, row.int(2)?)?,
        status: word_of!(Status, row.int(3)?)?,
        standing: said::Standing::from_word(standing.word()).ok_or_else(|| damaged("no standing of a device"))?,
        standing_means: standing.sentence().to_owned(),
        standing_since: moment(row.int(5)?),
        labels: serde_json::from_str(row.text(6)?).map_err(|_| damaged("labels that are none"))?,
        groups,
        notes: row.text(7)?.to_owned(),
        public_key: row.opt_bytes(8)?.map(hex::encode),
        key_since: moment(row.int(9)?),
        created: moment(row.int(10)?),
        withdrawn: at(11)?,
        confirmed: at(12)?,
        reported: at(13)?,
        report: row.opt_text(14)?.map(report_of).transpose()?,
        revision: number(row.int(15)?)?,
    })
}

fn report_of(text: &str) -> Result<said::Report, Refusal> {
    let report: Said = serde_json::from_str(text).map_err(|_| damaged("a report that cannot be read"))?;
    // A device that does not know a time says 0.
    let time = |seconds: u64| i64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(moment);
    Ok(said::Report {
        sent: time(report.sent),
        newest_command: time(report.newest),
        refused: report.refused,
        topics: report.topics,
        room: report.room,
        knows_next_keys: report.knows_next_keys,
        has_clock: report.has_clock,
        command_waits: report.command_waits,
    })
}
