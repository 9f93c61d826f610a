//! Schemathesis (`scripts/tools`) makes calls of its own from `docs/openapi.json`: the same ones in each run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::world::World;

/// First what it works out from the schemas, as far as it comes in that time; then so many random calls of each operation.
const RUNS: [&[&str]; 2] =
    [&["--phases", "examples,coverage", "--max-time", "90"], &["--phases", "fuzzing", "--max-examples", "6"]];

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_that_goes_by_the_document_finds_nothing() {
    let world = World::start("3.5").await;
    let program = find("schemathesis").unwrap_or_else(|| {
        panic!("schemathesis is not installed: run scripts/tools, which needs Python 3 with venv")
    });
    for arguments in RUNS {
        let (program, url) = (program.clone(), world.url());
        let (found_nothing, text) =
            holdfast::tasks::blocking(move || Ok(run(&program, &url, arguments))).await.unwrap();
        assert!(found_nothing, "{text}");
        println!("{text}");
    }
}

/// Runs it; whether it found nothing, and what it says.
fn run(program: &Path, url: &str, arguments: &[&str]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // It writes what it remembers into its folder.
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(program)
        .arg("--config-file")
        .arg(root.join("tests/service/contract/schemathesis.toml"))
        .arg("run")
        .arg(root.join("docs/openapi.json"))
        // What makes a job answers with it; errors are text all the same.
        .args(["-H", "Accept: application/json", "--url", url])
        .args(arguments)
        .args([
            "--generation-deterministic",
            "--request-timeout",
            "30",
            "--continue-on-failure",
            "--no-shrink",
        ])
        // One: with more, Python 3.11 now and then fails to compile a source (AST constructor recursion depth mismatch).
        .args(["--suppress-health-check", "all", "--warnings", "off", "--no-color", "--workers", "1"])
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [child.stdout, child.stderr].concat();
    (child.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// On the path, else where `scripts/tools` puts it.
fn find(program: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools-venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([own]).map(|folder| folder.join(program)).find(|file| file.exists())
}
