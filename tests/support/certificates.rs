//! Certificates of an authority that lives as long as one test.

#![allow(dead_code, missing_docs)] // each of those who include it uses a part

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// A folder with `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
pub struct Certificates {
    dir: tempfile::TempDir,
    authority: Mutex<Option<Issuer<'static, KeyPair>>>,
}

/// The serial number of the client's certificate.
const CLIENT_SERIAL: u64 = 7;

impl Certificates {
    /// The server's certificate is for `name` and for 127.0.0.1.
    pub fn new(name: &str) -> Self {
        let certificates = Self { dir: tempfile::tempdir().unwrap(), authority: Mutex::new(None) };
        certificates.renew(name);
        certificates
    }

    /// Another authority, and certificates of it, in the place of the old ones.
    pub fn renew(&self, name: &str) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", rand::random::<u32>()));
        let key = KeyPair::generate().unwrap();
        self.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let authority = Issuer::new(params, key);
        for (file, serial, names) in [
            ("server", 6, vec![name.to_owned(), "127.0.0.1".to_owned()]),
            ("client", CLIENT_SERIAL, vec!["backup.test".to_owned()]),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(names).unwrap();
            params.serial_number = Some(SerialNumber::from(serial));
            let certificate = params.signed_by(&key, &authority).unwrap();
            self.write(&format!("{file}.pem"), &certificate.pem());
            self.write(&format!("{file}.key"), &key.serialize_pem());
        }
        *self.authority.lock().unwrap() = Some(authority);
    }

    /// Makes `crl.pem`, the authority's list of certificates that were taken back: the client's, or nobody's.
    pub fn take_back(&self, client: bool) {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(CLIENT_SERIAL),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: client.then_some(revoked).into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let authority = self.authority.lock().unwrap();
        let list = params.signed_by(authority.as_ref().unwrap()).unwrap();
        self.write("crl.pem", &list.pem().unwrap());
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub fn write(&self, file: &str, content: &str) {
        std::fs::write(self.path(file), content).unwrap();
    }

    fn chain(&self, file: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.path(file)).unwrap().map(Result::unwrap).collect()
    }

    /// A server with these certificates; `asks_back`: clients must have one of the same authority.
    pub fn server(&self, asks_back: bool) -> rustls::ServerConfig {
        self.server_of(asks_back, rustls::ALL_VERSIONS)
    }

    /// A server that speaks these versions only.
    pub fn server_of(
        &self,
        asks_back: bool,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if asks_back {
            let mut roots = RootCertStore::empty();
            roots.add(self.chain("ca.pem").remove(0)).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        builder.with_single_cert(self.chain("server.pem"), key).unwrap()
    }
}
