//! What follows a backup: retention (rules.md 5.2) and verification.

use crate::config::JobConfig;
use crate::error::Result;
use crate::jobs::{Follow, NewJob};
use crate::model::JobKind;
use crate::store::{AttemptRow, AttemptStatus, Document, JobRow, Trigger};
use crate::verify::VerifyRequest;

/// Knows what the policy of a backup wants done after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AfterBackup;

impl Follow for AfterBackup {
    fn follow(&self, job: &JobRow, attempts: &[AttemptRow]) -> Result<Vec<NewJob>> {
        if job.kind != JobKind::Backup {
            return Ok(Vec::new());
        }
        let Some(document) = &job.config else { return Ok(Vec::new()) };
        let config: JobConfig = document.parse()?;
        Ok(verify_after(job, attempts, &config)?.into_iter().collect())
    }
}

/// With `verify-after`: the verification of what the run has committed, if it has committed anything.
fn verify_after(job: &JobRow, attempts: &[AttemptRow], config: &JobConfig) -> Result<Option<NewJob>> {
    let committed = attempts.iter().filter(|attempt| attempt.status == AttemptStatus::Committed);
    let mut namespaces: Vec<String> = committed.map(|attempt| attempt.start.namespace.clone()).collect();
    namespaces.dedup();
    let Some(created) = job.created.filter(|_| config.policy.verify_after && !namespaces.is_empty()) else {
        return Ok(None);
    };
    Ok(Some(NewJob {
        routine: job.routine.clone(),
        storage: job.storage.clone(),
        namespaces: Some(namespaces),
        config: job.config.clone(),
        request: Some(Document::of(&VerifyRequest::of_run(created))?),
        ..NewJob::of(JobKind::Verify, Trigger::AfterBackup)
    }))
}
