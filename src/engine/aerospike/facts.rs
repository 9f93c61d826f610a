//! What a plan needs to know of a cluster: nodes, clocks, namespaces, truncations.

use std::collections::BTreeMap;

use crate::aerospike::Cluster;
use crate::clock::SharedClock;
use crate::engine::{ClusterFacts, NamespaceFacts, NodeFacts};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::model::time::AEROSPIKE_EPOCH_S;

/// Asks every node.
pub async fn read(cluster: &Cluster, clock: &SharedClock) -> Result<ClusterFacts> {
    cluster.refresh().await?;
    let mut nodes: BTreeMap<String, NodeFacts> = BTreeMap::new();
    let listed = cluster.nodes().await;
    let version = listed.iter().map(|node| node.build).min();
    for node in &listed {
        nodes.insert(
            node.name.clone(),
            NodeFacts {
                name: node.name.clone(),
                address: node.address.to_string(),
                clock_ahead_ms: 0,
                cluster_skew_ms: 0,
            },
        );
    }
    let mut namespaces = Vec::new();
    for name in cluster.namespaces().await? {
        let stats = cluster.namespace_stats(&name).await?;
        let now = clock.now();
        for stat in &stats {
            if let Some(node) = nodes.get_mut(&stat.node) {
                node.clock_ahead_ms = since_2010(stat.current_time_s.saturating_mul(1000)).since(now);
                node.cluster_skew_ms = node.cluster_skew_ms.max(saturating_i64(stat.clock_skew_ms));
            }
        }
        let copies = stats.iter().map(|stat| stat.replication_factor).max().unwrap_or(1).max(1);
        let truncated_sets = cluster
            .sets(&name)
            .await?
            .into_iter()
            .filter(|set| set.truncate_lut_ms > 0)
            .map(|set| (String::from_utf8_lossy(&set.name).into_owned(), since_2010(set.truncate_lut_ms)))
            .collect();
        namespaces.push(NamespaceFacts {
            objects: stats.iter().map(|stat| stat.objects).fold(0, u64::saturating_add) / copies,
            record_bytes_max: stats.iter().filter_map(|stat| stat.record_bytes_max).max().unwrap_or(0),
            truncated_at: stats
                .iter()
                .map(|stat| stat.truncate_lut_ms)
                .max()
                .filter(|at| *at > 0)
                .map(since_2010),
            truncated_sets,
            name,
        });
    }
    Ok(ClusterFacts {
        nodes: nodes.into_values().collect(),
        version: version.map(|build| build.to_string()).unwrap_or_default(),
        namespaces,
    })
}

fn since_2010(ms: u64) -> UnixMillis {
    UnixMillis::from_secs(AEROSPIKE_EPOCH_S).plus_ms(saturating_i64(ms))
}

fn saturating_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
