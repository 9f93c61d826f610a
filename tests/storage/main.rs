//! Storages against real servers, which the tests start on free ports of this machine and end: the conformance suite, the main
//! job, and what goes wrong. `scripts/tools` installs the servers; one that is missing fails its tests.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used, missing_docs)]

use holdfast::storage::retry::Pace;
use holdfast::storage::{READ_BLOCK_BYTES, Storage};

mod absent;
mod azure;
mod azurite;
#[path = "../../src/storage/conformance.rs"]
mod conformance;
mod copies;
mod fake;
mod faults;
mod gcp;
mod google;
mod identity;
mod main_job;
mod memory;
#[path = "../any_node/node.rs"]
#[allow(dead_code)] // Others use the rest.
mod node;
mod pages;
mod proxy;
mod remote;
mod s3;
mod seaweed;
mod server;
#[path = "../any_node/service.rs"]
#[allow(dead_code)] // Others use the rest.
mod service;
#[path = "../support/still.rs"]
mod still;
