//! Certificates in words, and whether they are trusted.

use crate::report::{Certificate, Trust};
use mqtt_advice::{
    TlsSettings,
    certificate::{clean, distrust, is_self_signed, names, rsa_bits},
};
use rustls::{
    crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSASSAPSS, OID_SIG_ED448},
    prelude::*,
};

/// No honest chain is longer.
const MAX_CHAIN: usize = 10;

/// Reads a chain. What is malformed is left out, and said.
pub(super) fn read_chain<T: AsRef<[u8]>>(chain: &[T]) -> (Vec<Certificate>, Option<String>) {
    let mut problem = None;
    if chain.len() > MAX_CHAIN {
        problem = Some(format!("the server sends {} certificates, of which {MAX_CHAIN} were read", chain.len()));
    }
    let mut read = Vec::new();
    for (number, der) in (1..).zip(chain.iter().take(MAX_CHAIN)) {
        match X509Certificate::from_der(der.as_ref()) {
            Ok((_, certificate)) => read.push(describe(&certificate, der.as_ref())),
            Err(error) => {
                problem.get_or_insert_with(|| {
                    format!("certificate {number} of the chain is malformed: {}", clean(&error.to_string()))
                });
            }
        }
    }
    (read, problem)
}

fn describe(certificate: &X509Certificate<'_>, der: &[u8]) -> Certificate {
    let validity = certificate.validity();
    let key = certificate.public_key();
    Certificate {
        subject: clean(&certificate.subject().to_string()),
        issuer: clean(&certificate.issuer().to_string()),
        names: names(certificate),
        not_before: time(&validity.not_before),
        not_after: time(&validity.not_after),
        self_signed: is_self_signed(certificate),
        key: key_in_words(key),
        signature: signature_in_words(certificate),
        sha256: sha256(der),
    }
}

/// "For ever" in a certificate is the end of the year 9999 (RFC 5280, 4.1.2.5), which is past what a timestamp holds.
fn time(time: &ASN1Time) -> jiff::Timestamp {
    let seconds = time.timestamp();
    jiff::Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

fn key_in_words(key: &SubjectPublicKeyInfo<'_>) -> String {
    if let Some(bits) = rsa_bits(key) {
        return format!("RSA {bits}");
    }
    let algorithm = &key.algorithm;
    if algorithm.algorithm == oid_registry::OID_SIG_ED25519 {
        return "Ed25519".to_owned();
    }
    if algorithm.algorithm == OID_SIG_ED448 {
        return "Ed448".to_owned();
    }
    if algorithm.algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        return match curve {
            Some(curve) if curve == OID_EC_P256 => "EC 256".to_owned(),
            Some(curve) if curve == OID_NIST_EC_P384 => "EC 384".to_owned(),
            Some(curve) if curve == OID_NIST_EC_P521 => "EC 521".to_owned(),
            Some(curve) => format!("EC {curve}"),
            None => "EC".to_owned(),
        };
    }
    oid_in_words(&algorithm.algorithm)
}

fn signature_in_words(certificate: &X509Certificate<'_>) -> String {
    let algorithm = &certificate.signature_algorithm.algorithm;
    // Of this one the hash is among the parameters.
    if *algorithm == OID_PKCS1_RSASSAPSS {
        return "RSASSA-PSS".to_owned();
    }
    oid_in_words(algorithm)
}

fn oid_in_words(oid: &der_parser::Oid<'_>) -> String {
    oid2sn(oid, oid_registry()).map_or_else(|_| clean(&oid.to_string()), ToOwned::to_owned)
}

fn sha256(bytes: &[u8]) -> String {
    // rustls has a SHA-256 for this suite, so that no other is needed.
    let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() else { return String::new() };
    hex::encode(suite.common.hash_provider.hash(bytes).as_ref())
}

/// Whether the roots vouch for a chain and its name at this time. Says all that is wrong with it, not just the first.
pub(super) fn trust(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    settings: &TlsSettings,
    now: UnixTime,
) -> Option<Trust> {
    chain.first()?;
    let problems = distrust(chain, name, settings.roots(), settings.provider(), now);
    Some(if problems.is_empty() {
        Trust::Trusted
    } else {
        let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Trust::Untrusted { reason: reasons.join("; ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    fn der(pem: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem).unwrap()
    }

    #[test]
    fn keys_and_signatures_have_their_usual_names() {
        for (pem, key, signature) in [
            (&include_bytes!("../../tests/tls/files/rsa1024.pem")[..], "RSA 1024", "sha256WithRSAEncryption"),
            (include_bytes!("../../tests/tls/files/version1.pem"), "RSA 2048", "sha256WithRSAEncryption"),
            (include_bytes!("../../tests/tls/files/ec521.pem"), "EC 521", "ecdsa-with-SHA256"),
            (include_bytes!("../../tests/tls/files/ed25519.pem"), "Ed25519", "ed25519"),
        ] {
            let (chain, problem) = read_chain(&[der(pem)]);
            assert_eq!(problem, None);
            assert_eq!((chain[0].key.as_str(), chain[0].signature.as_str()), (key, signature));
            assert!(chain[0].self_signed, "{key}");
        }
    }

    #[test]
    fn openssl_says_the_same() {
        let (chain, _) = read_chain(&[der(include_bytes!("../../tests/tls/files/rsa1024.pem"))]);
        assert_eq!(chain[0].subject, "C=DE, O=Old, CN=old.example");
        assert_eq!(chain[0].names, ["old.example", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(chain[0].sha256, "feadf42667a267eda3c77140259fd7eb8f69c54dc4e7493395ab653f97950468");
    }

    #[test]
    fn who_only_has_the_name_of_its_issuer_is_not_self_signed() {
        let mut changed = der(include_bytes!("../../tests/tls/files/version1.pem")).to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let (chain, _) = read_chain(&[changed]);
        assert_eq!(chain[0].subject, chain[0].issuer);
        assert!(!chain[0].self_signed);
    }

    #[test]
    fn of_a_chain_without_end_ten_are_read() {
        let one = der(include_bytes!("../../tests/tls/files/ed25519.pem"));
        let (chain, problem) = read_chain(&vec![one; 11]);
        assert_eq!(chain.len(), 10);
        assert_eq!(problem.unwrap(), "the server sends 11 certificates, of which 10 were read");
    }
}
