//! Reports as JUnit XML: a test suite per target, and a test case per finding.

use super::{Few, levels, printable};
use crate::report::{Finding, Outcome, Report, Severity};
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// A document of reports, in which findings as bad as `fail_on` or worse have failed. What could not be looked at is an
/// error, whatever `fail_on` is.
///
/// # Errors
///
/// None that is known: all of a report can be written as XML.
pub fn render(reports: &Few, fail_on: Option<Severity>) -> Result<String, quick_junit::SerializeError> {
    let mut document = quick_junit::Report::new("mqttinfo");
    document.add_test_suites(reports.reports().iter().map(|report| suite(report, fail_on)));
    document.to_string()
}

fn suite(report: &Report, fail_on: Option<Severity>) -> TestSuite {
    let target = printable(&report.target);
    let mut suite = TestSuite::new(target.as_ref());
    // Reports are read from files, too: a time that is none counts as no time.
    suite.set_time(Duration::try_from_secs_f64(report.seconds).unwrap_or_default());
    suite.add_property(Property::new("started", report.started.to_string()));
    if let Some(product) = report.products.first() {
        suite.add_property(Property::new("product", printable(&product.product).as_ref()));
    }
    let reached = match &report.outcome {
        Outcome::Broker => TestCaseStatus::success(),
        Outcome::NotMqtt { reason } => error(&format!("This is no MQTT broker: {}", printable(reason))),
        Outcome::Unreachable { reason } => error(&format!("It cannot be reached: {}", printable(reason))),
    };
    let reached = match &report.incomplete {
        Some(reason) if report.outcome == Outcome::Broker => {
            error(&format!("Not everything was looked at: {}", printable(reason)))
        }
        _ => reached,
    };
    suite.add_test_case(case("looked-at", &target, reached));
    suite.add_test_cases(report.findings.iter().map(|finding| {
        let failed = fail_on.is_some_and(|fail_on| finding.severity >= fail_on);
        let status = if failed { failure(finding) } else { TestCaseStatus::success() };
        let mut case = case(&printable(&finding.id), &target, status);
        case.add_property(Property::new("severity", finding.severity.name()));
        if !failed {
            case.set_system_out(text(finding));
        }
        case
    }));
    suite
}

fn case(name: &str, target: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(target);
    case
}

fn error(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(message);
    status
}

fn failure(finding: &Finding) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(printable(&finding.title).as_ref());
    status.set_type(finding.severity.name());
    status.set_description(text(finding));
    status
}

/// All that a finding says. A remedy keeps its lines.
fn text(finding: &Finding) -> String {
    let mut lines = vec![printable(&finding.title).into_owned()];
    if !finding.levels.is_empty() {
        lines.push(format!("MQTT {}", levels(finding)));
    }
    lines.extend(finding.detail.as_deref().map(|detail| printable(detail).into_owned()));
    lines.extend(finding.reference.as_deref().map(|reference| printable(reference).into_owned()));
    if let Some(remedy) = finding.remedy.as_ref().filter(|_| finding.severity != Severity::Good) {
        lines.push("To mend it:".to_owned());
        lines.extend(remedy.lines().map(|line| printable(line).into_owned()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn document(reports: Vec<Report>, fail_on: Option<Severity>) -> (String, quick_junit::Report) {
        let mut few = Few::default();
        for report in reports {
            few.push(report).unwrap();
        }
        let xml = render(&few, fail_on).unwrap();
        let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
        (xml, read)
    }

    #[test]
    fn findings_fail_from_the_level_on_that_was_asked_for() {
        let mut whole = example::report();
        whole.incomplete = None;
        for (fail_on, failures) in [
            (None, 0),
            (Some(Severity::High), 1),
            (Some(Severity::Medium), 2),
            (Some(Severity::Low), 3),
            (Some(Severity::Note), 4),
        ] {
            let (_, read) = document(vec![whole.clone()], fail_on);
            assert_eq!((read.tests, read.failures, read.errors), (6, failures, 0), "{fail_on:?}");
        }
    }

    #[test]
    fn what_was_not_looked_at_is_an_error() {
        let (xml, read) = document(vec![example::report(), example::unreachable()], None);
        assert_eq!((read.test_suites.len(), read.errors), (2, 2));
        assert!(xml.contains("It cannot be reached: connection refused"), "{xml}");
        assert!(xml.contains("Not everything was looked at: the time for it was over"), "{xml}");
    }

    #[test]
    fn nothing_from_a_broker_breaks_the_document() {
        let (xml, read) = document(vec![example::hostile()], Some(Severity::Note));
        assert!(!xml.contains(['\x1b', '\u{202e}']) && !xml.contains("<script>"), "{xml}");
        assert_eq!(read.failures, 4);
        let mut odd = example::report();
        odd.seconds = f64::NAN;
        document(vec![odd], None);
    }
}
