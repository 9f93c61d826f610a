//! The certificate that HTTPS shows, replaced without dropping a connection, and whom it lets in.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use secrecy::SecretString;

use crate::config::{ClientAuth, HttpsConfig, TlsVersion};
use crate::error::{Error, Result};
use crate::tasks::blocking;
use crate::tls::{self, Stamp, TlsFiles};

/// The certificate of the HTTPS listener; cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificates {
    config: Arc<HttpsConfig>,
    current: Arc<Current>,
}

/// What the next handshake shows.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads certificate and key; `key_password` is for a key that is encrypted.
    ///
    /// Errors: `tls-files`.
    pub async fn load(config: HttpsConfig, key_password: Option<SecretString>) -> Result<Self> {
        let key = read(&config, key_password).await?;
        let current = Arc::new(Current(ArcSwap::from_pointee(key)));
        Ok(Self { config: Arc::new(config), current })
    }

    /// Reads both again and shows them from the next handshake on; on an error the old ones stay.
    ///
    /// Errors: `tls-files`.
    pub async fn reload(&self, key_password: Option<SecretString>) -> Result<()> {
        let key = read(&self.config, key_password).await?;
        self.current.0.store(Arc::new(key));
        Ok(())
    }

    /// What the files look like now.
    pub async fn stamp(&self) -> Result<Stamp> {
        tls::stamp(TlsFiles {
            cert_file: Some(self.config.cert_file.clone()),
            key_file: Some(self.config.key_file.clone()),
            ..TlsFiles::default()
        })
        .await
    }

    /// The configuration of the listener: versions, suites and authorities of clients as they are now (abs.md 2.2).
    ///
    /// Errors: `tls-files`.
    pub async fn server_config(&self) -> Result<ServerConfig> {
        let this = self.clone();
        blocking(move || this.build()).await
    }

    fn build(&self) -> Result<ServerConfig> {
        let config = &self.config;
        let provider = Arc::new(provider(config)?);
        let versions: &[&rustls::SupportedProtocolVersion] = match config.min_version {
            TlsVersion::V1_2 => rustls::ALL_VERSIONS,
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| unusable("min-version and cipher-suites").source(error))?;
        let resolver = Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>;
        let ca_file = match (config.client_auth, &config.client_ca_file) {
            (ClientAuth::None, _) | (_, None) => {
                return Ok(builder.with_no_client_auth().with_cert_resolver(resolver));
            }
            (_, Some(ca_file)) => ca_file,
        };
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(ca_file)?), provider)
                .with_crls(revoked(config.client_crl_file.as_deref())?)
                .only_check_end_entity_revocation();
        if config.client_auth == ClientAuth::Request {
            verifier = verifier.allow_unauthenticated();
        }
        let verifier = verifier.build().map_err(|error| unusable("client-ca-file").source(error))?;
        Ok(builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver))
    }
}

fn provider(config: &HttpsConfig) -> Result<CryptoProvider> {
    let suites = config.cipher_suites.join(":");
    tls::provider((!suites.is_empty()).then_some(suites.as_str()))
}

async fn read(config: &HttpsConfig, key_password: Option<SecretString>) -> Result<CertifiedKey> {
    let (cert_file, key_file) = (config.cert_file.clone(), config.key_file.clone());
    blocking(move || {
        let chain = tls::certificates(&cert_file)?;
        if chain.is_empty() {
            return Err(
                unusable(&cert_file.display().to_string()).hint("There is no certificate in the file.")
            );
        }
        let key = tls::private_key(&key_file, key_password.as_ref())?;
        CertifiedKey::from_der(chain, key, &tls::provider(None)?).map_err(|error| {
            unusable(&key_file.display().to_string())
                .source(error)
                .hint("Check that the key is that of cert-file.")
        })
    })
    .await
}

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in tls::certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(&path.display().to_string()).source(error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&path.display().to_string()).hint("There is no certificate in the file."));
    }
    Ok(roots)
}

fn revoked(path: Option<&Path>) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let lists: std::result::Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
    let lists = lists.map_err(|error| unusable(&path.display().to_string()).source(error))?;
    // A list that cannot be found would let everybody in who was shut out.
    if lists.is_empty() {
        return Err(unusable(&path.display().to_string()).hint("There is no X509 CRL in PEM in the file."));
    }
    Ok(lists)
}

fn unusable(what: &str) -> Error {
    Error::permanent("tls-files", format!("{what}: not usable for HTTPS"))
}
