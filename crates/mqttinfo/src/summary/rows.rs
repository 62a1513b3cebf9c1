//! Rows and sections as the text and the page show them.

use super::shares::{BySeverity, Share};
use crate::{output::printable, report::Severity};

/// Rows about the same thing.
pub(super) struct Section {
    pub(super) title: String,
    /// What the rows count, and of what.
    pub(super) note: String,
    pub(super) rows: Vec<Row>,
    /// Whether the rows have [`Row::parts`].
    pub(super) severities: bool,
}

/// A share.
pub(super) struct Row {
    /// For people; nothing in it steers a terminal.
    pub(super) label: String,
    pub(super) hits: u64,
    pub(super) of: u64,
    /// The share of 2019.
    pub(super) before: Option<&'static str>,
    /// All of them by severity.
    pub(super) parts: BySeverity,
}

impl Row {
    pub(super) fn new(label: &str, Share { hits, of }: Share) -> Self {
        Self { label: printable(label).into_owned(), hits, of, before: None, parts: [0; 5] }
    }

    /// In thousandths, rounded; none of nothing.
    pub(super) fn permille(&self) -> Option<u64> {
        permille(self.hits, self.of)
    }

    /// `88.5 %`; `–` of nothing.
    pub(super) fn percent(&self) -> String {
        self.permille().map_or_else(|| "–".to_owned(), |share| format!("{}.{} %", share / 10, share % 10))
    }

    /// `3 serious, 1 good`, the worst first.
    pub(super) fn parts_in_words(&self) -> String {
        let parts = self.parts.iter().zip(Severity::ALL).rev().filter(|(count, _)| **count > 0);
        parts
            .map(|(count, severity)| format!("{} {}", thousands(*count), word(severity)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

pub(super) fn permille(hits: u64, of: u64) -> Option<u64> {
    let (hits, of) = (u128::from(hits), u128::from(of));
    (hits * 1000 + of / 2).checked_div(of).and_then(|share| u64::try_from(share).ok())
}

/// `23,287`
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "serious",
        Severity::Medium => "medium",
        Severity::Low => "small",
        Severity::Note => "worth knowing",
        Severity::Good => "good",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_of_nothing_there_is_none() {
        for (hits, of, percent) in [
            (0, 0, "–"),
            (0, 7, "0.0 %"),
            (7, 7, "100.0 %"),
            (1, 3, "33.3 %"),
            (2, 3, "66.7 %"),
            (1, 2000, "0.1 %"),
            (u64::MAX, u64::MAX, "100.0 %"),
        ] {
            assert_eq!(Row::new("", Share { hits, of }).percent(), percent, "{hits} of {of}");
        }
    }

    #[test]
    fn thousands_are_set_off() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (23_287, "23,287"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
