//! Schemathesis (`scripts/tools`) makes calls of its own from `docs/openapi.json`: the same ones in each run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::world::World;

/// Random ones for each operation, beside those that it works out: together some thousand requests.
const EXAMPLES: &str = "5";

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_that_goes_by_the_document_finds_nothing() {
    let world = World::start().await;
    let program = find("schemathesis").unwrap_or_else(|| {
        panic!("schemathesis is not installed: run scripts/tools, which needs Python 3 with venv")
    });
    let url = world.url();
    let (output, text) = tokio::task::spawn_blocking(move || run(&program, &url)).await.unwrap();
    assert!(output, "{text}");
}

/// Runs it; whether it found nothing, and what it says.
fn run(program: &Path, url: &str) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // It writes what it remembers into its folder.
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(program)
        .arg("--config-file")
        .arg(root.join("tests/service/contract/schemathesis.toml"))
        .arg("run")
        .arg(root.join("docs/openapi.json"))
        // What makes a job answers with it; errors are text all the same.
        .args(["-H", "Accept: application/json"])
        .args(["--url", url, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--generation-deterministic"])
        .args([
            "--request-timeout",
            "30",
            "--continue-on-failure",
            "--no-shrink",
            "--suppress-health-check",
            "all",
        ])
        .args(["--warnings", "off", "--no-color", "--workers", "2"])
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
