mod access;
mod reports;
mod standard;
mod table;
mod tls;

use super::{
    catalogue::{self, allows, catalogue},
    judge,
};
use crate::{
    example::{accepted, bare, connack_5, reading, reads},
    report::{
        Answer, LoginErrors, Oddity, Outcome, Reaction, Report,
        Severity::{Good, Medium},
        Takeover,
    },
};
use reports::{find, five};
use std::collections::BTreeSet;
use table::table;

#[test]
fn each_thing_seen_gives_its_finding() {
    for (report, id, severity) in table() {
        let findings = judge(&report);
        assert_eq!(findings.iter().filter(|finding| finding.id == id).count(), 1, "{id}: {findings:#?}");
        let finding = find(&findings, id);
        assert_eq!(finding.severity, severity, "{finding:#?}");
    }
}

#[test]
fn findings_are_of_the_catalogue_and_read_well() {
    let sentence = |text: &str| text.ends_with(['.', '!', '?']) && text.len() > 4 && !text.contains("..");
    for (report, ..) in table() {
        for finding in judge(&report) {
            let rule = catalogue().iter().find(|rule| rule.id == finding.id).expect(&finding.id);
            assert!(allows(rule, finding.severity), "{finding:#?}");
            assert!(sentence(&finding.title), "{finding:#?}");
            assert!(finding.title.chars().next().unwrap().is_uppercase(), "{finding:#?}");
            for text in [&finding.detail, &finding.remedy].into_iter().flatten() {
                assert!(sentence(text), "{finding:#?}");
            }
            assert!(finding.severity > Good || finding.remedy.is_none(), "nothing to mend: {finding:#?}");
            assert!(finding.severity < Medium || finding.remedy.is_some(), "and then? {finding:#?}");
        }
    }
}

#[test]
fn the_catalogue_is_in_order_and_the_table_has_all_of_it() {
    let ids: BTreeSet<_> = catalogue().iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), catalogue().len(), "an id is listed twice");
    for rule in catalogue() {
        assert!(rule.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", rule.id);
        assert!(!rule.summary.is_empty() && !rule.summary.ends_with('.'), "{}", rule.id);
        assert!(rule.help.ends_with('.'), "{}", rule.id);
        let worst = table().iter().filter(|(_, id, _)| *id == rule.id).map(|(.., severity)| *severity).max();
        assert_eq!(worst, Some(rule.severity), "{}: the default severity is the worst one that happens", rule.id);
    }
}

#[test]
fn the_worst_comes_first() {
    for (report, ..) in table() {
        let findings = judge(&report);
        let keys: Vec<_> =
            findings.iter().map(|it| (std::cmp::Reverse(it.severity), catalogue::position(&it.id))).collect();
        assert!(keys.is_sorted(), "{findings:#?}");
        assert_eq!(judge(&report), findings, "the same each time");
    }
}

#[test]
fn nothing_is_said_of_what_was_not_looked_at() {
    let ids = |report: &Report| judge(report).into_iter().map(|finding| finding.id).collect::<Vec<_>>();
    assert_eq!(ids(&bare()), ["tls", "reachable"]);
    assert_eq!(ids(&five(|_| ())), ["anonymous-access", "tls", "reachable", "mqtt-5"]);
    let failed = || Answer::Failed { reason: "no route".into() };
    let mut report = five(|seen| {
        seen.anonymous = failed();
        seen.empty_id = Some(failed());
        seen.oddities.insert(Oddity::InvalidFilter, Reaction::Unclear { reason: "no connection".into() });
        seen.oddities.insert(Oddity::EmptyIdWithoutCleanSession, accepted("CONNACK 0x00"));
        seen.login_errors = Some(LoginErrors { wrong_password: connack_5(0x86, ""), unknown_user: failed() });
        let unclear = || Reaction::Unclear { reason: "it closed before".into() };
        seen.takeover = Some(Takeover { by_like: unclear(), by_stranger: Some(unclear()) });
        seen.stranger = Some(reads("#", reading(unclear(), 0, 0)));
    });
    report.mqtt_3_1 = Some(failed());
    report.unknown_level = Some(failed());
    assert_eq!(ids(&report), ["tls", "reachable"]);
    report.outcome = Outcome::Unreachable { reason: "no route".into() };
    assert_eq!(ids(&report), ["reachable"]);
}

#[test]
fn the_page_lists_the_catalogue() {
    let page = include_str!("../../../../docs/mqttinfo.md");
    let (_, rows) = page.split_once("| id | about | at worst |\n|---|---|---|\n").unwrap();
    let rows: Vec<_> = rows.lines().collect();
    let expected: Vec<_> = catalogue()
        .iter()
        .map(|rule| format!("| `{}` | {} | {} |", rule.id, rule.summary, rule.severity.name()))
        .collect();
    assert_eq!(rows, expected, "as it should be:\n{}", expected.join("\n"));
}
