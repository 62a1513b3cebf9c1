use super::{catalogue::allows, *};
use crate::{
    example::{accepted, answer, bare, connack_3, connack_5, reading, reads, refused, writes},
    report::{
        Access, Answer, Certificate, ClientCertificate, Flows, Limits, LoginErrors, Oddity, PayloadCounts,
        ProductGuess, Reaction, Reader,
        Severity::{Good, High, Low, Medium, Note},
        Takeover, TlsReport, Trust, Writing,
    },
};
use std::collections::BTreeSet;

/// An open broker of which one thing was looked at by MQTT 5.
fn five(change: impl FnOnce(&mut LevelReport)) -> Report {
    let mut report = bare();
    let mut seen = LevelReport::new(connack_5(0, ""));
    change(&mut seen);
    report.mqtt_5 = Some(seen);
    report
}

fn three(change: impl FnOnce(&mut LevelReport)) -> Report {
    let mut report = bare();
    let mut seen = LevelReport::new(connack_3(0));
    change(&mut seen);
    report.mqtt_3_1_1 = Some(seen);
    report
}

fn stranger(access: Access) -> Report {
    five(|seen| seen.stranger = Some(access))
}

fn stranger_reads(filter: &str, reaction: Reaction, messages: u64, retained: u64) -> Report {
    stranger(reads(filter, reading(reaction, messages, retained)))
}

fn stranger_tries_names(retained: u64) -> Report {
    let exact = Some(reading(accepted("SUBACK 0x00"), retained, retained));
    stranger(Access { exact, ..reads("#", reading(accepted("SUBACK 0x00"), 5, 0)) })
}

fn stranger_writes_sys(reaction: Reaction, delivered: bool) -> Report {
    stranger(Access { write_sys: Some(Writing { reaction, delivered }), ..Access::default() })
}

fn odd(oddity: Oddity, reaction: Reaction) -> Report {
    three(|seen| _ = seen.oddities.insert(oddity, reaction))
}

fn with(change: impl FnOnce(&mut Report)) -> Report {
    let mut report = bare();
    change(&mut report);
    report
}

fn flows(change: impl FnOnce(&mut Flows)) -> Report {
    let (qos1_in, qos2_in) = (accepted("PUBACK 0x10"), accepted("PUBCOMP 0x00"));
    let mut flows = Flows { qos1_in, qos2_in, qos_out: Some(2) };
    change(&mut flows);
    five(|seen| seen.flows = Some(flows))
}

fn taken_over(by_like: Reaction, by_stranger: Option<Reaction>, anonymous: Answer) -> Report {
    five(|seen| {
        seen.anonymous = anonymous;
        seen.takeover = Some(Takeover { by_like, by_stranger });
    })
}

fn logins(wrong_password: Answer, unknown_user: Answer) -> Report {
    five(|seen| seen.login_errors = Some(LoginErrors { wrong_password, unknown_user }))
}

fn credentials(anonymous: Answer, credentials: Answer, stranger: Option<Access>, user: Access) -> Report {
    five(|seen| {
        (seen.anonymous, seen.credentials) = (anonymous, Some(credentials));
        (seen.stranger, seen.user) = (stranger, Some(user));
    })
}

fn limits(change: impl FnOnce(&mut Limits)) -> Report {
    let mut limits = Limits {
        server_keep_alive: None,
        maximum_packet_size: Some(1 << 20),
        receive_maximum: 20,
        session_expiry: None,
        topic_alias_maximum: 10,
        maximum_qos: 2,
        retain_available: true,
        wildcard_subscriptions: true,
        subscription_identifiers: true,
        shared_subscriptions: true,
    };
    change(&mut limits);
    five(|seen| seen.limits = Some(limits))
}

fn payloads(change: impl FnOnce(&mut PayloadCounts)) -> Report {
    with(|report| change(&mut report.payloads))
}

