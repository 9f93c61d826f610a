//! Object stores as real servers: each is started by its test, on free ports of this machine, and ends with it.
//!
//! They are installed by `scripts/tools`. `HOLDFAST_TEST_<SERVER>` names one elsewhere; `off` passes its tests over.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../../src/storage/conformance.rs"]
mod conformance;
#[path = "../any_node/node.rs"]
#[allow(dead_code)] // Others use the rest.
mod node;
mod s3;
mod seaweed;
#[path = "../any_node/service.rs"]
#[allow(dead_code)]
mod service;

use std::path::PathBuf;

// What the conformance suite needs, by the names that it has in the crate.
use holdfast::storage::{READ_BLOCK_BYTES, Storage};

/// Where a server's program is; none: its tests are not wanted. A missing one fails the test: what is not run must not look
/// as if it had passed.
pub fn program(variable: &str, default: &str) -> Option<PathBuf> {
    match std::env::var(variable) {
        Ok(text) if text == "off" => {
            println!("passed over: {variable}=off");
            None
        }
        Ok(text) => Some(PathBuf::from(text)),
        Err(_) => {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools-venv/bin").join(default);
            assert!(
                path.exists(),
                "{} is missing: run scripts/tools, or set {variable} to where it is, or to off",
                path.display()
            );
            Some(path)
        }
    }
}

/// A port that nobody has, below the 55,535 from which on the one 10,000 above it, which some servers take too, is none.
pub fn free_port() -> u16 {
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let port = if port >= 55_535 { port - 20_000 } else { port };
        let both = [port, port + 10_000].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
        drop(listener);
        if both == [true, true] {
            return port;
        }
    }
}
