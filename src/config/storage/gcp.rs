//! `gcp-storage` (abs.md 2.5).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::access::{self, Resolver};
use super::{PART_BYTES, PART_BYTES_MAX};
use crate::config::SecretAgent;
use crate::config::kind::Kind;
use crate::config::reader::{Read, Section};
use crate::error::Result;
use crate::secrets::{Secret, SecretSource};

/// The key of this kind of storage.
pub(super) const KEY: &str = "gcp-storage";

/// The smallest part that may be written (abs.md 2.5).
const PART_BYTES_MIN: i64 = 256 << 10;

/// The smallest part that the server takes, but for the last one: a smaller `min-part-size` counts as this.
const PART_BYTES_LEAST: u64 = 5 << 20;

/// Where Google's own servers are.
pub const GOOGLE: &str = "https://storage.googleapis.com";

/// `gcp-storage`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GcpStorage {
    /// The bucket.
    pub bucket_name: String,
    /// The folder in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The key of a service account: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file_path: Option<String>,
    /// The key of a service account, in JSON, or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The address of the server; none: Google's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The size of one part, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_part_size: Option<u64>,
    /// Where objects are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<GcpStorageClass>,
    /// The agent that is asked for `secrets:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent: Option<SecretAgent>,
    /// Its name among `secret-agents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent_name: Option<String>,
    /// Ours: authorities to trust: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Ours: most requests begun in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// `storage-class` of a Google Cloud storage; what is not data has the bucket's own class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GcpStorageClass {
    /// Of data files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<GcpClass>,
}

/// A storage class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // the names are Google's
pub enum GcpClass {
    Standard,
    Nearline,
    Coldline,
    Archive,
}

/// A Google Cloud storage with its defaults; no part of it is a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GcpConfig {
    /// The bucket.
    pub bucket: String,
    /// The folder in it, without slashes at its ends; empty: the whole bucket.
    pub path: String,
    /// Who we are.
    pub identity: GcpIdentity,
    /// The address of the server, without a slash at its end; default [`GOOGLE`].
    pub endpoint: String,
    /// The size of one part; default [`PART_BYTES`].
    pub part_bytes: u64,
    /// The class of data files; default the bucket's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<GcpClass>,
    /// Authorities to trust; none: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Most requests begun in a second; default 0 = no limit.
    #[serde(default)]
    pub requests_per_second: u32,
}

/// Who we are to Google Cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GcpIdentity {
    /// Whom the key in this file is of.
    KeyFile(PathBuf),
    /// Whom this key is of.
    Key(SecretSource),
    /// What `GOOGLE_APPLICATION_CREDENTIALS` names, else gcloud's login of this user, else the machine's own identity.
    Default,
}

impl GcpConfig {
    /// The place in words; see [`AzureConfig::place`](super::AzureConfig::place).
    pub fn place(&self) -> String {
        let server = if self.endpoint == GOOGLE { String::new() } else { format!(" at {}", self.endpoint) };
        format!("Google Cloud bucket {}{server}, path /{}", self.bucket, self.path)
    }
}

impl GcpClass {
    /// The class's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::Nearline => "NEARLINE",
            Self::Coldline => "COLDLINE",
            Self::Archive => "ARCHIVE",
        }
    }
}

impl GcpStorage {
    /// With the defaults. Errors: `secret-missing`.
    pub(super) fn resolve(
        &self,
        name: Option<&str>,
        agents: &BTreeMap<String, SecretAgent>,
    ) -> Result<GcpConfig> {
        let resolver = Resolver::new(name, KEY, agents, (&self.secret_agent, &self.secret_agent_name));
        let key = resolver.source(self.key.as_ref(), "key")?.map(GcpIdentity::Key);
        let file = self.key_file_path.as_ref().map(|path| GcpIdentity::KeyFile(path.into()));
        let endpoint = self.endpoint.as_deref().map(access::plain_endpoint);
        Ok(GcpConfig {
            bucket: self.bucket_name.clone(),
            path: access::trimmed(self.path.as_deref()),
            identity: key.or(file).unwrap_or(GcpIdentity::Default),
            endpoint: endpoint.as_deref().map_or(GOOGLE, without_json_path).to_owned(),
            part_bytes: self.min_part_size.unwrap_or(PART_BYTES).max(PART_BYTES_LEAST),
            class: self.storage_class.and_then(|class| class.data),
            ca_file: self.ca_file.as_ref().map(PathBuf::from),
            requests_per_second: self.requests_per_second.unwrap_or(0),
        })
    }

    /// The fields that may hold secrets.
    pub(super) fn secrets(&self) -> [(&'static str, Option<&Secret>); 1] {
        [("key", self.key.as_ref())]
    }

    /// The secrets themselves.
    pub(super) fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        self.key.iter_mut()
    }
}

/// ABS speaks the JSON interface, whose path may stand in its endpoint; ours is the XML one of the same server.
fn without_json_path(endpoint: &str) -> &str {
    endpoint.strip_suffix("/storage/v1").unwrap_or(endpoint)
}

impl Read for GcpStorage {
    const KIND: Kind = Kind::GcpStorage;

    fn read(section: &mut Section<'_>) -> Self {
        section.exclusive("key-file-path", "key");
        let read = Self {
            bucket_name: section.filled("bucket-name"),
            path: section.optional("path"),
            key_file_path: section.optional("key-file-path"),
            key: section.secret("key"),
            endpoint: section.optional("endpoint"),
            min_part_size: section.int("min-part-size", PART_BYTES_MIN..=PART_BYTES_MAX),
            storage_class: section.child("storage-class"),
            secret_agent: section.child("secret-agent"),
            secret_agent_name: section.optional("secret-agent-name"),
            ca_file: section.optional("ca-file"),
            requests_per_second: section.int("requests-per-second", 0..=1_000_000),
        };
        access::check_agent(section, &read.secrets());
        super::check_path(section, read.path.as_deref().unwrap_or_default());
        let endpoint = read.endpoint.as_deref().filter(|text| !text.is_empty());
        access::check_endpoint(section, "endpoint", endpoint);
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if !read.bucket_name.is_empty() && !read.bucket_name.chars().all(is_plain) {
            section.reject(
                "bucket-name",
                "\"bucket-name\" must be of lower-case letters, digits, \"-\", \"_\" and \".\"",
            );
        }
        read
    }
}

impl Read for GcpStorageClass {
    const KIND: Kind = Kind::GcpClass;

    fn read(section: &mut Section<'_>) -> Self {
        let classes = [GcpClass::Standard, GcpClass::Nearline, GcpClass::Coldline, GcpClass::Archive];
        Self { data: section.word("data", &classes.map(|class| (class.word(), class))) }
    }
}
