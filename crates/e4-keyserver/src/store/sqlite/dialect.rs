//! What SQLite says otherwise than PostgreSQL.

use crate::store::{Row, Value};
use rusqlite::{
    Statement,
    types::{Null, Type, ValueRef},
};
use std::rc::Rc;

/// A statement as SQLite reads it: `?1` for `$1`, a list for `= ANY`, and no words on locks, since it has one writer.
pub(super) fn for_sqlite(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    while let Some(at) = rest.find(['=', '$', 'F']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let (written, length) = replaced(from);
        text.push_str(&written);
        rest = from.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// What stands at the beginning, as it is written for SQLite, and how long it was.
fn replaced(from: &str) -> (String, usize) {
    if let Some(rest) = from.strip_prefix("= ANY($") {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let number = rest.get(..digits).unwrap_or_default();
        return (format!("IN rarray(?{number})"), "= ANY($)".len() + digits);
    }
    for lock in ["FOR UPDATE SKIP LOCKED", "FOR UPDATE", "FOR SHARE"] {
        if from.starts_with(lock) {
            return (String::new(), lock.len());
        }
    }
    let first = from.chars().next().unwrap_or_default();
    (if first == '$' { '?' } else { first }.to_string(), first.len_utf8())
}

pub(super) fn bind(statement: &mut Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    if statement.parameter_count() != values.len() {
        return Err(rusqlite::Error::InvalidParameterCount(values.len(), statement.parameter_count()));
    }
    for (at, value) in values.iter().enumerate() {
        let at = at + 1;
        match value {
            Value::Null => statement.raw_bind_parameter(at, Null)?,
            Value::Int(value) => statement.raw_bind_parameter(at, value)?,
            Value::Text(value) => statement.raw_bind_parameter(at, value)?,
            Value::Bytes(value) => statement.raw_bind_parameter(at, value)?,
            Value::List(values) => {
                statement.raw_bind_parameter(at, Rc::new(values.iter().map(plain).collect::<Vec<_>>()))?;
            }
        }
    }
    Ok(())
}

fn plain(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Int(value) => (*value).into(),
        Value::Text(value) => value.clone().into(),
        Value::Bytes(value) => value.clone().into(),
        Value::Null | Value::List(_) => rusqlite::types::Value::Null,
    }
}

pub(super) fn read(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Row> {
    let mut values = Vec::with_capacity(columns);
    for at in 0..columns {
        values.push(match row.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Int(value),
            ValueRef::Text(text) => Value::Text(
                std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(at, error))?.to_owned(),
            ),
            ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Real(_) => return Err(rusqlite::Error::InvalidColumnType(at, String::new(), Type::Real)),
        });
    }
    Ok(Row::new(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_translated() {
        for (postgres, sqlite) in [
            ("SELECT a FROM t WHERE b = $1 AND c >= $12", "SELECT a FROM t WHERE b = ?1 AND c >= ?12"),
            ("UPDATE t SET a = $2 WHERE b = ANY($1)", "UPDATE t SET a = ?2 WHERE b IN rarray(?1)"),
            ("SELECT a FROM t LIMIT $1 FOR UPDATE SKIP LOCKED", "SELECT a FROM t LIMIT ?1 "),
            ("SELECT a FROM t FOR UPDATE", "SELECT a FROM t "),
            ("SELECT a FROM t FOR SHARE", "SELECT a FROM t "),
            ("SELECT 'ä' FROM é", "SELECT 'ä' FROM é"),
        ] {
            assert_eq!(for_sqlite(postgres), sqlite);
        }
    }
}
