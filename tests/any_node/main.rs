//! Tests that need nothing but a node: on the sandbox, and on a real server when `HOLDFAST_TEST_AEROSPIKE=host:port`
//! names one. It must have the namespaces source-ns1 and target-ns1, which these tests empty and write.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::match_bool,
    clippy::match_wild_err_arm,
    clippy::semicolon_if_nothing_returned
)]

// What the double of an agent needs, by the names that it has in the crate.
use holdfast::{secrets, tasks};

#[path = "../support/agent.rs"]
#[allow(dead_code)] // Others use the rest.
mod agent;
mod by_path;
mod cancel;
mod catalog;
mod chain;
mod copies;
mod counters;
mod damage;
mod damage_matrix;
mod destination;
mod encryption;
mod exclusion;
mod filters;
mod foreign;
mod key_secret;
mod limits;
mod memory;
mod mesh;
mod metadata;
mod namespaces;
mod node;
mod official;
mod owner;
mod promotion;
mod racks;
mod restore_options;
mod resume;
mod round_trip;
mod s3;
#[path = "../support/s3_server.rs"]
#[allow(dead_code)] // Others use the rest.
mod s3_server;
mod scope;
mod service;
mod unsupported;
mod verify;
