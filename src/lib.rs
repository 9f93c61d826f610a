//! Holdfast: a scheduler-driven backup orchestrator for database clusters.
//!
//! The rooms, from the ground up (a room uses only those above it): see `ARCHITECTURE.md`.

pub mod catalog;
pub mod clock;
pub mod config;
pub mod error;
pub mod jobs;
pub mod model;
pub mod sandbox;
pub mod secrets;
pub mod storage;
pub mod store;
pub mod tasks;
