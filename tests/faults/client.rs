//! The official Python client finds in the sandbox what it expects of a server. No fault, but the same nodes.

use std::path::Path;
use std::process::Command;

use holdfast::error::Error;
use holdfast::sandbox::{SandboxCluster, SandboxOptions};
use tokio_util::sync::CancellationToken;

/// Where `scripts/tools` puts the client that `scripts/tools.txt` pins.
const VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools-venv");

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_works_with_the_sandbox() {
    let installed = std::fs::read_to_string(Path::new(VENV).join("installed.txt")).unwrap_or_default();
    if !installed.contains("aerospike==") {
        assert!(std::env::var_os("CI").is_none(), "scripts/tools has not installed the client");
        println!("SKIPPED: no Python client in {VENV}; run scripts/tools");
        return;
    }
    for count in [1, 3] {
        let options = (0..count).map(|index| SandboxOptions {
            namespaces: vec!["test".to_owned()],
            node_name: format!("HF{index:014X}"),
            ..SandboxOptions::default()
        });
        let nodes = SandboxCluster::start(options.collect(), true, &CancellationToken::new()).await.unwrap();
        let port = nodes.node(0).address().port();
        let client = holdfast::tasks::blocking(move || {
            Command::new(Path::new(VENV).join("bin/python"))
                .args(["-W", "ignore", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/client.py")])
                .args([port.to_string(), count.to_string()])
                .output()
                .map_err(|error| Error::permanent("client-not-run", error.to_string()))
        });
        let output = client.await.unwrap();
        let said =
            [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].join("\n");
        assert!(output.status.success(), "{count} nodes: {said}");
        assert!(said.contains("all as expected"), "{said}");
        assert!(nodes.node(0).is_empty("test"));
    }
}
