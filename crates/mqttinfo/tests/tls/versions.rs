//! Versions, suites, ALPN, and client certificates.

use crate::server::{Authority, ONLY_1_2, ONLY_1_3, Server, Speaks, broker, limits, look_at, params, serve};
use mqttinfo::report::{ClientCertificate, TlsReport, Trust};
use rustls::crypto::ring::cipher_suite as suite;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn server(authority: &Authority, speaks: Speaks) -> Server {
    broker(speaks.config(authority.sign(params(&["localhost", "127.0.0.1"])))).await
}

fn spoken(report: &TlsReport) -> Vec<(&str, bool)> {
    report.versions.iter().map(|(name, spoken)| (name.as_str(), *spoken)).collect()
}

#[tokio::test]
async fn a_modern_server_is_seen_as_it_is_in_few_handshakes() {
    let authority = Authority::new("a");
    let server = server(&authority, Speaks::default()).await;
    let report = look_at(&server, "localhost", &authority.trusted(), &limits()).await;
    assert_eq!(spoken(&report), [("1.0", false), ("1.1", false), ("1.2", true), ("1.3", true)]);
    let mut suites = report.suites.clone();
    suites[..3].sort_unstable();
    suites[3..].sort_unstable();
    assert_eq!(
        suites,
        [
            "TLS13_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384",
            "TLS13_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ]
        .map(|name| name.replace("TLS13_", "TLS_"))
    );
    assert_eq!(report.trust, Some(Trust::Trusted));
    assert_eq!(report.client_certificate, Some(ClientCertificate::NotAsked));
    assert!(!report.alpn_mqtt);
    assert_eq!(report.error, None);
    let connections = server.connections.load(Ordering::SeqCst);
    assert!(connections < 25, "{connections} connections");
    let at_once = server.at_once.load(Ordering::SeqCst);
    assert!((2..=4).contains(&at_once), "{at_once} at once");
}

#[tokio::test]
async fn a_server_with_one_suite_shows_just_that() {
    let authority = Authority::new("a");
    for (suite, name, versions) in [
        (suite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", (false, true)),
        (suite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", (false, true)),
        (suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", (true, false)),
    ] {
        let speaks =
            Speaks { suites: vec![suite], versions: if versions.1 { ONLY_1_3 } else { ONLY_1_2 }, ..Speaks::default() };
        let report = look_at(&server(&authority, speaks).await, "localhost", &authority.trusted(), &limits()).await;
        assert_eq!(report.suites, [name]);
        assert_eq!(spoken(&report), [("1.0", false), ("1.1", false), ("1.2", versions.0), ("1.3", versions.1)]);
        assert_eq!(report.client_certificate, Some(ClientCertificate::NotAsked));
        assert_eq!(report.error, None, "{name}");
    }
}

#[tokio::test]
async fn alpn_says_whether_mqtt_was_chosen() {
    let authority = Authority::new("a");
    // One that knows others says no with an alert. That is no error.
    for (alpn, chosen) in [(vec![], false), (vec!["mqtt"], true), (vec!["http/1.1", "mqtt"], true), (vec!["h2"], false)]
    {
        let server = server(&authority, Speaks { alpn, ..Speaks::default() }).await;
        let report = look_at(&server, "localhost", &authority.trusted(), &limits()).await;
        assert_eq!(report.alpn_mqtt, chosen);
        assert_eq!(report.error, None);
    }
}

#[tokio::test]
async fn whether_a_client_certificate_is_needed_shows_in_both_versions() {
    let authority = Authority::new("a");
    for versions in [ONLY_1_2, ONLY_1_3, rustls::ALL_VERSIONS] {
        for (clients, expected) in [
            (None, ClientCertificate::NotAsked),
            (Some((authority.roots(), true)), ClientCertificate::Optional),
            (Some((authority.roots(), false)), ClientCertificate::Required),
        ] {
            let server = server(&authority, Speaks { versions, clients, ..Speaks::default() }).await;
            let report = look_at(&server, "localhost", &authority.trusted(), &limits()).await;
            assert_eq!(report.client_certificate, Some(expected), "{versions:?}");
            // Even one that lets nobody in shows the rest.
            assert_eq!(report.suites.len(), 3 * versions.len(), "{versions:?} {expected:?} {report:?}");
            assert_eq!(report.chain.len(), 1);
            assert_eq!(report.trust, Some(Trust::Trusted));
            assert_eq!(report.error, None);
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_needed_and_the_server_is_trusted() {
    let (authority, stranger) = (Authority::new("a"), Authority::new("b"));
    for (optional, settings, shown) in [
        (false, authority.trusted_with_client(false), true),
        (true, authority.trusted_with_client(false), false),
        (false, stranger.trusted_with_client(false), false),
    ] {
        let clients = Some((authority.roots(), optional));
        let server = server(&authority, Speaks { clients, ..Speaks::default() }).await;
        let report = look_at(&server, "localhost", &settings, &limits()).await;
        assert_eq!(server.certificates.load(Ordering::SeqCst) > 0, shown);
        assert_eq!(report.client_certificate == Some(ClientCertificate::Optional), optional);
        assert_eq!(report.suites.len(), 6);
        assert_eq!(report.error, None);
    }
    // Told not to mind, it is shown to one that nobody trusts.
    let clients = Some((authority.roots(), false));
    let server = broker(Speaks { clients, ..Speaks::default() }.config(stranger.sign(params(&["localhost"])))).await;
    let report = look_at(&server, "localhost", &authority.trusted_with_client(false), &limits()).await;
    assert!(matches!(report.trust, Some(Trust::Untrusted { .. })));
    assert_eq!(server.certificates.load(Ordering::SeqCst), 0);
    look_at(&server, "localhost", &authority.trusted_with_client(true), &limits()).await;
    assert!(server.certificates.load(Ordering::SeqCst) > 0);
}

/// A hello's version, and its offered suites.
fn read_hello(hello: &[u8]) -> (u16, Vec<u16>) {
    let version = u16::from_be_bytes([hello[9], hello[10]]);
    let suites = &hello[44 + usize::from(hello[43])..];
    let count = usize::from(u16::from_be_bytes([suites[0], suites[1]]));
    (version, suites[2..2 + count].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

/// A server of TLS 1.0, byte for byte, that takes these two suites and has a chain of one damaged certificate.
async fn old_server() -> Server {
    serve(|mut stream, _| async move {
        let mut hello = [0; 2048];
        let _ = stream.read(&mut hello).await?;
        let (version, offered) = read_hello(&hello);
        let chosen = [0x0035, 0x0005].into_iter().find(|suite| offered.contains(suite));
        let Some(chosen) = chosen.filter(|_| version >= 0x0301) else {
            // handshake_failure
            return stream.write_all(&[21, 3, 1, 0, 2, 2, 40]).await;
        };
        // Does not fall with the version asked for: always 1.0.
        let mut answer = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
        answer.extend([0x5A; 32]);
        answer.push(0);
        answer.extend(u16::to_be_bytes(chosen));
        answer.push(0);
        answer.extend([22, 3, 1, 0, 13, 11, 0, 0, 9, 0, 0, 6, 0, 0, 3, 0x30, 0x82, 0xFF]);
        answer.extend([22, 3, 1, 0, 4, 14, 0, 0, 0]);
        stream.write_all(&answer).await?;
        let _ = stream.read(&mut hello).await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_of_tls_1_0_is_seen_to_speak_that_alone() {
    let authority = Authority::new("a");
    let report = look_at(&old_server().await, "localhost", &authority.trusted(), &limits()).await;
    assert_eq!(spoken(&report), [("1.0", true), ("1.1", false), ("1.2", false), ("1.3", false)]);
    assert!(report.suites.is_empty());
    assert!(report.chain.is_empty());
    let error = report.error.unwrap();
    assert!(error.contains("certificate 1 of the chain is malformed"), "{error}");
    assert_eq!(report.trust, Some(Trust::Untrusted { reason: "it is malformed".into() }));
}

/// A server of TLS 1.2 that takes weak suites only, in its own order.
async fn weak_server() -> Server {
    serve(|mut stream, _| async move {
        let mut hello = [0; 2048];
        let _ = stream.read(&mut hello).await?;
        let (version, offered) = read_hello(&hello);
        let chosen = [0x0004, 0x000A, 0x0018, 0x0001, 0x0003, 0x009C, 0x002F, 0x00A8]
            .into_iter()
            .find(|suite| offered.contains(suite) && version == 0x0303);
        let Some(chosen) = chosen else { return stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await };
        let mut answer = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        answer.extend([0x5A; 32]);
        answer.push(0);
        answer.extend(u16::to_be_bytes(chosen));
        answer.push(0);
        stream.write_all(&answer).await
    })
    .await
}

#[tokio::test]
async fn weak_suites_are_found_one_by_one() {
    let authority = Authority::new("a");
    let report = look_at(&weak_server().await, "localhost", &authority.trusted(), &limits()).await;
    assert_eq!(spoken(&report), [("1.0", false), ("1.1", false), ("1.2", true), ("1.3", false)]);
    assert_eq!(
        report.suites,
        [
            "TLS_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_RSA_WITH_RC4_128_MD5",
            "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
            "TLS_DH_anon_WITH_RC4_128_MD5",
            "TLS_RSA_WITH_NULL_MD5",
            "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
            "TLS_PSK_WITH_AES_128_GCM_SHA256",
        ]
    );
}
