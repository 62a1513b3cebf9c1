//! What the text and the page show, in its order.

use super::{
    counts::Summary,
    rows::{Row, Section, thousands, word},
    shares::{Names, Share},
};
use crate::{
    findings::Rule,
    report::{PayloadCounts, Severity},
};

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
