//! What protects the connection.

use super::{
    draft::{Draft, Drafts},
    remedy::Remedy,
};
use crate::{
    Target,
    report::{Certificate, ClientCertificate, Outcome, Report, Severity, TlsReport, Trust},
    words::{count, sentence},
};
use std::net::IpAddr;

/// Days before the end at which a certificate should have been renewed.
const SOON: i64 = 30;

pub(super) fn judge(report: &Report, drafts: &mut Drafts) {
    let target: Option<Target> = report.target.parse().ok();
    let Some(tls) = &report.tls else {
        if report.outcome == Outcome::Broker && target.as_ref().is_some_and(|target| !target.transport().is_tls()) {
            drafts.add(without(target.as_ref()));
        }
        return;
    };
    if let Some(error) = &tls.error {
        drafts.add(
            Draft::new("tls-incomplete", Severity::Note, "Not everything about TLS could be looked at.")
                .detail(sentence(error)),
        );
    }
    if !tls.versions.values().any(|spoken| *spoken) {
        // Who does not speak it at all is not praised for refusing old versions.
        return;
    }
    drafts.add(Draft::new("tls", Severity::Good, "The connection is protected by TLS."));
    versions(tls, drafts);
    suites(tls, drafts);
    if let Some(certificate) = tls.chain.first() {
        validity(report, certificate, drafts);
        trust(tls, certificate, drafts);
        name(target.as_ref(), certificate, drafts);
        key(certificate, drafts);
        signatures(&tls.chain, drafts);
    }
    client_certificate(tls, drafts);
    alpn(tls, drafts);
}

fn without(target: Option<&Target>) -> Draft {
    let address = target.and_then(|target| target.host().parse::<IpAddr>().ok());
    let here = target.is_some_and(|target| target.host() == "localhost") || address.is_some_and(|it| it.is_loopback());
    if here {
        // Nobody is on the way.
        return Draft::new("tls", Severity::Note, "The connection is not protected, but stays on this machine.")
            .remedy(Remedy::Tls);
    }
    Draft::new("tls", Severity::Medium, "The connection is not protected by TLS.")
        .detail("Everybody on the way can read and change what is sent, user names and passwords too.")
        .remedy(Remedy::Tls)
        .reference("MQTT 3.1.1 and 5, sections 5.4.4 and 5.4.5")
}

fn versions(tls: &TlsReport, drafts: &mut Drafts) {
    let old: Vec<_> = ["1.0", "1.1"].into_iter().filter_map(|name| Some((name, *tls.versions.get(name)?))).collect();
    let spoken: Vec<_> = old.iter().filter(|(_, spoken)| *spoken).map(|(name, _)| *name).collect();
    if !spoken.is_empty() {
        drafts.add(
            Draft::new("tls-old-versions", Severity::Medium, "The server speaks old versions of TLS.")
                .detail(format!("TLS {}.", spoken.join(" and ")))
                .remedy(Remedy::TlsVersions)
                .reference("RFC 8996"),
        );
    } else if !old.is_empty() {
        drafts.add(
            Draft::new("tls-old-versions", Severity::Good, "The server refuses old versions of TLS.")
                .reference("RFC 8996"),
        );
    }
    match tls.versions.get("1.3") {
        Some(true) => drafts.add(Draft::new("tls-1-3", Severity::Good, "The server speaks TLS 1.3.")),
        Some(false) => drafts.add(
            Draft::new("tls-1-3", Severity::Note, "The server does not speak TLS 1.3.")
                .remedy(Remedy::TlsVersions)
                .reference("RFC 9325, section 3.1.1"),
        ),
        None => {}
    }
}

/// How bad a suite is, by its name.
fn suite(name: &str) -> Severity {
    let broken = ["NULL", "anon", "EXPORT", "RC4", "RC2", "_DES_", "DES40", "3DES", "MD5"];
    let old = ["TLS_RSA_", "TLS_DH_", "TLS_ECDH_", "TLS_PSK_"];
    match () {
        () if broken.iter().any(|part| name.contains(part)) => Severity::Medium,
        // No forward secrecy, or padding that has been attacked again and again.
        () if old.iter().any(|start| name.starts_with(start)) || name.contains("_CBC_") => Severity::Low,
        () => Severity::Good,
    }
}

fn suites(tls: &TlsReport, drafts: &mut Drafts) {
    let Some(worst) = tls.suites.iter().map(|name| suite(name)).max() else { return };
    let of = |severity| -> Vec<&str> {
        tls.suites.iter().filter(|name| suite(name) == severity).map(String::as_str).collect()
    };
    let title = match worst {
        Severity::Medium => "The server accepts cipher suites that can be broken.",
        Severity::Low => "The server accepts cipher suites that are out of date.",
        _ => "All cipher suites that the server accepts are up to date.",
    };
    let total = count(u64::try_from(tls.suites.len()).unwrap_or(u64::MAX), "suite");
    let detail = match worst {
        Severity::Good => format!("{total} tried with success."),
        worst => format!("{}.", of(worst).join(", ")),
    };
    drafts.add(
        Draft::new("tls-suites", worst, title)
            .detail(detail)
            .remedy(Remedy::TlsSuites)
            .reference("RFC 9325, section 4"),
    );
}

