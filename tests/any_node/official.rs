//! Round trips through the official tools, where they are at hand: `HOLDFAST_TEST_ASBACKUP` and
//! `HOLDFAST_TEST_ASRESTORE` name the programs. On the real node when one is named, else on the sandbox.

use std::path::Path;
use std::process::Command;

use holdfast::asb::{DataType, IndexDef, IndexType, UdfDef};
use holdfast::sample::{SampleRecord, every_kind, mixed};
use serde_json::{Value, json};

use crate::encryption::key_file;
use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE};

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

/// How we write: by itself, and as each mode that the official tools read. A routine has the name of its policy.
const COMPRESSED: &str = "compressed";
const ENCRYPTED: &str = "encrypted";
const BOTH: &str = "both";

async fn filled(key: &Path) -> Bench {
    let encryption = |mode| json!({"mode": mode, "key-file": key});
    let bench = Bench::with(|config| {
        for (name, zstd, cipher) in
            [(COMPRESSED, true, None), (ENCRYPTED, false, Some("AES128")), (BOTH, true, Some("AES256"))]
        {
            let mut policy = config["backup-policies"]["quick"].clone();
            if zstd {
                policy["compression"] = json!({"mode": "ZSTD", "level": 3});
            }
            if let Some(mode) = cipher {
                policy["encryption"] = encryption(mode);
            }
            config["backup-policies"][name] = policy;
            config["backup-routines"][name] = config["backup-routines"][ROUTINE].clone();
            config["backup-routines"][name]["backup-policy"] = json!(name);
        }
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
    let (_dir, key) = key_file();
    let bench = filled(&key).await;
    let expected = bench.node.snapshot(SOURCE).await;
    let locked = |mode, key: &Path| json!({"policy": {"encryption": {"mode": mode, "key-file": key}}});
    let encrypted = |mode| ["--encrypt", mode, "--encryption-key-file", as_text(&key)];
    let variants: [(&[&str], Value); 6] = [
        (&[], json!({})),
        (&["--compact"], json!({})),
        (&["--compress", "zstd"], json!({})),
        (&["--parallel", "4", "--file-limit", "1"], json!({})),
        (&encrypted("aes128"), locked("AES128", &key)),
        (&[&["--compress", "zstd"][..], &encrypted("aes256")].concat(), locked("AES256", &key)),
    ];
    for (number, (more, request)) in variants.into_iter().enumerate() {
        let folder = format!("theirs-{number}");
        let path = bench.path(&folder);
        let base = ["--namespace", SOURCE, "--directory", as_text(&path)];
        run(&bench, &program, &[&base[..], more].concat());
        clear(&bench).await;
        let restored = bench.restore_of(&folder, request).await.ok();
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
    let (_dir, key) = key_file();
    let bench = filled(&key).await;
    let expected = bench.node.snapshot(SOURCE).await;
    let encrypted = |mode| ["--encrypt", mode, "--encryption-key-file", as_text(&key)];
    let variants: [(&str, &[&str]); 4] = [
        (ROUTINE, &[]),
        (COMPRESSED, &["--compress", "zstd"]),
        (ENCRYPTED, &encrypted("aes128")),
        (BOTH, &[&["--compress", "zstd"][..], &encrypted("aes256")].concat()),
    ];
    for (routine, more) in variants {
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
