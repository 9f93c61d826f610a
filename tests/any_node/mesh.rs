//! A cluster of three real nodes, one of which is killed. Active only with
//! `HOLDFAST_TEST_AEROSPIKE_MESH=host:port,host:port,host:port` (replication factor 2; the namespaces of the other tests)
//! and `HOLDFAST_TEST_MESH_KILL` and `HOLDFAST_TEST_MESH_RESTART`: shell commands that kill the last of the nodes and
//! start it again.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point};

/// So many that a scan and a restore are under way when the node dies.
const RECORDS: i64 = 200_000;
/// For a cluster to be whole again. It finds a hang, and is no measure of speed.
const PATIENCE: Duration = Duration::from_mins(2);

struct Mesh {
    bench: Bench,
    source: Snapshot,
    restart: String,
    kill: String,
}

impl Drop for Mesh {
    /// A test that fails leaves three nodes to the next one.
    fn drop(&mut self) {
        shell(&self.restart);
    }
}

fn shell(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).status().unwrap().success()
}

impl Mesh {
    async fn start() -> Option<Self> {
        Self::with(|_| ()).await
    }

    /// With a policy of the test's own.
    async fn with(change: impl FnOnce(&mut Value)) -> Option<Self> {
        let variable = |name: &str| std::env::var(format!("HOLDFAST_TEST_{name}"));
        let (Ok(mesh), Ok(kill), Ok(restart)) =
            (variable("AEROSPIKE_MESH"), variable("MESH_KILL"), variable("MESH_RESTART"))
        else {
            println!("skipped: it needs HOLDFAST_TEST_AEROSPIKE_MESH, …_MESH_KILL and …_MESH_RESTART");
            return None;
        };
        let places: Vec<(String, u16)> = mesh
            .split(',')
            .map(|place| place.rsplit_once(':').unwrap())
            .map(|(host, port)| (host.to_owned(), port.parse().unwrap()))
            .collect();
        let node = Node::at(&places[0].0, places[0].1).await;
        whole(&node, places.len()).await;
        for namespace in [SOURCE, TARGET] {
            node.empty(namespace).await;
        }
        let records: Vec<_> = (0..RECORDS).map(|key| mixed("customers", key, 1)).collect();
        node.write(SOURCE, &records).await;
        let seeds: Vec<Value> =
            places.iter().map(|(host, port)| json!({"host-name": host, "port": port})).collect();
        let bench = Bench::on(node, |config| {
            config["aerospike-clusters"]["node"]["seed-nodes"] = json!(seeds);
            let retry = json!({"base-timeout": 2000, "multiplier": 1, "max-retries": 5});
            config["backup-policies"]["quick"]["retry-policy"] = retry;
            change(&mut config["backup-policies"]["quick"]);
        })
        .await;
        let source = bench.node.snapshot(SOURCE).await;
        assert_eq!(source.0.len(), RECORDS as usize);
        Some(Self { bench, source, restart, kill })
    }

    fn kill(&self) {
        assert!(shell(&self.kill), "{}", self.kill);
    }

    fn restart(&self) {
        assert!(shell(&self.restart), "{}", self.restart);
    }

    /// The scans of the source namespace that one node knows, by id, and whether each still reads.
    async fn scans(&self, node: usize) -> BTreeMap<String, bool> {
        let nodes = self.bench.node.cluster.nodes().await;
        let answer = self.bench.node.cluster.info(&nodes[node], &["query-show"]).await.unwrap();
        let text = String::from_utf8(answer["query-show"].clone()).unwrap();
        let of_source = text.split(';').filter(|scan| scan.contains(&format!(":ns={SOURCE}:")));
        let value = |scan: &str, key: &str| {
            scan.trim()
                .split(':')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
                .unwrap()
                .to_owned()
        };
        of_source.map(|scan| (value(scan, "trid"), value(scan, "status").starts_with("active"))).collect()
    }

    async fn is_whole(&self) {
        whole(&self.bench.node, 3).await;
    }

    /// Once the job has done some of its work, and a moment later that is not the same in two runs.
    async fn under_way(&self, id: i64) -> u64 {
        let job = self.bench.wait_until(id, |job| job["progress"]["done-records"].as_u64() > Some(0)).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..150))).await;
        job["progress"]["done-records"].as_u64().unwrap()
    }

    /// A backup that succeeded has every record, once, as it was.
    async fn holds_all(&self, job: &Value) {
        let last = job["attempts"][SOURCE].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&job["status"], &last["record-count"]),
            (&json!("succeeded"), &json!(RECORDS)),
            "{job:#}"
        );
        self.bench.node.cluster.refresh().await.unwrap();
        self.bench.node.empty(TARGET).await;
        let restored = self.bench.restore_to(point(job), json!({})).await.ok();
        assert_eq!(restored.records("inserted"), RECORDS as u64, "{restored:#?}");
        self.is_same().await;
    }

    async fn is_same(&self) {
        self.bench.node.cluster.refresh().await.unwrap();
        assert_eq!(self.bench.differences(&self.source).await, Vec::<String>::new());
    }
}