fn certificate() -> Certificate {
    Certificate {
        subject: "CN=broker.example".into(),
        issuer: "CN=An authority".into(),
        names: vec!["broker.example".into()],
        not_before: "2026-10-01T00:00:00Z".parse().unwrap(),
        not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
        self_signed: false,
        key: "EC 256".into(),
        signature: "ecdsa-with-SHA256".into(),
        sha256: String::new(),
    }
}

fn tls(change: impl FnOnce(&mut TlsReport)) -> Report {
    let mut tls = TlsReport {
        versions: [("1.0", false), ("1.1", false), ("1.2", true), ("1.3", true)].map(|(it, on)| (it.into(), on)).into(),
        suites: vec!["TLS13_AES_128_GCM_SHA256".into(), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()],
        chain: vec![certificate()],
        trust: Some(Trust::Trusted),
        client_certificate: Some(ClientCertificate::Required),
        alpn_mqtt: true,
        error: None,
    };
    change(&mut tls);
    with(|report| {
        report.target = "mqtts://broker.example:8883".into();
        report.tls = Some(tls);
    })
}

fn shows(change: impl FnOnce(&mut Certificate)) -> Report {
    tls(|tls| change(&mut tls.chain[0]))
}

fn untrusted(self_signed: bool) -> Report {
    tls(|tls| {
        tls.trust = Some(Trust::Untrusted { reason: "the issuer is unknown".into() });
        tls.chain[0].self_signed = self_signed;
    })
}

