//! How much a backup would hold and how long it would take, asked before it runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::read::plain_read;
use crate::catalog::History;
use crate::config::JobConfig;
use crate::engine::{Connect, NamespaceRead};
use crate::error::{Error, Result};
use crate::model::chain::lower_bound;
use crate::model::expression::parse_filter;
use crate::model::{BackupType, UnixMillis};
use crate::storage::Storage;

/// What a backup would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Estimate {
    /// The routine.
    pub routine: String,
    /// The type that was asked for.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// Each namespace.
    pub namespaces: Vec<NamespaceEstimate>,
    /// Records of all.
    pub records: u64,
    /// Bytes in storage of all.
    pub bytes: u64,
    /// How long it would take; none: nothing tells.
    #[serde(rename = "duration-ms", skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How the duration was found: `last-backup`, `records-per-second`, `bandwidth`, or `unknown`.
    pub duration_method: &'static str,
}

/// What a backup of one namespace would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NamespaceEstimate {
    /// The namespace.
    pub namespace: String,
    /// A full also where an incremental has nothing to build on.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// Records.
    pub records: u64,
    /// How they were counted: `namespace-objects`, `set-objects`, `partition-sample` or `no-records`.
    pub records_method: &'static str,
    /// Bytes in storage.
    pub bytes: u64,
    /// Bytes before they are compressed: what `bandwidth` counts.
    pub text_bytes: u64,
    /// Records by which the bytes were found.
    pub sampled_records: u64,
}

/// How fast the last backup was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Records in it.
    pub records: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// Estimates a backup of a routine. `storage`: for what an incremental builds on; `last`: the pace of the last backup of
/// that type.
///
/// Errors: those of the cluster and of storage; `namespace-missing`.
pub async fn estimate(
    config: &JobConfig,
    backup_type: BackupType,
    connect: &dyn Connect,
    storage: Arc<dyn Storage>,
    last: Option<Pace>,
    now: UnixMillis,
) -> Result<Estimate> {
    let cancel = CancellationToken::new();
    let source = connect.source(&config.cluster).await?;
    let facts = source.facts().await?;
    let names: Vec<String> = if config.scope.namespaces.is_empty() {
        facts.namespaces.iter().map(|namespace| namespace.name.clone()).collect()
    } else {
        config.scope.namespaces.clone()
    };
    let history = match backup_type {
        BackupType::Full => History::default(),
        BackupType::Incremental => History::read(storage.as_ref(), &config.routine, &BTreeSet::new()).await?,
    };
    let mut namespaces = Vec::new();
    for name in names {
        let objects = facts.namespace(&name).map(|namespace| namespace.objects).ok_or_else(|| {
            Error::permanent("namespace-missing", format!("the cluster has no namespace \"{name}\""))
        })?;
        let members = history.members(&name).1;
        let bound = lower_bound(&members, now, now, config.policy.incr_mode.into());
        let mut read = read_of(config, &name)?;
        if !config.scope.nodes.is_empty() || !config.scope.racks.is_empty() {
            let (nodes, racks) = (&config.scope.nodes, &config.scope.racks);
            read.partitions = source.partitions_of(&name, nodes, racks).await?;
        }
        read.modified_from = bound.map(|bound| bound.safe_from);
        let (records, records_method) = source.count(&read, objects, &cancel).await?;
        let size = source.size(&read, records, &cancel).await?;
        namespaces.push(NamespaceEstimate {
            namespace: name,
            backup_type: if bound.is_some() { BackupType::Incremental } else { BackupType::Full },
            records,
            records_method,
            bytes: size.stored_bytes,
            text_bytes: size.text_bytes,
            sampled_records: size.sampled_records,
        });
    }
    let sum = |of: fn(&NamespaceEstimate) -> u64| namespaces.iter().map(of).sum::<u64>();
    let (records, bytes) = (sum(|one| one.records), sum(|one| one.bytes));
    let (duration_ms, duration_method) = duration(config, records, sum(|one| one.text_bytes), last);
    let routine = config.routine.clone();
    Ok(Estimate { routine, backup_type, namespaces, records, bytes, duration_ms, duration_method })
}

fn read_of(config: &JobConfig, namespace: &str) -> Result<NamespaceRead> {
    let filter = config.scope.filter.as_deref().map(parse_filter).transpose().map_err(|reason| {
        Error::permanent("config-invalid", format!("filter-exp {reason}")).hint("Run holdfast check.")
    })?;
    Ok(plain_read(config, namespace, filter, config.scope.partitions.clone()))
}

/// The longest of what the limits and the last backup say.
fn duration(
    config: &JobConfig,
    records: u64,
    text_bytes: u64,
    last: Option<Pace>,
) -> (Option<u64>, &'static str) {
    let at = |amount: u64, per_second: u64| {
        u64::try_from(u128::from(amount) * 1000 / u128::from(per_second.max(1))).unwrap_or(u64::MAX)
    };
    let policy = &config.policy;
    let by_pace = last.filter(|pace| pace.records > 0).map(|pace| {
        let ms = u128::from(records) * u128::from(pace.took_ms) / u128::from(pace.records);
        (u64::try_from(ms).unwrap_or(u64::MAX), "last-backup")
    });
    let by_records = policy.records_per_second.map(|rate| (at(records, rate.into()), "records-per-second"));
    let by_bytes = policy.bandwidth_bytes.map(|rate| (at(text_bytes, rate), "bandwidth"));
    match [by_pace, by_records, by_bytes].into_iter().flatten().max_by_key(|(ms, _)| *ms) {
        Some((ms, method)) => (Some(ms), method),
        None => (None, "unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, duration};
    use crate::config::Config;
    use crate::model::UnixMillis;

    #[test]
    fn the_slowest_says_how_long_it_takes() {
        let text = "
            {aerospike-clusters: {c: {seed-nodes: [{host-name: h, port: 1}]}},
             storage: {s: {local-storage: {path: /b}}},
             backup-routines: {r: {source-cluster: c, storage: s, interval-cron: '@daily', namespaces: []}}}";
        let now = UnixMillis::from_secs(1_800_000_000);
        let mut config = Config::parse(text, "test", now).unwrap().routine("r", now).unwrap().job;
        let pace = Some(Pace { records: 500, took_ms: 1_000 });
        assert_eq!(duration(&config, 1_000, 1 << 20, None), (None, "unknown"));
        assert_eq!(duration(&config, 1_000, 1 << 20, pace), (Some(2_000), "last-backup"));
        config.policy.records_per_second = Some(100);
        assert_eq!(duration(&config, 1_000, 1 << 20, pace), (Some(10_000), "records-per-second"));
        config.policy.bandwidth_bytes = Some(1 << 16);
        assert_eq!(duration(&config, 1_000, 1 << 20, pace), (Some(16_000), "bandwidth"));
        assert_eq!(duration(&config, 0, 0, Some(Pace { records: 0, took_ms: 9 })).0, Some(0));
    }
}
