//! The program under crashes, faults, cancels, signals and full disks (rules.md 2.5, 2.8, 2.10, 3.9, 3.10, 6.1, 6.2, 6.4).
//!
//! The real binary, built with `fault-injection`, against a node in memory (the sandbox). Without more it runs the
//! share of a change; `HOLDFAST_CRASH=all` runs every N, 1,000 kills and 200 ends. `HOLDFAST_CRASH_SEED` repeats a
//! run. Lines that begin with `FIGURE` are for the README.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    clippy::format_push_string
)]

mod durable;
mod ending;
mod fail;
mod kills;
mod kinds;
mod nth;
mod objects;
mod place;
mod process;
mod resume;
mod room;
#[path = "../support/s3_server.rs"]
#[allow(dead_code)] // others use the rest
mod s3_server;
mod soak;
mod verdict;
mod world;

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Whether everything is to be run, not only the share of a change.
pub fn all() -> bool {
    std::env::var("HOLDFAST_CRASH").is_ok_and(|what| what == "all")
}

/// A generator whose seed is printed; `HOLDFAST_CRASH_SEED` sets it.
pub fn seeded(test: &str) -> StdRng {
    let given = std::env::var("HOLDFAST_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("{test}: HOLDFAST_CRASH_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
