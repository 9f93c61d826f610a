//! A service and the sandbox nodes that are to fail it.

use std::sync::Arc;

use holdfast::clock::{Clock, SharedClock, SystemClock};
use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::model::UnixMillis;
use holdfast::sample::mixed;
use holdfast::sandbox::{Fault, Sandbox, SandboxCluster, SandboxOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, point};

/// Records of the source namespace: some from each partition, and several batches for each node.
pub const RECORDS: i64 = 3000;

/// A clock that is off by so many milliseconds.
#[derive(Debug)]
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> UnixMillis {
        SystemClock.now().plus_ms(self.0)
    }
}

/// Three nodes with records, and a service that knows them.
pub struct Faulty {
    pub nodes: SandboxCluster,
    pub bench: Bench,
    pub source: Snapshot,
}

impl Faulty {
    pub async fn start() -> Self {
        Self::with(&[0, 0, 0], true, |_| {}).await
    }

    /// Nodes whose clocks are off by so much; `inherits`: as with two copies of each record.
    pub async fn with(clocks_off_ms: &[i64], inherits: bool, change: impl FnOnce(&mut Value)) -> Self {
        let options = clocks_off_ms.iter().enumerate().map(|(index, off_ms)| SandboxOptions {
            namespaces: vec![SOURCE.to_owned(), TARGET.to_owned()],
            clock: Arc::new(Off(*off_ms)) as SharedClock,
            node_name: format!("HF{index:014X}"),
            max_record_bytes: 8 << 20,
            ..SandboxOptions::default()
        });
        let options = options.collect();
        let nodes = SandboxCluster::start(options, inherits, &CancellationToken::new()).await.unwrap();
        let seeds: Vec<Value> = nodes.nodes().iter().map(seed).collect();
        let node = Node::at("127.0.0.1", nodes.node(0).address().port()).await;
        let records: Vec<_> = (0..RECORDS).map(|key| mixed("customers", key, 1)).collect();
        node.write(SOURCE, &records).await;
        let bench = Bench::on(node, |config| {
            config["aerospike-clusters"]["node"]["seed-nodes"] = json!(seeds);
            change(config);
        })
        .await;
        let source = bench.node.snapshot(SOURCE).await;
        assert_eq!(source.0.len(), RECORDS as usize);
        Self { nodes, bench, source }
    }

    /// Plants a fault on each node.
    pub fn plant(&self, fault: &Fault) -> Vec<Arc<holdfast::sandbox::Planted>> {
        self.nodes.nodes().iter().map(|node| node.plant(fault.clone())).collect()
    }

    pub fn heal(&self) {
        self.nodes.nodes().iter().for_each(Sandbox::heal);
    }

    /// Restores to an instant into the empty target: every record of the source once, and as it was.
    pub async fn is_restored(&self, at: i64) {
        self.heal();
        self.bench.node.cluster.refresh().await.unwrap();
        self.bench.node.empty(TARGET).await;
        let restored = self.bench.restore_to(at, json!({})).await.ok();
        assert_eq!(restored.records("inserted"), RECORDS as u64, "{restored:#?}");
        self.is_same().await;
    }

    /// The target is what the source was.
    pub async fn is_same(&self) {
        assert_eq!(self.bench.differences(&self.source).await, Vec::<String>::new());
    }

    /// A full backup that nothing disturbs: the instant to restore to.
    pub async fn saved(&self) -> i64 {
        point(&self.bench.back_up("full").await)
    }
}

fn seed(node: &Sandbox) -> Value {
    json!({"host-name": "127.0.0.1", "port": node.address().port()})
}
