//! Some nodes only, near copies, and few nodes or scans at a time. Racks are a feature of the Enterprise Edition: three
//! sandbox nodes stand in for it.

use holdfast::model::partitions::partition_of;
use holdfast::sample::mixed;
use holdfast::sandbox::{SandboxCluster, SandboxOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point, warnings};

const RECORDS: i64 = 600;

/// Three nodes: two in rack 1, one in rack 2. Partitions go round them in turn.
async fn three(copies: bool, change: impl FnOnce(&mut Value, &SandboxCluster)) -> (SandboxCluster, Bench) {
    let options = (0..3).map(|index| SandboxOptions {
        namespaces: vec![SOURCE.to_owned(), TARGET.to_owned()],
        node_name: format!("HF{index:014X}"),
        rack: Some(if index == 2 { 2 } else { 1 }),
        copies,
        ..SandboxOptions::default()
    });
    let nodes = SandboxCluster::start(options.collect(), false, &CancellationToken::new()).await.unwrap();
    let node = Node::at("127.0.0.1", nodes.node(0).address().port()).await;
    let records: Vec<_> = (0..RECORDS).map(|key| mixed("a", key, 1)).collect();
    node.write(SOURCE, &records).await;
    let bench = Bench::on(node, |config| change(config, &nodes)).await;
    (nodes, bench)
}

/// How many records lie in the partitions that the nodes were given at the start.
fn records_of(nodes: &[usize]) -> u64 {
    let theirs = |key: &i64| nodes.contains(&(usize::from(partition_of(&mixed("a", *key, 1).digest)) % 3));
    (0..RECORDS).filter(theirs).count() as u64
}

fn saved(job: &Value) -> u64 {
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["attempts"][SOURCE][0]["record-count"].as_u64().unwrap_or_default()
}

/// Partitions that each node was asked for by scans of the source namespace.
async fn asked(bench: &Bench) -> Vec<u64> {
    let mut sums = Vec::new();
    for node in bench.node.cluster.nodes().await {
        let answer = bench.node.cluster.info(&node, &["query-show"]).await.unwrap();
        let text = String::from_utf8(answer["query-show"].clone()).unwrap();
        let of_source = text.split(';').filter(|scan| scan.contains(&format!(":ns={SOURCE}:")));
        let counts = of_source.filter_map(|scan| {
            scan.split(':').find_map(|pair| pair.strip_prefix("n-pids-requested="))?.parse::<u64>().ok()
        });
        sums.push(counts.sum());
    }
    sums
}

/// The list of a routine, by the nodes that there are.
type ListOf = fn(&SandboxCluster) -> Value;

