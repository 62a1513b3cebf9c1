//! All that is to be found out about the TLS of a target.

use super::{
    attempt::{OLD_VERSIONS, Prober},
    chain::{read_chain, trust},
    client_hello::{TLS_1_2, all_suites},
    limits::Limits,
    suites,
};
use crate::report::{ClientCertificate, TlsReport, Trust};
use futures_util::future::{join_all, join5};
use mqtt_advice::{Failure, Shape, Target, TlsSettings, handshake::Shown, server_name};
use rustls::{ProtocolVersion, SupportedCipherSuite, pki_types::UnixTime, version};
use std::io;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::Instant,
};

/// Looks at the TLS of a target, on fresh connections that `dial` makes.
///
/// A modern broker is asked for 20 to 35 handshakes, of which most end after its `ServerHello`. `first_words` are sent
/// to a server that asks for a client certificate and goes on without, to see whether it answers: a CONNECT, or the
/// request of a WebSocket. It may be empty.
///
/// What could not be found out is left out of the report, and [`TlsReport::error`] says why.
pub async fn look<F, Fut, S>(
    target: &Target,
    dial: F,
    settings: &TlsSettings,
    limits: &Limits,
    first_words: &[u8],
) -> TlsReport
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut report = TlsReport::default();
    let name = match server_name(target.host()) {
        Ok(name) => name,
        Err(_) => {
            report.error = Some(format!("{} is no name that a certificate can have", target.host()));
            return report;
        }
    };
    let prober = Prober {
        dial,
        name,
        settings,
        limits,
        first_words,
        permits: Semaphore::new(limits.at_once.max(1)),
        end: Instant::now() + limits.total,
    };

    let first = prober.handshake(&Shape::default(), true).await;
    report_first(&mut report, &first, &prober.name, settings);
    if let Some(failure) = first.failure.as_ref().filter(|failure| !first.is_tls() && !failure.may_be_tls()) {
        report.error = Some(failure.to_string());
        return report;
    }
    // The certificate is only shown to a server that may have it. Without, the rest is still seen, up to the refusal.
    let credentials = report.client_certificate == Some(ClientCertificate::Required)
        && settings.has_client_certificate()
        && (settings.is_insecure() || report.trust == Some(Trust::Trusted));

    let (modern, new, alpn, old, groups) = join5(
        modern_suites(&prober, credentials),
        prober.handshake(&Shape { versions: &[&version::TLS12], credentials, ..Shape::default() }, false),
        prober.handshake(&Shape { alpn: &[b"mqtt"], credentials, ..Shape::default() }, false),
        join_all(OLD_VERSIONS.map(|(number, _)| {
            let prober = &prober;
            async move { prober.hello(number, &all_suites(number), false).await }
        })),
        join_all(suites::GROUPS.map(|group| prober.choices(TLS_1_2, group))),
    )
    .await;

    let (modern, modern_failure) = modern;
    for ((number, name), answer) in OLD_VERSIONS.into_iter().zip(&old) {
        let yes = answer.as_ref().is_ok_and(|hello| hello.version == number);
        report_version(&mut report, name, yes, answer.as_ref().err());
    }
    let yes = new.version == Some(ProtocolVersion::TLSv1_2) || groups.iter().any(|(taken, _)| !taken.is_empty());
    let failures = || groups.iter().filter_map(|(_, failure)| failure.as_ref()).chain(&new.failure);
    report_version(&mut report, "1.2", yes, failures());
    report_version(&mut report, "1.3", !modern.is_empty(), &modern_failure);

    let numbers = modern.iter().map(|suite| u16::from(suite.suite()));
    let numbers = numbers.chain(groups.iter().flat_map(|(taken, _)| taken.iter().copied()));
    report.suites = numbers.filter_map(suites::name).map(ToOwned::to_owned).collect();
    report.alpn_mqtt = alpn.alpn.as_deref() == Some(b"mqtt");

    if report.client_certificate.is_none() && new.is_tls() {
        // The first one failed on what this one does not.
        report_first(&mut report, &new, &prober.name, settings);
    }
    if report.chain.is_empty() {
        look_at_old_chain(&mut report, &prober).await;
    }
    let failures = old.iter().filter_map(|answer| answer.as_ref().err()).chain(failures());
    let unanswered = failures.chain(&modern_failure).chain(&alpn.failure).find(|failure| !failure.is_answer());
    report.error = report.error.take().or_else(|| explain(&report, &first, unanswered));
    report
}

