//! Backups as storage shows them.
