//! What the command line says about TLS, and the configurations of rustls that follow from it.

use crate::{
    files::{self, LoadError},
    verify::{AnyCertificate, Watch},
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{InvalidDnsNameError, ServerName},
    sign::CertifiedKey,
};
use std::{fmt, path::Path, sync::Arc};

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
            for authority in files::certificates(file)? {
                roots.add(authority).map_err(|_| {
                    LoadError::Damaged(file.to_owned(), "a certificate in it cannot be read".to_owned())
                })?;
            }
        } else {
            // Some of a system's authorities are so old that they cannot be read. That is no reason to stop.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Arc::new(files::client_certificate(certificate, key, &provider)?)),
            _ => return Err(LoadError::Half),
        };
        Self::new(roots, own, insecure, provider).map_err(LoadError::Library)
    }

    /// To look at any server, with nothing to show: trusts nobody.
    ///
    /// # Errors
    ///
    /// The library for TLS does not work.
    pub fn anyone() -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self::new(RootCertStore::empty(), None, false, provider)
    }

    fn new(
        roots: RootCertStore,
        own: Option<Arc<CertifiedKey>>,
        insecure: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let roots = Arc::new(roots);
        let shape = Shape::default();
        let lenient = build(&provider, None, &shape, &Watch::new(None))?;
        let trusted = (!insecure).then_some(&roots);
        let strict = build(&provider, trusted, &shape, &Watch::new(own.clone()))?;
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
    pub(crate) fn config(&self, shape: &Shape<'_>, watch: &Arc<Watch>) -> Result<ClientConfig, rustls::Error> {
        let trusted = (shape.credentials && !self.insecure).then_some(&self.roots);
        build(&self.provider, trusted, shape, watch)
    }

    /// The certificate authorities that are trusted.
    #[must_use]
    pub fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    pub(crate) fn own(&self) -> Option<&Arc<CertifiedKey>> {
        self.own.as_ref()
    }

    /// The cryptography that is used.
    #[must_use]
    pub fn provider(&self) -> &CryptoProvider {
        &self.provider
    }
}

/// What one connection offers.
#[derive(Debug, Clone)]
pub struct Shape<'a> {
    /// Versions of TLS.
    pub versions: &'a [&'static SupportedProtocolVersion],
    /// Cipher suites; all, if none.
    pub suites: Option<&'a [rustls::SupportedCipherSuite]>,
    /// Protocols, by ALPN.
    pub alpn: &'a [&'a [u8]],
    /// Whether something secret goes through it.
    pub credentials: bool,
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
