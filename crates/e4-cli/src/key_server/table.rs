//! Tables for people.

use crate::terminal::printable;
use comfy_table::{ContentArrangement, Table, presets};
use std::io::{IsTerminal, stdout};

/// A table of these columns. What is in it comes from outside, and steers no terminal.
pub(super) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|name| name.to_uppercase()));
    let width = terminal_size::terminal_size().map(|(width, _)| width.0);
    if let Some(width) = width.filter(|_| stdout().is_terminal()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// What is known of one thing: names and values, one a line.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    let lines = lines.map(|(name, value)| format!("{name:width$}  {}", printable(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A number of things.
pub(super) fn count(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// What may be unknown.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_steers_no_terminal_and_begins_no_row() {
        let shown = table(&["name", "notes"], [vec!["pump".to_owned(), "a\u{1b}[2J\nvalve".to_owned()]]);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.starts_with(" NAME") && !shown.contains('\u{1b}'), "{shown}");
        assert_eq!(fields(&[("name", "a\nb".to_owned()), ("notes", String::new())]), "name   a\\nb");
    }
}
