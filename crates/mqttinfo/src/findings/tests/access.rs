//! What is said of who may do what.

use super::{super::judge, reports::*};
use crate::{
    example::{accepted, connack_5, reading, reads},
    report::{
        LoginErrors, PayloadCounts, ProductGuess, Reader, Report,
        Severity::{Good, High, Medium, Note},
    },
};

#[test]
fn f49_who_is_meant_is_who_was_used() {
    let mut report = credentials(connack_5(0x87, ""), connack_5(0, ""), None, reads("#", reading(accepted("x"), 3, 0)));
    report.payloads = PayloadCounts { json: 3, ..PayloadCounts::default() };
    report.payloads_by = Reader::User;
    for finding in judge(&report) {
        let told = format!("{} {}", finding.title, finding.detail.as_deref().unwrap_or_default());
        assert!(!told.to_lowercase().contains("stranger"), "{told}");
    }
    let title = "The payloads that the user could read are in the clear.";
    assert_eq!(find(&judge(&report), "payloads").title, title);
}

#[test]
fn f50_no_retained_message_by_wildcards_alone_is_not_called_good() {
    let retained = |report: &Report| find(&judge(report), "retained-visible").clone();
    assert_eq!(retained(&stranger_reads("#", accepted("SUBACK 0x00"), 5, 0)).severity, Note);
    // As RabbitMQ does.
    let by_name = retained(&stranger_tries_names(2));
    assert_eq!(by_name.severity, Medium);
    assert!(by_name.detail.unwrap().contains("by its name, and not to wildcards"));
    assert_eq!(retained(&stranger_tries_names(0)).severity, Good);
    let mut sys = stranger_reads("#", accepted("SUBACK 0x00"), 5, 0);
    let read = &mut sys.mqtt_5.as_mut().unwrap().stranger.as_mut().unwrap().read;
    read.insert("$SYS/#".to_owned(), reading(accepted("SUBACK 0x00"), 9, 9));
    assert_eq!(retained(&sys).severity, Note, "those below $SYS are the broker's own, and no name was tried");
}

#[test]
fn f51_who_says_that_it_has_no_shared_subscriptions_is_believed_until_something_comes() {
    let shared = |shared, messages| {
        let mut report = limits(|it| it.shared_subscriptions = shared);
        let reading = reading(accepted("SUBACK 0x00"), messages, 0);
        report.mqtt_5.as_mut().unwrap().stranger = Some(reads("$share/mqttinfo/#", reading));
        find(&judge(&report), "read-shared").severity
    };
    assert_eq!(shared(true, 0), Medium);
    assert_eq!(shared(false, 0), Note, "as of mqttools");
    assert_eq!(shared(false, 1), High);
}

#[test]
fn the_remedy_is_that_of_the_product() {
    let remedy = |product: &str, confidence| {
        let mut report = five(|_| ());
        let (product, evidence) = (product.to_owned(), Vec::new());
        report.products = vec![ProductGuess { product, version: None, confidence, evidence }];
        find(&judge(&report), "anonymous-access").remedy.clone().unwrap()
    };
    let general = remedy("Somebody's", 0.9);
    assert!(remedy("mosquitto", 0.8).contains("allow_anonymous false"));
    assert!(remedy("RabbitMQ", 0.8).contains("rabbitmq.conf"));
    assert!(remedy("EMQX", 0.8).contains("emqx.conf"));
    assert!(remedy("HiveMQ", 0.8).contains("hivemq-allow-all-extension"));
    assert_eq!(remedy("mosquitto", 0.4), general, "a guess that may be wrong is no advice");
}

#[test]
fn commands_that_are_advised_have_nothing_that_is_shown_escaped() {
    for product in ["mosquitto", "RabbitMQ", "EMQX", "HiveMQ", "other"] {
        let mut report = stranger_reads("#", accepted("SUBACK 0x00"), 1, 1);
        let (product, evidence) = (product.to_owned(), Vec::new());
        report.products = vec![ProductGuess { product, version: None, confidence: 0.9, evidence }];
        for remedy in judge(&report).iter().filter_map(|finding| finding.remedy.as_ref()) {
            assert_eq!(crate::output::printable(remedy), remedy.as_str());
        }
    }
}

#[test]
fn what_a_broker_says_cannot_move_the_cursor() {
    let mut report = stranger_reads("$SYS/#", accepted("SUBACK 0x00"), 1, 1);
    report.sys.insert("$SYS/broker/version".into(), Some("mosquitto\u{1b}[2J".into()));
    report.mqtt_5.as_mut().unwrap().login_errors = Some(LoginErrors {
        wrong_password: connack_5(0x86, "1f 0003 611b62"),
        unknown_user: connack_5(0x86, "1f 0003 611b62"),
    });
    for finding in judge(&report) {
        assert!(!finding.detail.unwrap_or_default().contains('\u{1b}'), "{}", finding.id);
    }
}

#[test]
fn encryption_is_the_remedy_for_readable_payloads() {
    let findings = judge(&payloads(|it| (it.json, it.e4, it.empty) = (3, 1, 2)));
    let finding = find(&findings, "payloads");
    assert_eq!(finding.title, "Some of the payloads that a stranger could read are in the clear.");
    assert_eq!(finding.detail.as_deref(), Some("Of 4 payloads that a stranger could read: 3 JSON, 1 sealed by E4."));
    assert!(finding.remedy.as_ref().unwrap().contains("E4"));
}
