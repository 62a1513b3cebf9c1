//! What the command line says about TLS, and the configurations of rustls that follow from it.

use super::verify::{AnyCertificate, Watch};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Whom to trust, and what to show of oneself.
#[derive(Clone)]
pub struct TlsSettings {
    roots: Arc<RootCertStore>,
    /// The client's own certificate and key.
    own: Option<Arc<CertifiedKey>>,
    insecure: bool,
    provider: Arc<CryptoProvider>,
    lenient: Arc<ClientConfig>,
    strict: Arc<ClientConfig>,
}

/// Why files for TLS cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file has no such thing in PEM.
    Missing(PathBuf, &'static str),
    /// What is in a file is damaged.
    Damaged(PathBuf, String),
    /// The key is protected by a passphrase.
    Passphrase(PathBuf),
    /// Key and certificate do not belong together.
    Mismatch(PathBuf, PathBuf),
    /// There is a certificate and no key, or the other way round.
    Half,
    /// The library for TLS does not work.
    Library(rustls::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(file, error) => write!(f, "{} cannot be read: {error}", file.display()),
            Self::Missing(file, what) => write!(f, "there is no {what} in PEM in {}", file.display()),
            Self::Damaged(file, why) => write!(f, "{} is damaged: {why}", file.display()),
            Self::Passphrase(file) => write!(
                f,
                "the key in {} is protected by a passphrase: take it off with openssl pkey -in FILE -out NEW",
                file.display()
            ),
            Self::Mismatch(certificate, key) => {
                write!(f, "the key in {} is not that of the certificate in {}", key.display(), certificate.display())
            }
            Self::Half => f.write_str("a client certificate and its key are only of use together: give both"),
            Self::Library(error) => write!(f, "TLS does not work here: {error}"),
        }
    }
}

impl core::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            Self::Library(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("roots", &self.roots.len())
            .field("client_certificate", &self.own.is_some())
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

impl TlsSettings {
    /// Reads the files: authorities to trust instead of the system's, and the client's certificate (with those between
    /// it and its authority) and key, all in PEM. With `insecure`, credentials go to anyone.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. A system without authorities is none: then no server is trusted.
    pub fn load(
        authorities: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
        insecure: bool,
    ) -> Result<Self, LoadError> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = authorities {
            for authority in read_certificates(file)? {
                roots.add(authority).map_err(|error| LoadError::Damaged(file.to_owned(), error.to_string()))?;
            }
        } else {
            // Some of a system's authorities are so old that they cannot be read. That is no reason to stop.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Arc::new(read_own(certificate, key, &provider)?)),
            _ => return Err(LoadError::Half),
        };
        let roots = Arc::new(roots);
        let shape = Shape::default();
        let lenient = build(&provider, None, &shape, &Watch::new(None)).map_err(LoadError::Library)?;
        let trusted = (!insecure).then_some(&roots);
        let strict = build(&provider, trusted, &shape, &Watch::new(own.clone())).map_err(LoadError::Library)?;
        Ok(Self { roots, own, insecure, provider, lenient: Arc::new(lenient), strict: Arc::new(strict) })
    }

    /// Whether there is a client certificate to show.
    #[must_use]
    pub const fn has_client_certificate(&self) -> bool {
        self.own.is_some()
    }

    /// To look at any server: takes every certificate, and shows none. Offers these protocols by ALPN.
    ///
    /// # Security
    ///
    /// Whoever is on the way can answer instead of the server. Send nothing secret.
    #[must_use]
    pub fn lenient(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        with_alpn(&self.lenient, alpn)
    }

    /// For credentials: only goes on with a server that is trusted and has the right name, unless that was waived with
    /// `insecure`, and shows the client certificate. Offers these protocols by ALPN.
    #[must_use]
    pub fn strict(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        with_alpn(&self.strict, alpn)
    }

    /// Whether credentials may go to anyone.
    #[must_use]
    pub const fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// # Errors
    ///
    /// Versions and suites do not go together.
    pub(super) fn config(&self, shape: &Shape<'_>, watch: &Arc<Watch>) -> Result<ClientConfig, rustls::Error> {
        let trusted = (shape.credentials && !self.insecure).then_some(&self.roots);
        build(&self.provider, trusted, shape, watch)
    }

    pub(super) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    pub(super) fn own(&self) -> Option<&Arc<CertifiedKey>> {
        self.own.as_ref()
    }

    pub(super) fn provider(&self) -> &CryptoProvider {
        &self.provider
    }
}

