//! The files that a command line names for TLS: authorities, a certificate, its key.

use rustls::{
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};
use x509_parser::{
    der_parser::{ber::BerObject, parse_der},
    prelude::{FromDer, X509Certificate},
};
use zeroize::Zeroizing;

/// Why files for TLS cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file has no such thing in PEM; what it seems to be instead, if that can be told.
    Missing(PathBuf, &'static str, Option<Instead>),
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

/// What a file is, in which something else was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instead {
    /// A certificate in DER.
    DerCertificate,
    /// A secret key in DER.
    DerKey,
    /// A secret key in DER, protected by a passphrase.
    DerEncryptedKey,
    /// A keystore with everything in it: PKCS #12, a file `.p12` or `.pfx`.
    Pkcs12,
    /// A certificate in PEM.
    Certificate,
    /// A secret key in PEM.
    Key,
    /// A public key in PEM.
    PublicKey,
    /// A request for a certificate in PEM.
    Request,
    /// A certificate in the form of openssl's own, with its trust in it.
    TrustedCertificate,
    /// A key of SSH.
    Ssh,
    /// Nothing at all.
    Empty,
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DerCertificate => {
                "it is a certificate in DER: convert it with openssl x509 -inform DER -in FILE -out NEW"
            }
            Self::DerKey => "it is a secret key in DER: convert it with openssl pkey -inform DER -in FILE -out NEW",
            Self::DerEncryptedKey => {
                "it is a secret key in DER that is protected by a passphrase: convert it and take that off with openssl \
                 pkey -inform DER -in FILE -out NEW"
            }
            Self::Pkcs12 => {
                "it is a keystore (PKCS #12): take out the certificate with openssl pkcs12 -in FILE -nokeys -out CERT, and \
                 the key with openssl pkcs12 -in FILE -nocerts -noenc -out KEY"
            }
            Self::Certificate => "it is a certificate",
            Self::Key => "it is a secret key",
            Self::PublicKey => "it is a public key",
            Self::Request => "it is a request for a certificate, which an authority has to sign first",
            Self::TrustedCertificate => {
                "it is a certificate in the form of openssl's own: convert it with openssl x509 -in FILE -out NEW"
            }
            Self::Ssh => "it is a key of SSH",
            Self::Empty => "it is empty",
        })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(file, error) => write!(f, "could not read {}: {error}", file.display()),
            Self::Missing(file, what, instead) => {
                write!(f, "{} holds no {what} in PEM", file.display())?;
                instead.map_or(Ok(()), |instead| write!(f, ": {instead}"))
            }
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

// No source: the sentence has it already.
impl core::error::Error for LoadError {}

/// All certificates of a file.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let text = read(file)?;
    let certificates =
        CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(|error| damaged(file, &error))?;
    if certificates.is_empty() {
        return Err(LoadError::Missing(file.to_owned(), "certificate", instead(&text)));
    }
    Ok(certificates)
}

/// A certificate, with those between it and its authority, and its key.
pub(crate) fn client_certificate(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, LoadError> {
    let chain = certificates(certificate)?;
    let text = read(key)?;
    let der = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&text, b"ENCRYPTED PRIVATE KEY") => LoadError::Passphrase(key.to_owned()),
        pem::Error::NoItemsFound => LoadError::Missing(key.to_owned(), "secret key", instead(&text)),
        _ if contains(&text, b"Proc-Type: 4,ENCRYPTED") => LoadError::Passphrase(key.to_owned()),
        error => damaged(key, &error),
    })?;
    CertifiedKey::from_der(chain, der, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => LoadError::Mismatch(certificate.to_owned(), key.to_owned()),
        rustls::Error::InvalidCertificate(_) => {
            LoadError::Damaged(certificate.to_owned(), "its certificate cannot be read".to_owned())
        }
        _ => LoadError::Damaged(key.to_owned(), "its key is of a kind that is not known here, or cut short".to_owned()),
    })
}

/// In words of ours: those of the library may show what is in the file.
fn damaged(file: &Path, error: &pem::Error) -> LoadError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section of it has no end, as if it was cut off",
        pem::Error::IllegalSectionStart { .. } => "a section of it has no proper beginning",
        pem::Error::Base64Decode(_) => "what is between BEGIN and END is no base64",
        _ => "it cannot be read as PEM",
    };
    LoadError::Damaged(file.to_owned(), why.to_owned())
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    fs::read(file).map(Zeroizing::new).map_err(|error| LoadError::Read(file.to_owned(), error))
}

/// What a file seems to be.
fn instead(bytes: &[u8]) -> Option<Instead> {
    const MARKS: [(&[u8], Instead); 7] = [
        (b"-----BEGIN TRUSTED CERTIFICATE", Instead::TrustedCertificate),
        (b"-----BEGIN CERTIFICATE REQUEST", Instead::Request),
        (b"-----BEGIN NEW CERTIFICATE REQUEST", Instead::Request),
        (b"-----BEGIN CERTIFICATE-----", Instead::Certificate),
        (b"-----BEGIN PUBLIC KEY", Instead::PublicKey),
        (b"-----BEGIN OPENSSH PRIVATE KEY", Instead::Ssh),
        (b"PRIVATE KEY-----", Instead::Key),
    ];
    if bytes.trim_ascii().is_empty() {
        return Some(Instead::Empty);
    }
    let of_pem = MARKS.iter().find(|(mark, _)| contains(bytes, mark)).map(|(_, instead)| *instead);
    of_pem.or_else(|| der(bytes))
}

/// What is in a file of DER.
fn der(bytes: &[u8]) -> Option<Instead> {
    if X509Certificate::from_der(bytes).is_ok() {
        return Some(Instead::DerCertificate);
    }
    let (_, object) = parse_der(bytes).ok()?;
    let begins_with_oid = |object: &BerObject<'_>| {
        object.as_sequence().is_ok_and(|parts| parts.first().is_some_and(|first| first.as_oid().is_ok()))
    };
    match object.as_sequence().ok()?.as_slice() {
        // EncryptedPrivateKeyInfo (RFC 5958, section 3): how it is encrypted, and what is.
        [algorithm, data] if begins_with_oid(algorithm) && data.as_slice().is_ok() => Some(Instead::DerEncryptedKey),
        // PFX (RFC 7292, section 4): its version, and the content.
        [version, content, ..] if version.as_u32() == Ok(3) && begins_with_oid(content) => Some(Instead::Pkcs12),
        _ => PrivateKeyDer::try_from(bytes).is_ok().then_some(Instead::DerKey),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
