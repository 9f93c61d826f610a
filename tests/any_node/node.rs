//! The node under test.

use std::sync::Arc;
use std::time::Duration;

use holdfast::aerospike::{Cluster, ClusterOptions, Seed};
use holdfast::clock::SystemClock;
use holdfast::engine::aerospike::AerospikeEngine;
use holdfast::sandbox::{Sandbox, SandboxOptions};
use tokio_util::sync::CancellationToken;

pub const SOURCE: &str = "source-ns1";
pub const TARGET: &str = "target-ns1";

pub struct Node {
    pub cluster: Cluster,
    pub host: String,
    pub port: u16,
    pub is_real: bool,
    _sandbox: Option<Sandbox>,
}

impl Node {
    /// The real node if one is named, else a new sandbox; both namespaces are empty.
    pub async fn start() -> Self {
        let (host, port, sandbox) = match std::env::var("HOLDFAST_TEST_AEROSPIKE") {
            Ok(address) => {
                let (host, port) = address.rsplit_once(':').unwrap();
                (host.to_owned(), port.parse().unwrap(), None)
            }
            Err(_) => {
                let options = SandboxOptions {
                    namespaces: vec![SOURCE.to_owned(), TARGET.to_owned()],
                    clock: Arc::new(SystemClock),
                    max_record_bytes: 8 << 20,
                    ..SandboxOptions::default()
                };
                let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
                ("127.0.0.1".to_owned(), sandbox.address().port(), Some(sandbox))
            }
        };
        let options = ClusterOptions {
            seeds: vec![Seed { host: host.clone(), port }],
            connect_timeout_ms: 5000,
            label: "test".to_owned(),
        };
        let cluster = Cluster::connect(&options).await.unwrap();
        let node = Self { cluster, host, port, is_real: sandbox.is_none(), _sandbox: sandbox };
        node.clean().await;
        node
    }

    async fn clean(&self) {
        for namespace in [SOURCE, TARGET] {
            for index in self.cluster.list_indexes(namespace).await.unwrap().indexes {
                self.cluster.drop_index(namespace.as_bytes(), &index.name).await.unwrap();
            }
            self.cluster.truncate(namespace, None).await.unwrap();
            if self.is_real {
                // A server's default is 1 MiB for the whole record; the matrix has values of that size.
                let node = &self.cluster.nodes().await[0];
                let raise =
                    format!("set-config:context=namespace;namespace={namespace};max-record-size=8388608");
                let answer = self.cluster.info(node, &[&raise]).await.unwrap();
                assert_eq!(answer[&raise], b"ok", "{:?}", String::from_utf8_lossy(&answer[&raise]));
            }
        }
        // Writes must be stamped later than the truncation.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    pub fn engine(&self) -> AerospikeEngine {
        AerospikeEngine::new(self.cluster.clone(), Arc::new(SystemClock))
    }
}
