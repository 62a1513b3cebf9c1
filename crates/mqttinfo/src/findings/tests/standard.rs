//! What is said of what the standard asks for, and of both versions of MQTT.

use super::{super::judge, reports::*};
use crate::{
    example::{accepted, refused},
    report::{
        Level, Oddity, Reaction, Report,
        Severity::{Good, Low, Note},
    },
};

#[test]
fn versions_that_agree_are_one_finding() {
    let mut both = five(|seen| _ = seen.oddities.insert(Oddity::InvalidFilter, refused("DISCONNECT 0x81")));
    both.mqtt_3_1_1 = odd(Oddity::InvalidFilter, Reaction::Closed).mqtt_3_1_1;
    let findings = judge(&both);
    let finding = find(&findings, "invalid-filter");
    assert_eq!(finding.levels, [Level::V3_1_1, Level::V5]);
    let detail = "MQTT 3.1.1: The connection was closed. MQTT 5: Refused with DISCONNECT 0x81.";
    assert_eq!(finding.detail.as_deref(), Some(detail));
    assert_eq!(finding.reference.as_deref(), Some("[MQTT-4.7.1-3]; [MQTT-4.7.1-2]"));
    assert_eq!(find(&findings, "anonymous-access").levels, [Level::V3_1_1, Level::V5]);

    both.mqtt_5.as_mut().unwrap().oddities.insert(Oddity::InvalidFilter, accepted("SUBACK 0x00"));
    let findings: Vec<_> = judge(&both).into_iter().filter(|finding| finding.id == "invalid-filter").collect();
    assert_eq!(
        findings.iter().map(|it| (it.severity, it.levels.as_slice())).collect::<Vec<_>>(),
        [(Low, [Level::V5].as_slice()), (Good, [Level::V3_1_1].as_slice())]
    );
}

#[test]
fn ill_formed_text_is_one_finding_with_its_classes() {
    let mut report = odd(Oddity::Utf8Truncated, Reaction::Closed);
    let seen = report.mqtt_3_1_1.as_mut().unwrap();
    seen.oddities.insert(Oddity::Utf8Null, accepted("SUBACK 0x00"));
    let findings = judge(&report);
    let finding = find(&findings, "ill-formed-utf8");
    assert_eq!(finding.severity, Low);
    let detail = "A sequence that does not go on (C3 28): the connection was closed; the character U+0000: accepted with \
                  SUBACK 0x00.";
    assert_eq!(finding.detail.as_deref(), Some(detail));
}

#[test]
fn the_character_zero_alone_is_not_called_ill_formed() {
    let title = |truncated| {
        let mut report = odd(Oddity::Utf8Truncated, truncated);
        let seen = report.mqtt_3_1_1.as_mut().unwrap();
        seen.oddities.insert(Oddity::Utf8Null, accepted("SUBACK 0x00"));
        find(&judge(&report), "ill-formed-utf8").title.clone()
    };
    assert_eq!(title(Reaction::Closed), "The broker takes text with the character U+0000.", "as rumqttd does");
    assert_eq!(title(accepted("SUBACK 0x00")), "The broker takes text that is no UTF-8.");
}
#[test]
fn f51_a_message_that_came_back_at_any_qos_came_back() {
    let delivery = |qos_out| find(&judge(&flows(|it| it.qos_out = qos_out)), "qos-delivery").clone();
    assert_eq!(delivery(Some(1)).title, "Messages come back at QoS 1 at most.", "as of NATS");
    assert_eq!(delivery(Some(0)).severity, Note);
    assert_eq!(delivery(None).severity, Low);
}

#[test]
fn f52a_topics_that_begin_with_a_dollar_are_found_where_wildcards_bring_them() {
    let mut seen = stranger_reads("#", accepted("SUBACK 0x00"), 5, 0);
    let found = |report: &Report| judge(report).into_iter().find(|finding| finding.id == "dollar-topics");
    assert_eq!(found(&seen), None);
    let access = seen.mqtt_5.as_mut().unwrap().stranger.as_mut().unwrap();
    access.read.get_mut("#").unwrap().dollar = 2;
    let finding = found(&seen).unwrap();
    assert_eq!((finding.severity, finding.reference.as_deref()), (Low, Some("[MQTT-4.7.2-1]")));
    assert_eq!(finding.detail.as_deref(), Some("2 such messages came while listening."));
}
