//! Round trips through the official tools, where they are at hand: `HOLDFAST_TEST_ASBACKUP` and
//! `HOLDFAST_TEST_ASRESTORE` name the programs. On the real node when one is named, else on the sandbox.

use std::path::Path;
use std::process::Command;

use holdfast::asb::{DataType, IndexDef, IndexType, UdfDef};
use holdfast::sample::{SampleRecord, every_kind, mixed};
use serde_json::json;

use crate::node::{SOURCE, TARGET};
use crate::service::Bench;

/// The program that a variable names.
fn tool(variable: &str) -> Option<String> {
    let program = std::env::var(variable).ok();
    if program.is_none() {
        println!("skipped: {variable} names no program");
    }
    program
}

/// Runs an official tool against the node.
fn run(bench: &Bench, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(["--host", &bench.node.host, "--port", &bench.node.port.to_string()]).args(arguments);
    let ran = tokio::task::block_in_place(|| command.output()).unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{arguments:?}: {said}");
}

fn records() -> Vec<SampleRecord> {
    let mut records = every_kind("kinds");
    records.extend((0..2000).map(|key| mixed("customers", key, 1)));
    records.extend((0..100).map(|key| mixed("soon", key, 1).living_s(100_000)));
    records
}

fn index(namespace: &str) -> IndexDef {
    IndexDef {
        namespace: namespace.into(),
        set: b"customers".to_vec(),
        name: b"by-version".to_vec(),
        index_type: IndexType::Bin,
        bin: b"version".to_vec(),
        data_type: DataType::Numeric,
        context: None,
        expression: None,
    }
}

async fn filled() -> Bench {
    let bench = Bench::with(|config| {
        let quick = config["backup-policies"]["quick"].clone();
        config["backup-policies"]["zstd"] = quick;
        config["backup-policies"]["zstd"]["compression"] = json!({"mode": "ZSTD", "level": 3});
        config["backup-routines"]["compressed"] = config["backup-routines"][crate::service::ROUTINE].clone();
        config["backup-routines"]["compressed"]["backup-policy"] = json!("zstd");
    })
    .await;
    bench.write(&records()).await;
    bench.node.cluster.create_index(&index(SOURCE)).await.unwrap();
    let udf =
        UdfDef { name: b"totals.lua".to_vec(), content: b"function one(record)\n  return 1\nend\n".to_vec() };
    bench.node.cluster.put_udf(&udf).await.unwrap();
    bench
}

async fn indexes(bench: &Bench) -> Vec<IndexDef> {
    bench.node.cluster.list_indexes(TARGET).await.unwrap().indexes
}

async fn clear(bench: &Bench) {
    bench.node.drop_indexes(TARGET).await;
    bench.node.empty(TARGET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asbackup_writes_comes_back() {
    let Some(program) = tool("HOLDFAST_TEST_ASBACKUP") else { return };
    let bench = filled().await;
    let expected = bench.node.snapshot(SOURCE).await;
    for (number, more) in
        [&[][..], &["--compact"], &["--compress", "zstd"], &["--parallel", "4", "--file-limit", "1"]]
            .iter()
            .enumerate()
    {
        let folder = format!("theirs-{number}");
        let path = bench.path(&folder);
        let base = ["--namespace", SOURCE, "--directory", path.to_str().unwrap()];
        run(&bench, &program, &[&base[..], more].concat());
        clear(&bench).await;
        let restored = bench.restore_of(&folder, json!({})).await.ok();
        assert_eq!(restored.records("inserted"), expected.0.len() as u64, "{more:?}");
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new(), "{more:?}");
        assert_eq!(indexes(&bench).await, [index(TARGET)]);
    }
    let path = bench.path("theirs.backup");
    run(&bench, &program, &["--namespace", SOURCE, "--output-file", path.to_str().unwrap()]);
    clear(&bench).await;
    bench.restore_of("theirs.backup", json!({})).await.ok();
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn asrestore_restores_what_we_write() {
    let Some(program) = tool("HOLDFAST_TEST_ASRESTORE") else { return };
    let bench = filled().await;
    let expected = bench.node.snapshot(SOURCE).await;
    for (routine, more) in [(crate::service::ROUTINE, &[][..]), ("compressed", &["--compress", "zstd"])] {
        let job = bench.run("full", routine).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let list = bench.list("full", routine).await;
        let folder = bench.path(list.last().unwrap()["key"].as_str().unwrap());
        clear(&bench).await;
        let mapping = format!("{SOURCE},{TARGET}");
        let base = ["--namespace", &mapping, "--directory", as_text(&folder)];
        run(&bench, &program, &[&base[..], more].concat());
        assert_eq!(bench.differences(&expected).await, Vec::<String>::new(), "{routine}");
        assert_eq!(indexes(&bench).await, [index(TARGET)]);
    }
}

fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}
