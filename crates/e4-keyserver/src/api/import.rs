//! `/v1/devices/import`: many devices in one request, all of them or none.

use super::{
    Api, Problem,
    answer::{Answered, ok},
    convert,
    extract::{Asked, Raw, unsupported},
};
use crate::fleet::{Fault, NewDevice, Refusal, RefusalKind};
use axum::extract::State;
use e4_keyserver_api as said;

/// Adds many devices: one a line as JSON, or as CSV whose first line has the names of columns. All of them are added, or none, and
/// then the answer says what is wrong with which line.
#[utoipa::path(post, path = "/v1/devices/import",
    request_body(content((String = "application/jsonl"), (String = "text/csv"))),
    responses((status = 200, body = said::Imported)))]
pub(super) async fn import(State(api): State<Api>, Asked(actor): Asked, raw: Raw) -> Answered<said::Imported> {
    let read: fn(&[u8]) -> Lines = match raw.media_type.as_deref() {
        Some("application/jsonl" | "application/x-ndjson") => json_lines,
        Some("text/csv") => csv_lines,
        _ => return Err(unsupported("application/jsonl or text/csv")),
    };
    // A hundred thousand lines take a while, and others ask meanwhile.
    let lines = tokio::task::spawn_blocking(move || read(&raw.bytes));
    let lines =
        lines.await.map_err(|_| RefusalKind::Unavailable.because("the lines could not be read: send them again"))?;
    if !lines.faults.is_empty() {
        return Err(Refusal::of_lines(lines.faults).into());
    }
    if lines.devices.is_empty() {
        return Err(Problem::invalid("there is no device in this: one comes a line"));
    }
    let added = api.fleet().add_devices(&actor, lines.devices).await?;
    Ok(ok(said::Imported { added: added.count }))
}

#[derive(Default)]
struct Lines {
    devices: Vec<NewDevice>,
    faults: Vec<Fault>,
}

impl Lines {
    fn push(&mut self, line: u64, device: Result<said::NewDevice, String>) {
        match device.and_then(|device| convert::new_device(line, device)) {
            Ok(device) => self.devices.push(device),
            Err(detail) => self.faults.push(Fault { line, detail }),
        }
    }
}

fn json_lines(bytes: &[u8]) -> Lines {
    let mut lines = Lines::default();
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if !text.trim_ascii().is_empty() {
            lines.push(line, serde_json::from_slice(text).map_err(|error| super::extract::told(&error)));
        }
    }
    lines
}

fn csv_lines(bytes: &[u8]) -> Lines {
    let mut lines = Lines::default();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let mut rows = reader.deserialize::<said::DeviceRow>();
    loop {
        let line = rows.reader().position().line();
        let Some(row) = rows.next() else { break };
        match row {
            Ok(row) => lines.push(line, row.try_into().map_err(|error: said::RowError| error.to_string())),
            Err(error) => {
                let line = error.position().map_or(line, csv::Position::line);
                lines.faults.push(Fault { line, detail: told(&error) });
                if error.is_io_error() {
                    break;
                }
            }
        }
    }
    lines
}

/// What is wrong with a row, without what is in it.
fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} columns, and the first line names {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "is no UTF-8".to_owned(),
        csv::ErrorKind::Deserialize { err, .. } => match err.kind() {
            csv::DeserializeErrorKind::Message(text) if text.starts_with("unknown field") => {
                "the first line names a column that there is not: there are name, id, mode, key, public_key, labels, groups and notes".to_owned()
            }
            _ => "cannot be read as a device".to_owned(),
        },
        _ => "is no row of CSV".to_owned(),
    }
}
