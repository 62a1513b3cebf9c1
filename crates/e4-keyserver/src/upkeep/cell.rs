//! One value of a row, and a row as one line of JSON: text as it is, a number as it is, bytes as `{"b": "base64"}`, nothing as
//! null.

use super::tables::{Kind, Table};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value as Json, json};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
}

impl Cell {
    fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Bytes(bytes) => json!({ "b": BASE64_STANDARD.encode(bytes) }),
        }
    }

    fn from_json(json: &Json, kind: Kind) -> Option<Self> {
        Some(match (kind, json) {
            (_, Json::Null) => Self::Null,
            (Kind::Text, Json::String(text)) => Self::Text(text.clone()),
            (Kind::Number, Json::Number(number)) => Self::Number(number.as_i64()?),
            (Kind::Bytes, Json::Object(object)) => {
                Self::Bytes(BASE64_STANDARD.decode(object.get("b")?.as_str()?).ok()?)
            }
            _ => return None,
        })
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// One line, without its end.
pub(crate) fn to_line(row: &[Cell]) -> String {
    Json::Array(row.iter().map(Cell::to_json).collect()).to_string()
}

/// The row of a table that a line is.
pub(crate) fn from_line(line: &Json, table: &Table) -> Option<Vec<Cell>> {
    let cells = line.as_array().filter(|it| it.len() == table.columns.len())?;
    cells.iter().zip(table.columns).map(|(json, (_, kind))| Cell::from_json(json, *kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table =
        Table { name: "t", key: 1, columns: &[("a", Kind::Text), ("b", Kind::Number), ("c", Kind::Bytes)] };

    #[test]
    fn a_row_comes_back_from_its_line() {
        for row in [
            vec![Cell::Text("ü\"\n\u{2028}".to_owned()), Cell::Number(i64::MIN), Cell::Bytes(vec![0, 255])],
            vec![Cell::Text(String::new()), Cell::Number(i64::MAX), Cell::Bytes(vec![])],
            vec![Cell::Null, Cell::Null, Cell::Null],
        ] {
            let line = to_line(&row);
            assert!(!line.contains('\n'));
            assert_eq!(from_line(&serde_json::from_str(&line).unwrap(), &TABLE), Some(row));
        }
    }

    #[test]
    fn a_line_that_is_no_row_of_the_table_is_none() {
        for line in [
            "[]",
            "[\"a\", 1]",
            "[\"a\", 1, \"b\"]",
            "[1, 1, null]",
            "[\"a\", 1.5, null]",
            "[\"a\", 1, {\"b\": \"?\"}]",
            "{}",
        ] {
            assert_eq!(from_line(&serde_json::from_str(line).unwrap(), &TABLE), None, "{line}");
        }
    }
}