/// What one connection offers.
pub(super) struct Shape<'a> {
    pub(super) versions: &'a [&'static SupportedProtocolVersion],
    /// All, if none.
    pub(super) suites: Option<&'a [rustls::SupportedCipherSuite]>,
    pub(super) alpn: &'a [&'a [u8]],
    /// Whether something secret goes through it.
    pub(super) credentials: bool,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self { versions: rustls::ALL_VERSIONS, suites: None, alpn: &[], credentials: false }
    }
}

fn with_alpn(config: &Arc<ClientConfig>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    if alpn.is_empty() {
        return Arc::clone(config);
    }
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// A configuration that trusts these roots, or anyone.
fn build(
    provider: &Arc<CryptoProvider>,
    trusted: Option<&Arc<RootCertStore>>,
    shape: &Shape<'_>,
    watch: &Arc<Watch>,
) -> Result<ClientConfig, rustls::Error> {
    let mut provider = CryptoProvider::clone(provider);
    if let Some(suites) = shape.suites {
        provider.cipher_suites = suites.to_vec();
    }
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(shape.versions)?;
    let builder = if let Some(roots) = trusted {
        builder.with_root_certificates(Arc::clone(roots))
    } else {
        let verifier = AnyCertificate::new(algorithms, Arc::clone(watch));
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = builder.with_client_cert_resolver(Arc::<Watch>::clone(watch));
    config.alpn_protocols = shape.alpn.iter().map(|name| name.to_vec()).collect();
    // Every connection is looked at for itself: a resumed one shows no certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name that a certificate must have for this host.
///
/// # Errors
///
/// The host is neither an address nor a name.
pub fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    // A name may end in a dot. The library takes it off: certificates have none there (RFC 6066, 3).
    ServerName::try_from(host.to_owned())
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    fs::read(file).map(Zeroizing::new).map_err(|error| LoadError::Read(file.to_owned(), error))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let certificates = CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| LoadError::Damaged(file.to_owned(), error.to_string()))?;
    if certificates.is_empty() {
        return Err(LoadError::Missing(file.to_owned(), "certificate"));
    }
    Ok(certificates)
}

fn read_own(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, LoadError> {
    let chain = read_certificates(certificate)?;
    let text = read(key)?;
    let der = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&text, b"ENCRYPTED PRIVATE KEY") => LoadError::Passphrase(key.to_owned()),
        pem::Error::NoItemsFound => LoadError::Missing(key.to_owned(), "private key"),
        _ if contains(&text, b"Proc-Type: 4,ENCRYPTED") => LoadError::Passphrase(key.to_owned()),
        error => LoadError::Damaged(key.to_owned(), error.to_string()),
    })?;
    CertifiedKey::from_der(chain, der, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => LoadError::Mismatch(certificate.to_owned(), key.to_owned()),
        rustls::Error::InvalidCertificate(_) => LoadError::Damaged(certificate.to_owned(), error.to_string()),
        error => LoadError::Damaged(key.to_owned(), error.to_string()),
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_the_name_of_the_host_without_the_last_dot() {
        for (host, name) in
            [("broker.example.", "broker.example"), ("a_b", "a_b"), ("::1", "::1"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(server_name(host).unwrap().to_str(), name);
        }
        assert!(server_name("a b").is_err());
    }
}
