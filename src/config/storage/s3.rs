//! `s3-storage` (abs.md 2.5, with options of our own).

mod class;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::class::{S3Class, S3StorageClass};
use super::access::{self, Resolver};
use super::{PART_BYTES, PART_BYTES_MAX};
use crate::config::SecretAgent;
use crate::config::kind::Kind;
use crate::config::reader::{Read, Section};
use crate::error::Result;
use crate::secrets::{Secret, SecretSource};

/// The key of the section.
pub(super) const KEY: &str = "s3-storage";
/// The smallest part that S3 takes, but for the last one of an object.
const PART_BYTES_MIN: i64 = 5 << 20;
/// Tags that one object may have.
const TAGS_MAX: usize = 10;

/// `s3-storage`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3Storage {
    /// The bucket.
    pub bucket: String,
    /// The folder in it under which everything lies; empty: the whole bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The region.
    pub s3_region: String,
    /// The profile of the shared AWS configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_profile: Option<String>,
    /// The server, where it is not AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_endpoint_override: Option<String>,
    /// The access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Secret>,
    /// Its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// What of the requests goes to the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_log_level: Option<S3LogLevel>,
    /// The size of one part, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_part_size: Option<u64>,
    /// Most requests at once; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_async_connections: Option<u32>,
    /// Where objects are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<S3StorageClass>,
    /// The agent that is asked for `secrets:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent: Option<SecretAgent>,
    /// Its name among `secret-agents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent_name: Option<String>,
    /// Whether the bucket stands in the path, not in the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// How objects are encrypted at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_encryption: Option<S3Encryption>,
    /// How long objects cannot be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_lock: Option<S3ObjectLock>,
    /// Tags of each object, as `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_tags: Option<Vec<String>>,
    /// By what the server checks what it receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum_algorithm: Option<S3Checksum>,
    /// Authorities to trust instead of the system's: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The role to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<S3Role>,
    /// Most requests begun in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// What of the requests goes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum S3LogLevel {
    /// Nothing.
    Off,
    /// Nothing.
    #[default]
    Fatal,
    /// Nothing.
    Error,
    /// Each failed try.
    Warn,
    /// Each failed try.
    Info,
    /// Each request.
    Debug,
    /// Each request.
    Trace,
}

/// Encryption at rest by the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3Encryption {
    /// With whose key.
    pub mode: S3EncryptionMode,
    /// The key of KMS; none: the bucket's or Amazon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
}

/// With whose key the server encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum S3EncryptionMode {
    /// S3's own (SSE-S3).
    #[default]
    #[serde(rename = "AES256")]
    S3,
    /// One of KMS (SSE-KMS).
    #[serde(rename = "aws:kms")]
    Kms,
    /// One of KMS, in two layers (DSSE-KMS).
    #[serde(rename = "aws:kms:dsse")]
    KmsDsse,
}

/// How long objects cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3ObjectLock {
    /// Who may lift it.
    pub mode: S3LockMode,
    /// Days from the moment of writing.
    pub days: u32,
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum S3LockMode {
    /// Who has the right to.
    #[default]
    Governance,
    /// Nobody.
    Compliance,
}

/// By what the server checks what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // the names are Amazon's
pub enum S3Checksum {
    #[default]
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
    /// Nothing, for servers that do not know these headers.
    None,
}

/// A role to take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3Role {
    /// Its ARN.
    pub role_arn: String,
    /// How the session is called in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// What its owner asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The server that gives roles; none: Amazon's of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts_endpoint: Option<String>,
}

/// An S3 storage with its defaults; no part of it is a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// The folder in it, without slashes at its ends; empty: the whole bucket.
    pub path: String,
    /// The region.
    pub region: String,
    /// The profile of the shared AWS configuration; none: `AWS_PROFILE`, else `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The server; none: AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Where the access key and its secret are; none: AWS's own chain of places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<(SecretSource, SecretSource)>,
    /// What of the requests goes to the log; default `FATAL`.
    pub log_level: S3LogLevel,
    /// The size of one part; default [`PART_BYTES`].
    pub part_bytes: u64,
    /// Most requests at once; default 0 = no limit.
    pub requests_max: u32,
    /// Where objects are kept; default the bucket's own.
    pub class: S3StorageClass,
    /// Whether the bucket stands in the path; default true with an endpoint of its own.
    pub path_style: bool,
    /// How objects are encrypted at rest; default as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<S3Encryption>,
    /// How long objects cannot be deleted; default as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<S3ObjectLock>,
    /// Tags of each object.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// By what the server checks what it receives; default CRC32.
    pub checksum: S3Checksum,
    /// Authorities to trust; none: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The role to take; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<S3Role>,
    /// Most requests begun in a second; default 0 = no limit.
    #[serde(default)]
    pub requests_per_second: u32,
}