/// rules.md 3.6: the full takes the partitions that the nodes have, its incrementals the same ones wherever they are by
/// then.
#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_some_nodes_are_followed_wherever_they_go() {
    let lists: [(&str, ListOf, &[usize]); 4] = [
        ("node-list", |_| json!(["hf00000000000001"]), &[1]),
        ("node-list", |nodes| json!([nodes.node(0).address().to_string(), "HF00000000000002"]), &[0, 2]),
        ("node-list", |nodes| json!([format!("localhost:{}", nodes.node(2).address().port())]), &[2]),
        ("rack-list", |_| json!([1]), &[0, 1]),
    ];
    for (key, list, of) in lists {
        let (nodes, bench) =
            three(false, |config, nodes| config["backup-routines"][ROUTINE][key] = list(nodes)).await;
        let full = bench.back_up("full").await;
        assert_eq!(saved(&full), records_of(of), "{key}");
        // Everything goes to one node, and everything changes.
        nodes.move_partitions(0..4096, Some(0));
        bench.write(&(0..RECORDS).map(|key| mixed("a", key, 2)).collect::<Vec<_>>()).await;
        let incremental = bench.back_up("incremental").await;
        assert_eq!(incremental["attempts"][SOURCE][0]["promoted"], Value::Null, "{incremental:#}");
        assert_eq!(saved(&incremental), records_of(of), "{key}");
        let restored = bench.restore_to(point(&incremental), json!({})).await.ok();
        assert_eq!(restored.records("inserted"), records_of(of));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_or_rack_that_is_not_there_is_named() {
    for (key, list, code, named) in [
        ("node-list", json!(["HF00000000000009"]), "node-missing", "HF00000000000009"),
        ("rack-list", json!([1, 7]), "rack-missing", "rack 7"),
    ] {
        let (_nodes, bench) = three(false, |config, _| config["backup-routines"][ROUTINE][key] = list).await;
        let job = bench.run("full", ROUTINE).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{job:#}");
        assert!(job["error"]["message"].as_str().unwrap().contains(named), "{job:#}");
    }
    // Also on a real node of the Community Edition.
    let bench = Bench::with(|config| config["backup-routines"][ROUTINE]["rack-list"] = json!([1])).await;
    let job = bench.run("full", ROUTINE).await;
    assert_eq!(job["error"]["code"], "racks-unsupported", "{job:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_the_preferred_rack_are_read() {
    let prefer = |racks: Value| {
        move |config: &mut Value, _: &SandboxCluster| {
            config["aerospike-clusters"]["node"]["prefer-racks"] = racks;
        }
    };
    for (copies, racks, expected) in [
        (true, json!([2]), [0, 0, 4096]),
        (true, json!([7, 2, 1]), [0, 0, 4096]),
        // Who has no copy is not asked; a rack without nodes changes nothing.
        (false, json!([2]), [1366, 1365, 1365]),
        (true, json!([9]), [1366, 1365, 1365]),
    ] {
        let (_nodes, bench) = three(copies, prefer(racks)).await;
        let full = bench.back_up("full").await;
        assert_eq!(saved(&full), RECORDS as u64);
        assert_eq!(asked(&bench).await, expected);
    }
    // A node that knows no racks: all is read, and the job says so.
    let bench = Bench::with(|config| config["aerospike-clusters"]["node"]["prefer-racks"] = json!([1])).await;
    bench.write(&[mixed("a", 1, 1)]).await;
    let full = bench.back_up("full").await;
    assert!(saved(&full) == 1 && warnings(&full).contains("prefer-racks has no effect"), "{full:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_reads_all_of_them() {
    let (_nodes, bench) = three(false, |config, _| {
        config["backup-policies"]["quick"]["max-concurrent-nodes"] = json!(1);
        config["backup-policies"]["quick"]["parallel"] = json!(8);
    })
    .await;
    let full = bench.back_up("full").await;
    assert_eq!((saved(&full), asked(&bench).await), (RECORDS as u64, vec![1366, 1365, 1365]));
}

/// The scans of all routines of a cluster count together; who waits can be canceled, and goes on when it may.
#[tokio::test(flavor = "multi_thread")]
async fn scans_of_another_routine_wait_for_theirs() {
    let bench = Bench::with(|config| {
        config["aerospike-clusters"]["node"]["max-parallel-scans"] = json!(1);
        let policy = &mut config["backup-policies"]["quick"];
        policy["parallel"] = json!(1);
        policy["stall-timeout"] = json!(3_000);
        config["backup-policies"]["slow"] = config["backup-policies"]["quick"].clone();
        config["backup-policies"]["slow"]["bandwidth"] = json!(1);
        config["backup-routines"]["slow"] = config["backup-routines"][ROUTINE].clone();
        config["backup-routines"]["slow"]["backup-policy"] = json!("slow");
    })
    .await;
    // 20 MiB take 20 s: it is canceled long before.
    let payload = vec![7_u8; 600 << 10];
    let records: Vec<_> = (0..25)
        .map(|key| holdfast::sample::SampleRecord::new("blobs", key).bin("payload", 4, &payload))
        .collect();
    bench.write(&records).await;
    let moved = |job: &Value| job["progress"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0);
    let slow = bench.trigger("full", "slow").await;
    bench.wait_until(slow, moved).await;
    let waits = bench.trigger("full", ROUTINE).await;
    let is_reading =
        |job: &Value| job["attempts"][SOURCE][0]["status"] == "running" || !job["attempts"][SOURCE].is_null();
    let canceled = bench.wait_until(waits, is_reading).await;
    assert_eq!((&canceled["status"], moved(&canceled)), (&json!("running"), false), "{canceled:#}");
    // Its scan asks for its turn a moment after the try began.
    let says_why =
        |job: &Value| job["doing"].as_str().is_some_and(|doing| doing.contains("max-parallel-scans"));
    bench.wait_until(waits, says_why).await;
    bench.post(&format!("/v1/jobs/{waits}/cancel"), &json!({})).await;
    assert_eq!(bench.wait_job(waits).await["status"], "canceled");
    let next = bench.trigger("full", ROUTINE).await;
    // Longer than a standstill may last: it waits its turn.
    bench
        .wait_until(slow, |job| job["progress"]["bytes"].as_u64().is_some_and(|bytes| bytes > 6 << 20))
        .await;
    assert_eq!(bench.job(next).await["status"], "running");
    bench.post(&format!("/v1/jobs/{slow}/cancel"), &json!({})).await;
    assert_eq!(bench.wait_job(slow).await["status"], "canceled");
    assert_eq!(saved(&bench.wait_job(next).await), 25);
}
