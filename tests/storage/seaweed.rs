//! SeaweedFS: a server of S3's language, in a folder of its own.

use std::sync::Arc;

use holdfast::clock::{SharedClock, SystemClock};
use holdfast::config::{Config, StoragePlace};
use holdfast::storage::S3Storage;
use holdfast::storage::retry::{MachinePace, Pace};
use serde_json::{Value, json};

use crate::server::{Server, free_port};

pub const ACCESS_KEY: &str = "AKIDOFTESTS";
pub const SECRET_KEY: &str = "secret-of-tests";
pub const BUCKET: &str = "backups";

/// The server, which knows one key.
pub struct Seaweed {
    pub url: String,
    pub port: u16,
    server: Server,
}

impl Seaweed {
    /// With one empty bucket.
    pub async fn start() -> Self {
        Self::start_with(128).await
    }

    /// As [`Seaweed::start`], with 40 volumes of so many MiB, which take room as they are filled.
    pub async fn start_with(volume_mib: u32) -> Self {
        // Each port takes the one 10,000 above it too.
        let [s3, master, volume, filer] = [(); 4].map(|()| free_port(10_000));
        let server = Server::start("weed", &[("GOMEMLIMIT", "300MiB"), ("GOGC", "50")], |dir| {
            let identities = json!({"identities": [{
                "name": "tests",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }]});
            let keys = dir.join("s3.json");
            std::fs::write(&keys, identities.to_string()).unwrap();
            let fixed = "server -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port.iceberg=0 -s3.port.lance=0 -volume.max=40";
            let mut arguments: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
            let own =
                [("s3.port", s3), ("master.port", master), ("volume.port", volume), ("filer.port", filer)];
            arguments.extend(own.map(|(name, port)| format!("-{name}={port}")));
            arguments.push(format!("-master.volumeSizeLimitMB={volume_mib}"));
            arguments.push(format!("-dir={}", dir.display()));
            arguments.push(format!("-s3.config={}", keys.display()));
            arguments
        });
        let mut seaweed = Self { url: format!("http://127.0.0.1:{s3}"), port: s3, server };
        seaweed.make_bucket().await;
        seaweed
    }

    /// Until it is there, and so is the bucket.
    async fn make_bucket(&mut self) {
        let client = self.client();
        let made = || async { client.create_bucket().bucket(BUCKET).send().await.is_ok() };
        self.server.until(made).await;
    }

    /// A client that is none of ours.
    fn client(&self) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
        aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(Region::new("us-east-1"))
                .endpoint_url(&self.url)
                .force_path_style(true)
                .retry_config(RetryConfig::disabled())
                .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "tests"))
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build(),
        )
    }

    /// How many uploads the server lists as open.
    pub async fn open_uploads(&self) -> usize {
        self.client().list_multipart_uploads().bucket(BUCKET).send().await.unwrap().uploads().len()
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
        self.storage_by(more, None, Arc::new(MachinePace::default())).await
    }

    /// As [`Seaweed::storage`], perhaps by another port of this machine, and with the pace of its retries.
    pub async fn storage_by(&self, more: &Value, port: Option<u16>, pace: Arc<dyn Pace>) -> S3Storage {
        let clock: SharedClock = Arc::new(SystemClock);
        let mut section = self.section(more);
        if let Some(port) = port {
            section["s3-storage"]["s3-endpoint-override"] = json!(format!("http://127.0.0.1:{port}"));
        }
        let document = json!({"storage": {"s": section}}).to_string();
        let config =
            Config::parse(&document, "test", clock.now()).unwrap_or_else(|problems| panic!("{problems}"));
        let StoragePlace::S3(s3) = config.storage("s").unwrap().place else { panic!("not S3") };
        S3Storage::with_pace(&s3, &config.keeper(), &clock, pace).await.unwrap()
    }
}
