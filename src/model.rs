//! The time model: pure functions of values, with `now` as a parameter (rules.md 1, 3 to 5).

pub mod name;
pub mod partitions;
pub mod status;
pub mod time;

pub use name::check_name;
pub use status::{BackupType, JobKind, JobStatus};
pub use time::UnixMillis;