/// Reports and one finding that each must have.
fn table() -> Vec<(Report, &'static str, Severity)> {
    let no = || connack_5(0x87, "");
    let closed = || Reaction::Closed;
    let suback = || accepted("SUBACK 0x00");
    let ssh = || Answer::Other { bytes: "5353".into(), looks_like: "SSH".into() };
    let reading_all = || reads("#", reading(accepted("SUBACK 0x00"), 3, 1));
    vec![
        (bare(), "reachable", Good),
        (with(|it| it.outcome = Outcome::NotMqtt { reason: "it is HTTP".into() }), "reachable", Note),
        (with(|it| it.outcome = Outcome::Unreachable { reason: "refused".into() }), "reachable", Note),
        (with(|it| it.incomplete = Some("the time was over".into())), "incomplete", Note),
        (five(|_| ()), "anonymous-access", Medium),
        (five(|it| it.anonymous = no()), "anonymous-access", Good),
        (three(|it| it.anonymous = connack_3(5)), "anonymous-access", Good),
        (five(|it| it.anonymous = connack_5(0x97, "")), "anonymous-access", Note),
        (credentials(Answer::Closed, connack_5(0, ""), None, Access::default()), "anonymous-access", Good),
        (credentials(no(), connack_5(0, ""), None, reading_all()), "credentials", Good),
        (credentials(connack_5(0, ""), connack_5(0, ""), Some(Access::default()), reading_all()), "credentials", Good),
        (credentials(connack_5(0, ""), connack_5(0, ""), Some(reading_all()), reading_all()), "credentials", Low),
        (credentials(no(), no(), None, Access::default()), "credentials", Note),
        (logins(no(), no()), "login-errors", Good),
        (logins(connack_5(0x86, ""), connack_5(0x85, "")), "login-errors", Medium),
        (stranger_reads("#", suback(), 5, 2), "read-everything", High),
        (stranger_reads("#", suback(), 0, 0), "read-everything", Medium),
        (stranger_reads("#", refused("SUBACK 0x87"), 0, 0), "read-everything", Good),
        (stranger_reads("+/#", suback(), 1, 0), "read-every-level", High),
        (stranger_reads("+/#", suback(), 0, 0), "read-every-level", Medium),
        (stranger_reads("+/#", closed(), 0, 0), "read-every-level", Good),
        (stranger_reads("$share/mqttinfo/#", suback(), 1, 0), "read-shared", High),
        (stranger_reads("$share/mqttinfo/#", suback(), 0, 0), "read-shared", Medium),
        (three(|seen| seen.stranger = Some(reads("$share/mqttinfo/#", reading(suback(), 0, 0)))), "read-shared", Note),
        (three(|seen| seen.stranger = Some(reads("$share/mqttinfo/#", reading(suback(), 1, 0)))), "read-shared", High),
        (stranger_reads("$share/mqttinfo/#", refused("SUBACK 0x9e"), 0, 0), "read-shared", Good),
        (stranger_reads("$SYS/#", suback(), 40, 40), "read-sys", Low),
        (stranger_reads("$SYS/#", suback(), 0, 0), "read-sys", Note),
        (stranger_reads("$SYS/#", refused("SUBACK 0x87"), 0, 0), "read-sys", Good),
        (stranger_reads("#", suback(), 5, 2), "retained-visible", Medium),
        (stranger_reads("#", suback(), 5, 0), "retained-visible", Note),
        (stranger_tries_names(0), "retained-visible", Good),
        (stranger_tries_names(1), "retained-visible", Medium),
        (stranger(writes(accepted("PUBACK 0x00"), true)), "write-topic", High),
        (stranger(writes(accepted("PUBACK 0x00"), false)), "write-topic", Medium),
        (three(|it| it.stranger = Some(writes(accepted("PUBACK"), false))), "write-topic", Low),
        (stranger(writes(refused("PUBACK 0x87"), false)), "write-topic", Good),
        (stranger_writes_sys(accepted("PUBACK 0x00"), true), "write-sys", High),
        (stranger_writes_sys(accepted("PUBACK 0x00"), false), "write-sys", Low),
        (stranger_writes_sys(refused("PUBACK 0x87"), false), "write-sys", Good),
        (taken_over(closed(), Some(refused("DISCONNECT 0x8e")), connack_5(0, "")), "stranger-takeover", High),
        (taken_over(closed(), Some(Reaction::Ignored), connack_5(0, "")), "stranger-takeover", Good),
        (taken_over(closed(), None, connack_5(0, "")), "takeover", Medium),
        (taken_over(closed(), None, no()), "takeover", Good),
        (taken_over(Reaction::Ignored, None, no()), "takeover", Low),
        (payloads(|it| it.json = 3), "payloads", Medium),
        (payloads(|it| (it.text, it.e4) = (1, 9)), "payloads", Medium),
        (payloads(|it| (it.e4, it.random, it.empty) = (3, 1, 1)), "payloads", Good),
        (bare(), "tls", Medium),
        (with(|it| it.target = "ws://[::1]:80/mqtt".into()), "tls", Note),
        (with(|it| it.target = "mqtt://localhost:1883".into()), "tls", Note),
        (tls(|_| ()), "tls", Good),
        (tls(|it| it.error = Some("it closed".into())), "tls-incomplete", Note),
        (tls(|_| ()), "tls-old-versions", Good),
        (tls(|it| _ = it.versions.insert("1.0".into(), true)), "tls-old-versions", Medium),
        (tls(|_| ()), "tls-1-3", Good),
        (tls(|it| _ = it.versions.insert("1.3".into(), false)), "tls-1-3", Note),
        (tls(|_| ()), "tls-suites", Good),
        (tls(|it| it.suites.push("TLS_RSA_WITH_AES_128_GCM_SHA256".into())), "tls-suites", Low),
        (tls(|it| it.suites.push("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA".into())), "tls-suites", Low),
        (tls(|it| it.suites.push("TLS_RSA_WITH_3DES_EDE_CBC_SHA".into())), "tls-suites", Medium),
        (shows(|_| ()), "tls-certificate-validity", Good),
        (shows(|it| it.not_after = "2026-11-30T00:00:00Z".parse().unwrap()), "tls-certificate-validity", Low),
        (shows(|it| it.not_after = "2026-10-30T00:00:00Z".parse().unwrap()), "tls-certificate-validity", Medium),
        (shows(|it| it.not_before = "2026-11-30T00:00:00Z".parse().unwrap()), "tls-certificate-validity", Medium),
        (tls(|_| ()), "tls-certificate-trust", Good),
        (untrusted(true), "tls-certificate-trust", Low),
        (untrusted(false), "tls-certificate-trust", Low),
        (tls(|_| ()), "tls-certificate-name", Good),
        (shows(|it| it.names = vec!["192.0.2.1".into()]), "tls-certificate-name", Medium),
        (shows(|it| it.names.clear()), "tls-certificate-name", Medium),
        (tls(|_| ()), "tls-key", Good),
        (shows(|it| it.key = "RSA 1024".into()), "tls-key", Medium),
        (tls(|_| ()), "tls-signature", Good),
        (shows(|it| it.signature = "sha1WithRSAEncryption".into()), "tls-signature", Medium),
        (shows(|it| it.signature = "ecdsa-with-SHA1".into()), "tls-signature", Medium),
        (tls(|_| ()), "tls-client-certificate", Good),
        (tls(|it| it.client_certificate = Some(ClientCertificate::Optional)), "tls-client-certificate", Note),
        (tls(|it| it.client_certificate = Some(ClientCertificate::NotAsked)), "tls-client-certificate", Note),
        (tls(|_| ()), "tls-alpn", Good),
        (tls(|it| it.alpn_mqtt = false), "tls-alpn", Note),
        (with(|it| it.mqtt_3_1 = Some(connack_3(0))), "mqtt-3-1", Note),
        (with(|it| it.mqtt_3_1 = Some(connack_3(1))), "mqtt-3-1", Good),
        (three(|_| ()), "mqtt-3-1-1", Good),
        (three(|it| it.anonymous = connack_3(1)), "mqtt-3-1-1", Note),
        (five(|it| it.anonymous = no()), "mqtt-5", Good),
        (five(|it| it.anonymous = answer(Level::V5, "20020001")), "mqtt-5", Note),
        (with(|it| it.unknown_level = Some(connack_3(1))), "unknown-level", Good),
        (with(|it| it.unknown_level = Some(connack_5(0x84, ""))), "unknown-level", Good),
        (with(|it| it.unknown_level = Some(Answer::Closed)), "unknown-level", Note),
        (with(|it| it.unknown_level = Some(connack_3(2))), "unknown-level", Note),
        (with(|it| it.unknown_level = Some(connack_3(0))), "unknown-level", Low),
        (with(|it| it.unknown_level = Some(ssh())), "unknown-level", Low),
        (five(|it| it.empty_id = Some(connack_5(0, "12 0003 616263"))), "assigned-client-id", Good),
        (five(|it| it.empty_id = Some(connack_5(0x85, ""))), "assigned-client-id", Note),
        (flows(|_| ()), "qos-1", Good),
        (flows(|it| it.qos1_in = Reaction::Ignored), "qos-1", Low),
        (flows(|_| ()), "qos-2", Good),
        (flows(|it| it.qos2_in = refused("DISCONNECT 0x9b")), "qos-2", Note),
        (flows(|it| it.qos2_in = closed()), "qos-2", Note),
        (flows(|it| it.qos2_in = Reaction::Ignored), "qos-2", Low),
        (flows(|it| it.qos2_in = accepted("PUBACK")), "qos-2", Low),
        (flows(|it| it.qos1_in = accepted("PUBACK")), "qos-1", Good),
        (flows(|_| ()), "qos-delivery", Good),
        (flows(|it| it.qos_out = Some(1)), "qos-delivery", Note),
        (flows(|it| it.qos_out = None), "qos-delivery", Low),
        (odd(Oddity::PublishQos3, accepted("PUBLISH")), "qos-3", Medium),
        (odd(Oddity::PublishQos3, accepted("PUBACK")), "qos-3", Low),
        (odd(Oddity::SubscribeQos3, accepted("SUBACK 0x02")), "qos-3", Low),
        (odd(Oddity::SubscribeQos3, closed()), "qos-3", Good),
        (odd(Oddity::InvalidFilter, accepted("SUBACK 0x00")), "invalid-filter", Low),
        (odd(Oddity::InvalidFilter, refused("SUBACK 0x80")), "invalid-filter", Good),
        (odd(Oddity::Utf8Null, accepted("SUBACK 0x00")), "ill-formed-utf8", Low),
        (odd(Oddity::Utf8Overlong, Reaction::Ignored), "ill-formed-utf8", Low),
        (odd(Oddity::Utf8Surrogate, closed()), "ill-formed-utf8", Good),
        (odd(Oddity::ReservedFlags, accepted("SUBACK 0x00")), "reserved-flags", Low),
        (odd(Oddity::ReservedFlags, closed()), "reserved-flags", Good),
        (odd(Oddity::SecondConnect, accepted("CONNACK 0x00")), "second-connect", Low),
        (odd(Oddity::SecondConnect, closed()), "second-connect", Good),
        (odd(Oddity::EmptyIdWithoutCleanSession, accepted("CONNACK 0x00")), "empty-id-persistent", Low),
        (odd(Oddity::EmptyIdWithoutCleanSession, refused("CONNACK 0x02")), "empty-id-persistent", Good),
        (odd(Oddity::WildcardDollar, accepted("PUBLISH")), "dollar-topics", Low),
        (odd(Oddity::WildcardDollar, Reaction::Ignored), "dollar-topics", Good),
        (limits(|_| ()), "maximum-packet-size", Good),
        (limits(|it| it.maximum_packet_size = None), "maximum-packet-size", Note),
        (limits(|it| it.maximum_packet_size = Some(268_435_455)), "maximum-packet-size", Note),
        (limits(|it| (it.retain_available, it.session_expiry) = (false, Some(u32::MAX))), "limits", Note),
    ]
}

