//! `encryption` of a backup policy and of a restore (abs.md 2.6, rules.md 3.10).
//!
//! A document names where a key is, never the key: so may what is resolved from it, which jobs keep in their rows.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::reader::{Read, Section};
use crate::error::{Error, Result};
use crate::secrets::{AgentOptions, Secret, SecretRef, SecretSource};

/// `encryption` of a backup policy, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EncryptionPolicy {
    /// Which encryption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<EncryptionMode>,
    /// The key: a PEM file of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The key: a variable of the service's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// The key: at a secret agent; only a reference to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<Secret>,
}

/// `encryption` of a restore, as written: its `mode` may be left out, as each backup says its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecryptionPolicy(pub EncryptionPolicy);

/// Which encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncryptionMode {
    /// None.
    #[serde(rename = "NONE")]
    None,
    /// AES-128 in counter mode.
    #[serde(rename = "AES128")]
    Aes128,
    /// AES-256 in counter mode.
    #[serde(rename = "AES256")]
    Aes256,
    /// AES-256 in Galois/counter mode: ours, not readable by the official tools (rules.md 3.10).
    #[serde(rename = "AES256-GCM")]
    Aes256Gcm,
}

/// How files are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EncryptionConfig {
    /// Which encryption; never `NONE`.
    pub mode: EncryptionMode,
    /// Where the key is.
    pub key: KeyPlace,
}

/// How files are decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DecryptionConfig {
    /// Which encryption, for files beside which nothing says it; none: their bytes tell.
    pub mode: Option<EncryptionMode>,
    /// Where the key is.
    pub key: KeyPlace,
}

/// Where a key is kept; it is read when a job starts, and no part of it goes into the job's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPlace {
    /// In a PEM file of this machine (`key-file`).
    File(PathBuf),
    /// In a variable of the environment (`key-env`).
    Env(String),
    /// At a secret agent (`key-secret`).
    Secret(SecretSource),
}

impl EncryptionMode {
    /// The mode's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Aes128 => "AES128",
            Self::Aes256 => "AES256",
            Self::Aes256Gcm => "AES256-GCM",
        }
    }
}

impl KeyPlace {
    /// The field that names it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::File(_) => "key-file",
            Self::Env(_) => "key-env",
            Self::Secret(_) => "key-secret",
        }
    }
}

/// Where a key is, as it is written: the field, and what the document has there.
impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encryption.{} ", self.field())?;
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Secret(source) => write!(f, "{source}"),
        }
    }
}

impl EncryptionPolicy {
    /// What it asks for; none for `NONE`. `agent` is who will be asked for a `key-secret`.
    ///
    /// Errors: `secret-missing` for a `key-secret` without an agent.
    pub fn resolve(&self, agent: Option<&AgentOptions>) -> Result<Option<EncryptionConfig>> {
        let Some(mode) = self.mode.filter(|mode| *mode != EncryptionMode::None) else { return Ok(None) };
        Ok(self.place(agent)?.map(|key| EncryptionConfig { mode, key }))
    }

    /// Whether an agent must be named for it.
    pub fn wants_agent(&self) -> bool {
        self.key_secret.is_some() && self.mode != Some(EncryptionMode::None)
    }

    fn place(&self, agent: Option<&AgentOptions>) -> Result<Option<KeyPlace>> {
        if let Some(secret) = &self.key_secret {
            // The reader takes nothing else; what is written must never be in clear for want of a reference.
            let reference = secret.reference().ok_or_else(|| {
                Error::permanent("secret-missing", "encryption.key-secret is no reference to a secret")
            })?;
            return Ok(Some(KeyPlace::Secret(SecretSource::of(reference, agent)?)));
        }
        let file = self.key_file.as_ref().map(|path| KeyPlace::File(path.into()));
        Ok(file.or_else(|| self.key_env.clone().map(KeyPlace::Env)))
    }

    fn read(section: &mut Section<'_>, mode_needed: bool) -> Self {
        if mode_needed && !section.has("mode") {
            section.missing("mode");
        }
        let words =
            [EncryptionMode::None, EncryptionMode::Aes128, EncryptionMode::Aes256, EncryptionMode::Aes256Gcm]
                .map(|mode| (mode.word(), mode));
        let mode = section.word("mode", &words);
        let given = KEYS.map(|key| section.has(key)).into_iter().filter(|given| *given).count();
        let policy = Self {
            mode,
            key_file: section.optional("key-file"),
            key_env: section.optional("key-env"),
            key_secret: section.secret("key-secret"),
        };
        let named = [policy.key_file.is_some(), policy.key_env.is_some(), policy.key_secret.is_some()];
        let named = named.contains(&true);
        // A malformed reference was refused where it stands.
        let refused =
            policy.key_secret.is_none() && section.has("key-secret") && !section.is_empty("key-secret");
        if given > 1 {
            section.reject_all(
                "mutually exclusive fields validation error: specify only one of \"key-file\", \"key-env\" and \
                 \"key-secret\"",
            );
        } else if mode == Some(EncryptionMode::None) && named {
            section.reject_all(
                "a key is given, but \"mode\" NONE encrypts nothing: remove the one or the other",
            );
        } else if mode != Some(EncryptionMode::None) && !named && !refused {
            section.reject_all(
                "required fields validation error: must specify one of \"key-file\", \"key-env\" and \"key-secret\"",
            );
        }
        if policy.key_secret.is_some() && !policy.is_of_agent() {
            section.reject(
                "key-secret",
                "must be secrets:<resource>:<key>, a key at a secret agent; others are named by \"key-file\" or \
                 \"key-env\"",
            );
        }
        if let Some(name) = policy.key_env.as_ref().filter(|name| name.contains(['=', '\0'])) {
            // It may be the key itself, put where its variable belongs.
            let length = name.len();
            section.reject(
                "key-env",
                format!("must be the name of a variable; what is given ({length} bytes) is none"),
            );
        }
        policy
    }

    /// A literal would be the key itself, in a document that anybody may read.
    fn is_of_agent(&self) -> bool {
        let reference = self.key_secret.as_ref().and_then(Secret::reference);
        matches!(reference, Some(SecretRef::Agent { .. }))
    }
}

const KEYS: [&str; 3] = ["key-file", "key-env", "key-secret"];

impl DecryptionPolicy {
    /// What it gives; none if it is `mode: NONE`. `agent` is who will be asked for a `key-secret`.
    ///
    /// Errors: `secret-missing` for a `key-secret` without an agent.
    pub fn resolve(&self, agent: Option<&AgentOptions>) -> Result<Option<DecryptionConfig>> {
        let mode = self.0.mode;
        if mode == Some(EncryptionMode::None) {
            return Ok(None);
        }
        Ok(self.0.place(agent)?.map(|key| DecryptionConfig { mode, key }))
    }
}

impl Read for EncryptionPolicy {
    const KIND: Kind = Kind::Encryption;

    fn read(section: &mut Section<'_>) -> Self {
        Self::read(section, true)
    }
}

impl Read for DecryptionPolicy {
    const KIND: Kind = Kind::Decryption;

    fn read(section: &mut Section<'_>) -> Self {
        Self(EncryptionPolicy::read(section, false))
    }
}

impl From<EncryptionConfig> for DecryptionConfig {
    /// The key alone: what was written with another mode is read as well.
    fn from(config: EncryptionConfig) -> Self {
        Self { mode: None, key: config.key }
    }
}