fn validity(report: &Report, certificate: &Certificate, drafts: &mut Drafts) {
    let now = report.started.as_second();
    let days = (certificate.not_after.as_second() - now).div_euclid(24 * 3600);
    let (severity, title) = match () {
        () if certificate.not_after <= report.started => (Severity::Medium, "The certificate has expired."),
        () if certificate.not_before > report.started => (Severity::Medium, "The certificate is not valid yet."),
        () if days < SOON => (Severity::Low, "The certificate expires within 30 days."),
        () => (Severity::Good, "The certificate is valid now, and for a while."),
    };
    let detail = format!("Valid from {} until {}.", certificate.not_before, certificate.not_after);
    drafts.add(
        Draft::new("tls-certificate-validity", severity, title)
            .detail(detail)
            .remedy(Remedy::Certificate)
            .reference("RFC 5280, section 4.1.2.5"),
    );
}

fn trust(tls: &TlsReport, certificate: &Certificate, drafts: &mut Drafts) {
    let (severity, title, detail) = match &tls.trust {
        None => return,
        Some(Trust::Trusted) => (
            Severity::Good,
            "A known authority vouches for the certificate.",
            format!("Issuer: {}.", certificate.issuer),
        ),
        Some(Trust::Untrusted { reason }) if certificate.self_signed => {
            (Severity::Low, "The certificate is signed by itself.", sentence(reason))
        }
        Some(Trust::Untrusted { reason }) => (
            Severity::Low,
            "No authority that is known here vouches for the certificate.",
            format!("{} Clients that were given an authority of your own are safe.", sentence(reason)),
        ),
    };
    drafts.add(
        Draft::new("tls-certificate-trust", severity, title)
            .detail(detail)
            .remedy(Remedy::Certificate)
            .reference("MQTT 3.1.1 and 5, section 5.4.3"),
    );
}

fn name(target: Option<&Target>, certificate: &Certificate, drafts: &mut Drafts) {
    let Some(host) = target.map(Target::host) else { return };
    let names = if certificate.names.is_empty() { "no name at all".to_owned() } else { certificate.names.join(", ") };
    let draft = if certificate.names.iter().any(|name| matches(name, host)) {
        Draft::new("tls-certificate-name", Severity::Good, "The certificate is for the name that was asked for.")
    } else {
        Draft::new("tls-certificate-name", Severity::Medium, "The certificate is for another name.")
            .detail(format!("It is for {names}, and the target is {host}."))
    };
    drafts.add(draft.remedy(Remedy::Certificate).reference("RFC 9525"));
}

/// A star stands for one whole label, the first (RFC 9525, section 6.3).
fn matches(name: &str, host: &str) -> bool {
    if let Ok(host) = host.parse::<IpAddr>() {
        return name.parse() == Ok(host);
    }
    let (name, host) =
        (name.trim_end_matches('.').to_ascii_lowercase(), host.trim_end_matches('.').to_ascii_lowercase());
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(first, others)| !first.is_empty() && others == rest),
        None => name == host,
    }
}

fn key(certificate: &Certificate, drafts: &mut Drafts) {
    let (kind, bits) = certificate.key.split_once(' ').unwrap_or((&certificate.key, ""));
    let bits: Option<u32> = bits.trim().parse().ok();
    let weak = match kind {
        "RSA" => bits.is_some_and(|bits| bits < 2048),
        "EC" => bits.is_some_and(|bits| bits < 224),
        "DSA" => true,
        _ => false,
    };
    let (severity, title) = if weak {
        (Severity::Medium, "The key of the certificate is weak.")
    } else {
        (Severity::Good, "The key of the certificate is long enough.")
    };
    drafts.add(
        Draft::new("tls-key", severity, title)
            .detail(format!("{}.", certificate.key))
            .remedy(Remedy::Certificate)
            .reference("RFC 9325, section 4.5"),
    );
}

fn signatures(chain: &[Certificate], drafts: &mut Drafts) {
    // Nobody looks at the signature that a root makes over itself.
    let weak: Vec<_> = chain
        .iter()
        .filter(|certificate| !certificate.self_signed || chain.len() == 1)
        .map(|certificate| certificate.signature.as_str())
        .filter(|name| {
            let name = name.to_ascii_lowercase().replace('-', "");
            ["sha1", "md5", "md2"].iter().any(|hash| name.contains(hash))
        })
        .collect();
    let draft = if weak.is_empty() {
        Draft::new("tls-signature", Severity::Good, "The certificates are signed with sound hashes.")
    } else {
        Draft::new("tls-signature", Severity::Medium, "A certificate is signed with a hash that is broken.")
            .detail(format!("{}.", weak.join(", ")))
    };
    drafts.add(draft.remedy(Remedy::Certificate).reference("RFC 9155"));
}

fn client_certificate(tls: &TlsReport, drafts: &mut Drafts) {
    let (severity, title) = match tls.client_certificate {
        None => return,
        Some(ClientCertificate::Required) => {
            (Severity::Good, "The server lets only clients in that show a certificate.")
        }
        Some(ClientCertificate::Optional) => {
            (Severity::Note, "The server asks for a client certificate, and goes on without one.")
        }
        Some(ClientCertificate::NotAsked) => (Severity::Note, "The server asks for no client certificate."),
    };
    drafts.add(
        Draft::new("tls-client-certificate", severity, title)
            .remedy(Remedy::ClientCertificate)
            .reference("MQTT 3.1.1 and 5, section 5.4.1"),
    );
}

fn alpn(tls: &TlsReport, drafts: &mut Drafts) {
    let draft = if tls.alpn_mqtt {
        Draft::new("tls-alpn", Severity::Good, "The server knows the protocol name mqtt.")
    } else {
        Draft::new("tls-alpn", Severity::Note, "The server does not answer to the protocol name mqtt.")
    };
    drafts.add(draft.reference("RFC 7301"));
}
