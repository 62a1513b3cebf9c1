//! What is counted.

use super::{
    anonymous::Anonymous,
    shares::{BySeverity, Names, Share, answers, count_severity, speaks},
};
use crate::{
    fingerprint::UNKNOWN,
    output::json::{Problem, ReadError, Reader},
    report::{Answer, ClientCertificate, Outcome, PayloadCounts, Report, Severity, TlsReport, Trust},
};
use std::{collections::BTreeMap, io::BufRead};

/// What many reports say together.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub(super) reports: u64,
    pub(super) cut_off: u64,
    pub(super) incomplete: u64,
    pub(super) intrusive: u64,
    /// When the first and the last look began.
    pub(super) period: Option<(jiff::Timestamp, jiff::Timestamp)>,
    pub(super) brokers: u64,
    pub(super) not_mqtt: u64,
    pub(super) unreachable: u64,
    pub(super) schemes: Names<u64>,
    /// Of brokers.
    pub(super) anonymous: Anonymous,
    pub(super) refuses_strangers: u64,
    pub(super) levels: [Share; 3],
    pub(super) worst: BySeverity,
    pub(super) without_findings: u64,
    pub(super) findings: Names<BySeverity>,
    pub(super) products: Names<u64>,
    pub(super) unknown_product: u64,
    pub(super) readable: u64,
    pub(super) payloads: PayloadCounts,
    pub(super) tls: Tls,
}

/// Of targets with TLS that answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    pub(super) versions: Names<Share>,
    pub(super) trusted: Share,
    pub(super) self_signed: Share,
    pub(super) expired: Share,
    pub(super) asks_for_certificate: Share,
    pub(super) needs_certificate: Share,
    pub(super) alpn: Share,
}

impl Tls {
    fn add(&mut self, tls: &TlsReport, now: jiff::Timestamp) {
        for (version, spoken) in &tls.versions {
            self.versions.of(version).count(Some(*spoken));
        }
        self.trusted.count(tls.trust.as_ref().map(|trust| *trust == Trust::Trusted));
        let own = tls.chain.first();
        self.self_signed.count(own.map(|certificate| certificate.self_signed));
        self.expired.count(own.map(|certificate| certificate.not_after < now));
        self.asks_for_certificate.count(tls.client_certificate.map(|asked| asked != ClientCertificate::NotAsked));
        self.needs_certificate.count(tls.client_certificate.map(|asked| asked == ClientCertificate::Required));
        self.alpn.count(own.map(|_| tls.alpn_mqtt));
    }
}