fn find<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id} in {findings:#?}"))
}

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
fn a_name_with_a_star_is_for_one_label() {
    let verdict = |host: &str, name: &str| {
        let mut report = shows(|certificate| certificate.names = vec!["other.example".into(), name.into()]);
        report.target = format!("mqtts://{host}:8883");
        find(&judge(&report), "tls-certificate-name").severity
    };
    for (host, name, severity) in [
        ("a.example", "*.example", Good),
        ("A.Example", "a.EXAMPLE", Good),
        ("a.b.example", "*.example", Medium),
        ("example", "*.example", Medium),
        ("192.0.2.7", "192.0.2.7", Good),
        ("192.0.2.7", "*.0.2.7", Medium),
        ("[2001:db8::1]", "2001:db8:0::1", Good),
    ] {
        assert_eq!(verdict(host, name), severity, "{host} {name}");
    }
}

#[test]
fn only_the_signatures_that_clients_check_count() {
    let report = tls(|tls| {
        let root = Certificate { self_signed: true, signature: "sha1WithRSAEncryption".into(), ..certificate() };
        tls.chain.push(root);
    });
    assert_eq!(find(&judge(&report), "tls-signature").severity, Good);
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
    assert_eq!(retained(&sys).severity, Good, "wildcards bring them, as is seen below $SYS");
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

#[test]
fn encryption_is_the_remedy_for_readable_payloads() {
    let findings = judge(&payloads(|it| (it.json, it.e4, it.empty) = (3, 1, 2)));
    let finding = find(&findings, "payloads");
    assert_eq!(finding.title, "Some of the payloads that a stranger could read are in the clear.");
    assert_eq!(finding.detail.as_deref(), Some("Of 4 payloads that a stranger could read: 3 JSON, 1 sealed by E4."));
    assert!(finding.remedy.as_ref().unwrap().contains("E4"));
}

#[test]
fn who_speaks_no_tls_is_told_only_that() {
    let report = tls(|tls| {
        *tls = TlsReport {
            versions: ["1.0", "1.1", "1.2", "1.3"].map(|name| (name.to_owned(), false)).into(),
            error: Some("the server closed the connection when TLS began".into()),
            ..TlsReport::default()
        };
    });
    let about_tls: Vec<_> = judge(&report).into_iter().filter(|finding| finding.id.starts_with("tls")).collect();
    assert_eq!(about_tls.iter().map(|finding| finding.id.as_str()).collect::<Vec<_>>(), ["tls-incomplete"]);
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
