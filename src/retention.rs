//! Retention: which backups go, and their deletion (rules.md 5.1 to 5.4).
//!
//! - [`plan`]: what storage shows, what jobs hold, the verdicts of [`crate::model::retention`], as a value to print.
//! - [`copies`]: the same where the backups are copied to.
//! - [`work`]: the job: marks in one transaction, then deletes in order.
//! - [`deletion`]: one backup on demand, with what needs it; done by the same job.
//! - [`resume`]: deletions that were cut off get a job of their own.

pub mod copies;
pub mod deletion;
pub mod plan;
pub mod resume;
pub mod work;

#[cfg(test)]
mod tests;

pub use copies::{CopiesView, view_all};
pub use deletion::{DeletedBackup, DeletionPlan, DeletionRequest, plan_deletion};
pub use plan::{BackupView, NamespaceView, Totals, View, view};
pub use resume::resume;
pub use work::RetentionWork;

/// What a job's result calls the number of backups that would have gone, had nothing pinned them.
pub const HELD_BACK: &str = "held-back";
