//! Triggers: each becomes a row, with the configuration it runs with (rules.md 2.3, 7.4).

use super::fence::check_fence;
use super::reload::routine_job;
use super::{App, TimeBounds};
use crate::config::{JobConfig, RestoreConfig, RestoreEnds, RestoreTarget, RoutineConfig};
use crate::error::{Error, Result};
use crate::jobs::{Asked, NewJob};
use crate::model::{BackupType, JobKind};
use crate::storage::address;
use crate::store::{Document, JobId, JobRow, Trigger, WithoutSecrets};
use crate::verify::VerifyRequest;

// Both hold resolved values and references only: see their definitions.
impl WithoutSecrets for JobConfig {}
impl WithoutSecrets for RestoreConfig {}

/// Somebody wants a backup.
#[derive(Debug, Clone)]
pub struct BackupTrigger {
    /// The routine.
    pub routine: String,
    /// Full or incremental.
    pub backup_type: BackupType,
    /// How long to wait first.
    pub delay_ms: i64,
    /// Who asks.
    pub asked: Asked,
}

impl App {
    /// Admits a backup; the row says whether it was refused.
    ///
    /// Errors: `routine-unknown`, `routine-disabled`.
    pub async fn trigger_backup(&self, trigger: BackupTrigger) -> Result<JobRow> {
        let now = self.now();
        let routine = self.enabled_routine(&trigger.routine)?;
        let job = NewJob {
            due: (trigger.delay_ms > 0).then(|| now.plus_ms(trigger.delay_ms)),
            ..routine_job(&routine.job)?.job(trigger.backup_type, Trigger::Api)
        };
        self.admit(job.asked(trigger.asked)).await
    }

    /// Admits a verification of the backups of a routine whose run was created within `bounds`, also of a disabled
    /// routine; the row says whether it was refused. `storage`: there alone; none: in its own and in those of its copies.
    ///
    /// Errors: `routine-unknown`, `storage-unknown`.
    pub async fn trigger_verify(
        &self,
        routine: &str,
        storage: Option<&str>,
        bounds: TimeBounds,
        asked: Asked,
    ) -> Result<JobRow> {
        let config = self.config().routine(routine, self.now())?.job;
        let storage = storage.map(str::to_owned);
        let request = VerifyRequest { from: bounds.from, to: bounds.to, storage: storage.clone() };
        let all = routine_job(&config)?.on_backups(JobKind::Verify, Trigger::Api, None);
        let mut job = NewJob { request: Some(Document::of(&request)?), ..all };
        if let Some(storage) = storage {
            let place = config.in_storage(&storage)?.storage.place();
            (job.storage, job.pins) = (Some(storage), vec![address(&place, routine)]);
        }
        self.admit(job.asked(asked)).await
    }

    /// Takes the secrets out of a request, which its job's row may not hold: they are kept in memory (rules.md 7.4).
    pub fn keep_secrets(&self, ends: &mut RestoreEnds) {
        if let Some(cluster) = &mut ends.destination {
            cluster.keep_secrets(&self.keeper);
        }
        if let Some(storage) = &mut ends.source {
            storage.keep_secrets(&self.keeper);
        }
    }

    /// Admits a restore; the row says whether it was refused.
    ///
    /// Errors: `storage-outside-roots`, `confirmation-required`, `stopping`.
    pub async fn trigger_restore(&self, config: RestoreConfig, asked: Asked) -> Result<JobRow> {
        check_fence(&config).await?;
        self.check_confirmed(&config, asked.key.as_ref()).await?;
        let (routine, named) = match &config.target {
            RestoreTarget::Time { routine, namespaces, .. } => (Some(routine.clone()), namespaces.clone()),
            RestoreTarget::Path { .. } => (None, Vec::new()),
        };
        let pinned = match &config.target {
            RestoreTarget::Time { routine, .. } => routine,
            RestoreTarget::Path { path, .. } => path,
        };
        let sources = std::iter::once(&config.source).chain(&config.copies);
        let pins = sources.map(|source| address(&source.place(), pinned)).collect();
        let written = config.policy.remap.as_ref().map_or(named, |remap| vec![remap.destination.clone()]);
        // Without names the plan finds out and claims what it has found (rules.md 2.4). Nothing is claimed where
        // nothing is written.
        let claimed = (config.care.validate || !written.is_empty()).then_some(written);
        let claimed = claimed.map(|names| if config.care.validate { Vec::new() } else { names });
        let job = NewJob {
            routine,
            storage: config.source.name.clone(),
            config: Some(Document::of(&config)?),
            pins,
            ..NewJob::restore(config.destination.name.clone(), claimed)
        };
        self.admit(job.asked(asked)).await
    }

    /// Errors: `routine-unknown`, `routine-disabled`.
    pub(super) fn enabled_routine(&self, name: &str) -> Result<RoutineConfig> {
        let routine = self.config().routine(name, self.now())?;
        if routine.disabled {
            return Err(Error::permanent(
                "routine-disabled",
                format!("routine \"{name}\" not found: it is disabled"),
            )
            .hint("Remove disabled: true from the routine."));
        }
        Ok(routine)
    }

    /// Errors: `stopping`.
    pub(super) fn check_takes_jobs(&self) -> Result<()> {
        if self.takes_jobs() {
            return Ok(());
        }
        Err(Error::temporary("stopping", "the service is starting or stopping: no new jobs"))
    }

    pub(super) async fn admit(&self, job: NewJob) -> Result<JobRow> {
        self.check_takes_jobs()?;
        let admitted = self.jobs.admit(job).await?;
        self.row(admitted.id).await
    }

    /// A row that was there a moment ago.
    pub(super) async fn row(&self, id: JobId) -> Result<JobRow> {
        let row = self.jobs.store().job(id).await?;
        row.ok_or_else(|| Error::temporary("job-not-found", format!("job {id} has just been removed")))
    }

    /// Asks a job to end; one that has ended stays as it is.
    pub async fn cancel_job(&self, id: JobId) -> Result<()> {
        match self.jobs.cancel(id).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == "job-ended" => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks every backup of a routine to end that waits or runs; restores from it go on (abs.md 4.4).
    pub async fn cancel_backups(&self, routine: &str) -> Result<()> {
        for job in self.jobs.store().open_jobs(routine).await? {
            if job.kind == JobKind::Backup {
                self.cancel_job(job.id).await?;
            }
        }
        Ok(())
    }
}
