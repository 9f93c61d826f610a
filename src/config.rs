//! The documents: the YAML configuration of ABS with our additions, and the requests of its REST API.
//!
//! Reading is strict and reports every problem at once, each with its line, its field and "did you mean". Each
//! kind of thing has two types: as written (`Policy`, written back as it was given) and with its defaults
//! (`PolicyConfig`, for those who work with it).

mod auth;
mod check;
mod cluster;
mod copies;
mod deprecated;
mod describe;
mod diff;
mod edit;
mod encryption;
mod entity;
mod kind;
mod listener;
mod pointer;
mod policy;
mod problem;
mod reader;
mod resolve;
mod restore;
mod retention;
mod routine;
mod safety;
pub mod schema;
mod secret_agent;
mod secret_fields;
mod service;
mod storage;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod zone;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path as FilePath;

use serde::Serialize;

pub use auth::{Auth, AuthCertificate, AuthToken, Role, TOKEN_HASH_PREFIX, is_name};
pub use cluster::{
    AuthMode, Cluster, ClusterConfig, ClusterTls, Credentials, CredentialsConfig, Seed, SeedConfig, TlsConfig,
};
pub use copies::{CopyConfig, CopyOn, CopyOrder, RoutineCopy};
pub use diff::{Changes, ConfigDiff, FieldChange};
pub use edit::NewText;
pub use encryption::{
    DecryptionConfig, DecryptionPolicy, EncryptionConfig, EncryptionMode, EncryptionPolicy, KeyPlace,
};
pub use entity::{ConfigPart, EntityKind};
pub use listener::{
    ClientAuth, HTTPS_KEY_PASSWORD, Http, HttpConfig, Https, HttpsConfig, Rate, RateConfig, TlsVersion,
    network,
};
pub use pointer::ConfigPointer;
pub use policy::{
    Compression, CompressionMode, CompressionPolicy, IncrMode, Policy, PolicyConfig, RetryConfig,
    RetryPolicy, UnsupportedRecords, WhenNoChain,
};
pub use problem::{Problem, ProblemKind, Problems};
pub use resolve::{JobConfig, RestoreConfig, RestoreTarget, RoutineConfig};
pub use restore::{
    Remap, RestoreCare, RestoreEnds, RestorePolicy, RestorePolicyConfig, RestoreRequest,
    RestoreTimestampRequest, VerifyFirst,
};
pub use retention::{KeepTiers, Retention, RetentionConfig};
pub use routine::{Routine, RoutineSchedule, Scope};
pub use safety::{RestoreSafety, SafetyBackup};
pub use secret_agent::{ConnectionType, SecretAgent};
pub use secret_fields::{SecretField, secret_fields};
pub use service::{
    Audit, FileWriter, FileWriterConfig, JobHistory, JobHistoryConfig, LogFormat, LogLevel, Logger,
    LoggerConfig, STATE_DIR, Service, ServiceBackup, ServiceBackupConfig, ServiceConfig, TimestampFormat,
};
pub use storage::{
    AzureConfig, AzureIdentity, AzureStorage, AzureStorageTiers, AzureTier, GOOGLE, GcpClass, GcpConfig,
    GcpIdentity, GcpStorage, GcpStorageClass, LocalStorage, PART_BYTES, S3Checksum, S3Class, S3Config,
    S3Encryption, S3EncryptionMode, S3LockMode, S3LogLevel, S3ObjectLock, S3Role, S3Storage, S3StorageClass,
    Storage, StorageConfig, StoragePlace,
};
pub use tree::DOCUMENT_BYTES_MAX;
pub use zone::parse as parse_zone;

use crate::model::UnixMillis;
use kind::Kind;
use problem::Path;
use reader::{Read, Reading, Section};

/// The longest time that a document may give, in ms: the wire's timeouts are 32 bits with a sign.
const MS_MAX: i64 = i32::MAX as i64;

/// A whole configuration, as written (abs.md 2.1).
///
/// What `parse`, `load` and `from_json` return has been checked; after a change call [`Config::check`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// What a change of needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The clusters, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aerospike_clusters: BTreeMap<String, Cluster>,
    /// The secret agents, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_agents: BTreeMap<String, SecretAgent>,
    /// The storages, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<String, Storage>,
    /// The policies, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backup_policies: BTreeMap<String, Policy>,
    /// The routines, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backup_routines: BTreeMap<String, Routine>,
}

