//! A server as a process of its own, which ends with the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How long a server may take to answer: it finds one that never does, and is no measure of speed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server and its folder; both go with it.
pub struct Server {
    pub dir: TempDir,
    child: Child,
}

impl Server {
    /// Starts `program` of the tools; `arguments` are given its folder.
    pub fn start(
        program: &str,
        environment: &[(&str, &str)],
        arguments: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let found = find(program).unwrap_or_else(|| {
            panic!("{program} is not installed: run scripts/tools, which needs Python 3 with venv, and npm of Node.js 20 or newer")
        });
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(found)
            .args(arguments(dir.path()))
            .envs(environment.iter().copied())
            .env("TMPDIR", dir.path())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    /// Waits until `is_up` says so.
    pub async fn until<F: Future<Output = bool>>(&mut self, mut is_up: impl FnMut() -> F) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_up().await {
                assert!(self.child.try_wait().unwrap().is_none(), "the server ended: {}", self.log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(waited.await.is_ok(), "the server does not answer: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On the path, else where `scripts/tools` puts it.
fn find(program: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools-venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([own]).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// A port that nobody listens on, nor on the one `more` above it; not among those that this machine gives out by itself.
pub fn free_port(more: u16) -> u16 {
    loop {
        let port = 10_000 + rand::random::<u16>() % 12_000;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + more) {
            return port;
        }
    }
}
