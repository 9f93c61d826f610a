//! `storage.<name>` (abs.md 2.5).

mod access;
mod azure;
mod gcp;
mod s3;

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::SecretAgent;
use super::kind::Kind;
use super::reader::{Read, Section};
use crate::error::Result;
use crate::secrets::{Keeper, Secret};

pub use azure::{AzureConfig, AzureIdentity, AzureStorage, AzureStorageTiers, AzureTier};
pub use gcp::{GOOGLE, GcpClass, GcpConfig, GcpIdentity, GcpStorage, GcpStorageClass};
pub use s3::{
    S3Checksum, S3Class, S3Config, S3Encryption, S3EncryptionMode, S3LockMode, S3LogLevel, S3ObjectLock,
    S3Role, S3Storage, S3StorageClass,
};

/// The kinds of storage, of which one is given.
const TYPES: [&str; 4] = ["local-storage", "s3-storage", "azure-storage", "gcp-storage"];

/// A storage, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Storage {
    /// A directory of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_storage: Option<LocalStorage>,
    /// A bucket of S3, or of a server that speaks its language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_storage: Option<S3Storage>,
    /// A container of Azure's blob service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_storage: Option<AzureStorage>,
    /// A bucket of Google Cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcp_storage: Option<GcpStorage>,
}

/// `local-storage`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LocalStorage {
    /// The directory under which everything lies.
    pub path: String,
    /// The size of one write, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_part_size: Option<u64>,
}

/// A storage with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StorageConfig {
    /// The configured name; none for a storage that stands in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub place: StoragePlace,
}

/// Where a storage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoragePlace {
    /// A directory of this machine.
    Local {
        /// The directory under which everything lies.
        path: PathBuf,
        /// The size of one part; default [`PART_BYTES`].
        part_bytes: u64,
    },
    /// A bucket of S3.
    S3(Box<S3Config>),
    /// A container of Azure's blob service.
    Azure(Box<AzureConfig>),
    /// A bucket of Google Cloud.
    Gcp(Box<GcpConfig>),
}

/// The size of one part of a file when `min-part-size` does not say (rules.md 8.1).
pub const PART_BYTES: u64 = 8 << 20;

impl StorageConfig {
    /// The place as an opened storage describes it, as far as that is known without asking it: a symbolic link on the way
    /// is not followed.
    pub fn place(&self) -> String {
        match &self.place {
            StoragePlace::Local { path, .. } => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("local storage {}", path.display())
            }
            StoragePlace::S3(s3) => s3.place(),
            StoragePlace::Azure(azure) => azure.place(),
            StoragePlace::Gcp(gcp) => gcp.place(),
        }
    }
}

impl StorageConfig {
    /// Whether it is a folder of this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.place, StoragePlace::Local { .. })
    }

    /// The size of the parts in which the storage takes a file; none: it takes it as it comes.
    pub fn part_bytes(&self) -> Option<u64> {
        match &self.place {
            // Its `part_bytes` has no effect.
            StoragePlace::Local { .. } => None,
            StoragePlace::S3(s3) => Some(s3.part_bytes),
            StoragePlace::Azure(azure) => Some(azure.part_bytes),
            StoragePlace::Gcp(gcp) => Some(gcp.part_bytes),
        }
    }
}

impl Storage {
    /// A directory of this machine.
    pub fn local(path: impl Into<String>) -> Self {
        let local = LocalStorage { path: path.into(), ..LocalStorage::default() };
        Self { local_storage: Some(local), ..Self::default() }
    }

    /// With the defaults, under its configured name; none if no kind of storage is given. `agents` are those of the
    /// configuration. Secrets become references (rules.md 7.4): those of a request must have been
    /// [kept](Storage::keep_secrets) before.
    ///
    /// Errors: `secret-missing`.
    pub fn resolve(
        &self,
        name: Option<&str>,
        agents: &BTreeMap<String, SecretAgent>,
    ) -> Result<Option<StorageConfig>> {
        let place = if let Some(local) = &self.local_storage {
            StoragePlace::Local {
                path: PathBuf::from(&local.path),
                part_bytes: local.min_part_size.unwrap_or(PART_BYTES),
            }
        } else if let Some(s3) = &self.s3_storage {
            StoragePlace::S3(Box::new(s3.resolve(name, agents)?))
        } else if let Some(azure) = &self.azure_storage {
            StoragePlace::Azure(Box::new(azure.resolve(name, agents)?))
        } else if let Some(gcp) = &self.gcp_storage {
            StoragePlace::Gcp(Box::new(gcp.resolve(name, agents)?))
        } else {
            return Ok(None);
        };
        Ok(Some(StorageConfig { name: name.map(str::to_owned), place }))
    }

