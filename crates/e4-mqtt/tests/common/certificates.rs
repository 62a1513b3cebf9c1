//! A certification authority for one test, and a server certificate for this machine.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) struct Certificates {
    pub(crate) ca_pem: String,
    pub(crate) server: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    pub(crate) fn create(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();

        let key_pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key_pair, &ca).unwrap();
        let (server, key) = (folder.join("server.pem"), folder.join("server.key"));
        fs::write(&server, certificate.pem()).unwrap();
        fs::write(&key, key_pair.serialize_pem()).unwrap();
        Self { ca_pem: ca.pem(), server, key }
    }
}
