//! Copies: finished backups of a routine, written again to another storage as a job of their own.
//!
//! - [`plan`]: what is copied, in which order, and what is there already; a pure value.
//! - `original`: one backup as its storage has it, with what each of its files must hold.
//! - `files`: one file on its way: hashed while it is read, read back from the target and hashed again.
//! - `execute`: one backup: its folder is noted, files, `blocks.b3`, `manifest.json`, and `metadata.yaml` last.
//! - [`work`]: the job.
//! - [`leftovers`]: half-made copies that nobody goes on with are removed (rules.md 6.1, 6.2).
//!
//! A copy has the key and the bytes of its original, so whatever reads backups reads it too, and a retention of its own
//! prunes it.

mod execute;
mod files;
pub mod leftovers;
mod original;
pub mod plan;
pub mod work;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use plan::{CopyPlan, Wanted};
pub use work::CopyWork;

use crate::config::{CopyConfig, JobConfig};
use crate::error::{Error, Result};
use crate::jobs::NewJob;
use crate::memory::CopyMemory;
use crate::model::JobKind;
use crate::storage::address;
use crate::store::{Document, Trigger, WithoutSecrets};

/// What a job's result calls the namespaces of the fulls that it was asked for: the retention of the copy follows.
pub const FULL_NAMESPACES: &str = "full-namespaces";

/// What a job's result says where another attempt follows by itself.
pub const WILL_RETRY: &str = "will-retry";

/// So often a copy that follows a backup is tried again by itself, about a day with an hour between the later ones.
const TRIES_MAX: u32 = 30;

/// The longest pause between two of them.
const PAUSE_MS_MAX: i64 = 3_600_000;

/// What a copy job runs with, as kept in its row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyJobConfig {
    /// The routine, with the storage that is read.
    pub job: JobConfig,
    /// The storage that is written.
    pub copy: CopyConfig,
}

// Resolved values and references only: see their definitions.
impl WithoutSecrets for CopyJobConfig {}

/// What is asked of a copy job; in its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyRequest {
    /// Which backups.
    pub wanted: Wanted,
    /// How often it was tried before; none: somebody asked for it, and tries again if they wish (rules.md 2.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
}

impl WithoutSecrets for CopyRequest {}

impl CopyRequest {
    /// The request of another attempt by itself; none if there is to be none.
    pub fn next_try(&self) -> Option<Self> {
        let tries = self.tries.filter(|tries| *tries < TRIES_MAX)?;
        Some(Self { tries: Some(tries + 1), ..self.clone() })
    }

    /// How long this attempt waits after one that failed: a minute, then twice as long each time, an hour at most.
    pub fn pause_ms(&self) -> i64 {
        let doubled = self.tries.unwrap_or(0).saturating_sub(1).min(16);
        (60_000_i64 << doubled).min(PAUSE_MS_MAX)
    }

    /// Whether another attempt follows one that failed so.
    pub fn retries_after(&self, error: &Error) -> bool {
        error.is_temporary() && self.next_try().is_some()
    }
}

impl CopyJobConfig {
    /// What its files on their way hold (rules.md 8.1).
    pub fn memory(&self) -> CopyMemory {
        CopyMemory { part_bytes: self.copy.storage.part_bytes() }
    }

    /// What retention of the copy runs with: the routine as it is in the other storage.
    pub fn retention_config(&self) -> JobConfig {
        self.job.in_copy(&self.copy)
    }
}

/// A copy job. What it reads is pinned from its admission on (rules.md 5.4): the backups themselves where they are known,
/// so that a retention beside it does not find everything held, else all of the routine.
pub fn copy_job(
    config: &JobConfig,
    copy: &CopyConfig,
    request: &CopyRequest,
    trigger: Trigger,
) -> Result<NewJob> {
    let job = JobConfig { copies: Vec::new(), ..config.clone() };
    let config = CopyJobConfig { job, copy: copy.clone() };
    Ok(NewJob {
        routine: Some(config.job.routine.clone()),
        storage: config.copy.storage.name.clone(),
        pins: pins(&config, request),
        config: Some(Document::of(&config)?),
        request: Some(Document::of(request)?),
        ..NewJob::of(JobKind::Copy, trigger)
    })
}

/// What a copy job holds before it has looked.
pub fn pins(config: &CopyJobConfig, request: &CopyRequest) -> Vec<String> {
    request.wanted.reads(&config.job.storage.place(), &config.job.routine)
}

impl Wanted {
    /// The addresses of what is read, as far as they are known.
    fn reads(&self, place: &str, routine: &str) -> Vec<String> {
        match self {
            Self::Folders(folders) => folders.iter().map(|folder| address(place, folder)).collect(),
            Self::Run { .. } | Self::Everything => vec![address(place, routine)],
        }
    }
}
