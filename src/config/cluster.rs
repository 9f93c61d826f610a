//! `aerospike-clusters.<name>` (abs.md 2.3).

use serde::{Deserialize, Serialize};

use super::MS_MAX;
use super::reader::{Idle, Kind, Read, Section};
use super::routine::RACK_MAX;

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
    /// How many scans may run at once over all routines; 0 = no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_scans: Option<u32>,
    /// From which racks records are read if they have a copy, the best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_racks: Option<Vec<u32>>,
    /// Given, but not built and asking for nothing.
    #[serde(flatten)]
    pub idle: Idle,
}

/// One of `seed-nodes`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seed {
    /// The name or address.
    pub host_name: String,
    /// The port.
    pub port: u16,
    /// Given, but not built and asking for nothing.
    #[serde(flatten)]
    pub idle: Idle,
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
}

impl Cluster {
    /// With the defaults, under its configured name.
    pub fn resolve(&self, name: Option<&str>) -> ClusterConfig {
        ClusterConfig {
            name: name.map(str::to_owned),
            label: self.label.clone(),
            seeds: self
                .seed_nodes
                .iter()
                .map(|seed| SeedConfig { host: seed.host_name.clone(), port: seed.port })
                .collect(),
            connect_timeout_ms: self.conn_timeout.unwrap_or(30_000),
            scans_max: self.max_parallel_scans.unwrap_or(0),
            prefer_racks: self.prefer_racks.clone().unwrap_or_default(),
        }
    }
}

impl Read for Cluster {
    const KIND: Kind = Kind::Cluster;

    fn read(section: &mut Section<'_>) -> Self {
        let seed_nodes: Vec<Seed> = section.list("seed-nodes").unwrap_or_default();
        if seed_nodes.is_empty() {
            section.reject("seed-nodes", "seed nodes are not specified");
        }
        Self {
            label: section.optional("label"),
            seed_nodes,
            conn_timeout: section.int("conn-timeout", 0..=MS_MAX),
            max_parallel_scans: section.int("max-parallel-scans", 0..=i64::from(i32::MAX)),
            prefer_racks: section.ints("prefer-racks", 0..=RACK_MAX),
            idle: section.idle(),
        }
    }
}

impl Read for Seed {
    const KIND: Kind = Kind::Seed;

    fn read(section: &mut Section<'_>) -> Self {
        let host_name = section.text("host-name").unwrap_or_default();
        if host_name.is_empty() {
            section.reject("host-name", "empty hostname is not allowed");
        }
        let port: Option<i64> = section.int("port", i64::MIN..=i64::MAX);
        if !port.is_some_and(|port| (1..=65_535).contains(&port)) {
            section.reject("port", "invalid port number");
        }
        Self {
            host_name,
            port: port.and_then(|port| port.try_into().ok()).unwrap_or(0),
            idle: section.idle(),
        }
    }
}
