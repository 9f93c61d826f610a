//! What follows a backup: retention (rules.md 5.2) and verification.

use crate::error::Result;
use crate::jobs::{Follow, NewJob};
use crate::store::{AttemptRow, JobRow};

/// Knows what the policy of a backup wants done after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AfterBackup;

impl Follow for AfterBackup {
    fn follow(&self, job: &JobRow, attempts: &[AttemptRow]) -> Result<Vec<NewJob>> {
        let _ = (job, attempts);
        Ok(Vec::new())
    }
}
