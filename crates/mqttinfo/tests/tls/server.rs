//! Servers for one test each: of rustls, or of a few lines that say anything.

use mqttinfo::{
    Target,
    report::TlsReport,
    target::Transport,
    tls::{Limits, TlsSettings, look},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

pub(crate) type Versions = &'static [&'static SupportedProtocolVersion];
pub(crate) static ONLY_1_2: Versions = &[&rustls::version::TLS12];
pub(crate) static ONLY_1_3: Versions = &[&rustls::version::TLS13];

/// A CONNECT, and what a broker says to it.
pub(crate) const CONNECT: &[u8] = &[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 0];
const CONNACK: &[u8] = &[0x20, 2, 0, 0];

/// A certification authority.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: TempDir::new().unwrap() }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Settings that trust it.
    pub(crate) fn trusted(&self) -> TlsSettings {
        TlsSettings::load(Some(&self.file("ca.pem", &self.issuer.pem())), None, None, false).unwrap()
    }

    /// Settings that trust it, and show a client certificate that it has made.
    pub(crate) fn trusted_with_client(&self, insecure: bool) -> TlsSettings {
        let mut params = params(&["device"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = self.sign(params);
        let (certificate, key) = (self.file("client.pem", &client.pem), self.file("client.key", &client.key_pem));
        let ca = self.file("ca.pem", &self.issuer.pem());
        TlsSettings::load(Some(&ca), Some(&certificate), Some(&key), insecure).unwrap()
    }

    pub(crate) fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::new(&certificate, &key)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }
}

impl Identity {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    pub(crate) fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(&params.self_signed(&key).unwrap(), &key)
    }
}

/// A certificate for these names, valid from 2020 to 2120.
pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(2020, 1, 2);
    params.not_after = date_time_ymd(2120, 3, 4);
    params
}

/// What a server of rustls speaks.
pub(crate) struct Speaks {
    pub(crate) versions: Versions,
    pub(crate) suites: Vec<SupportedCipherSuite>,
    /// Whose client certificates it asks for, and whether it goes on without.
    pub(crate) clients: Option<(Arc<RootCertStore>, bool)>,
    pub(crate) alpn: Vec<&'static str>,
}

impl Default for Speaks {
    fn default() -> Self {
        Self {
            versions: rustls::ALL_VERSIONS,
            suites: ring::ALL_CIPHER_SUITES.to_vec(),
            clients: None,
            alpn: Vec::new(),
        }
    }
}

impl Speaks {
    pub(crate) fn config(self, identity: Identity) -> ServerConfig {
        let provider = Arc::new(CryptoProvider { cipher_suites: self.suites, ..ring::default_provider() });
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(self.versions).unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some((roots, optional)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(identity.chain, identity.key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A server, and how many connections it had.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) connections: Arc<AtomicUsize>,
    /// The most that it had at once.
    pub(crate) at_once: Arc<AtomicUsize>,
    /// Connections on which it got a client certificate.
    pub(crate) certificates: Arc<AtomicUsize>,
}

/// A server that does something with each connection.
pub(crate) async fn serve<Fut: Future<Output = io::Result<()>> + Send>(
    each: impl Fn(TcpStream, Arc<AtomicUsize>) -> Fut + Send + Sync + Copy + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        port: listener.local_addr().unwrap().port(),
        connections: Arc::default(),
        at_once: Arc::default(),
        certificates: Arc::default(),
    };
    let (connections, at_once, certificates) =
        (Arc::clone(&server.connections), Arc::clone(&server.at_once), Arc::clone(&server.certificates));
    tokio::spawn(async move {
        let now = Arc::new(AtomicUsize::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            at_once.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (now, certificates) = (Arc::clone(&now), Arc::clone(&certificates));
            tokio::spawn(async move {
                let _ = each(stream, certificates).await;
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    server
}

/// A broker with TLS: answers whatever comes with a CONNACK.
pub(crate) async fn broker(config: ServerConfig) -> Server {
    let config: &'static Arc<ServerConfig> = Box::leak(Box::new(Arc::new(config)));
    serve(move |stream, certificates| async move {
        let mut stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
        if stream.get_ref().1.peer_certificates().is_some() {
            certificates.fetch_add(1, Ordering::SeqCst);
        }
        let mut buffer = [0; 64];
        while stream.read(&mut buffer).await? > 0 {
            stream.write_all(CONNACK).await?;
            stream.flush().await?;
        }
        Ok(())
    })
    .await
}

pub(crate) fn limits() -> Limits {
    Limits { attempt: Duration::from_secs(3), total: Duration::from_secs(15), at_once: 4 }
}

/// Looks at a server on this machine by this name.
pub(crate) async fn look_at(server: &Server, name: &str, settings: &TlsSettings, limits: &Limits) -> TlsReport {
    let target = Target::new(Transport::Tls, name, Some(server.port), "").unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    look(&target, || TcpStream::connect(address), settings, limits, CONNECT).await
}
