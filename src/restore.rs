//! The restore job: find what to restore, plan (a value one can print), verify, execute, report.

mod execute;
mod find;
pub mod plan;
mod work;

pub use plan::{MemberPlan, NamespaceRestore, RestorePlan};
pub use work::{RestoreWork, Source};
