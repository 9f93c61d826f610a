//! The queue: who leaves it next, with what share of memory (rules.md 2.2, 8.1).

use super::super::Transition;
use super::super::admit::{refuse_again, refused};
use super::{LEASE_MS, Runner};
use crate::error::Result;
use crate::memory::{Class, Share};
use crate::model::{JobKind, JobStatus};
use crate::store::{JobEnd, JobRow, Room};
use crate::tasks::Scope;

/// Delayed jobs decided in one transaction.
const DUE_PER_TURN: u32 = 500;

impl Runner {
    /// Starts what may start: delayed jobs that are due join the queue, then the queue is served.
    pub(super) async fn dispatch(&self, scope: &mut Scope) -> Result<()> {
        if !self.0.jobs.store().has_waiting(self.0.jobs.now()).await? {
            return Ok(());
        }
        self.queue_due().await?;
        let mut room = Room { restores: true, others: true };
        while !self.0.stop.asked().is_cancelled() && self.start_next(scope, &mut room).await? {}
        Ok(())
    }

    /// Starts the tasks of jobs that run here by their rows only: the answer to the commit that started them was lost.
    pub(super) async fn take_up(&self, scope: &mut Scope) -> Result<()> {
        let mut tx = self.0.jobs.store().write().await?;
        let mut rows = tx.open_jobs_in(JobStatus::Running).await?;
        rows.retain(|row| {
            row.owner.as_deref() == Some(&self.0.options.owner) && !self.running().contains_key(&row.id)
        });
        let started: Vec<_> = rows.iter().map(|row| Transition::of(Some(JobStatus::Queued), row)).collect();
        self.0.jobs.commit(tx, &started).await?;
        for row in rows {
            tracing::warn!(job = row.id.0, "it was started after all: the answer of the store was lost");
            // It was taken before the row was written; nobody else can have started one.
            let share = self.in_doubt().remove(&row.id).unwrap_or_else(Share::unbounded);
            self.start_task(scope, row, share);
        }
        self.in_doubt().clear();
        Ok(())
    }

    /// Decides delayed jobs whose time has come.
    async fn queue_due(&self) -> Result<()> {
        let now = self.0.jobs.now();
        let mut tx = self.0.jobs.store().write().await?;
        let mut transitions = Vec::new();
        for row in tx.due_jobs(now, DUE_PER_TURN).await? {
            if let Some(refusal) = refuse_again(&mut tx, &row).await? {
                let end = refused(row.kind, refusal);
                transitions.push(Transition::of(Some(row.status), &tx.end_job(&row, &end, now).await?));
            } else {
                let queued = tx.queue_job(row.id, now).await?;
                transitions.push(Transition::of(Some(row.status), &queued));
            }
        }
        if transitions.is_empty() { Ok(()) } else { self.0.jobs.commit(tx, &transitions).await }
    }

    /// Takes one job out of the queue, if one may go; says whether there was one. For whom there is no `room` is noted:
    /// who comes later must not take what the first one waits for.
    async fn start_next(&self, scope: &mut Scope, room: &mut Room) -> Result<bool> {
        let jobs = &self.0.jobs;
        let mut tx = jobs.store().write().await?;
        // Not before a job has ended whose write was waited for: one began after the other.
        let now = jobs.now();
        let next = tx.next_queued(self.0.options.max_running_jobs, *room).await?;
        let Some(row) = next else { return Ok(false) };
        if let Some(refusal) = refuse_again(&mut tx, &row).await? {
            let end = refused(row.kind, refusal);
            let ended = tx.end_job(&row, &end, now).await?;
            jobs.commit(tx, &[Transition::of(Some(row.status), &ended)]).await?;
            return Ok(true);
        }
        let share = match self.share_of(&row) {
            Ok(Some(share)) => share,
            Ok(None) => {
                // A restore is overtaken by nobody, a backup only by restores.
                *room = Room { restores: row.kind != JobKind::Restore && room.restores, others: false };
                return Ok(true);
            }
            Err(error) => {
                let end = JobEnd {
                    error: Some((error.code().to_owned(), error.report())),
                    ..JobEnd::plain(JobStatus::Failed)
                };
                let ended = tx.end_job(&row, &end, now).await?;
                jobs.commit(tx, &[Transition::of(Some(row.status), &ended)]).await?;
                return Ok(true);
            }
        };
        let started = tx.start_job(row.id, &self.0.options.owner, now.plus_ms(LEASE_MS), now).await?;
        if let Err(error) = jobs.commit(tx, &[Transition::of(Some(row.status), &started)]).await {
            self.in_doubt().insert(row.id, share);
            return Err(error);
        }
        self.start_task(scope, started, share);
        Ok(true)
    }

    /// What the job may hold; none while not even its least is free (rules.md 8.1).
    fn share_of(&self, row: &JobRow) -> Result<Option<Share>> {
        let class = if row.kind == JobKind::Restore { Class::Restore } else { Class::Other };
        match self.0.factory.memory(row)? {
            Some(need) => self.0.options.memory.take(class, need),
            None => Ok(Some(Share::unbounded())),
        }
    }
}
