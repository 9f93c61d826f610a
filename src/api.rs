//! The REST API: ABS's paths, statuses and bodies (abs.md 1), and ours beside them.
//!
//! Translates and delegates; one file per area.

mod abs;
mod access;
mod asked;
mod audit;
mod backups;
mod catalog;
mod config;
mod copies;
mod docs;
mod door;
mod endpoint;
mod error;
mod job;
mod jobs;
mod listener;
mod openapi;
mod owners;
mod query;
mod rate;
mod record;
mod respond;
mod restores;
mod retention;
mod server;
mod status;
mod system;
mod tls;
mod trace;
mod zip;

pub use access::{Identity, Need, ROUTES, Reach, Route, token_hash};
pub use error::{Answer, ApiError};
pub use openapi::{document, document_text};
pub use server::{HttpOptions, served, server};
pub use tls::Certificates;