impl Config {
    /// Reads a file; blocks.
    pub fn load(path: &FilePath, now: UnixMillis) -> Result<Self, Problems> {
        let name = path.display().to_string();
        Self::parse(&Self::read_text(path)?, &name, now)
    }

    /// The text of a file, within the bound of a document; blocks.
    pub fn read_text(path: &FilePath) -> Result<String, Problems> {
        read_capped(path).map_err(|reason| {
            let name = path.display().to_string();
            Problems::from(Problem::new(ProblemKind::Shape, Path::default(), reason)).in_file(&name)
        })
    }

    /// A text that came from elsewhere than a file; `name` is where from.
    pub fn text_of(bytes: Vec<u8>, name: &str) -> Result<String, Problems> {
        utf8(bytes).map_err(|reason| {
            Problems::from(Problem::new(ProblemKind::Shape, Path::default(), reason)).in_file(name)
        })
    }

    /// Reads a YAML document; an empty one is all defaults.
    pub fn parse(text: &str, file_name: &str, now: UnixMillis) -> Result<Self, Problems> {
        let (root, duplicates) = tree::parse_yaml(text).map_err(|problems| problems.in_file(file_name))?;
        let reading = Reading::new(false, now);
        for duplicate in duplicates {
            reading.push(duplicate);
        }
        let config: Self = reading.read(&root);
        let mut problems = reading.into_problems();
        config.check_into(&mut problems);
        problems.locate(file_name, &root);
        problems.unless_any(config)
    }

    /// Reads the body of `PUT /v1/config`.
    pub fn from_json(body: &[u8], now: UnixMillis) -> Result<Self, Problems> {
        let root = tree::parse_json(body)?;
        let reading = Reading::new(true, now);
        let config: Self = reading.read(&root);
        let mut problems = reading.into_problems();
        config.check_into(&mut problems);
        problems.unless_any(config)
    }

    /// What is wrong between the parts: dangling names, and names that cannot be folders.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        self.check_into(&mut problems);
        problems.unless_any(())
    }

    /// The document as YAML, as it was given but without comments.
    pub fn to_yaml(&self) -> crate::error::Result<String> {
        serde_saphyr::to_string(self).map_err(|error| {
            crate::error::Error::permanent("config-unwritable", "write the configuration as yaml")
                .source(error)
        })
    }
}

/// Reads one part of a configuration, or a restore request, from the body of an API call.
///
/// For `Cluster`, `Storage`, `Policy`, `Routine`, `CopyOrder`, `RestoreRequest` and `RestoreTimestampRequest`. Names are not
/// looked up: that is [`Config::check`]'s after the part was put in its place, or `resolve`'s.
pub fn from_json<T: FromJson>(body: &[u8], now: UnixMillis) -> Result<T, Problems> {
    let root = tree::parse_json(body)?;
    let reading = Reading::new(true, now);
    let value: T = reading.read(&root);
    reading.into_problems().unless_any(value)
}

/// What [`from_json`] can read.
#[allow(private_bounds)] // sealed: the reader is this room's own
pub trait FromJson: Read {}

impl FromJson for Cluster {}
impl FromJson for Storage {}
impl FromJson for Policy {}
impl FromJson for Routine {}
impl FromJson for SecretAgent {}
impl FromJson for CopyOrder {}
impl FromJson for RestoreRequest {}
impl FromJson for RestoreTimestampRequest {}

impl Read for Config {
    const KIND: Kind = Kind::Document;

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            service: section.child("service"),
            aerospike_clusters: section.children("aerospike-clusters"),
            secret_agents: section.children("secret-agents"),
            storage: section.children("storage"),
            backup_policies: section.children("backup-policies"),
            backup_routines: section.children("backup-routines"),
        }
    }
}

fn read_capped(path: &FilePath) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("open the file: {error}"))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read the file: {error}"))?;
    utf8(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|error| format!("the file is not UTF-8 after byte {}", error.utf8_error().valid_up_to()))
}
