//! The cluster: a sandbox node in the process of the test.

use std::sync::Arc;

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::clock::SystemClock;
use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::sample::{self, SampleRecord};
use holdfast::sandbox::{Sandbox, SandboxOptions};
use tokio_util::sync::CancellationToken;

pub const SOURCE: &str = "source-ns1";
pub const SECOND: &str = "source-ns2";
pub const TARGET: &str = "target-ns1";

pub struct World {
    pub cluster: Cluster,
    pub port: u16,
    pub sandbox: Sandbox,
}

impl World {
    /// A node with `records` records in each source namespace.
    pub async fn start(records: i64) -> Self {
        let options = SandboxOptions {
            namespaces: [SOURCE, SECOND, TARGET].map(str::to_owned).to_vec(),
            clock: Arc::new(SystemClock),
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
        let port = sandbox.address().port();
        let options = ClusterOptions {
            seeds: vec![Seed { host: "127.0.0.1".to_owned(), port }],
            connect_timeout_ms: 5000,
            label: "test".to_owned(),
        };
        let cluster = Cluster::connect(&options).await.unwrap();
        let world = Self { cluster, port, sandbox };
        world.write(SOURCE, 0, records, 1).await;
        world.write(SECOND, 0, records, 1).await;
        world
    }

    /// Writes the records `first` to `first + count` in a version.
    pub async fn write(&self, namespace: &str, first: i64, count: i64, version: i64) {
        let records: Vec<SampleRecord> =
            (first..first + count).map(|key| sample::mixed("set", key, version)).collect();
        sample::write(&self.cluster, namespace, &records).await.unwrap();
    }

    /// Writes records of 8 KiB that do not compress.
    pub async fn write_large(&self, namespace: &str, count: i64) {
        let records: Vec<SampleRecord> = (0..count)
            .map(|key| {
                let bytes: Vec<u8> = (0..8192).map(|_| rand::random()).collect();
                SampleRecord::new("large", key).bin("bytes", 4, bytes)
            })
            .collect();
        sample::write(&self.cluster, namespace, &records).await.unwrap();
    }

    pub async fn empty(&self, namespace: &str) {
        self.cluster.truncate(namespace, None).await.unwrap();
        // Writes must be stamped later than the truncation.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    /// What the target differs in from the source.
    pub async fn differences(&self) -> Vec<String> {
        let snapshot = async |namespace: &str| {
            Snapshot::take(&self.cluster, namespace, &CancellationToken::new()).await.unwrap()
        };
        snapshot(SOURCE).await.differences(&snapshot(TARGET).await, 1)
    }
}
