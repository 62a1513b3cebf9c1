//! What is said of certificates.

use super::{super::judge, reports::*};
use crate::report::{
    Certificate,
    Severity::{Good, Medium},
    TlsReport,
};

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
