//! The time model: pure functions of values, with `now` as a parameter (rules.md 1, 3 to 5).

pub mod chain;
pub mod coverage;
pub mod cron;
pub mod expression;
pub mod instance;
pub mod ledger;
pub mod name;
pub mod partitions;
pub mod restore_order;
pub mod retention;
pub mod schedule;
pub mod status;
pub mod time;

pub use cron::{Cron, CronError};
pub use instance::InstanceId;
pub use name::check_name;
pub use partitions::{PartitionSet, parse_partition_list, partition_of};
pub use schedule::Schedule;
pub use status::{BackupType, JobKind, JobStatus, SlotType};
pub use time::UnixMillis;

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

#[cfg(test)]
mod property_tests;
