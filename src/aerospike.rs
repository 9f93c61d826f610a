//! The Aerospike room: our own client for discovery, info, partition scans, batch writes, indexes and UDFs.
//!
//! Facts of the protocol: wire.md, asb.md 7. Why not the official crate: `docs/decisions/0002-own-control-plane.md`.
//! Every future here may be dropped at any await: a dropped connection is closed, not returned to its pool. That is
//! how cancel works: work that takes a token is dropped when the token says so.

pub mod batch;
pub mod choose;
pub mod cluster;
mod conn;
mod door;
pub mod filter;
pub mod index;
mod inflate;
pub mod info;
mod login;
pub mod namespace;
pub mod node;
pub mod result_code;
pub mod retry;
pub mod scan;
pub mod udf;
#[doc(hidden)]
pub mod untrusted;
pub mod wire;
pub mod write;

#[cfg(test)]
mod peer;
#[cfg(test)]
mod real_node;

pub use batch::{Exists, WriteBatch, WritePolicy};
pub use choose::Nearness;
pub use cluster::{Cluster, ClusterOptions, PartitionMap, Seed};
pub use door::{Access, Tls};
pub use index::{Created, IndexList};
pub use login::{AuthMode, Login};
pub use namespace::{NodeNamespace, SetStats};
pub use node::{Build, Node};
pub use result_code::ResultCode;
pub use retry::RetryPolicy;
pub use scan::{NodeGate, ScanGates, ScanReport, ScanRequest, ScanSink, scan_partitions, unreadable};
pub use wire::RecordView;
pub use write::{BatchWriter, RowOutcome, RowResult};
