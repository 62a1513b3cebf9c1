//! What keeps a certificate from being trusted, all of it, and what to do about that.

use core::fmt::Write as _;
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use x509_parser::{prelude::*, public_key::PublicKey};

/// A certificate may have thousands of names. Nobody reads them.
const MAX_NAMES: usize = 100;
const MAX_TEXT: usize = 512;

/// Something that keeps a certificate from being trusted. Its text goes on after "the certificate cannot be trusted".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    kind: Kind,
    text: String,
    /// The day by which it was judged.
    today: String,
}

/// What is to be done about it depends on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NoAuthorities,
    SelfSigned,
    UnknownAuthority,
    SelfSignedAuthority,
    Authority,
    OldVersion,
    Name,
    Time,
    Other,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Distrust {
    /// What to do about it; options are named as mosquitto's tools name them.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let advice = match self.kind {
            Kind::NoAuthorities | Kind::UnknownAuthority => {
                "name the certificate authority of the broker with --cafile"
            }
            Kind::SelfSigned => "name the certificate itself with --cafile",
            Kind::SelfSignedAuthority => {
                "make it anew for a server, as with openssl req -x509 -addext basicConstraints=critical,CA:FALSE -addext \
                 subjectAltName=DNS:HOST, and name it with --cafile"
            }
            Kind::Authority => {
                "have that authority sign a certificate of the broker's own, and name the authority with --cafile"
            }
            Kind::OldVersion => {
                "make it anew as version 3, which it becomes when it has extensions: openssl req -x509 with -addext \
                 subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE, or openssl x509 -req with -extfile"
            }
            Kind::Name => {
                "give the host by a name that is in the certificate, or make the certificate anew with subjectAltName=DNS:HOST \
                 or IP:ADDRESS"
            }
            Kind::Time => {
                return Some(format!("renew it; or set the clock of this machine, by which today is {}", self.today));
            }
            Kind::Other => return None,
        };
        Some(advice.to_owned())
    }
}

/// All that is wrong with a chain: whether the roots vouch for it at this time, and whether it is for this name. Nothing
/// if it can be trusted, or has no certificate.
#[must_use]
pub fn distrust(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    roots: &RootCertStore,
    provider: &CryptoProvider,
    now: UnixTime,
) -> Vec<Distrust> {
    let Some((first, others)) = chain.split_first() else { return Vec::new() };
    let parsed = match ParsedCertificate::try_from(first) {
        Ok(parsed) => parsed,
        Err(error) => return vec![reason(&error, first, now)],
    };
    let algorithms = provider.signature_verification_algorithms.all;
    let path = verify_server_cert_signed_by_trust_anchor(&parsed, roots, others, now, algorithms);
    [path, verify_server_name(&parsed, name)]
        .into_iter()
        .filter_map(Result::err)
        .map(|error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) if roots.is_empty() => {
                let text = "no certificate authority is known on this system".to_owned();
                Distrust { kind: Kind::NoAuthorities, text, today: day(now) }
            }
            error => reason(&error, first, now),
        })
        .collect()
}

fn reason(error: &Error, certificate: &CertificateDer<'_>, now: UnixTime) -> Distrust {
    let Error::InvalidCertificate(error) = error else {
        return Distrust { kind: Kind::Other, text: clean(&error.to_string()), today: day(now) };
    };
    let parsed = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed);
    let self_signed = parsed.as_ref().is_some_and(is_self_signed);
    let (kind, text) = match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            (Kind::Time, format!("it expired on {}", day(*not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            (Kind::Time, format!("it is not valid before {}", day(*not_before)))
        }
        // A trusted one of the same name has not signed it: that is not among them either.
        CertificateError::UnknownIssuer | CertificateError::BadSignature if self_signed => {
            (Kind::SelfSigned, "it is self-signed, and not among the trusted certificates".to_owned())
        }
        CertificateError::UnknownIssuer => (Kind::UnknownAuthority, "no trusted authority has made it".to_owned()),
        CertificateError::NotValidForNameContext { expected, .. } => {
            (Kind::Name, other_name(&clean(&expected.to_str()), parsed.as_ref()))
        }
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            (Kind::Other, "it is not made for a server".to_owned())
        }
        CertificateError::BadSignature => (Kind::Other, "a signature in its chain is wrong".to_owned()),
        CertificateError::BadEncoding => (Kind::Other, "it is malformed".to_owned()),
        CertificateError::UnhandledCriticalExtension => {
            (Kind::Other, "it has a critical extension that is not known here".to_owned())
        }
        other => of_the_library(&other.to_string(), self_signed),
    };
    Distrust { kind, text, today: day(now) }
}

/// What the library has no name for in its public errors.
fn of_the_library(text: &str, self_signed: bool) -> (Kind, String) {
    if text.contains("CaUsedAsEndEntity") && self_signed {
        let text = "it is self-signed, and marked as that of an authority, not of a server".to_owned();
        (Kind::SelfSignedAuthority, text)
    } else if text.contains("CaUsedAsEndEntity") {
        (Kind::Authority, "it is the certificate of an authority, not of a server".to_owned())
    } else if text.contains("UnsupportedCertVersion") {
        let text = "it is a certificate of X.509 version 1 or 2, which cannot say what it is for".to_owned();
        (Kind::OldVersion, text)
    } else if text.contains("Unsupported") {
        (Kind::Other, "it is signed in a way that is no longer trusted, or not known here".to_owned())
    } else {
        (Kind::Other, clean(text))
    }
}

fn other_name(expected: &str, certificate: Option<&X509Certificate<'_>>) -> String {
    let mut text = format!("it is not for {expected}");
    let names = certificate.map(names).unwrap_or_default();
    let common = certificate.and_then(|it| it.subject().iter_common_name().next()?.as_str().ok().map(clean));
    // Into a string it cannot fail.
    let _ = match (names.is_empty(), common) {
        (false, _) => write!(text, ", only for {}", clean(&names.join(", "))),
        (true, Some(common)) => {
            write!(text, ": it has no names but the common name {common}, which no longer counts (RFC 9525)")
        }
        (true, None) => write!(text, ": it has no names"),
    };
    text
}

/// Whether subject and issuer are one, and the signature fits where it can be checked.
#[must_use]
pub fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
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

/// The names of hosts and the addresses that a certificate is for, a hundred at most.
#[must_use]
pub fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
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

/// The size of an RSA key in bits; none if it is of another kind.
#[must_use]
pub fn rsa_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    let Ok(PublicKey::RSA(key)) = key.parsed() else { return None };
    // A zero byte keeps a large number from being negative.
    let modulus = key.modulus;
    let leading = modulus.first().map_or(0, |first| first.leading_zeros());
    Some((modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or_default()))
}

/// A text from outside, as it can be shown: nothing in it speaks to the terminal, and it ends somewhere.
#[must_use]
pub fn clean(text: &str) -> String {
    let clean = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    text.chars().take(MAX_TEXT).map(clean).collect()
}

fn day(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a day far away".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}
