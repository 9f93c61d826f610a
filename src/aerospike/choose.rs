//! Which nodes: by name, by address, by rack; and the copy of a partition that is near.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::error::{Error, Result};
use crate::model::partitions::{PARTITION_COUNT, PartitionSet};

use super::cluster::{Cluster, PartitionMap};
use super::node::Node;

/// How near nodes are, by name: 0 is nearest. Those that are not in it are far.
pub type Nearness = BTreeMap<String, usize>;

impl Cluster {
    /// The nodes of a list of ids and addresses (`host:port`), by name.
    ///
    /// Errors: `node-missing` (temporary: it may come back) names the first that is not there.
    pub async fn nodes_named(&self, list: &[String]) -> Result<BTreeSet<String>> {
        let nodes = self.nodes().await;
        let mut found = BTreeSet::new();
        for wanted in list {
            let wanted = wanted.trim();
            let is_so = |node: &&std::sync::Arc<Node>| {
                node.name.eq_ignore_ascii_case(wanted) || node.address.to_string() == wanted
            };
            let mut named = nodes.iter().find(is_so);
            if named.is_none() {
                let addresses: Vec<_> =
                    tokio::net::lookup_host(wanted).await.map(Iterator::collect).unwrap_or_default();
                named = nodes.iter().find(|node| addresses.contains(&node.address));
            }
            let node = named.ok_or_else(|| {
                let all: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                Error::temporary(
                    "node-missing",
                    format!(
                        "cluster \"{}\" has no node \"{wanted}\"; it has {}",
                        self.label(),
                        all.join(", ")
                    ),
                )
                .hint("Correct the routine's node-list, or wait until the node is back.")
            })?;
            found.insert(node.name.clone());
        }
        Ok(found)
    }

    /// The rack of each node, by name, for a namespace.
    ///
    /// Errors: `racks-unsupported` (permanent) from nodes that know no racks, as those of the Community Edition.
    pub async fn racks(&self, namespace: &str) -> Result<BTreeMap<String, u32>> {
        let answers = self.ask_all(b"rack-ids").await.map_err(|error| {
            if error.code() != "info-refused" {
                return error;
            }
            let text = format!("the nodes of cluster \"{}\" know no racks", self.label());
            Error::permanent("racks-unsupported", text)
                .source(error)
                .hint("Racks are a feature of the Enterprise Edition: remove rack-list and prefer-racks.")
        })?;
        Ok(answers
            .into_iter()
            .filter_map(|(node, answer)| Some((node.name.clone(), rack_of(&answer, namespace.as_bytes())?)))
            .collect())
    }

    /// The nodes in any of `racks`, by name.
    ///
    /// Errors: those of [`Cluster::racks`]; `rack-missing` (temporary) names a rack without a node.
    pub async fn nodes_in_racks(&self, namespace: &str, racks: &[u32]) -> Result<BTreeSet<String>> {
        let known = self.racks(namespace).await?;
        if let Some(missing) = racks.iter().find(|rack| !known.values().any(|known| known == *rack)) {
            let text =
                format!("cluster \"{}\" has no node in rack {missing} of \"{namespace}\"", self.label());
            return Err(Error::temporary("rack-missing", text)
                .hint("Correct the routine's rack-list, or wait until the nodes are back."));
        }
        Ok(known.into_iter().filter(|(_, rack)| racks.contains(rack)).map(|(node, _)| node).collect())
    }

    /// The partitions of `namespace` that any of these nodes is the master of now.
    pub async fn partitions_of(&self, namespace: &str, nodes: &BTreeSet<String>) -> Result<PartitionSet> {
        let map = self.partition_owners(namespace).await?;
        let is_theirs = |pid: &u16| map.owner(*pid).is_some_and(|node| nodes.contains(&node.name));
        Ok((0..PARTITION_COUNT).filter(is_theirs).collect())
    }

    /// Like [`Cluster::partition_owners`], but with the nearest copy of each partition in the place of its master.
    pub async fn near_owners(&self, namespace: &str, near: &Nearness) -> Result<PartitionMap> {
        let mut map = self.partition_owners(namespace).await?;
        let mut nodes: Vec<_> =
            self.nodes().await.into_iter().filter(|node| near.contains_key(&node.name)).collect();
        // The farthest first: nearer ones replace them.
        nodes.sort_by_key(|node| std::cmp::Reverse(near.get(&node.name).copied()));
        let asked = join_all(nodes.iter().map(|node| self.ask(node, b"replicas"))).await;
        for (node, answer) in nodes.iter().zip(asked) {
            match answer {
                Ok(replicas) => {
                    for pid in copies(&replicas, namespace.as_bytes()).iter() {
                        map.give(pid, node);
                    }
                }
                Err(error) => {
                    tracing::warn!(node = %node, error = %error.report(), "no partition map from node");
                }
            }
        }
        Ok(map)
    }
}

/// The rack of a node in `ns:id;ns:id`.
pub(super) fn rack_of(answer: &[u8], namespace: &[u8]) -> Option<u32> {
    let of_namespace = answer
        .split(|byte| *byte == b';')
        .find_map(|entry| entry.strip_prefix(namespace)?.strip_prefix(b":"))?;
    std::str::from_utf8(of_namespace).ok()?.trim().parse().ok()
}

/// The partitions of which a node has a copy, as a master or not: `ns:regime,n,bitmap,…;…`.
pub(super) fn copies(replicas: &[u8], namespace: &[u8]) -> PartitionSet {
    let entry = replicas
        .split(|byte| *byte == b';')
        .find_map(|entry| entry.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(b":")));
    let mut found = PartitionSet::empty();
    for bitmap in entry.unwrap_or_default().split(|byte| *byte == b',').skip(2) {
        let bitmap = base64_simd::STANDARD.decode_to_vec(bitmap).unwrap_or_default();
        let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0));
        for (pid, _) in (0..PARTITION_COUNT).zip(bits).filter(|(_, has)| *has) {
            found.insert(pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{copies, rack_of};

    #[test]
    fn the_rack_and_the_copies_of_a_namespace_are_read() {
        assert_eq!(rack_of(b"test:1;test2:30\n", b"test2"), Some(30));
        assert_eq!(rack_of(b"test:1;test2:30", b"tes"), None);
        let bitmap = |first: u8| {
            let mut bits = [0; 512];
            bits[0] = first;
            base64_simd::STANDARD.encode_to_string(bits)
        };
        let answer = format!("a:0,1,{};b:3,2,{},{}", bitmap(0x80), bitmap(0x40), bitmap(0x01));
        let of = |namespace: &[u8]| copies(answer.as_bytes(), namespace).iter().collect::<Vec<_>>();
        assert_eq!((of(b"a"), of(b"b"), of(b"c")), (vec![0], vec![1, 7], vec![]));
    }
}
