//! Taking every certificate, and seeing what a server asks for.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Sees what a server shows and asks for during a handshake, even when that fails afterwards.
#[derive(Debug)]
pub(crate) struct Watch {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    asked: AtomicBool,
    own: Option<Arc<CertifiedKey>>,
}

impl Watch {
    /// Shows this certificate to a server that asks.
    pub(crate) fn new(own: Option<Arc<CertifiedKey>>) -> Arc<Self> {
        Arc::new(Self { chain: Mutex::default(), asked: AtomicBool::new(false), own })
    }

    /// Whether the server asked for a client certificate.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The chain that the server sent.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesClientCert for Watch {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.own.clone().filter(|own| own.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

/// Takes every certificate. The server still has to prove that it has the certificate's key, as far as that can be
/// checked: of RSA keys below 2,048 bits, which old brokers have, nothing here can check a signature.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    watch: Arc<Watch>,
}

impl AnyCertificate {
    pub(crate) const fn new(algorithms: WebPkiSupportedAlgorithms, watch: Arc<Watch>) -> Self {
        Self { algorithms, watch }
    }

    /// When a certificate cannot be read by the strict rules, as one of X.509 version 1 cannot, its key may still be.
    fn check_with_bare_key(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if crate::certificate::rsa_bits(parsed.public_key()).is_some_and(|bits| bits < 2048) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let key = &parsed.public_key().subject_public_key.data;
        let algorithms = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        algorithms
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| algorithm.verify_signature(key, message, signed.signature()).is_ok())
            .then(HandshakeSignatureValid::assertion)
            .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut chain = self.watch.chain.lock().unwrap_or_else(PoisonError::into_inner);
        *chain = core::iter::once(end_entity).chain(intermediates).map(|one| one.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
            .or_else(|_| self.check_with_bare_key(message, certificate, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
            .or_else(|_| self.check_with_bare_key(message, certificate, signed))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
