//! Reports as SARIF 2.1.0, for what gathers the results of analyses.

use super::{Few, levels, printable};
use crate::{
    findings::Rule,
    report::{Finding, Outcome, Report, Severity},
};
use serde_json::{Value, json};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A document of reports and the rules that their findings are about. What is good is a result that passed. What could
/// not be looked at is a notification of the run.
#[must_use]
pub fn render(reports: &Few, rules: &[Rule]) -> String {
    let reports = reports.reports();
    let results =
        reports.iter().flat_map(|report| report.findings.iter().map(|finding| result(report, finding, rules)));
    let notifications: Vec<_> = reports.iter().filter_map(notification).collect();
    let sarif = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mqttinfo",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules.iter().map(descriptor).collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results.collect::<Vec<_>>(),
        }],
    });
    format!("{sarif:#}\n")
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": message(rule.summary),
        "help": message(rule.help),
        "defaultConfiguration": { "level": level(rule.severity) },
    })
}

fn result(report: &Report, finding: &Finding, rules: &[Rule]) -> Value {
    let mut text = printable(&finding.title).into_owned();
    if !finding.levels.is_empty() {
        text = format!("{text} (MQTT {})", levels(finding));
    }
    if let Some(detail) = &finding.detail {
        text = format!("{text} {}", printable(detail));
    }
    if let Some(remedy) = finding.remedy.as_ref().filter(|_| finding.severity != Severity::Good) {
        let lines: Vec<_> = remedy.lines().map(printable).collect();
        text = format!("{text}\nTo mend it: {}", lines.join("\n"));
    }
    let id = printable(&finding.id);
    let mut result = json!({
        "ruleId": id,
        "kind": if finding.severity == Severity::Good { "pass" } else { "fail" },
        "level": level(finding.severity),
        "message": message(&text),
        "locations": [location(report)],
        // The same finding of the same target is the same problem in the next run.
        "partialFingerprints": { "mqttinfo/v1": format!("{id} {}", printable(&report.target)) },
    });
    let index = rules.iter().position(|rule| rule.id == finding.id);
    if let (Some(index), Some(result)) = (index, result.as_object_mut()) {
        result.insert("ruleIndex".to_owned(), index.into());
    }
    result
}

fn notification(report: &Report) -> Option<Value> {
    let text = match (&report.outcome, &report.incomplete) {
        (Outcome::NotMqtt { reason }, _) => format!("This is no MQTT broker: {}", printable(reason)),
        (Outcome::Unreachable { reason }, _) => format!("It cannot be reached: {}", printable(reason)),
        (Outcome::Broker, Some(reason)) => format!("Not everything was looked at: {}", printable(reason)),
        (Outcome::Broker, None) => return None,
    };
    Some(json!({ "level": "error", "message": message(&text), "locations": [location(report)] }))
}

fn location(report: &Report) -> Value {
    let target = printable(&report.target);
    json!({
        "physicalLocation": { "artifactLocation": { "uri": target } },
        "logicalLocations": [{ "fullyQualifiedName": target, "kind": "resource" }],
    })
}

fn message(text: &str) -> Value {
    json!({ "text": literal(text) })
}

/// Brackets would make links, and braces stand for arguments (SARIF 2.1.0, sections 3.11.5 and 3.11.6).
fn literal(text: &str) -> String {
    text.replace('[', r"\[").replace(']', r"\]").replace('{', "{{").replace('}', "}}")
}

/// A result that passed has no level.
const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => "none",
        Severity::Note => "note",
        Severity::Low | Severity::Medium => "warning",
        Severity::High => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    const RULES: [Rule; 2] = [
        Rule { id: "other", summary: "Other", severity: Severity::Low, help: "Help" },
        Rule { id: "anonymous-access", summary: "Who may connect", severity: Severity::High, help: "Ask [all] {0}" },
    ];

    fn document(reports: Vec<Report>) -> (String, Value) {
        let mut few = Few::default();
        for report in reports {
            few.push(report).unwrap();
        }
        let text = render(&few, &RULES);
        let sarif: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(sarif["version"], "2.1.0");
        (text, sarif["runs"][0].clone())
    }

    #[test]
    fn each_finding_is_a_result_with_its_level_rule_and_place() {
        let (_, run) = document(vec![example::report()]);
        let results = run["results"].as_array().unwrap();
        let seen: Vec<_> = results
            .iter()
            .map(|result| json!([result["ruleId"], result["kind"], result["level"], result["ruleIndex"]]))
            .collect();
        assert_eq!(
            seen,
            [
                json!(["qos-flows", "pass", "none", null]),
                json!(["invalid-filter", "fail", "warning", null]),
                json!(["anonymous-access", "fail", "error", 1]),
                json!(["limits", "fail", "note", null]),
                json!(["tls-trust", "fail", "warning", null]),
            ]
        );
        let place = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, "mqtts://broker.example:8883");
        assert_eq!(run["tool"]["driver"]["rules"][1]["help"]["text"], r"Ask \[all\] {{0}}");
    }

    #[test]
    fn what_was_not_looked_at_is_a_notification_and_the_run_no_success() {
        let mut whole = example::report();
        whole.incomplete = None;
        let (_, run) = document(vec![whole]);
        assert_eq!(run["invocations"][0]["executionSuccessful"], true);
        let (text, run) = document(vec![example::report(), example::unreachable()]);
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        assert_eq!(invocation["toolExecutionNotifications"].as_array().unwrap().len(), 2);
        assert!(text.contains("It cannot be reached: connection refused"), "{text}");
    }

    #[test]
    fn nothing_from_a_broker_becomes_a_link_or_an_escape() {
        let mut report = example::hostile();
        report.findings[0].title = "[click](http://evil.example) {0} \x1b".into();
        let (text, run) = document(vec![report]);
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        let title = run["results"][0]["message"]["text"].as_str().unwrap();
        assert!(title.starts_with(r"\[click\](http://evil.example) {{0}} \u{{1b}}"), "{title}");
    }
}
