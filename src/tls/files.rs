//! Files of certificates and keys.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::SecretDocument;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::{TlsFiles, choice};
use crate::error::{Error, Result};
use crate::tasks::blocking;

/// The largest file of certificates: the bundle of a system has about 200 KiB.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What the files looked like: another value means that they were replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64)>>);

/// Reads the files and makes the configuration of a client; `key_password` is for a key that is encrypted.
///
/// Errors: `tls-files` (permanent), naming the file.
pub async fn client(files: TlsFiles, key_password: Option<SecretString>) -> Result<Arc<ClientConfig>> {
    blocking(move || build(&files, key_password.as_ref()).map(Arc::new)).await
}

/// What the files look like now.
pub async fn stamp(files: TlsFiles) -> Result<Stamp> {
    blocking(move || {
        let places = [&files.ca_file, &files.ca_path, &files.cert_file, &files.key_file];
        let look = |path: &std::path::PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Ok(Stamp(places.into_iter().flatten().map(look).collect()))
    })
    .await
}

fn build(files: &TlsFiles, key_password: Option<&SecretString>) -> Result<ClientConfig> {
    let unusable = |what: &str, reason: String| Error::permanent("tls-files", format!("{what}: {reason}"));
    let provider = provider(files.cipher_suite.as_deref())?;
    let protocols = choice::protocols(files.protocols.as_deref().unwrap_or("all"))
        .map_err(|reason| unusable("protocols", reason))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&protocols)
        .map_err(|error| unusable("protocols and cipher-suite", error.to_string()))?
        .with_root_certificates(roots(files)?);
    let (Some(cert_file), Some(key_file)) = (&files.cert_file, &files.key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(cert_file)?;
    if chain.is_empty() {
        return Err(bad(cert_file, "no certificate in it"));
    }
    let key = private_key(key_file, key_password)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        bad(key_file, "not usable with the certificate")
            .source(error)
            .hint("Check that the key is that of cert-file.")
    })
}

/// What encrypts, with these suites or all that are safe.
pub(crate) fn provider(cipher_suites: Option<&str>) -> Result<CryptoProvider> {
    let mut provider: CryptoProvider = ring::default_provider();
    if let Some(text) = cipher_suites {
        provider.cipher_suites = choice::cipher_suites(text)
            .map_err(|reason| Error::permanent("tls-files", format!("cipher-suite: {reason}")))?;
    }
    Ok(provider)
}

fn roots(files: &TlsFiles) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if files.ca_file.is_none() && files.ca_path.is_none() {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Error::permanent("tls-files", "this system has no authorities to trust")
                .hint("Name some with ca-file or ca-path."));
        }
        return Ok(roots);
    }
    let mut add = |path: &Path, certificates: Vec<CertificateDer<'static>>| -> Result<()> {
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| bad(path, "a certificate in it is unusable").source(error))?;
        }
        Ok(())
    };
    if let Some(path) = &files.ca_file {
        let found = certificates(path)?;
        if found.is_empty() {
            return Err(bad(path, "no certificate in it"));
        }
        add(path, found)?;
    }
    if let Some(folder) = &files.ca_path {
        let unread = |error| bad(folder, "read the folder").source(error);
        for entry in std::fs::read_dir(folder).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            if path.is_file() {
                add(&path, certificates(&path)?)?;
            }
        }
        if roots.is_empty() {
            return Err(bad(folder, "no certificate in its files"));
        }
    }
    Ok(roots)
}

/// The certificates in a file of PEM, none if there is none; blocks.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| bad(path, "not PEM").source(error))
}

/// The key in a file of PEM; blocks.
pub(crate) fn private_key(path: &Path, password: Option<&SecretString>) -> Result<PrivateKeyDer<'static>> {
    let bytes = read(path)?;
    let holds = |mark: &str| memchr::memmem::find(&bytes, mark.as_bytes()).is_some();
    if holds("Proc-Type: 4,ENCRYPTED") {
        return Err(bad(path, "encrypted in the old way of OpenSSL, which is not read")
            .hint("Convert it: openssl pkcs8 -topk8 -in OLD -out NEW."));
    }
    if !holds("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|error| bad(path, "no key in PEM").source(error));
    }
    let password = password
        .ok_or_else(|| bad(path, "the key is encrypted").hint("Give its password with key-file-password."))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(path, "not PEM"))?;
    let (_, document) = SecretDocument::from_pem(text.trim_start())
        .map_err(|error| bad(path, "no encrypted key in PEM").source(error))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| bad(path, "no encrypted key in it").source(error))?;
    let key = encrypted
        .decrypt(password.expose_secret())
        .map_err(|_| bad(path, "the key cannot be decrypted").hint("Check key-file-password."))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let unread = |error| bad(path, "read the file").source(error);
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

fn bad(path: &Path, what: &str) -> Error {
    Error::permanent("tls-files", format!("{}: {what}", path.display()))
}
