//! Backups as storage shows them: layout, `metadata.yaml`, manifest, listing, chains, commit (rules.md 3, abs.md 3).
//!
//! Storage is the source of truth: nothing here remembers anything (lists are answered from [`crate::store::catalog`], a
//! cache of what this room saw). Names and documents found in storage are
//! untrusted: every read is capped, and one broken backup never hides a healthy one.

pub mod chain;
pub mod commit;
pub mod details;
pub mod entry;
pub mod layout;
pub mod list;
pub mod manifest;
pub mod metadata;
pub mod owner;
pub mod path;
#[cfg(test)]
pub(crate) mod testkit;
pub mod time;
pub mod wholeness;

pub use chain::{History, RestoreChain};
pub use commit::{Commit, commit, committed, remove_attempt};
pub use entry::{BackupEntry, Counts, State};
pub use layout::RunFolder;
pub use list::{ListQuery, Listing, Problem, ProblemKind, list_backups, list_but};
pub use manifest::{Manifest, ManifestSummary, Scope};
pub use metadata::{Compression, Encryption, Metadata};
pub use owner::{OwnerTimes, Ownership};
pub use path::{AtPath, PathFolder, at_path};
