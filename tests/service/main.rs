//! The real service on a free port, spoken to over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that panics has failed

mod helpers;
#[path = "../support/json_schema.rs"]
mod json_schema;
#[path = "../support/s3_server.rs"]
#[allow(dead_code)] // others use the rest
mod s3_server;

mod access;
mod asked;
mod audit;
mod canary;
mod catalog;
mod config_changes;
mod conformance;
mod conformance_stored;
mod contract;
mod copies;
mod crowd;
mod door;
mod errors;
mod fence;
mod jobs;
mod limits;
mod openapi;
mod operator;
mod owners;
mod parameters;
mod process;
mod reload;
mod reload_load;
mod remote;
mod remote_https;
mod remote_url;
mod restores;
mod retrieve;
mod safety;
mod tls;
mod triggers;
mod unconfigured;
mod verify;
