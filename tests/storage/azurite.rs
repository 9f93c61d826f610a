//! Azurite, a real server of Azure's blob service.

use holdfast::config::{AzureConfig, AzureIdentity, AzureStorageTiers, PART_BYTES};
use holdfast::secrets::SecretSource;
use sha2::{Digest, Sha256};

use crate::server::{Server, free_port};

pub const ACCOUNT: &str = "holdfasttests";
pub const CONTAINER: &str = "backups";

pub struct Azurite {
    pub endpoint: String,
    pub port: u16,
    /// Of the account, in base64.
    pub key: String,
    server: Server,
}

impl Azurite {
    /// With an empty [`CONTAINER`].
    pub async fn start() -> Self {
        let raw: [u8; 64] = std::array::from_fn(|_| rand::random());
        let key = base64_simd::STANDARD.encode_to_string(raw);
        let accounts = format!("{ACCOUNT}:{key}");
        let port = free_port(0);
        let mut server = Server::start("azurite-blob", &[("AZURITE_ACCOUNTS", &accounts)], |dir| {
            let fixed = "--blobHost 127.0.0.1 --silent --skipApiVersionCheck --disableTelemetry";
            let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
            arguments.extend(["--blobPort".into(), port.to_string()]);
            arguments.extend(["--location".into(), dir.display().to_string()]);
            arguments
        });
        let client = reqwest::Client::new();
        let endpoint = format!("http://127.0.0.1:{port}/{ACCOUNT}");
        server.until(|| async { client.get(&endpoint).send().await.is_ok() }).await;
        let azurite = Self { endpoint, port, key, server };
        let made = azurite.signed_put(&format!("{CONTAINER}?restype=container")).await;
        assert_eq!(made, 201, "make the container in {}", azurite.server.dir.path().display());
        azurite
    }

    /// A PUT without a body, with the account's key; its status.
    async fn signed_put(&self, target: &str) -> u16 {
        let date = httpdate(holdfast::clock::Clock::now(&holdfast::clock::SystemClock).0);
        let version = "2021-12-02";
        let (path, query) = target.split_once('?').unwrap();
        let (name, value) = query.split_once('=').unwrap();
        let headers = format!("x-ms-date:{date}\nx-ms-version:{version}\n");
        let resource = format!("/{ACCOUNT}/{ACCOUNT}/{path}\n{name}:{value}");
        let text = format!("PUT\n\n\n\n\n\n\n\n\n\n\n\n{headers}{resource}");
        let key = base64_simd::STANDARD.decode_to_vec(&self.key).unwrap();
        let signature = base64_simd::STANDARD.encode_to_string(hmac_sha256(&key, text.as_bytes()));
        let request = reqwest::Client::new()
            .put(format!("{}/{target}", self.endpoint))
            .header("x-ms-date", date)
            .header("x-ms-version", version)
            .header("content-length", 0)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"));
        request.send().await.unwrap().status().as_u16()
    }

    /// The container below `path`, with the account's key, in small parts.
    pub fn config(&self, path: &str) -> AzureConfig {
        AzureConfig {
            endpoint: self.endpoint.clone(),
            container: CONTAINER.to_owned(),
            path: path.to_owned(),
            identity: AzureIdentity::Key { account: ACCOUNT.to_owned(), key: self.key_file(&self.key) },
            part_bytes: PART_BYTES / 8,
            tiers: AzureStorageTiers::default(),
            ca_file: None,
            requests_per_second: 0,
        }
    }

    /// Where a key is kept.
    pub fn key_file(&self, key: &str) -> SecretSource {
        let path = self.server.dir.path().join(format!("key-{}", rand::random::<u64>()));
        std::fs::write(&path, key).unwrap();
        SecretSource::File(path)
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block.to_vec()
    };
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5C)[..], &inner[..]].concat()).into()
}

fn httpdate(at_ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at_ms).unwrap();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
