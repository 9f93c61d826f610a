//! The REST API: ABS's paths, statuses and bodies (abs.md 1), and ours beside them.
//!
//! Translates and delegates; one file per area.

mod abs;
mod backups;
mod catalog;
mod config;
mod endpoint;
mod error;
mod job;
mod jobs;
mod owners;
mod query;
mod respond;
mod restores;
mod retention;
mod server;
mod status;
mod system;
mod zip;

pub use error::{Answer, ApiError};
pub use server::{HttpOptions, server};