/// Whether a version is spoken. A refusal is an answer. Silence is none.
fn report_version<'a>(
    report: &mut TlsReport,
    name: &str,
    spoken: bool,
    failures: impl IntoIterator<Item = &'a Failure>,
) {
    if spoken || failures.into_iter().all(Failure::is_answer) {
        report.versions.insert(name.to_owned(), spoken);
    }
}

/// Chain, trust and client certificate.
fn report_first(
    report: &mut TlsReport,
    shown: &Shown,
    name: &rustls::pki_types::ServerName<'_>,
    settings: &TlsSettings,
) {
    if !shown.chain.is_empty() {
        let (chain, problem) = read_chain(&shown.chain);
        report.chain = chain;
        report.error = report.error.take().or(problem);
        report.trust = trust(&shown.chain, name, settings, UnixTime::now());
    }
    // Whether a server would have asked is not known when the handshake ended before.
    report.client_certificate = match shown {
        Shown { refused: true, .. } => Some(ClientCertificate::Required),
        Shown { asked: true, .. } => Some(ClientCertificate::Optional),
        Shown { failure: None, .. } => Some(ClientCertificate::NotAsked),
        _ => None,
    };
}

/// The suites of TLS 1.3 that the server takes, in the order of its choice.
async fn modern_suites<F, Fut, S>(
    prober: &Prober<'_, F>,
    credentials: bool,
) -> (Vec<SupportedCipherSuite>, Option<Failure>)
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let all = &prober.settings.provider().cipher_suites;
    let mut left: Vec<SupportedCipherSuite> = all.iter().filter(|suite| suite.tls13().is_some()).copied().collect();
    let mut taken = Vec::new();
    while !left.is_empty() {
        let versions = &[&version::TLS13];
        let shape = Shape { versions, suites: Some(&left), credentials, ..Shape::default() };
        let shown = prober.handshake(&shape, false).await;
        match shown.suite.filter(|_| shown.version == Some(ProtocolVersion::TLSv1_3)) {
            Some(suite) if left.contains(&suite) => {
                left.retain(|one| *one != suite);
                taken.push(suite);
            }
            _ => return (taken, shown.failure),
        }
    }
    (taken, None)
}

/// Before TLS 1.3 the chain travels in the clear, so that it can be seen without finishing a handshake that rustls
/// would not begin.
async fn look_at_old_chain<F, Fut, S>(report: &mut TlsReport, prober: &Prober<'_, F>)
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let spoken = |name: &str| report.versions.get(name) == Some(&true);
    let number = if spoken("1.2") { Some(TLS_1_2) } else { None };
    let number = number.or_else(|| OLD_VERSIONS.into_iter().rev().find(|(_, name)| spoken(name)).map(|old| old.0));
    let Some(number) = number else { return };
    if let Ok(hello) = prober.hello(number, &all_suites(number), true).await
        && !hello.chain.is_empty()
    {
        let (chain, problem) = read_chain(&hello.chain);
        report.chain = chain;
        report.error = report.error.take().or(problem);
        let chain: Vec<_> = hello.chain.into_iter().map(Into::into).collect();
        report.trust = trust(&chain, &prober.name, prober.settings, UnixTime::now());
    }
}

fn explain(report: &TlsReport, first: &Shown, unanswered: Option<&Failure>) -> Option<String> {
    if let Some(failure) = unanswered {
        return Some(format!("not all was looked at: {failure}"));
    }
    if !report.suites.is_empty() && report.suites.iter().all(|name| suites::needs_shared_key(name)) {
        return Some("the server only takes clients that share a key with it beforehand (PSK)".to_owned());
    }
    let failure = first.failure.as_ref().filter(|_| !first.refused)?;
    if report.versions.values().any(|spoken| *spoken) {
        return Some(format!("MQTT cannot be spoken with it by this program: {failure}"));
    }
    Some(failure.to_string())
}
