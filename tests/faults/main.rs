//! Faults on demand (sandbox-only): whatever a node does, a job saves or restores every record exactly once, or fails
//! with a code; it never says that it succeeded when it did not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code, // of the shared modules each binary uses a part
    missing_docs,
    clippy::match_bool,
    clippy::match_wild_err_arm,
    clippy::semicolon_if_nothing_returned
)]

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../any_node/node.rs"]
mod node;
#[path = "../any_node/service.rs"]
mod service;

mod access;
mod backup;
mod bench;
mod cancel;
mod client;
mod clocks;
mod restore;