impl S3Config {
    /// The place in words. The path comes last and begins with a slash, so that one storage in another shows the same
    /// objects under the same address. A bucket's name says where it is, but for a server of one's own.
    pub fn place(&self) -> String {
        let server = self.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
        format!("S3 bucket {}{server}, path /{}", self.bucket, self.path)
    }
}

impl S3Storage {
    /// With the defaults. Errors: `secret-missing`.
    pub(super) fn resolve(
        &self,
        name: Option<&str>,
        agents: &BTreeMap<String, SecretAgent>,
    ) -> Result<S3Config> {
        let resolver = Resolver::new(name, KEY, agents, (&self.secret_agent, &self.secret_agent_name));
        let id = resolver.source(self.access_key_id.as_ref(), "access-key-id")?;
        let secret = resolver.source(self.secret_access_key.as_ref(), "secret-access-key")?;
        let endpoint = self.s3_endpoint_override.as_ref();
        Ok(S3Config {
            bucket: self.bucket.clone(),
            path: access::trimmed(self.path.as_deref()),
            region: self.s3_region.clone(),
            profile: self.s3_profile.clone(),
            endpoint: endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            keys: id.zip(secret),
            log_level: self.s3_log_level.unwrap_or_default(),
            part_bytes: self.min_part_size.unwrap_or(PART_BYTES),
            requests_max: self.max_async_connections.unwrap_or(0),
            class: self.storage_class.clone().unwrap_or_default(),
            path_style: self.path_style.unwrap_or(endpoint.is_some()),
            encryption: self.server_side_encryption.clone(),
            lock: self.object_lock,
            tags: self.object_tags.iter().flatten().filter_map(|tag| split_tag(tag).ok()).collect(),
            checksum: self.checksum_algorithm.unwrap_or_default(),
            ca_file: self.ca_file.as_ref().map(PathBuf::from),
            role: self.assume_role.clone(),
            requests_per_second: self.requests_per_second.unwrap_or(0),
        })
    }

    /// The fields that may hold secrets.
    pub(super) fn secrets(&self) -> [(&'static str, Option<&Secret>); 2] {
        [
            ("access-key-id", self.access_key_id.as_ref()),
            ("secret-access-key", self.secret_access_key.as_ref()),
        ]
    }

    /// The secrets themselves.
    pub(super) fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        [self.access_key_id.as_mut(), self.secret_access_key.as_mut()].into_iter().flatten()
    }
}

impl Read for S3Storage {
    const KIND: Kind = Kind::S3Storage;

    fn read(section: &mut Section<'_>) -> Self {
        let levels = [
            ("OFF", S3LogLevel::Off),
            ("FATAL", S3LogLevel::Fatal),
            ("ERROR", S3LogLevel::Error),
            ("WARN", S3LogLevel::Warn),
            ("INFO", S3LogLevel::Info),
            ("DEBUG", S3LogLevel::Debug),
            ("TRACE", S3LogLevel::Trace),
        ];
        let checksums = [
            ("CRC32", S3Checksum::Crc32),
            ("CRC32C", S3Checksum::Crc32c),
            ("CRC64NVME", S3Checksum::Crc64nvme),
            ("SHA1", S3Checksum::Sha1),
            ("SHA256", S3Checksum::Sha256),
            ("NONE", S3Checksum::None),
        ];
        section.both_or_none("access-key-id", "secret-access-key");
        let read = Self {
            bucket: section.filled("bucket"),
            path: section.optional("path"),
            s3_region: section.filled("s3-region"),
            s3_profile: section.optional("s3-profile"),
            s3_endpoint_override: section.optional("s3-endpoint-override"),
            access_key_id: section.secret("access-key-id"),
            secret_access_key: section.secret("secret-access-key"),
            s3_log_level: section.word("s3-log-level", &levels),
            min_part_size: section.int("min-part-size", PART_BYTES_MIN..=PART_BYTES_MAX),
            max_async_connections: section.int("max-async-connections", 0..=i64::from(u32::MAX)),
            storage_class: section.child("storage-class"),
            secret_agent: section.child("secret-agent"),
            secret_agent_name: section.optional("secret-agent-name"),
            path_style: section.flag("path-style"),
            server_side_encryption: section.child("server-side-encryption"),
            object_lock: section.child("object-lock"),
            object_tags: section.texts("object-tags"),
            checksum_algorithm: section.word("checksum-algorithm", &checksums),
            ca_file: section.optional("ca-file"),
            assume_role: section.child("assume-role"),
            requests_per_second: section.int("requests-per-second", 0..=1_000_000),
        };
        access::check_agent(section, &read.secrets());
        read.check(section);
        read
    }
}

