//! Forgetting ended jobs and their slots (rules.md 2.7).
//!
//! What may go is looked for by a reader and deleted in small transactions, so that no writer waits long. Between the two
//! a job can only become less worth keeping: an end is final, and newer successes only come on top.

use super::{JobId, SlotId, Store};
use crate::error::Result;
use crate::model::UnixMillis;
use crate::model::ledger::CLOCK_TOLERANCE_MS;

/// Rows deleted in one transaction.
const BATCH: usize = 500;

/// A slot is kept this long whatever else: the clock may be set back, and what lies just ahead of it must not fire twice
/// (rules.md 1.4).
const SLOT_DAY_S: i64 = 86_400;

/// How much history is kept; whichever cuts first.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimits {
    /// Jobs that ended before this instant go.
    pub ended_before: UnixMillis,
    /// The newest ended jobs that stay.
    pub rows_max: u32,
}

/// What one pruning has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Ended jobs, with their attempts and progress.
    pub jobs: u64,
    /// Slots of which no job is left.
    pub slots: u64,
}

impl Store {
    /// Removes one batch of what is over the limits; whoever calls goes on until the answer is the default.
    ///
    /// Stay: whatever has not ended; jobs with a try that storage has not settled, and those whose slot has an open job;
    /// the last success, failure and interruption of each kind, routine and type; the latest `created` of each routine
    /// (rules.md 3.1). A slot goes when no job of it is left, it is over a day old, and at or below its mark.
    pub async fn prune(&self, limits: HistoryLimits, now: UnixMillis) -> Result<Pruned> {
        let jobs = self.prunable_jobs(limits, now).await?;
        let slots = self.prunable_slots(now).await?;
        if jobs.is_empty() && slots.is_empty() {
            return Ok(Pruned::default());
        }
        let mut tx = self.write().await?;
        let deleted_jobs = sqlx::query(
            "DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND finished_ms IS NOT NULL",
        )
        .bind(serde_json::json!(jobs).to_string())
        .execute(&mut *tx.0)
        .await?
        .rows_affected();
        let deleted_slots = sqlx::query(
            "DELETE FROM slots WHERE id IN (SELECT value FROM json_each(?)) \
             AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.slot_id = slots.id)",
        )
        .bind(serde_json::json!(slots).to_string())
        .execute(&mut *tx.0)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(Pruned { jobs: deleted_jobs, slots: deleted_slots })
    }

    async fn prunable_jobs(&self, limits: HistoryLimits, now: UnixMillis) -> Result<Vec<JobId>> {
        Ok(sqlx::query_scalar(
            "WITH cut AS (SELECT finished_ms, id FROM jobs WHERE finished_ms IS NOT NULL \
             ORDER BY finished_ms DESC, id DESC LIMIT 1 OFFSET ?2) \
             SELECT id FROM jobs j WHERE finished_ms IS NOT NULL \
             AND (finished_ms < ?1 OR (finished_ms, id) <= (SELECT finished_ms, id FROM cut)) \
             AND id NOT IN (SELECT max(id) FROM jobs WHERE status IN ('succeeded', 'failed', 'interrupted') \
             GROUP BY kind, routine, type, status) \
             AND id NOT IN (SELECT id FROM (SELECT id, max(created_ms) FROM jobs \
             WHERE created_ms IS NOT NULL AND created_ms <= ?3 GROUP BY routine)) \
             AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.status IN ('running', 'unknown')) \
             AND NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.job_id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.slot_id = j.slot_id AND o.finished_ms IS NULL) \
             ORDER BY finished_ms, id LIMIT ?4",
        )
        .bind(limits.ended_before.0)
        .bind(limits.rows_max)
        .bind(now.plus_ms(CLOCK_TOLERANCE_MS).0)
        .bind(BATCH as i64)
        .fetch_all(self.reader())
        .await?)
    }

    async fn prunable_slots(&self, now: UnixMillis) -> Result<Vec<SlotId>> {
        Ok(sqlx::query_scalar(
            "SELECT s.id FROM slots s LEFT JOIN schedules c ON c.routine = s.routine AND c.type = s.type \
             WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.slot_id = s.id) AND s.fire_s < ? \
             AND (s.state = 'void' OR c.routine IS NULL \
             OR s.fire_s <= coalesce(c.mark_ms, c.effective_from_ms - 1) / 1000) LIMIT ?",
        )
        .bind(now.secs() - SLOT_DAY_S)
        .bind(BATCH as i64)
        .fetch_all(self.reader())
        .await?)
    }
}
