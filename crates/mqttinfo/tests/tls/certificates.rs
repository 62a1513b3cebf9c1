//! Chains, trust, and the files of the command line.

use crate::server::{
    Authority, CONNECT, Identity, ONLY_1_2, ONLY_1_3, Speaks, Versions, broker, limits, look_at, params,
};
use mqttinfo::{
    report::{Certificate, ClientCertificate, Trust},
    tls::{LoadError, TlsSettings, server_name},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn a_chain_is_described() {
    let authority = Authority::new("Hill CA");
    let mut params = params(&["localhost", "*.hill.example", "192.0.2.7", "2001:db8::7"]);
    params.distinguished_name.push(DnType::OrganizationName, "Hill\u{1b}[31m");
    params.not_after = date_time_ymd(9999, 12, 31);
    let mut identity = authority.sign(params);
    identity.chain.push(authority.issuer.der().clone());
    let report =
        look_at(&broker(Speaks::default().config(identity)).await, "localhost", &authority.trusted(), &limits()).await;
    assert_eq!(report.error, None);
    let [own, issuer] = report.chain.as_slice() else { panic!("{:?}", report.chain) };
    assert_eq!(own.subject, "CN=rcgen self signed cert, O=Hill\u{FFFD}[31m");
    assert!(own.issuer.contains("CN=Hill CA"));
    assert_eq!(own.names, ["localhost", "*.hill.example", "192.0.2.7", "2001:db8::7"]);
    assert_eq!(own.not_before, "2020-01-02T00:00:00Z".parse().unwrap());
    assert_eq!(own.not_after, jiff::Timestamp::MAX);
    assert!(!own.self_signed && issuer.self_signed);
    assert_eq!((own.key.as_str(), own.signature.as_str()), ("EC 256", "ecdsa-with-SHA256"));
    assert_ne!(own.sha256, issuer.sha256);
    assert_eq!(own.sha256.len(), 64);
}

/// Which certificate is looked at, by what name, and what is said about it.
#[tokio::test]
async fn what_is_not_trusted_is_told_why() {
    let (authority, stranger) = (Authority::new("a"), Authority::new("b"));
    let mut expired = params(&["localhost"]);
    expired.not_after = date_time_ymd(2021, 5, 6);
    let mut early = params(&["localhost"]);
    early.not_before = date_time_ymd(2110, 5, 6);
    let mut purpose = params(&["localhost"]);
    purpose.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut of_authority = params(&["localhost"]);
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let common_name = CertificateParams::new(Vec::new()).unwrap();
    let mut no_names = common_name.clone();
    no_names.distinguished_name = rcgen::DistinguishedName::new();
    for (identity, name, expected) in [
        (authority.sign(params(&["localhost"])), "localhost", None),
        (authority.sign(params(&["localhost"])), "localhost.", None),
        (authority.sign(params(&["127.0.0.1", "::1"])), "127.0.0.1", None),
        (authority.sign(params(&["*.hill.example"])), "b.hill.example", None),
        (authority.sign(expired), "localhost", Some("it expired on 2021-05-06")),
        (authority.sign(early), "localhost", Some("it is not valid before 2110-05-06")),
        (authority.sign(purpose), "localhost", Some("it is not made for a server")),
        (authority.sign(of_authority), "localhost", Some("it is the certificate of an authority, not of a server")),
        (
            authority.sign(params(&["b.example", "10.0.0.1"])),
            "localhost",
            Some("it is not for localhost, only for b.example, 10.0.0.1"),
        ),
        (
            authority.sign(common_name),
            "localhost",
            Some(
                "it is not for localhost: it has no names but the common name rcgen self signed cert, which no longer \
                 counts (RFC 9525)",
            ),
        ),
        (authority.sign(no_names), "127.0.0.1", Some("it is not for 127.0.0.1: it has no names")),
        (stranger.sign(params(&["localhost"])), "localhost", Some("no trusted authority has made it")),
        (
            Identity::self_signed(&params(&["b.example"])),
            "localhost",
            Some(
                "it is self-signed, and not among the trusted certificates; \
                 it is not for localhost, only for b.example",
            ),
        ),
    ] {
        let server = broker(Speaks::default().config(identity)).await;
        let report = look_at(&server, name, &authority.trusted(), &limits()).await;
        let expected = match expected {
            None => Trust::Trusted,
            Some(reason) => Trust::Untrusted { reason: reason.into() },
        };
        assert_eq!(report.trust, Some(expected));
        assert_eq!(report.error, None);
        assert_eq!(report.suites.len(), 6);
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server whose certificate is not as rustls wants it.
async fn look_at_odd(der: CertificateDer<'static>, versions: Versions) -> mqttinfo::report::TlsReport {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("files/version1.key")).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(vec![der], key)))));
    look_at(&broker(config).await, "localhost", &Authority::new("a").trusted(), &limits()).await
}

#[tokio::test]
async fn a_certificate_of_version_1_is_looked_at_and_not_trusted() {
    for versions in [ONLY_1_2, ONLY_1_3] {
        let der = CertificateDer::from_pem_slice(include_bytes!("files/version1.pem")).unwrap();
        let report = look_at_odd(der, versions).await;
        assert_eq!(report.error, None);
        assert_eq!(report.client_certificate, Some(ClientCertificate::NotAsked));
        assert_eq!(report.chain[0].key, "RSA 2048");
        assert!(report.chain[0].self_signed);
        let Some(Trust::Untrusted { reason }) = report.trust else { panic!() };
        assert!(reason.contains("version 1"), "{reason}");
        assert_eq!(report.suites.len(), 3, "all of the version, with RSA");
    }
}

#[tokio::test]
async fn a_server_must_have_the_key_of_its_certificate_even_when_all_are_taken() {
    // A certificate of someone else, and one of version 1 whose key was changed.
    let other = Authority::new("b").sign(params(&["localhost"])).chain.remove(0);
    let der = CertificateDer::from_pem_slice(include_bytes!("files/version1.pem")).unwrap();
    let mut changed = der.to_vec();
    let at = changed.len() - 400;
    changed[at] ^= 1;
    for der in [other, changed.into()] {
        let report = look_at_odd(der, rustls::ALL_VERSIONS).await;
        assert!(report.error.as_ref().unwrap().contains("handshake failed"), "{report:?}");
    }
}

#[tokio::test]
async fn damaged_certificates_are_an_error_and_no_panic() {
    let good = include_bytes!("files/version1.pem");
    let good = CertificateDer::from_pem_slice(good).unwrap();
    for cut in [0, 1, 5, 100, good.len() - 1] {
        let report = look_at_odd(good[..cut].to_vec().into(), rustls::ALL_VERSIONS).await;
        assert!(report.chain.is_empty());
        assert!(report.error.is_some(), "{report:?}");
    }
}

#[tokio::test]
async fn strict_goes_on_with_the_trusted_alone_and_lenient_with_all() {
    let (authority, stranger) = (Authority::new("a"), Authority::new("b"));
    let server = broker(
        Speaks { clients: Some((stranger.roots(), true)), alpn: vec!["http/1.1"], ..Speaks::default() }
            .config(authority.sign(params(&["localhost"]))),
    )
    .await;
    let connect = async |config, name: &str| {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let mut stream = TlsConnector::from(config).connect(server_name(name).unwrap(), stream).await?;
        stream.write_all(CONNECT).await?;
        stream.read_exact(&mut [0; 4]).await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    let trusted = authority.trusted();
    assert_eq!(connect(trusted.strict(&[]), "localhost").await.unwrap(), None);
    assert_eq!(connect(trusted.strict(&[b"http/1.1"]), "localhost").await.unwrap(), Some(b"http/1.1".to_vec()));
    assert!(connect(trusted.strict(&[]), "other.example").await.is_err());
    assert_eq!(connect(trusted.lenient(&[b"http/1.1"]), "other.example").await.unwrap(), Some(b"http/1.1".to_vec()));

    let other = stranger.trusted_with_client(false);
    assert!(connect(other.strict(&[]), "localhost").await.is_err());
    assert!(connect(other.lenient(&[]), "localhost").await.is_ok());
    assert_eq!(server.certificates.load(std::sync::atomic::Ordering::SeqCst), 0, "shown to nobody so far");
    let insecure = stranger.trusted_with_client(true);
    assert!(connect(insecure.strict(&[]), "localhost").await.is_ok());
    assert_eq!(server.certificates.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// Shows one certificate to the first who comes, and another to all others.
#[derive(Debug)]
struct Changing(Arc<CertifiedKey>, Arc<CertifiedKey>, std::sync::atomic::AtomicBool);

impl ResolvesServerCert for Changing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let later = self.2.swap(true, std::sync::atomic::Ordering::SeqCst);
        Some(Arc::clone(if later { &self.1 } else { &self.0 }))
    }
}

#[tokio::test]
async fn each_server_that_gets_the_client_certificate_was_verified_itself() {
    let (authority, stranger) = (Authority::new("a"), Authority::new("b"));
    let provider = rustls::crypto::ring::default_provider();
    let certified =
        |identity: Identity| Arc::new(CertifiedKey::from_der(identity.chain, identity.key, &provider).unwrap());
    let (first, later) =
        (certified(authority.sign(params(&["localhost"]))), certified(stranger.sign(params(&["localhost"]))));
    let mut config = Speaks { clients: Some((authority.roots(), false)), ..Speaks::default() }
        .config(authority.sign(params(&["localhost"])));
    config.cert_resolver = Arc::new(Changing(first, later, false.into()));
    let server = broker(config).await;
    let report = look_at(&server, "localhost", &authority.trusted_with_client(false), &limits()).await;
    assert_eq!(report.client_certificate, Some(ClientCertificate::Required));
    assert_eq!(report.trust, Some(Trust::Trusted));
    assert_eq!(server.certificates.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[test]
fn files_that_cannot_be_used_are_refused_by_name() {
    let authority = Authority::new("a");
    let client = authority.sign(params(&["device"]));
    let certificate = authority.file("client.pem", &client.pem);
    let key = authority.file("client.key", &client.key_pem);
    let other_key = authority.file("other.key", &authority.sign(params(&["device"])).key_pem);
    let locked = authority
        .file("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG=\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let damaged = authority.file("damaged.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let cut = authority.file("cut.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n");
    let missing = authority.file("x", "").with_file_name("nowhere.pem");
    let load = |authorities, certificate, key| TlsSettings::load(authorities, certificate, key, false).unwrap_err();
    for (error, text) in [
        (load(Some(missing.as_path()), None, None), "nowhere.pem: No such file"),
        (load(Some(key.as_path()), None, None), "no certificate in PEM"),
        (load(Some(damaged.as_path()), None, None), "damaged.pem is damaged"),
        (load(Some(cut.as_path()), None, None), "cut.pem is damaged"),
        (load(None, Some(certificate.as_path()), None), "give both"),
        (load(None, None, Some(key.as_path())), "give both"),
        (load(None, Some(certificate.as_path()), Some(certificate.as_path())), "no secret key in PEM"),
        (load(None, Some(certificate.as_path()), Some(locked.as_path())), "locked.key is protected by a passphrase"),
        (load(None, Some(certificate.as_path()), Some(other_key.as_path())), "other.key is not that of"),
        (load(None, Some(damaged.as_path()), Some(key.as_path())), "damaged.pem is damaged"),
    ] {
        assert!(error.to_string().contains(text), "{error} / {text}");
    }
    assert!(matches!(load(None, None, Some(key.as_path())), LoadError::Half));
    assert!(TlsSettings::load(None, Some(&certificate), Some(&key), false).unwrap().has_client_certificate());
    let settings = TlsSettings::load(None, Some(&certificate), Some(&key), false).unwrap();
    assert!(!format!("{settings:?}").contains("key"), "{settings:?}");
}

#[allow(dead_code, reason = "a check that it compiles: a look can be spawned")]
fn a_look_can_be_spawned(settings: TlsSettings, target: mqttinfo::Target) {
    tokio::spawn(async move {
        let dial = || TcpStream::connect(("127.0.0.1", 1));
        let report = mqttinfo::tls::look(&target, dial, &settings, &limits(), &[]).await;
        let _: Vec<Certificate> = report.chain;
    });
}
