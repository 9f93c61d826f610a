//! SeaweedFS: a server of S3's language, in a folder of its own.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::{SharedClock, SystemClock};
use holdfast::config::{Config, S3Config, StoragePlace};
use holdfast::secrets::Keeper;
use holdfast::storage::{S3Storage, Storage};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{free_port, program};

const ACCESS_KEY: &str = "AKIDOFTESTS";
const SECRET_KEY: &str = "secret-of-tests";
pub const BUCKET: &str = "backups";
/// How long it may take to come up on a busy machine; it takes 3 to 5 s.
const PATIENCE: Duration = Duration::from_mins(2);

/// The server; it is killed with its value, as it takes up to 50 s to end by itself.
pub struct Seaweed {
    pub url: String,
    process: Child,
    _dir: TempDir,
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Seaweed {
    /// With one empty bucket; none if it is not wanted.
    pub async fn start() -> Option<Self> {
        let weed = program("HOLDFAST_TEST_SEAWEEDFS", "weed")?;
        let dir = tempfile::tempdir().unwrap();
        let identities = json!({"identities": [{
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        std::fs::write(dir.path().join("s3.json"), identities.to_string()).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let [s3, master, volume, filer] = [(); 4].map(|()| free_port());
        let log = File::create(dir.path().join("log")).unwrap();
        let process = Command::new(weed)
            .env("GOMEMLIMIT", "300MiB")
            .env("GOGC", "50")
            .arg("server")
            .arg(format!("-dir={}", data.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.config={}", dir.path().join("s3.json").display()))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .args(["-master.volumeSizeLimitMB=128", "-volume.max=40"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let seaweed = Self { url: format!("http://127.0.0.1:{s3}"), process, _dir: dir };
        seaweed.make_bucket().await;
        Some(seaweed)
    }

    /// Until it is there, and so is the bucket.
    async fn make_bucket(&self) {
        use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
        let client = aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(Region::new("us-east-1"))
                .endpoint_url(&self.url)
                .force_path_style(true)
                .retry_config(RetryConfig::disabled())
                .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "tests"))
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build(),
        );
        let made = tokio::time::timeout(PATIENCE, async {
            while client.create_bucket().bucket(BUCKET).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        made.await.expect("SeaweedFS has not come up");
    }

    /// As a storage of a configuration; `more` is laid over it.
    pub fn section(&self, more: &Value) -> Value {
        let mut section = json!({
            "bucket": BUCKET, "s3-region": "us-east-1", "s3-endpoint-override": self.url,
            "access-key-id": ACCESS_KEY, "secret-access-key": SECRET_KEY,
        });
        for (key, value) in more.as_object().unwrap() {
            section[key] = value.clone();
        }
        json!({"s3-storage": section})
    }

    /// The storage of such a section.
    pub async fn storage(&self, more: &Value) -> S3Storage {
        let clock: SharedClock = Arc::new(SystemClock);
        let document = json!({"storage": {"s": self.section(more)}}).to_string();
        let config =
            Config::parse(&document, "test", clock.now()).unwrap_or_else(|problems| panic!("{problems}"));
        let StoragePlace::S3(s3) = config.storage("s").unwrap().place else { panic!("not S3") };
        let s3: S3Config = *s3;
        let keeper: Keeper = config.keeper();
        let storage = S3Storage::open(&s3, &keeper, &clock).await.unwrap();
        assert!(storage.describe().contains(&self.url));
        storage
    }
}
