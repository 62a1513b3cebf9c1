//! TLS with a PostgreSQL on another machine, whose name must be that in its certificate.

use crate::store::{StoreError, StoreErrorKind};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How libpq calls the file of the authorities to trust; the client of PostgreSQL that is used here does not know it.
const PARAMETER: &str = "sslrootcert=";

/// An address without, and the path that it gives as, `sslrootcert`.
pub(super) fn authorities_of(url: &str) -> (String, Option<&str>) {
    let Some((address, parameters)) = url.split_once('?') else { return (url.to_owned(), None) };
    let path = parameters.split('&').find_map(|parameter| parameter.strip_prefix(PARAMETER));
    let rest: Vec<_> = parameters.split('&').filter(|parameter| !parameter.starts_with(PARAMETER)).collect();
    (format!("{address}?{}", rest.join("&")), path)
}

/// Trusts the authorities in a file, or those that the system trusts.
pub(super) fn connector(authorities: Option<&str>) -> Result<MakeRustlsConnect, StoreError> {
    let wrong = |detail: String| StoreErrorKind::Wrong.because(detail);
    let mut roots = RootCertStore::empty();
    match authorities {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let unreadable =
                |error: &dyn std::fmt::Display| wrong(format!("{path} (sslrootcert) cannot be read: {error}"));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
    }
    if roots.is_empty() {
        return Err(wrong(
            "there is no authority to trust: name a file of certificates with ?sslrootcert=PATH".to_owned(),
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_taken_out_of_the_address() {
        for (url, rest, path) in [
            ("postgresql://e4@db/fleet", "postgresql://e4@db/fleet", None),
            ("postgresql://e4@db/fleet?sslrootcert=/a/ca.pem", "postgresql://e4@db/fleet?", Some("/a/ca.pem")),
            ("postgresql:///f?host=db&sslrootcert=ca.pem&port=7", "postgresql:///f?host=db&port=7", Some("ca.pem")),
        ] {
            assert_eq!(authorities_of(url), (rest.to_owned(), path));
            assert!(rest.parse::<tokio_postgres::Config>().is_ok());
        }
    }
}
