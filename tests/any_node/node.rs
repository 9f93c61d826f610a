//! The node under test.

use std::sync::Arc;
use std::time::Duration;

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::clock::SystemClock;
use holdfast::engine::aerospike::AerospikeEngine;
use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::sample::{self, SampleRecord};
use holdfast::sandbox::{Sandbox, SandboxOptions};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

pub const SOURCE: &str = "source-ns1";
pub const TARGET: &str = "target-ns1";

/// The tests of one process share the real node's namespaces (nextest: see its test group).
static REAL_NODE: Mutex<()> = Mutex::const_new(());

pub struct Node {
    pub cluster: Cluster,
    pub host: String,
    pub port: u16,
    /// None: the node is a real one.
    pub sandbox: Option<Sandbox>,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Node {
    /// The real node if one is named, else a new sandbox; both namespaces are empty.
    pub async fn start() -> Self {
        match std::env::var("HOLDFAST_TEST_AEROSPIKE") {
            Ok(address) => {
                let alone = REAL_NODE.lock().await;
                let (host, port) = address.rsplit_once(':').unwrap();
                let (host, port) = (host.to_owned(), port.parse().unwrap());
                let cluster = connect(&host, port).await;
                let node = Self { cluster, host, port, sandbox: None, _alone: Some(alone) };
                node.clean().await;
                node
            }
            Err(_) => Self::sandbox().await,
        }
    }

    /// A new sandbox, also where a real node is named: for what no server lets be written.
    pub async fn sandbox() -> Self {
        let options = SandboxOptions {
            namespaces: vec![SOURCE.to_owned(), TARGET.to_owned()],
            clock: Arc::new(SystemClock),
            max_record_bytes: 8 << 20,
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
        let (host, port) = ("127.0.0.1".to_owned(), sandbox.address().port());
        let cluster = connect(&host, port).await;
        let node = Self { cluster, host, port, sandbox: Some(sandbox), _alone: None };
        // Like a server that was used before, it has a truncation in its past.
        node.clean().await;
        node
    }

    /// A cluster that somebody else runs, as it is.
    pub async fn at(host: &str, port: u16) -> Self {
        Self::entered(connect(host, port).await, host, port)
    }

    /// A cluster that somebody else runs and that was entered already.
    pub fn entered(cluster: Cluster, host: &str, port: u16) -> Self {
        Self { cluster, host: host.to_owned(), port, sandbox: None, _alone: None }
    }

    async fn clean(&self) {
        let node = &self.cluster.nodes().await[0];
        for module in self.cluster.list_udfs().await.unwrap() {
            let remove = format!("udf-remove:filename={}", String::from_utf8(module.name).unwrap());
            self.cluster.info(node, &[&remove]).await.unwrap();
        }
        for namespace in [SOURCE, TARGET] {
            for index in self.cluster.list_indexes(namespace).await.unwrap().indexes {
                self.cluster.drop_index(namespace.as_bytes(), &index.name).await.unwrap();
            }
            self.empty(namespace).await;
            if self.sandbox.is_some() {
                continue;
            }
            // A server's default is 1 MiB for the whole record; the matrix has values of that size.
            let raise = format!("set-config:context=namespace;namespace={namespace};max-record-size=8388608");
            let answer = self.cluster.info(node, &[&raise]).await.unwrap();
            assert_eq!(answer[&raise], b"ok", "{:?}", String::from_utf8_lossy(&answer[&raise]));
        }
    }

    /// Removes every record of a namespace.
    pub async fn empty(&self, namespace: &str) {
        self.cluster.truncate(namespace, None).await.unwrap();
        // Writes must be stamped later than the truncation.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Writes records, replacing those that exist.
    pub async fn write(&self, namespace: &str, records: &[SampleRecord]) {
        sample::write(&self.cluster, namespace, records).await.unwrap();
    }

    pub async fn snapshot(&self, namespace: &str) -> Snapshot {
        Snapshot::take(&self.cluster, namespace, &CancellationToken::new()).await.unwrap()
    }

    /// Waits until a void time (seconds since 2010) has passed by the node's clock.
    pub async fn wait_past(&self, void_time: u32) {
        loop {
            let stats = self.cluster.namespace_stats(SOURCE).await.unwrap();
            if stats[0].current_time_s > u64::from(void_time) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn engine(&self) -> AerospikeEngine {
        AerospikeEngine::new(self.cluster.clone(), Arc::new(SystemClock))
    }
}

async fn connect(host: &str, port: u16) -> Cluster {
    let options = ClusterOptions {
        seeds: vec![Seed { host: host.to_owned(), port }],
        connect_timeout_ms: 5000,
        label: "test".to_owned(),
    };
    Cluster::connect(&options).await.unwrap()
}
