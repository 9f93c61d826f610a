//! Tests that need nothing but a node: on the sandbox, and on a real server when `HOLDFAST_TEST_AEROSPIKE=host:port`
//! names one. It must have the namespaces source-ns1 and target-ns1, which these tests empty and write.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod node;
mod round_trip;
