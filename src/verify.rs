//! Verification: every file of every committed backup is read again from storage and compared with what the backup
//! says of itself (rules.md 3.4, 3.11, 4.2). Nothing is written to any cluster, and none is asked.
//!
//! [`contents`] is what a restore does before its first write, too: both read backups the same way.

mod chains;
pub mod contents;
mod execute;
mod plan;
mod report;
mod work;

pub use contents::{Contents, Expected};
pub use plan::{VerifyPlan, VerifyRequest};
pub use work::VerifyWork;

#[cfg(test)]
mod tests;
