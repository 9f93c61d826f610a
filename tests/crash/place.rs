//! Where a service lives: its configuration, store, storage and log, and a prepared copy to start over from.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;

use crate::world::World;

pub const ROUTINE: &str = "daily";

/// A schedule that does not fire while a test runs.
pub const NEVER: &str = "0 0 0 29 2 ?";

pub struct Place {
    pub dir: TempDir,
    pub config: Value,
    /// Its storage is a bucket, whose objects lie there all the same; a bucket has no folders.
    pub is_bucket: bool,
}

impl Place {
    /// A service with one routine of these namespaces, which nothing fires by itself.
    pub fn new(world: &World, namespaces: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        let config = json!({
            "service": {
                "http": {"port": 0},
                "shutdown-grace": 0,
                "logger": {"format": "JSON"},
                "state-dir": work.join("state"),
            },
            "aerospike-clusters": {
                "node": {"seed-nodes": [{"host-name": "127.0.0.1", "port": world.port}], "conn-timeout": 5000}
            },
            "storage": {"disk": {"local-storage": {"path": work.join("backups")}}},
            "backup-policies": {"quick": {
                "parallel": 2,
                "parallel-write": 2,
                "clock-skew-margin": 0,
                "retry-policy": {"base-timeout": 10, "multiplier": 1, "max-retries": 2},
            }},
            "backup-routines": {ROUTINE: {
                "source-cluster": "node",
                "storage": "disk",
                "backup-policy": "quick",
                "namespaces": namespaces,
                "interval-cron": NEVER,
                "catch-up-window": 2 * 86_400_000,
            }},
        });
        let place = Self { dir, config, is_bucket: false };
        place.write_config();
        place
    }

    /// Changes the routine, or with `policy` its policy.
    pub fn set(&mut self, section: &str, name: &str, key: &str, value: Value) {
        self.config[section][name][key] = value;
        self.write_config();
    }

    pub fn write_config(&self) {
        std::fs::write(self.config_path(), self.config.to_string()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("holdfast.yaml")
    }

    pub fn state(&self) -> PathBuf {
        self.path("work").join("state")
    }

    pub fn storage(&self) -> PathBuf {
        self.path("work").join("backups")
    }

    /// Where a copy goes.
    pub fn copies(&self) -> PathBuf {
        self.path("work").join("copies")
    }

    /// Faults happen while this file exists, for those that wait for it.
    pub fn armed(&self) -> PathBuf {
        self.path("armed")
    }

    pub fn arm(&self) {
        std::fs::write(self.armed(), "").unwrap();
    }

    pub fn arm_if(&self, armed: bool) {
        if armed {
            self.arm();
        }
    }

    pub fn disarm(&self) {
        let _ = std::fs::remove_file(self.armed());
    }

    /// The counted calls, one to a line: number, name, place.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Keeps what is there now as what [`Place::reset`] goes back to.
    pub fn keep(&self) {
        let _ = std::fs::remove_dir_all(self.path("prepared"));
        copy_tree(&self.path("work"), &self.path("prepared"));
    }

    /// Goes back to what was kept; log and counted calls are empty.
    pub fn reset(&self) {
        let _ = std::fs::remove_dir_all(self.path("work"));
        if self.path("prepared").exists() {
            copy_tree(&self.path("prepared"), &self.path("work"));
        }
        for name in ["calls", "log", "armed"] {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    /// Lets the marks of the schedules lie a day back, so that the next start finds one missed slot and fires it.
    pub async fn miss_a_slot(&self) {
        let options = SqliteConnectOptions::new().filename(self.state().join("holdfast.db"));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        sqlx::query("UPDATE schedules SET mark_ms = mark_ms - 86400000, effective_from_ms = effective_from_ms - 172800000")
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }

    /// A copy of the store, opened: looking at the one in place would recover it, which is the service's to do.
    pub async fn store_copy(&self) -> (TempDir, SqlitePool) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["holdfast.db", "holdfast.db-wal"] {
            let from = self.state().join(name);
            if from.exists() {
                std::fs::copy(from, dir.path().join(name)).unwrap();
            }
        }
        let options =
            SqliteConnectOptions::new().filename(dir.path().join("holdfast.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        (dir, pool)
    }

    /// How many finished files of a backup that was cut off the store knows; call it while no service runs.
    pub async fn noted_files(&self) -> i64 {
        let (_dir, pool) = self.store_copy().await;
        let noted =
            sqlx::query_scalar("SELECT count(*) FROM checkpoint_files").fetch_one(&pool).await.unwrap();
        pool.close().await;
        noted
    }

    /// What SQLite says of the store; call it while no service runs.
    pub async fn integrity(&self) -> String {
        let (_dir, pool) = self.store_copy().await;
        let found: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&pool).await.unwrap();
        pool.close().await;
        found
    }

    /// The end of the log, for a test that fails.
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(self.path("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
