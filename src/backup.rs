//! The backup job: plan (a value one can print), execute, report.

pub mod clocks;
mod configuration;
pub mod estimate;
mod namespace;
pub mod plan;
mod read;
mod run;
mod watch;
mod work;

#[cfg(test)]
mod tests;

pub use plan::{NamespacePlan, RunPlan};
pub use work::BackupWork;