impl Summary {
    /// Counts the reports of a file. Lines that were cut off are told in the summary.
    ///
    /// # Errors
    ///
    /// A line is no report, or one of another version.
    pub fn read(reports: impl BufRead) -> Result<Self, ReadError> {
        let mut summary = Self::default();
        for report in Reader::<_, Report>::new(reports) {
            match report {
                Ok(report) => summary.add(&report),
                Err(ReadError { problem: Problem::CutOff, .. }) => summary.cut_off += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(summary)
    }

    /// Counts a report.
    pub fn add(&mut self, report: &Report) {
        self.reports += 1;
        self.incomplete += u64::from(report.incomplete.is_some());
        self.intrusive += u64::from(report.intrusive);
        let (first, last) = self.period.unwrap_or((report.started, report.started));
        self.period = Some((first.min(report.started), last.max(report.started)));
        *self.schemes.of(report.target.split_once("://").map_or("(none)", |(scheme, _)| scheme)) += 1;
        if let Some(tls) = &report.tls {
            self.tls.add(tls, report.started);
        }
        match report.outcome {
            Outcome::Broker => self.add_broker(report),
            Outcome::NotMqtt { .. } => self.not_mqtt += 1,
            Outcome::Unreachable { .. } => self.unreachable += 1,
        }
    }

    fn add_broker(&mut self, report: &Report) {
        self.brokers += 1;
        let answers = answers(report);
        if answers.iter().flatten().any(|answer| matches!(answer, Answer::Accepted(_))) {
            self.anonymous.add(report);
        } else {
            self.refuses_strangers += 1;
        }
        for ((share, answer), byte) in self.levels.iter_mut().zip(answers).zip([3, 4, 5]) {
            share.count(answer.and_then(|answer| speaks(answer, byte)));
        }
        match report.findings.iter().map(|finding| finding.severity).max() {
            Some(worst) => count_severity(&mut self.worst, worst),
            None => self.without_findings += 1,
        }
        // Where the versions of MQTT differ there are several of one kind: the worst one counts.
        let mut found: BTreeMap<&str, Severity> = BTreeMap::new();
        for finding in &report.findings {
            let worst = found.entry(&finding.id).or_insert(finding.severity);
            *worst = finding.severity.max(*worst);
        }
        for (id, severity) in found {
            count_severity(self.findings.of(id), severity);
        }
        match report.products.first() {
            Some(guess) if guess.product != UNKNOWN => *self.products.of(&guess.product) += 1,
            _ => self.unknown_product += 1,
        }
        let PayloadCounts { e4, random, json, number, text, binary, empty } = &report.payloads;
        let sum = &mut self.payloads;
        let mut any = false;
        for (sum, count) in [
            (&mut sum.e4, e4),
            (&mut sum.random, random),
            (&mut sum.json, json),
            (&mut sum.number, number),
            (&mut sum.text, text),
            (&mut sum.binary, binary),
            (&mut sum.empty, empty),
        ] {
            // Whatever a file says, no counter overflows.
            *sum = sum.saturating_add(*count);
            any |= *count > 0;
        }
        self.readable += u64::from(any);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::shares::NAMES, *};
    use crate::{example, output::json};

    #[test]
    fn a_file_is_counted_and_lines_cut_off_are_told() {
        let lines: String = [example::report(), example::unreachable(), example::report()]
            .iter()
            .map(|r| json::line(r).unwrap())
            .collect();
        let summary = Summary::read(format!("{lines}{{\"schema\":1,\"tar").as_bytes()).unwrap();
        assert_eq!((summary.reports, summary.brokers, summary.unreachable, summary.cut_off), (3, 2, 1, 1));
        assert_eq!(summary.findings.0["anonymous-access"], [0, 0, 0, 0, 2]);
        assert_eq!(summary.worst, [0, 0, 0, 0, 2]);
        assert_eq!(summary.products.0["mosquitto"], 2);
        assert_eq!((summary.payloads.json, summary.readable), (4, 2));
        assert_eq!(summary.levels, [Share { hits: 0, of: 2 }, Share { hits: 2, of: 2 }, Share { hits: 2, of: 2 }]);
        assert_eq!(summary.tls.versions.0["1.2"], Share { hits: 2, of: 2 });
        assert_eq!(summary.tls.expired, Share { hits: 0, of: 2 });
    }

    #[test]
    fn of_findings_that_differ_by_version_the_worst_counts_once() {
        let mut report = example::report();
        report.findings = [Severity::Good, Severity::Medium, Severity::Low]
            .map(|severity| example::finding("write-topic", severity, "One."))
            .into();
        let mut summary = Summary::default();
        summary.add(&report);
        assert_eq!(summary.findings.0["write-topic"], [0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_file_of_another_version_is_refused_with_its_line() {
        let text = json::line(&example::report()).unwrap() + "{\"schema\":2}\n";
        let error = Summary::read(text.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.problem), (2, Problem::Schema(2)));
    }

    #[test]
    fn no_file_makes_the_counters_grow_or_overflow() {
        let mut summary = Summary::default();
        for number in 0..2000 {
            let mut report = example::report();
            report.products.truncate(1);
            report.products[0].product = format!("product {number}");
            report.payloads.json = u64::MAX;
            summary.add(&report);
        }
        assert_eq!(summary.products.0.len(), NAMES + 1);
        assert_eq!(summary.products.0["(others)"], 1000);
        assert_eq!(summary.payloads.json, u64::MAX);
        assert!(summary.html(&[]).contains("(others)"));
    }
}
