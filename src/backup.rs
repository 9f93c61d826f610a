//! The backup job: plan (a value one can print), execute, report.

pub mod clocks;
mod namespace;
pub mod plan;
mod run;
mod work;

#[cfg(test)]
mod tests;

pub use plan::{NamespacePlan, RunPlan};
pub use work::BackupWork;
