//! `azure-storage` (abs.md 2.5).

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
pub(super) const KEY: &str = "azure-storage";

/// The smallest part (abs.md 2.5).
const PART_BYTES_MIN: i64 = 1 << 20;

/// `azure-storage`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AzureStorage {
    /// The address of the account's blob service.
    pub endpoint: String,
    /// The container.
    pub container_name: String,
    /// The folder in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The account, of which the key is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// The account's key, or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_key: Option<Secret>,
    /// The tenant of a service principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Secret>,
    /// The service principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Secret>,
    /// Its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// The size of one part, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_part_size: Option<u64>,
    /// Where objects are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<AzureStorageTiers>,
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

/// `storage-class` of an Azure storage: the access tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AzureStorageTiers {
    /// Of data files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<AzureTier>,
    /// Of everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<AzureTier>,
}

/// An access tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are Azure's
pub enum AzureTier {
    Hot,
    Cool,
    Cold,
    Archive,
}

/// An Azure storage with its defaults; no part of it is a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AzureConfig {
    /// The address of the account's blob service, without a slash at its end.
    pub endpoint: String,
    /// The container.
    pub container: String,
    /// The folder in it, without slashes at its ends; empty: the whole container.
    pub path: String,
    /// Who we are.
    pub identity: AzureIdentity,
    /// The size of one part; default [`PART_BYTES`].
    pub part_bytes: u64,
    /// Where objects are kept; default the account's own.
    pub tiers: AzureStorageTiers,
    /// Authorities to trust; none: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Most requests begun in a second; default 0 = no limit.
    #[serde(default)]
    pub requests_per_second: u32,
}

/// Who we are to Azure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AzureIdentity {
    /// Who has the account's key.
    #[serde(rename_all = "kebab-case")]
    Key {
        /// The account.
        account: String,
        /// Where its key is.
        key: SecretSource,
    },
    /// A service principal of Entra ID.
    #[serde(rename_all = "kebab-case")]
    Principal {
        /// Where its tenant is.
        tenant: SecretSource,
        /// Where its id is.
        client: SecretSource,
        /// Where its secret is.
        secret: SecretSource,
    },
    /// What the environment says (`AZURE_…`), else the machine's own identity.
    Default,
}

impl AzureConfig {
    /// The place in words. The path comes last and begins with a slash, so that one storage in another shows the same
    /// objects under the same address.
    pub fn place(&self) -> String {
        format!("Azure container {} at {}, path /{}", self.container, self.endpoint, self.path)
    }
}

impl AzureTier {
    /// The tier's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hot => "Hot",
            Self::Cool => "Cool",
            Self::Cold => "Cold",
            Self::Archive => "Archive",
        }
    }
}

impl AzureStorage {
    /// With the defaults. Errors: `secret-missing`.
    pub(super) fn resolve(
        &self,
        name: Option<&str>,
        agents: &BTreeMap<String, SecretAgent>,
    ) -> Result<AzureConfig> {
        let resolver = Resolver::new(name, KEY, agents, (&self.secret_agent, &self.secret_agent_name));
        let key = resolver.source(self.account_key.as_ref(), "account-key")?;
        let tenant = resolver.source(self.tenant_id.as_ref(), "tenant-id")?;
        let client = resolver.source(self.client_id.as_ref(), "client-id")?;
        let secret = resolver.source(self.client_secret.as_ref(), "client-secret")?;
        let identity = match (self.account_name.clone(), key, tenant, client, secret) {
            (Some(account), Some(key), ..) => AzureIdentity::Key { account, key },
            (_, _, Some(tenant), Some(client), Some(secret)) => {
                AzureIdentity::Principal { tenant, client, secret }
            }
            // The reader refuses half of either.
            _ => AzureIdentity::Default,
        };
        Ok(AzureConfig {
            endpoint: access::plain_endpoint(&self.endpoint),
            container: self.container_name.clone(),
            path: access::trimmed(self.path.as_deref()),
            identity,
            part_bytes: self.min_part_size.unwrap_or(PART_BYTES),
            tiers: self.storage_class.unwrap_or_default(),
            ca_file: self.ca_file.as_ref().map(PathBuf::from),
            requests_per_second: self.requests_per_second.unwrap_or(0),
        })
    }

    /// The fields that may hold secrets.
    pub(super) fn secrets(&self) -> [(&'static str, Option<&Secret>); 4] {
        [
            ("account-key", self.account_key.as_ref()),
            ("tenant-id", self.tenant_id.as_ref()),
            ("client-id", self.client_id.as_ref()),
            ("client-secret", self.client_secret.as_ref()),
        ]
    }

    /// The secrets themselves.
    pub(super) fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        let all = [&mut self.account_key, &mut self.tenant_id, &mut self.client_id, &mut self.client_secret];
        all.into_iter().filter_map(Option::as_mut)
    }

    fn check(&self, section: &mut Section<'_>) {
        super::check_path(section, self.path.as_deref().unwrap_or_default());
        access::check_endpoint(
            section,
            "endpoint",
            Some(self.endpoint.as_str()).filter(|text| !text.is_empty()),
        );
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '$';
        if !self.container_name.is_empty() && !self.container_name.chars().all(is_plain) {
            section.reject(
                "container-name",
                "\"container-name\" must be of lower-case letters, digits and \"-\"",
            );
        }
        section.both_or_none("account-name", "account-key");
        let principal = ["tenant-id", "client-id", "client-secret"];
        if principal.iter().any(|key| section.has(key)) {
            for key in principal {
                if !section.has(key) {
                    section.missing(key);
                }
            }
            section.exclusive("account-key", "client-secret");
        }
    }
}

impl Read for AzureStorage {
    const KIND: Kind = Kind::AzureStorage;

    fn read(section: &mut Section<'_>) -> Self {
        let read = Self {
            endpoint: section.filled("endpoint"),
            container_name: section.filled("container-name"),
            path: section.optional("path"),
            account_name: section.optional("account-name"),
            account_key: section.secret("account-key"),
            tenant_id: section.secret("tenant-id"),
            client_id: section.secret("client-id"),
            client_secret: section.secret("client-secret"),
            min_part_size: section.int("min-part-size", PART_BYTES_MIN..=PART_BYTES_MAX),
            storage_class: section.child("storage-class"),
            secret_agent: section.child("secret-agent"),
            secret_agent_name: section.optional("secret-agent-name"),
            ca_file: section.optional("ca-file"),
            requests_per_second: section.int("requests-per-second", 0..=1_000_000),
        };
        access::check_agent(section, &read.secrets());
        read.check(section);
        read
    }
}

impl Read for AzureStorageTiers {
    const KIND: Kind = Kind::AzureTiers;

    fn read(section: &mut Section<'_>) -> Self {
        let tiers = [AzureTier::Hot, AzureTier::Cool, AzureTier::Cold, AzureTier::Archive];
        let tiers = tiers.map(|tier| (tier.word(), tier));
        // Lists and plans read what is not data: it must not have to be brought back first (abs.md 2.5).
        let (_, metadata) = tiers.split_last().map_or((None, &tiers[..0]), |(last, rest)| (Some(last), rest));
        Self { data: section.word("data", &tiers), metadata: section.word("metadata", metadata) }
    }
}
