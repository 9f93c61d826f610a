//! Holdfast: a scheduler-driven backup orchestrator for database clusters.
//!
//! The rooms, from the ground up (a room uses only those above it): see `ARCHITECTURE.md`.

pub mod aerospike;
pub mod api;
pub mod app;
pub mod asb;
pub mod backup;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod copy;
pub mod engine;
pub mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
pub mod inspect;
pub mod jobs;
pub mod limit;
pub mod memory;
pub mod metrics;
pub mod model;
#[cfg(test)]
mod oracle;
pub mod restore;
pub mod retention;
pub mod sample;
pub mod sandbox;
pub mod scheduler;
pub mod secrets;
pub mod service;
pub mod storage;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod verify;