impl S3Storage {
    fn check(&self, section: &mut Section<'_>) {
        super::check_path(section, self.path.as_deref().unwrap_or_default());
        // It goes into the request's path, or into the host's name.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
        if !self.bucket.is_empty() && !self.bucket.chars().all(is_plain) {
            section.reject("bucket", "\"bucket\" must be the name of a bucket or an ARN");
        }
        access::check_endpoint(section, "s3-endpoint-override", self.s3_endpoint_override.as_deref());
        for (index, tag) in self.object_tags.iter().flatten().enumerate() {
            if let Err(reason) = split_tag(tag) {
                section.reject_item("object-tags", index, reason);
            }
        }
        if self.object_lock.is_some() && self.checksum_algorithm == Some(S3Checksum::None) {
            section.reject("checksum-algorithm", "S3 locks no object that comes without a checksum");
        }
        if self.object_tags.as_ref().is_some_and(|tags| tags.len() > TAGS_MAX) {
            section.reject("object-tags", format!("an object has at most {TAGS_MAX} tags"));
        }
    }
}

/// `key=value`, with S3's limits.
fn split_tag(tag: &str) -> Result<(String, String), &'static str> {
    let (key, value) = tag.split_once('=').ok_or("must be key=value")?;
    if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
        return Err("a tag has a key of 1 to 128 and a value of at most 256 characters");
    }
    Ok((key.to_owned(), value.to_owned()))
}

impl Read for S3Encryption {
    const KIND: Kind = Kind::S3Encryption;

    fn read(section: &mut Section<'_>) -> Self {
        let modes = [
            ("AES256", S3EncryptionMode::S3),
            ("aws:kms", S3EncryptionMode::Kms),
            ("aws:kms:dsse", S3EncryptionMode::KmsDsse),
        ];
        if !section.has("mode") {
            section.missing("mode");
        }
        let mode = section.word("mode", &modes).unwrap_or_default();
        let kms_key_id = section.optional("kms-key-id");
        if kms_key_id.is_some() && mode == S3EncryptionMode::S3 {
            section.reject("kms-key-id", "\"kms-key-id\" says nothing with mode AES256");
        }
        Self { mode, kms_key_id }
    }
}

impl Read for S3ObjectLock {
    const KIND: Kind = Kind::S3ObjectLock;

    fn read(section: &mut Section<'_>) -> Self {
        let modes = [("GOVERNANCE", S3LockMode::Governance), ("COMPLIANCE", S3LockMode::Compliance)];
        for key in ["mode", "days"] {
            if !section.has(key) {
                section.missing(key);
            }
        }
        Self {
            mode: section.word("mode", &modes).unwrap_or_default(),
            days: section.int("days", 1..=36_500).unwrap_or(1),
        }
    }
}

impl Read for S3Role {
    const KIND: Kind = Kind::S3Role;

    fn read(section: &mut Section<'_>) -> Self {
        let role_arn = section.filled("role-arn");
        if !role_arn.is_empty() && !role_arn.starts_with("arn:") {
            section
                .reject("role-arn", "\"role-arn\" must be an ARN, as arn:aws:iam::123456789012:role/backup");
        }
        let sts_endpoint = section.optional("sts-endpoint");
        access::check_endpoint(section, "sts-endpoint", sts_endpoint.as_deref());
        Self {
            role_arn,
            session_name: section.optional("session-name"),
            external_id: section.optional("external-id"),
            sts_endpoint,
        }
    }
}
