//! What the text and the page show, in its order.

use super::{BySeverity, Names, Share, Summary};
use crate::{
    findings::Rule,
    output::printable,
    report::{PayloadCounts, Severity},
};

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

impl Summary {
    /// What was summed up, in sentences.
    pub(super) fn about(&self) -> String {
        let mut text = format!("{} targets were looked at", thousands(self.reports));
        if let Some((first, last)) = self.period {
            let day = |time: jiff::Timestamp| time.strftime("%Y-%m-%d").to_string();
            text += &match (day(first), day(last)) {
                (first, last) if first == last => format!(" on {first}"),
                (first, last) => format!(" from {first} to {last}"),
            };
        }
        text.push('.');
        for (count, what) in [
            (self.intrusive, "of them were looked at with --intrusive"),
            (self.incomplete, "of them not to the end"),
            (self.cut_off, "lines of the file are cut off and do not count"),
        ] {
            if count > 0 {
                text += &format!(" {} {what}.", thousands(count));
            }
        }
        text
    }

    pub(super) fn sections(&self, rules: &[Rule]) -> Vec<Section> {
        let brokers = |hits| Share { hits, of: self.brokers };
        let targets = |hits| Share { hits, of: self.reports };
        let section = |title: &str, note: &str, rows: Vec<Row>| Section {
            title: title.to_owned(),
            note: note.to_owned(),
            rows,
            severities: false,
        };
        let [v3_1, v3_1_1, v5] = self.levels;
        let mut worst: Vec<_> = self
            .worst
            .iter()
            .zip(Severity::ALL)
            .rev()
            .map(|(count, severity)| Row::new(word(severity), brokers(*count)))
            .collect();
        worst.push(Row::new("nothing found", brokers(self.without_findings)));
        let mut products = by_count(&self.products, brokers);
        products.push(Row::new("none that is known", brokers(self.unknown_product)));
        let outcomes = vec![
            Row::new("MQTT broker", targets(self.brokers)),
            Row::new("something else", targets(self.not_mqtt)),
            Row::new("unreachable", targets(self.unreachable)),
        ];
        let access = vec![
            Row::new("let anyone connect", brokers(self.anonymous.brokers)),
            Row::new("do not", brokers(self.refuses_strangers)),
        ];
        let versions = vec![Row::new("MQTT 3.1", v3_1), Row::new("MQTT 3.1.1", v3_1_1), Row::new("MQTT 5", v5)];
        let sections = [
            self.anonymous.section(),
            section("Targets", "Of all targets.", outcomes),
            section("Access", "Of all brokers.", access),
            section("The worst finding of a broker", "Of all brokers.", worst),
            self.findings_section(rules),
            section("Products", "Of all brokers: the product that fits best.", products),
            section("Versions of MQTT", "Of the brokers that answered to that version at all.", versions),
            section("Transport", "Of all targets.", by_count(&self.schemes, targets)),
            section("TLS", "Of the targets with TLS where it was looked at.", self.tls_rows()),
            self.payloads_section(),
        ];
        // Of nothing there is nothing to show, but for the table that this is made for.
        let shown = |(index, section): &(usize, Section)| *index == 0 || section.rows.iter().any(|row| row.of > 0);
        sections.into_iter().enumerate().filter(shown).map(|(_, section)| section).collect()
    }

    fn findings_section(&self, rules: &[Rule]) -> Section {
        let mut rows: Vec<_> = self
            .findings
            .0
            .iter()
            .map(|(id, counts)| {
                let [good, note, low, medium, high] = *counts;
                let bad = low + medium + high;
                let label = rules.iter().find(|rule| rule.id == id).map_or(id.as_str(), |rule| rule.summary);
                Row { parts: *counts, ..Row::new(label, Share { hits: bad, of: good + note + bad }) }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.permille(), row.hits)));
        Section {
            title: "Findings".to_owned(),
            note: "Of the brokers where it was looked at: those where it is small, medium or serious.".to_owned(),
            rows,
            severities: true,
        }
    }

    fn tls_rows(&self) -> Vec<Row> {
        let tls = &self.tls;
        let mut rows: Vec<_> =
            tls.versions.0.iter().map(|(version, share)| Row::new(&format!("speak TLS {version}"), *share)).collect();
        rows.extend([
            Row::new("have a trusted certificate", tls.trusted),
            Row::new("have a self-signed one", tls.self_signed),
            Row::new("have an expired one", tls.expired),
            Row::new("ask for a client certificate", tls.asks_for_certificate),
            Row::new("need one", tls.needs_certificate),
            Row::new("choose mqtt by ALPN", tls.alpn),
        ]);
        rows
    }

    fn payloads_section(&self) -> Section {
        let PayloadCounts { e4, random, json, number, text, binary, empty } = self.payloads;
        let kinds = [
            ("JSON", json),
            ("numbers", number),
            ("other text", text),
            ("binary", binary),
            ("empty", empty),
            ("encrypted or compressed", random),
            ("look as E4 seals them", e4),
        ];
        let of = kinds.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        Section {
            title: "Messages that could be read".to_owned(),
            note: format!(
                "Of the messages seen, from {} brokers. A broker with many messages counts for more.",
                thousands(self.readable)
            ),
            rows: kinds.map(|(label, hits)| Row::new(label, Share { hits, of })).into(),
            severities: false,
        }
    }
}

/// The most frequent first.
fn by_count(names: &Names<u64>, share: impl Fn(u64) -> Share) -> Vec<Row> {
    let mut rows: Vec<_> = names.0.iter().map(|(name, count)| Row::new(name, share(*count))).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.hits));
    rows
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