    /// The name of the agent that is asked for its secrets.
    pub fn secret_agent_name(&self) -> Option<&str> {
        let s3 = self.s3_storage.as_ref().map(|s3| &s3.secret_agent_name);
        let azure = self.azure_storage.as_ref().map(|azure| &azure.secret_agent_name);
        let gcp = self.gcp_storage.as_ref().map(|gcp| &gcp.secret_agent_name);
        s3.or(azure).or(gcp)?.as_deref()
    }

    /// The key of the kind of storage that is given.
    pub fn kind(&self) -> &'static str {
        let given = [
            (self.s3_storage.is_some(), s3::KEY),
            (self.azure_storage.is_some(), azure::KEY),
            (self.gcp_storage.is_some(), gcp::KEY),
        ];
        given.into_iter().find(|(given, _)| *given).map_or("local-storage", |(_, key)| key)
    }

    /// Leaves references to `keeper` in the place of literal secrets: for a storage that stands in a request.
    pub fn keep_secrets(&mut self, keeper: &Keeper) {
        let s3 = self.s3_storage.iter_mut().flat_map(S3Storage::secrets_mut);
        let azure = self.azure_storage.iter_mut().flat_map(AzureStorage::secrets_mut);
        let gcp = self.gcp_storage.iter_mut().flat_map(GcpStorage::secrets_mut);
        s3.chain(azure).chain(gcp).for_each(|secret| keeper.take(secret));
    }

    /// Its literal secrets, under the names by which the jobs of the storage `name` know them.
    pub(super) fn literals(&self, name: &str) -> impl Iterator<Item = (String, SecretString)> + use<'_> {
        let kind = self.kind();
        let place = access::place(name, kind, "");
        self.secrets()
            .filter_map(move |(key, secret)| Some((format!("{place}{key}"), secret.expose()?.into())))
    }

    fn secrets(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        let s3 = self.s3_storage.iter().flat_map(S3Storage::secrets);
        let azure = self.azure_storage.iter().flat_map(AzureStorage::secrets);
        let given = s3.chain(azure).chain(self.gcp_storage.iter().flat_map(GcpStorage::secrets));
        given.filter_map(|(key, secret)| Some((key, secret?)))
    }
}

/// Refuses a folder that is not a plain relative path (abs.md 2.5 [3.7]).
fn check_path(section: &Section<'_>, path: &str) {
    let path = path.trim_matches('/');
    let is_clean = |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['\\', '\0']);
    if !path.is_empty() && !path.split('/').all(is_clean) {
        section.reject("path", "\"path\" must be clean: no \"..\", no empty part");
    }
}

impl Read for Storage {
    const KIND: Kind = Kind::Storage;

    fn read(section: &mut Section<'_>) -> Self {
        let given = TYPES.into_iter().filter(|kind| section.has(kind)).count();
        match given {
            1 => {}
            0 => section.reject_all("no storage type specified"),
            more => section.reject_all(format!(
                "multiple storage types specified ({more}). Exactly one storage type should be specified"
            )),
        }
        Self {
            local_storage: section.child("local-storage"),
            s3_storage: section.child("s3-storage"),
            azure_storage: section.child("azure-storage"),
            gcp_storage: section.child("gcp-storage"),
        }
    }
}

impl Read for LocalStorage {
    const KIND: Kind = Kind::LocalStorage;

    fn read(section: &mut Section<'_>) -> Self {
        let path = section.filled("path");
        if path.split('/').any(|segment| segment == "..") || path.contains('\0') {
            section.reject("path", "\"path\" must be clean: no \"..\"");
        }
        Self { path, min_part_size: section.int("min-part-size", 1..=PART_BYTES_MAX) }
    }
}

/// The largest part of an S3 upload; the memory budget decides long before (rules.md 8.1).
const PART_BYTES_MAX: i64 = 5 << 30;