/// Waits until the nodes are one cluster and no partition migrates.
async fn whole(node: &Node, size: usize) {
    let stable = format!("cluster-stable:size={size};ignore-migrations=false");
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if node.cluster.refresh().await.is_ok() {
                let nodes = node.cluster.nodes().await;
                let mut calm = 0;
                for one in &nodes {
                    let answers = node.cluster.info(one, &[&stable]).await;
                    calm += usize::from(answers.is_ok_and(|all| !all[&stable].starts_with(b"ERROR")));
                }
                if calm == size {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.expect("three nodes are one cluster");
}

/// Limits per node, by the nodes' own accounts: each works, and no two at a time. A scan that was read by before and
/// after another node was looked at was read by all the while.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_works_and_no_more_at_once_than_the_policy_allows() {
    let limited = Mesh::with(|policy| {
        policy["max-concurrent-nodes"] = json!(1);
        policy["records-per-second"] = json!(50_000);
    });
    let Some(mesh) = limited.await else { return };
    let before = [mesh.scans(0).await, mesh.scans(1).await, mesh.scans(2).await];
    let id = mesh.bench.trigger("full", ROUTINE).await;
    let mut looks = 0;
    while !["succeeded", "failed"].contains(&mesh.bench.job(id).await["status"].as_str().unwrap()) {
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            let (first, between, again) =
                (mesh.scans(one).await, mesh.scans(other).await, mesh.scans(one).await);
            let all_the_while =
                first.iter().any(|(id, reads)| *reads && again.get(id).is_some_and(|reads| *reads));
            assert!(!all_the_while || !between.values().any(|reads| *reads), "nodes {one} and {other} read");
            looks += u32::from(all_the_while);
        }
    }
    let job = mesh.bench.job(id).await;
    for (node, known) in before.iter().enumerate() {
        let new = mesh.scans(node).await.keys().filter(|id| !known.contains_key(*id)).count();
        println!("node {node}: {new} scans");
        assert!(new > 0, "node {node} has scanned nothing");
    }
    println!("seen to read alone: {looks} times");
    assert!(looks > 0, "nothing was seen while it ran");
    mesh.holds_all(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_killed_in_the_middle_of_a_scan() {
    let Some(mesh) = Mesh::start().await else { return };
    let id = mesh.bench.trigger("full", ROUTINE).await;
    let done = mesh.under_way(id).await;
    mesh.kill();
    let job = mesh.bench.wait_job(id).await;
    println!("killed after at least {done} records; attempts: {}", job["attempts"][SOURCE]);
    mesh.holds_all(&job).await;
    mesh.restart();
    mesh.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_killed_and_started_again_in_the_middle_of_a_scan() {
    let Some(mesh) = Mesh::start().await else { return };
    let id = mesh.bench.trigger("full", ROUTINE).await;
    let done = mesh.under_way(id).await;
    mesh.kill();
    mesh.restart();
    let job = mesh.bench.wait_job(id).await;
    println!("killed after at least {done} records; attempts: {}", job["attempts"][SOURCE]);
    // While partitions migrate back.
    let next = mesh.bench.back_up("full").await;
    mesh.is_whole().await;
    mesh.holds_all(&job).await;
    mesh.holds_all(&next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_killed_in_the_middle_of_a_restore() {
    let Some(mesh) = Mesh::start().await else { return };
    let at = point(&mesh.bench.back_up("full").await);
    for started_again in [false, true] {
        mesh.bench.node.empty(TARGET).await;
        let patient =
            json!({"policy": {"retry-policy": {"base-timeout": 500, "multiplier": 1.3, "max-retries": 12}}});
        let id = mesh.bench.trigger_restore_to(at, &patient).await;
        let done = mesh.under_way(id).await;
        mesh.kill();
        if started_again {
            mesh.restart();
        }
        let restored = mesh.bench.restored(id).await.ok();
        println!(
            "killed after at least {done} records; in doubt: {}; existed: {}",
            restored.status["errors-in-doubt"], restored.status["existed-records"]
        );
        assert_eq!(restored.records("inserted"), RECORDS as u64, "{restored:#?}");
        mesh.is_same().await;
        if !started_again {
            mesh.restart();
        }
        mesh.is_whole().await;
        mesh.is_same().await;
    }
}
