//! `aerospike-clusters.<name>` (abs.md 2.3).

mod access;

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::reader::{Read, Section};
use super::routine::RACK_MAX;
use super::{MS_MAX, SecretAgent};
use crate::error::Result;
use crate::secrets::Keeper;

pub use access::{AuthMode, ClusterTls, Credentials, CredentialsConfig, TlsConfig};

/// A cluster, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// A name for logs and errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where the cluster is asked for its nodes.
    pub seed_nodes: Vec<Seed>,
    /// How long connecting to a node may take, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_timeout: Option<u64>,
    /// What the cluster must call itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Whether nodes are looked for at their alternate addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_services_alternate: Option<bool>,
    /// Who we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How connections are encrypted; none: in clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
    /// How many scans may run at once over all routines; 0 = no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_scans: Option<u32>,
    /// From which racks records are read if they have a copy, the best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_racks: Option<Vec<u32>>,
}

/// One of `seed-nodes`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seed {
    /// The name or address.
    pub host_name: String,
    /// The port.
    pub port: u16,
    /// The name in its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<String>,
}

/// A cluster with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterConfig {
    /// The configured name; none for a cluster that stands in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A name for logs and errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where the cluster is asked for its nodes; at least one.
    pub seeds: Vec<SeedConfig>,
    /// How long connecting to a node may take; default 30,000.
    pub connect_timeout_ms: u64,
    /// What the cluster must call itself; none: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Whether nodes are looked for at their alternate addresses; default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub services_alternate: bool,
    /// Who we are; none: nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Box<CredentialsConfig>>,
    /// How connections are encrypted; none: in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<TlsConfig>>,
    /// How many scans may run at once over all routines of the process; default 0 = no limit.
    #[serde(default)]
    pub scans_max: u32,
    /// From which racks records are read if they have a copy, the best first; default none.
    #[serde(default)]
    pub prefer_racks: Vec<u32>,
}

/// Where a cluster is asked for its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeedConfig {
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name in its certificate; none: `tls.name`, else the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<String>,
}

impl Cluster {
    /// With the defaults, under its configured name; `agents` are those of the configuration. Secrets become references
    /// (rules.md 7.4): those of a request must have been [kept](Cluster::keep_secrets) before.
    ///
    /// Errors: `secret-missing`.
    pub fn resolve(
        &self,
        name: Option<&str>,
        agents: &BTreeMap<String, SecretAgent>,
    ) -> Result<ClusterConfig> {
        let access = access::Resolver { name, agents, credentials: self.credentials.as_ref() };
        Ok(ClusterConfig {
            name: name.map(str::to_owned),
            label: self.label.clone(),
            seeds: self
                .seed_nodes
                .iter()
                .map(|seed| SeedConfig {
                    host: seed.host_name.clone(),
                    port: seed.port,
                    tls_name: seed.tls_name.clone(),
                })
                .collect(),
            connect_timeout_ms: self.conn_timeout.unwrap_or(30_000),
            cluster_name: self.cluster_name.clone(),
            services_alternate: self.use_services_alternate.unwrap_or(false),
            credentials: access.credentials()?.map(Box::new),
            tls: access.tls(self.tls.as_ref())?.map(Box::new),
            scans_max: self.max_parallel_scans.unwrap_or(0),
            prefer_racks: self.prefer_racks.clone().unwrap_or_default(),
        })
    }

    /// Leaves references to `keeper` in the place of literal secrets: for a cluster that stands in a request.
    pub fn keep_secrets(&mut self, keeper: &Keeper) {
        access::keep(self.credentials.as_mut(), self.tls.as_mut(), keeper);
    }

    /// Its literal secrets, under the names by which the jobs of the cluster `name` know them.
    pub(super) fn literals(&self, name: &str) -> impl Iterator<Item = (String, SecretString)> + use<'_> {
        access::literals(name, self.credentials.as_ref(), self.tls.as_ref())
    }
}

impl Read for Cluster {
    const KIND: Kind = Kind::Cluster;

    fn read(section: &mut Section<'_>) -> Self {
        let seed_nodes: Vec<Seed> = section.list("seed-nodes").unwrap_or_default();
        if seed_nodes.is_empty() {
            section.require("seed-nodes", "seed nodes are not specified");
        }
        let credentials = section.child("credentials");
        let tls = section.child("tls");
        access::check_together(section, credentials.as_ref(), tls.as_ref());
        if tls.is_none() {
            for (index, _) in seed_nodes.iter().enumerate().filter(|(_, seed)| seed.tls_name.is_some()) {
                section.reject_item("seed-nodes", index, "\"tls-name\" needs \"tls\" at the cluster");
            }
        }
        Self {
            label: section.optional("label"),
            seed_nodes,
            conn_timeout: section.int("conn-timeout", 0..=MS_MAX),
            cluster_name: section.optional("cluster-name"),
            use_services_alternate: section.flag("use-services-alternate"),
            credentials,
            tls,
            max_parallel_scans: section.int("max-parallel-scans", 0..=i64::from(i32::MAX)),
            prefer_racks: section.ints("prefer-racks", 0..=RACK_MAX),
        }
    }
}

impl Read for Seed {
    const KIND: Kind = Kind::Seed;

    fn read(section: &mut Section<'_>) -> Self {
        let host_name = section.text("host-name").unwrap_or_default();
        if host_name.is_empty() {
            section.require("host-name", "empty hostname is not allowed");
        }
        Self {
            host_name,
            port: section.required_int("port", 1..=65_535, "invalid port number").unwrap_or(0),
            tls_name: section.optional("tls-name"),
        }
    }
}
