//! SeaweedFS, a real server of Google's XML interface as far as a bucket is concerned; it knows nobody and lets everybody in.

use holdfast::config::{GcpConfig, GcpIdentity, PART_BYTES};

use crate::server::{Server, free_port};

pub const BUCKET: &str = "backups";

/// A key that asks for no tokens.
pub const NO_KEY: &str =
    r#"{"disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}"#;

pub struct Google {
    pub endpoint: String,
    pub port: u16,
    pub server: Server,
}

impl Google {
    /// With an empty [`BUCKET`].
    pub async fn start() -> Self {
        // Each port takes the one 10,000 above it too.
        let ports = [(); 4].map(|()| free_port(10_000));
        let [main, master, volume, filer] = ports;
        let mut server = Server::start("weed", &[("GOMEMLIMIT", "300MiB"), ("GOGC", "50")], |dir| {
            let fixed = "server -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port.iceberg=0 -s3.port.lance=0 \
                         -master.volumeSizeLimitMB=128 -volume.max=40";
            let mut arguments: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
            let own =
                [("s3.port", main), ("master.port", master), ("volume.port", volume), ("filer.port", filer)];
            arguments.extend(own.map(|(name, port)| format!("-{name}={port}")));
            arguments.push(format!("-dir={}", dir.display()));
            arguments
        });
        let client = reqwest::Client::new();
        let endpoint = format!("http://127.0.0.1:{main}");
        let bucket = format!("{endpoint}/{BUCKET}");
        server
            .until(|| async {
                let made = client.put(&bucket).send().await;
                made.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        let key = server.dir.path().join("key.json");
        std::fs::write(key, NO_KEY).unwrap();
        Self { endpoint, port: main, server }
    }

    /// The bucket below `path`, in the smallest parts.
    pub fn config(&self, path: &str) -> GcpConfig {
        GcpConfig {
            bucket: BUCKET.to_owned(),
            path: path.to_owned(),
            identity: GcpIdentity::KeyFile(self.server.dir.path().join("key.json")),
            endpoint: self.endpoint.clone(),
            part_bytes: PART_BYTES * 5 / 8,
            class: None,
            ca_file: None,
            requests_per_second: 0,
        }
    }
}
