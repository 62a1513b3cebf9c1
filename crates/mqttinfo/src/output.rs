//! How reports are shown: [as a table](table) for people, [as lines of JSON](json) for programs, and as
//! [SARIF](sarif) or [JUnit](junit) for what watches over builds.

pub mod json;
pub mod junit;
pub mod sarif;
pub mod table;

use crate::report::{Finding, Level, Report, Severity};
use std::{borrow::Cow, fmt};

/// Text from outside without the characters that would steer a terminal, break a line, or show text in another order
/// than it has. They are written as in Rust: `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| character == '\\' || steers(character)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\\' || steers(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters of both sets, and the invisible ones that break lines, turn text around, or hide text in tags.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The versions of MQTT that show a finding: `3.1.1, 5`.
pub(crate) fn levels(finding: &Finding) -> String {
    let names = finding.levels.iter().map(|level| match level {
        Level::V3_1_1 => "3.1.1",
        Level::V5 => "5",
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a report has a finding as bad as this, or worse.
#[must_use]
pub fn fails(report: &Report, fail_on: Severity) -> bool {
    report.findings.iter().any(|finding| finding.severity >= fail_on)
}

/// Reports for one document. SARIF and JUnit are no streams, and what reads them takes no millions: at most
/// [`Few::LIMIT`].
#[derive(Debug, Clone, Default)]
pub struct Few(Vec<Report>);

impl Few {
    /// How many reports a document holds at most.
    pub const LIMIT: usize = 1000;

    /// Adds a report.
    ///
    /// # Errors
    ///
    /// [`TooMany`], if there are [`Few::LIMIT`] already.
    pub fn push(&mut self, report: Report) -> Result<(), TooMany> {
        if self.0.len() >= Self::LIMIT {
            return Err(TooMany);
        }
        self.0.push(report);
        Ok(())
    }

    /// The reports in the order in which they came.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.0
    }
}

/// A document was to hold more than [`Few::LIMIT`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a SARIF or JUnit document holds at most {} targets: use --json for more", Few::LIMIT)
    }
}

impl core::error::Error for TooMany {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_the_rest_is_not() {
        assert_eq!(printable("Straße 5, 温度 ✔ \"a\""), "Straße 5, 温度 ✔ \"a\"");
        assert!(matches!(printable("plain"), Cow::Borrowed(_)), "no copy where nothing is to be done");
        assert_eq!(printable("\x1b[2J\r\n\t\0\u{7f}"), r"\u{1b}[2J\r\n\t\u{0}\u{7f}");
        assert_eq!(printable("\u{9b}31m"), r"\u{9b}31m", "CSI in one character");
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{61c}\u{200f}"), r"a\u{202e}b\u{2066}c\u{61c}\u{200f}");
        assert_eq!(printable("\u{2028}\u{feff}\u{200b}\u{e0041}"), r"\u{2028}\u{feff}\u{200b}\u{e0041}");
        assert_eq!(printable(r"\u{1b}"), r"\\u{1b}", "an escape is told from a text that looks like one");
    }

    #[test]
    fn a_level_is_reached_by_findings_as_bad_or_worse() {
        let report = example::report();
        assert!(fails(&report, Severity::High));
        let good = Report {
            findings: report.findings.into_iter().filter(|finding| finding.severity < Severity::Medium).collect(),
            ..example::report()
        };
        assert!(fails(&good, Severity::Low));
        assert!(!fails(&good, Severity::Medium));
    }

    #[test]
    fn a_document_takes_a_thousand_reports_and_no_more() {
        let mut few = Few::default();
        for _ in 0..1000 {
            few.push(example::unreachable()).unwrap();
        }
        assert_eq!(few.push(example::unreachable()), Err(TooMany));
        assert_eq!(few.reports().len(), 1000);
        assert!(TooMany.to_string().contains("1000 targets"));
    }
}
