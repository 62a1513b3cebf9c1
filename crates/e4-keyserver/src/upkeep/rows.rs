//! Rows of any table, page by page in the order of its key.

use super::{
    UpkeepError,
    cell::Cell,
    tables::{Kind, Table, placeholders},
};
use crate::store::{Row, StoreError, Transaction, Value};

/// Rows that are read at a time.
pub(crate) const PAGE: usize = 1000;

/// The page after a row, or the first one. The last page is shorter than [`PAGE`], or empty.
pub(crate) async fn page(
    tx: &mut Transaction,
    table: &Table,
    after: Option<&[Cell]>,
) -> Result<Vec<Vec<Cell>>, UpkeepError> {
    let (columns, key) = (table.column_list(), table.key_list());
    let from = match after {
        Some(_) => format!("WHERE ({key}) > ({}) ", placeholders(table.key)),
        None => String::new(),
    };
    let parameters: Vec<Value> = after.unwrap_or_default().iter().take(table.key).cloned().map(Value::from).collect();
    let rows = tx
        .query(&format!("SELECT {columns} FROM {} {from}ORDER BY {key} LIMIT {PAGE}", table.name), &parameters)
        .await?;
    rows.iter().map(|row| read(row, table).map_err(UpkeepError::from)).collect()
}

fn read(row: &Row, table: &Table) -> Result<Vec<Cell>, StoreError> {
    let cell = |(at, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Text => row.opt_text(at)?.map(|text| Cell::Text(text.to_owned())),
            Kind::Number => row.opt_int(at)?.map(Cell::Number),
            Kind::Bytes => row.opt_bytes(at)?.map(|bytes| Cell::Bytes(bytes.to_vec())),
        }
        .unwrap_or(Cell::Null))
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// Writes rows that are not there yet.
pub(crate) async fn insert(tx: &mut Transaction, table: &Table, rows: Vec<Vec<Cell>>) -> Result<(), UpkeepError> {
    if rows.is_empty() {
        return Ok(());
    }
    let values = rows.into_iter().map(|row| row.into_iter().map(Value::from).collect()).collect();
    let statement =
        format!("INSERT INTO {} ({}) VALUES ({})", table.name, table.column_list(), placeholders(table.columns.len()));
    tx.execute_each(&statement, values).await?;
    Ok(())
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Text(text) => Self::from(text),
            Cell::Number(number) => Self::from(number),
            Cell::Bytes(bytes) => Self::from(bytes),
        }
    }
}
