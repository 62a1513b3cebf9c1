//! Reports of which one thing was looked at.

use crate::{
    example::{accepted, bare, connack_3, connack_5, reading, reads},
    report::{
        Access, Answer, Certificate, ClientCertificate, Finding, Flows, LevelReport, Limits, LoginErrors, Oddity,
        PayloadCounts, Reaction, Report, Takeover, TlsReport, Trust, Writing,
    },
};

/// An open broker of which one thing was looked at by MQTT 5.
pub(super) fn five(change: impl FnOnce(&mut LevelReport)) -> Report {
    let mut report = bare();
    let mut seen = LevelReport::new(connack_5(0, ""));
    change(&mut seen);
    report.mqtt_5 = Some(seen);
    report
}

pub(super) fn three(change: impl FnOnce(&mut LevelReport)) -> Report {
    let mut report = bare();
    let mut seen = LevelReport::new(connack_3(0));
    change(&mut seen);
    report.mqtt_3_1_1 = Some(seen);
    report
}

pub(super) fn stranger(access: Access) -> Report {
    five(|seen| seen.stranger = Some(access))
}

pub(super) fn stranger_reads(filter: &str, reaction: Reaction, messages: u64, retained: u64) -> Report {
    stranger(reads(filter, reading(reaction, messages, retained)))
}

pub(super) fn stranger_tries_names(retained: u64) -> Report {
    let exact = Some(reading(accepted("SUBACK 0x00"), retained, retained));
    stranger(Access { exact, ..reads("#", reading(accepted("SUBACK 0x00"), 5, 0)) })
}

pub(super) fn stranger_writes_sys(reaction: Reaction, delivered: bool) -> Report {
    stranger(Access { write_sys: Some(Writing { reaction, delivered }), ..Access::default() })
}

pub(super) fn odd(oddity: Oddity, reaction: Reaction) -> Report {
    three(|seen| _ = seen.oddities.insert(oddity, reaction))
}

pub(super) fn with(change: impl FnOnce(&mut Report)) -> Report {
    let mut report = bare();
    change(&mut report);
    report
}

pub(super) fn flows(change: impl FnOnce(&mut Flows)) -> Report {
    let (qos1_in, qos2_in) = (accepted("PUBACK 0x10"), accepted("PUBCOMP 0x00"));
    let mut flows = Flows { qos1_in, qos2_in, qos_out: Some(2) };
    change(&mut flows);
    five(|seen| seen.flows = Some(flows))
}

pub(super) fn taken_over(by_like: Reaction, by_stranger: Option<Reaction>, anonymous: Answer) -> Report {
    five(|seen| {
        seen.anonymous = anonymous;
        seen.takeover = Some(Takeover { by_like, by_stranger });
    })
}

pub(super) fn logins(wrong_password: Answer, unknown_user: Answer) -> Report {
    five(|seen| seen.login_errors = Some(LoginErrors { wrong_password, unknown_user }))
}

pub(super) fn credentials(anonymous: Answer, credentials: Answer, stranger: Option<Access>, user: Access) -> Report {
    five(|seen| {
        (seen.anonymous, seen.credentials) = (anonymous, Some(credentials));
        (seen.stranger, seen.user) = (stranger, Some(user));
    })
}

pub(super) fn limits(change: impl FnOnce(&mut Limits)) -> Report {
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

pub(super) fn payloads(change: impl FnOnce(&mut PayloadCounts)) -> Report {
    with(|report| change(&mut report.payloads))
}

pub(super) fn certificate() -> Certificate {
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

pub(super) fn tls(change: impl FnOnce(&mut TlsReport)) -> Report {
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

pub(super) fn shows(change: impl FnOnce(&mut Certificate)) -> Report {
    tls(|tls| change(&mut tls.chain[0]))
}

pub(super) fn untrusted(self_signed: bool) -> Report {
    tls(|tls| {
        tls.trust = Some(Trust::Untrusted { reason: "the issuer is unknown".into() });
        tls.chain[0].self_signed = self_signed;
    })
}

pub(super) fn find<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id} in {findings:#?}"))
}
