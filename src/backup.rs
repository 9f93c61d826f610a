//! The backup job: plan (a value one can print), execute, report.

pub mod clocks;
mod configuration;
mod end;
pub mod estimate;
mod namespace;
pub mod plan;
mod read;
mod resume;
mod run;
pub mod safety;
mod watch;
mod work;

#[cfg(test)]
mod tests;

pub use end::end_of_committed;
pub use plan::{NamespacePlan, RunPlan};
pub use resume::is_same_backup;
pub use safety::{SafetyBackup, Saved};
pub use work::BackupWork;
