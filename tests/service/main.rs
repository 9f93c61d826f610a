//! The real service on a free port, spoken to over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that panics has failed

mod helpers;

mod access;
mod asked;
mod audit;
mod catalog;
mod config_changes;
mod conformance;
mod contract;
mod door;
mod errors;
mod jobs;
mod limits;
mod openapi;
mod operator;
mod owners;
mod parameters;
mod process;
mod reload;
mod restores;
mod retrieve;
mod tls;
mod triggers;
mod unconfigured;
mod verify;
