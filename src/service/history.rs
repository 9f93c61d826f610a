//! The history of jobs is kept within `service.job-history` (rules.md 2.7).
//!
//! A duty of the service, not a job kind: a row for each look at old rows would itself be most of the history, it claims
//! nothing, waits for nobody, and nobody would cancel or retry it. The log says what went.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::JobHistoryConfig;
use crate::error::Result;
use crate::jobs::Jobs;
use crate::store::{HistoryLimits, Pruned};

/// How often old jobs are looked for.
const EVERY: Duration = Duration::from_hours(1);

/// Between two batches, so that whoever waits for the writer gets it.
const PAUSE: Duration = Duration::from_millis(20);

/// Prunes at once and then every hour, until `stop`.
pub(super) async fn keep(
    jobs: Jobs,
    history: JobHistoryConfig,
    audit_max_age_ms: i64,
    stop: CancellationToken,
) -> Result<()> {
    loop {
        match stop.run_until_cancelled(prune_audit(&jobs, audit_max_age_ms)).await {
            None => return Ok(()),
            Some(Ok(0)) => {}
            Some(Ok(requests)) => tracing::info!(requests, "old requests are forgotten"),
            Some(Err(error)) => tracing::warn!(reason = error.report(), "old requests are not forgotten yet"),
        }
        match stop.run_until_cancelled(prune(&jobs, history)).await {
            None => return Ok(()),
            Some(Ok(pruned)) if pruned == Pruned::default() => {}
            Some(Ok(pruned)) => tracing::info!(pruned.jobs, pruned.slots, "old jobs are forgotten"),
            Some(Err(error)) => tracing::warn!(reason = error.report(), "old jobs are not forgotten yet"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

/// Removes the requests that are too old, batch by batch.
async fn prune_audit(jobs: &Jobs, max_age_ms: i64) -> Result<u64> {
    let mut all = 0;
    loop {
        let removed = jobs.store().prune_audit(jobs.clock().now().plus_ms(-max_age_ms)).await?;
        if removed == 0 {
            return Ok(all);
        }
        all += removed;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Removes everything that is over the limits, batch by batch.
async fn prune(jobs: &Jobs, history: JobHistoryConfig) -> Result<Pruned> {
    let mut all = Pruned::default();
    loop {
        let now = jobs.clock().now();
        let limits =
            HistoryLimits { ended_before: now.plus_ms(-history.max_age_ms), rows_max: history.max_rows };
        let pruned = jobs.store().prune(limits, now).await?;
        if pruned == Pruned::default() {
            return Ok(all);
        }
        all.jobs += pruned.jobs;
        all.slots += pruned.slots;
        tokio::time::sleep(PAUSE).await;
    }
}
