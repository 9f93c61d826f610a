//! What nodes say of a namespace and its sets: counts, clocks and truncations.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

use super::cluster::Cluster;
use super::info::{check_parameter, number_of, value_of};
use super::node::Node;

/// What one node says of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNamespace {
    /// The node's name.
    pub node: String,
    /// Records on this node, all replicas: divide the sum over the nodes by the replication factor (asb.md 5.3).
    pub objects: u64,
    /// Copies of each record; at least 1.
    pub replication_factor: u64,
    /// The node's clock, whole seconds since 2010-01-01 UTC (rules.md 3.2).
    pub current_time_s: u64,
    /// Records last updated before this are gone; milliseconds since 2010-01-01 UTC, 0: never truncated.
    pub truncate_lut_ms: u64,
    /// Skew among the nodes' clocks as the cluster measures it.
    pub clock_skew_ms: u64,
    /// The most bytes of one record that the node stores; none: it does not say.
    pub record_bytes_max: Option<u64>,
}

/// What the nodes together say of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStats {
    /// Name.
    pub name: Vec<u8>,
    /// Records on all nodes, all replicas.
    pub objects: u64,
    /// The latest truncation that any node knows; milliseconds since 2010-01-01 UTC, 0: never.
    pub truncate_lut_ms: u64,
}

impl Cluster {
    /// The names of the namespaces that any node has, sorted.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        let answers = self.ask_all(b"namespaces").await?;
        let mut names: Vec<String> = answers
            .iter()
            .flat_map(|(_, answer)| answer.split(|byte| *byte == b';'))
            .filter(|name| !name.is_empty())
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What each node that has `namespace` says of it.
    ///
    /// Errors: `namespace-missing` (permanent) if none has it.
    pub async fn namespace_stats(&self, namespace: &str) -> Result<Vec<NodeNamespace>> {
        check_parameter(namespace.as_bytes(), "namespace")?;
        let command = format!("namespace/{namespace}");
        let answers = self.ask_all(command.as_bytes()).await?;
        let statistics: BTreeMap<String, Vec<u8>> = self
            .ask_all(b"statistics")
            .await?
            .into_iter()
            .map(|(node, answer)| (node.name.clone(), answer))
            .collect();
        let mut stats = Vec::new();
        for (node, answer) in &answers {
            let statistics = statistics.get(&node.name).map(Vec::as_slice).unwrap_or_default();
            let unreadable = |key: &str| unreadable(node, &command, key);
            stats.extend(node_namespace(&node.name, answer, statistics, unreadable)?);
        }
        if stats.is_empty() {
            return Err(missing(self, namespace));
        }
        Ok(stats)
    }

    /// The sets of `namespace`, sorted by name, summed over the nodes. A set stays listed after its last record.
    pub async fn sets(&self, namespace: &str) -> Result<Vec<SetStats>> {
        let command = [b"sets/", check_parameter(namespace.as_bytes(), "namespace")?].concat();
        let mut sets: BTreeMap<Vec<u8>, SetStats> = BTreeMap::new();
        for (node, answer) in self.ask_all(&command).await? {
            let unreadable = |key: &str| unreadable(&node, &String::from_utf8_lossy(&command), key);
            add_sets(&mut sets, &answer, unreadable)?;
        }
        Ok(sets.into_values().collect())
    }

    /// Removes all records of `namespace`, or of one set of it, last updated before now; by the server's clock.
    ///
    /// The server accepts any namespace name here, so ours is checked first.
    pub async fn truncate(&self, namespace: &str, set: Option<&[u8]>) -> Result<()> {
        if !self.namespaces().await?.iter().any(|name| name == namespace) {
            return Err(missing(self, namespace));
        }
        let namespace = check_parameter(namespace.as_bytes(), "namespace")?;
        let command = match set {
            Some(set) => [b"truncate:namespace=", namespace, b";set=", check_parameter(set, "set")?].concat(),
            None => [b"truncate-namespace:namespace=", namespace].concat(),
        };
        self.ask_any(&command).await.map(drop)
    }
}

/// Adds what one node says of its sets; `unreadable` makes the error for a number that is missing.
pub(super) fn add_sets(
    sets: &mut BTreeMap<Vec<u8>, SetStats>,
    answer: &[u8],
    unreadable: impl Fn(&str) -> Error,
) -> Result<()> {
    for entry in answer.split(|byte| *byte == b';').filter(|entry| !entry.is_empty()) {
        let Some(name) = value_of(entry, b':', "set") else { continue };
        let need = |key: &str| number_of(entry, b':', key).ok_or_else(|| unreadable(key));
        let (objects, truncate_lut_ms) = (need("objects")?, need("truncate_lut")?);
        let set = sets.entry(name.to_vec()).or_insert_with(|| SetStats {
            name: name.to_vec(),
            objects: 0,
            truncate_lut_ms: 0,
        });
        set.objects = set.objects.saturating_add(objects);
        set.truncate_lut_ms = set.truncate_lut_ms.max(truncate_lut_ms);
    }
    Ok(())
}

pub(super) fn node_namespace(
    node: &str,
    answer: &[u8],
    statistics: &[u8],
    unreadable: impl Fn(&str) -> Error,
) -> Result<Option<NodeNamespace>> {
    // "type=unknown", in other versions "ns_type=unknown"
    let kind = |key| value_of(answer, b';', key) == Some(b"unknown");
    if kind("type") || kind("ns_type") {
        return Ok(None);
    }
    let need = |key: &str| number_of(answer, b';', key).ok_or_else(|| unreadable(key));
    let factor = ["effective_replication_factor", "effective-replication-factor", "repl-factor"];
    let record = ["max-record-size", "storage-engine.write-block-size", "write-block-size"];
    let factor = factor.iter().find_map(|key| number_of(answer, b';', key));
    Ok(Some(NodeNamespace {
        node: node.to_owned(),
        objects: need("objects")?,
        replication_factor: factor.unwrap_or(1).max(1),
        current_time_s: need("current_time")?,
        truncate_lut_ms: need("truncate_lut")?,
        clock_skew_ms: number_of(statistics, b';', "cluster_clock_skew_ms").unwrap_or(0),
        // 0 is no limit but that of the storage.
        record_bytes_max: record
            .iter()
            .find_map(|key| number_of(answer, b';', key).filter(|bytes: &u64| *bytes > 0)),
    }))
}

/// The error for a namespace that no node has.
pub(super) fn missing(cluster: &Cluster, namespace: &str) -> Error {
    Error::permanent(
        "namespace-missing",
        format!("cluster \"{}\" has no namespace \"{namespace}\"", cluster.label()),
    )
    .hint("Compare the namespaces of the routine with the cluster's own.")
}

fn unreadable(node: &Node, command: &str, key: &str) -> Error {
    Error::permanent(
        "info-unreadable",
        format!("answer of node {node} to \"{command}\": no number \"{key}\""),
    )
}
