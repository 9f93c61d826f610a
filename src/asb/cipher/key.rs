//! The key of files, made of a private key (asb.md 3.3), and what is derived from it.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};

use super::der::{self, Found};

/// Domains of what is derived from a key: one value never serves two purposes.
const ID: &str = "holdfast 2026-11 file encryption: id of a key";
const SEAL: &str = "holdfast 2026-11 file encryption: seal of a manifest";

/// A text that is unwrapped more often than this is no key: base64 of base64 of DER is the deepest form in use.
const WRAPPED_MAX: usize = 2;

/// Nothing shorter can be a private key.
const AS_IS_BYTES_MIN: usize = 16;

/// A key of files: the SHA-256 of a private key's traditional form. Shows itself to nobody.
#[derive(Clone)]
pub struct FileKey(Arc<Inner>);

struct Inner {
    key: SecretBox<[u8; 32]>,
    /// What asbackup makes of the same text in the environment: it hashes the bytes as they are.
    as_is: Option<SecretBox<[u8; 32]>>,
    /// Whether both official tools read what is written with it.
    may_write: bool,
}

/// Why a text is no key of files. Never shows any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// No PEM.
    #[error("it is no PEM text (-----BEGIN ... PRIVATE KEY-----)")]
    NotPem,
    /// No PEM and no base64.
    #[error("it is neither a PEM text nor base64")]
    NotBase64,
    /// Locked by a passphrase.
    #[error("its private key is locked by a passphrase")]
    Locked,
    /// Something else.
    #[error("it holds no RSA private key")]
    NotPrivateRsa,
    /// Cut or changed.
    #[error("its private key cannot be read: it is cut or damaged")]
    Damaged,
    /// Good for reading only.
    #[error(
        "it is no RSA private key, which writing takes: with another only asrestore could read the files"
    )]
    ReadOnly,
}

impl FileKey {
    /// The key in a PEM file: RSA in PKCS#1 or PKCS#8, or EC in its traditional form, for reading only.
    pub fn from_file(text: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(text).map_err(|_| KeyError::NotPem)?;
        if text.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        let (found, der) = der::of_pem(text)?;
        Ok(Self::of(&der, None, found == Found::Rsa))
    }

    /// The key in a variable or a secret: PEM, or base64 of PEM, of DER, or of base64 of DER. What is base64 of
    /// something else can be read with, as asrestore would.
    pub fn from_env(text: &str) -> Result<Self, KeyError> {
        if text.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        if text.contains("-----BEGIN ") {
            return Self::from_file(text.as_bytes());
        }
        let bytes = der::base64(text).ok_or(KeyError::NotBase64)?;
        match unwrap(&bytes, WRAPPED_MAX) {
            Ok((found, der)) => Ok(Self::of(&der, Some(&bytes), found == Found::Rsa)),
            Err(KeyError::Locked) => Err(KeyError::Locked),
            Err(_) if bytes.len() >= AS_IS_BYTES_MIN => Ok(Self::of(&bytes, None, false)),
            Err(error) => Err(error),
        }
    }

    /// The key that a secret agent has: as in a variable, or its DER as it is.
    pub fn from_secret(bytes: &[u8]) -> Result<Self, KeyError> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self::from_env(text);
        }
        der::of_der(bytes).map(|der| Self::of(der, None, true))
    }

    fn of(der: &[u8], as_is: Option<&[u8]>, may_write: bool) -> Self {
        let hash = |bytes| SecretBox::new(Box::new(<[u8; 32]>::from(Sha256::digest(bytes))));
        let as_is = as_is.filter(|bytes| *bytes != der).map(hash);
        Self(Arc::new(Inner { key: hash(der), as_is, may_write }))
    }

    /// Refuses a key with which nothing should be written; [`KeyError::ReadOnly`].
    pub fn check_writable(&self) -> Result<(), KeyError> {
        if self.0.may_write { Ok(()) } else { Err(KeyError::ReadOnly) }
    }

    /// What tells keys apart without revealing them: 32 hex digits.
    pub fn id(&self) -> String {
        let id = blake3::Hash::from(blake3::derive_key(ID, self.material()));
        id.to_hex().chars().take(32).collect()
    }

    /// Vouches for a document by its hash: only who has the key can make this.
    pub fn seal(&self, hash: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(&blake3::derive_key(SEAL, self.material()), hash).as_bytes()
    }

    pub(super) fn material(&self) -> &[u8; 32] {
        self.0.key.expose_secret()
    }

    /// Every key that the text may stand for, the likelier first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &[u8; 32]> {
        std::iter::once(self.material()).chain(self.0.as_is.as_ref().map(ExposeSecret::expose_secret))
    }

    /// The key of a known hash.
    #[cfg(test)]
    pub(crate) fn of_hash(hash: [u8; 32]) -> Self {
        Self(Arc::new(Inner { key: SecretBox::new(Box::new(hash)), as_is: None, may_write: true }))
    }
}

/// The traditional key in decoded bytes: DER, PEM, or base64 once more.
fn unwrap(bytes: &[u8], depth: usize) -> Result<(Found, Vec<u8>), KeyError> {
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|_| depth > 0) else {
        return der::of_der(bytes).map(|der| (Found::Rsa, der.to_vec()));
    };
    if text.contains("-----BEGIN ") {
        return der::of_pem(text);
    }
    match der::base64(text) {
        Some(bytes) => unwrap(&bytes, depth - 1),
        None => der::of_der(bytes).map(|der| (Found::Rsa, der.to_vec())),
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey([secret])")
    }
}
