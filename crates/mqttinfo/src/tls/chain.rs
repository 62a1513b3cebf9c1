//! Certificates in words, and whether they are trusted.

use super::settings::TlsSettings;
use crate::report::{Certificate, Trust};
use core::fmt::Write as _;
use rustls::{
    CertificateError, Error,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSASSAPSS, OID_SIG_ED448},
    prelude::*,
    public_key::PublicKey,
};

/// No honest chain is longer.
const MAX_CHAIN: usize = 10;
/// A certificate may have thousands of names. Nobody reads them.
const MAX_NAMES: usize = 100;
const MAX_TEXT: usize = 512;

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

/// Subject and issuer are one, and the signature fits where it can be checked.
fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    if certificate.subject().as_raw() != certificate.issuer().as_raw() {
        return false;
    }
    match certificate.verify_signature(None) {
        Ok(()) => true,
        Err(X509Error::SignatureVerificationError) => {
            // Signatures of keys as small as this cannot be checked. Then the names decide.
            rsa_bits(certificate.public_key()).is_some_and(|bits| bits < 2048)
        }
        Err(_) => true,
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(clean(name)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(name).take(MAX_NAMES).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
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

/// The size of an RSA key; none if it is of another kind.
pub(super) fn rsa_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    let Ok(PublicKey::RSA(key)) = key.parsed() else { return None };
    // A zero byte keeps a large number from being negative.
    let modulus = key.modulus;
    let leading = modulus.first().map_or(0, |first| first.leading_zeros());
    Some((modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or_default()))
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

/// A text from outside, as it can be shown: nothing in it speaks to the terminal, and it ends somewhere.
pub(super) fn clean(text: &str) -> String {
    let clean = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    text.chars().take(MAX_TEXT).map(clean).collect()
}

/// Whether the roots vouch for a chain and its name at this time. Says all that is wrong with it, not just the first.
pub(super) fn trust(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    settings: &TlsSettings,
    now: UnixTime,
) -> Option<Trust> {
    let (first, others) = chain.split_first()?;
    let reasons = match ParsedCertificate::try_from(first) {
        Err(error) => vec![reason(&error, first)],
        Ok(parsed) => {
            let algorithms = settings.provider().signature_verification_algorithms.all;
            let path = verify_server_cert_signed_by_trust_anchor(&parsed, settings.roots(), others, now, algorithms);
            [path, verify_server_name(&parsed, name)]
                .into_iter()
                .filter_map(Result::err)
                .map(|error| {
                    if settings.roots().is_empty() && is_unknown(&error) {
                        return "no certificate authority is known on this system".to_owned();
                    }
                    reason(&error, first)
                })
                .collect()
        }
    };
    Some(if reasons.is_empty() { Trust::Trusted } else { Trust::Untrusted { reason: reasons.join("; ") } })
}

const fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

fn reason(error: &Error, certificate: &CertificateDer<'_>) -> String {
    let Error::InvalidCertificate(error) = error else { return clean(&error.to_string()) };
    let parsed = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed);
    let self_signed = parsed.as_ref().is_some_and(is_self_signed);
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!("it expired on {}", day(*not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {}", day(*not_before))
        }
        CertificateError::UnknownIssuer if self_signed => {
            "it is self-signed, and not among the trusted certificates".to_owned()
        }
        CertificateError::UnknownIssuer => "no trusted authority has made it".to_owned(),
        CertificateError::NotValidForNameContext { expected, .. } => {
            let mut text = format!("it is not for {}", clean(&expected.to_str()));
            match parsed.map(|parsed| names(&parsed)).filter(|names| !names.is_empty()) {
                Some(names) => {
                    let _ = write!(text, ", only for {}", clean(&names.join(", ")));
                }
                None => text.push_str(": it has no names"),
            }
            text
        }
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "it is not made for a server".to_owned()
        }
        CertificateError::BadSignature => "a signature in its chain is wrong".to_owned(),
        CertificateError::BadEncoding => "it is malformed".to_owned(),
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that is not known here".to_owned(),
        other => {
            let text = other.to_string();
            if text.contains("CaUsedAsEndEntity") && self_signed {
                "it is self-signed, and marked as that of an authority, not of a server".to_owned()
            } else if text.contains("CaUsedAsEndEntity") {
                "it is the certificate of an authority, not of a server".to_owned()
            } else if text.contains("UnsupportedCertVersion") {
                "it is a certificate of X.509 version 1 or 2, which cannot say what it is for".to_owned()
            } else if text.contains("Unsupported") {
                "it is signed in a way that is no longer trusted, or not known here".to_owned()
            } else {
                clean(&text)
            }
        }
    }
}

fn day(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a day far away".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
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
