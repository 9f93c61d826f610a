//! The byte budget (rules.md 8.1): what a job of a kind holds as a value, one budget for all, and what is in flight.
//!
//! A job takes its share in one step, before it leaves the queue. When its plan knows namespaces and records it may take
//! more, but only what is free at that moment: no job that holds memory ever waits for memory, so there is no circle.
//! What its stages may hold is derived from the share.

mod budget;
mod in_flight;
pub mod plan;

pub use budget::{Budget, Class, Share};
pub use in_flight::{Held, InFlight};
pub use plan::{
    BackupMemory, BackupWidths, CopyMemory, Need, RestoreMemory, RestoreWidths, VerifyMemory, file_limit,
};

/// `service.memory-budget` where nothing else is said.
pub const BUDGET_BYTES: u64 = 128 << 20;

/// Bytes in words: MiB, to a tenth.
pub fn mib(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes.is_multiple_of(MIB) {
        return format!("{} MiB", bytes / MIB);
    }
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}
