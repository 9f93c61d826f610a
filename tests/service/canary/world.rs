//! A world in which every field that may hold a secret holds a known one, and the program in it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast::api::token_hash;
use holdfast::sandbox::{
    Bin, Sandbox, SandboxOptions, SandboxRecord, SandboxSecurity, SandboxTls, SandboxUser, digest_of,
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio_util::sync::CancellationToken;

use super::needles::Said;
use crate::s3_server::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::tls::certificates::Certificates;

/// How long a test waits for what must happen; only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_mins(2);

pub const RECORDS: i64 = 200;
const USER: &str = "backup-user";

pub const PASSWORD: &str = "CanaryClusterPassword41";
pub const NODE_KEY_PASSWORD: &str = "CanaryNodeKeyPassword42";
const HTTPS_KEY_PASSWORD: &str = "CanaryHttpsKeyPassword43";
pub const TOKEN: &str = "hft_CanaryBearerToken44";
/// In base64, as Azure's are.
pub const ACCOUNT_KEY: &str = "Q2FuYXJ5QWNjb3VudEtleTQ1";
pub const TENANT: &str = "CanaryTenantId46";
pub const CLIENT: &str = "CanaryClientId47";
pub const CLIENT_SECRET: &str = "CanaryClientSecret48";
/// What a secret agent gives for the password of a cluster.
const AGENT_PASSWORD: &str = "CanaryAgentPassword49";
/// What a cloud gives for a key or a secret, to be shown with each request.
const CLOUD_TOKEN: &str = "CanaryCloudToken62";
/// A line of the key in `tests/data/service_account.pem`.
pub const GCP_KEY_LINE: &str = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC22OrU5z9VYxVo";
/// What files are encrypted with.
const FILE_KEY: &str = include_str!("../../data/rsa_pkcs8.pem");

/// Where each field of `config::secret_fields` has which secret.
pub fn planted() -> BTreeMap<&'static str, &'static str> {
    let file_key = FILE_KEY.lines().nth(1).unwrap();
    BTreeMap::from([
        ("service.https.key-file-password", HTTPS_KEY_PASSWORD),
        ("aerospike-clusters.*.credentials.password", PASSWORD),
        ("aerospike-clusters.*.tls.key-file-password", NODE_KEY_PASSWORD),
        ("storage.*.s3-storage.access-key-id", ACCESS_KEY),
        ("storage.*.s3-storage.secret-access-key", SECRET_KEY),
        ("storage.*.azure-storage.account-key", ACCOUNT_KEY),
        ("storage.*.azure-storage.tenant-id", TENANT),
        ("storage.*.azure-storage.client-id", CLIENT),
        ("storage.*.azure-storage.client-secret", CLIENT_SECRET),
        ("storage.*.gcp-storage.key", GCP_KEY_LINE),
        // Only references may stand in these: this is what they lead to.
        ("backup-policies.*.encryption.key-secret", file_key),
        ("restore.policy.encryption.key-secret", file_key),
    ])
}

/// What is in no field of the configuration.
pub fn beside() -> [(&'static str, &'static str); 3] {
    [
        ("the caller's token", TOKEN),
        ("the agent's password", AGENT_PASSWORD),
        ("the token that a cloud gave", CLOUD_TOKEN),
    ]
}

/// Nodes, storages and agents of this process, and the program in one of its own.
pub struct World {
    pub dir: tempfile::TempDir,
    pub files: Certificates,
    pub node: Sandbox,
    pub s3: S3Server,
    pub config: Value,
    pub said: Said,
    agent_port: u16,
    /// The address of [`cloud`].
    cloud: String,
    /// Where nobody answers yet.
    away: Option<Socket>,
    away_port: u16,
    program: Option<Child>,
    base: String,
    client: reqwest::Client,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // Both fail when it has ended already.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

impl World {
    pub async fn start() -> Self {
        let files = Certificates::new("node.test");
        let tls = SandboxTls { config: Arc::new(files.server(true)), name: "node.test".into() };
        encrypt(&files, "client.key", NODE_KEY_PASSWORD);
        encrypt(&files, "server.key", HTTPS_KEY_PASSWORD);
        let user = |name: &str, password: &str| SandboxUser {
            name: name.into(),
            password: password.into(),
            external: true,
        };
        let security = SandboxSecurity {
            users: vec![user(USER, PASSWORD), user("of-agent", AGENT_PASSWORD)],
            session_ttl_s: 3600,
            pki: false,
        };
        let namespaces = ["source", "target"].map(str::to_owned).to_vec();
        let options = SandboxOptions {
            namespaces,
            security: Some(security),
            tls: Some(tls),
            ..SandboxOptions::default()
        };
        let node = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
        for key in 0..RECORDS {
            node.put("source", record(key)).unwrap();
        }
        let agent_port = agent();
        let away = away();
        let away_port = away.local_addr().unwrap().as_socket().unwrap().port();
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            s3: S3Server::start().await,
            config: Value::Null,
            said: Said::default(),
            program: None,
            base: String::new(),
            client: reqwest::Client::new(),
            files,
            node,
            agent_port,
            cloud: cloud(),
            away: Some(away),
            away_port,
        };
        world.config = world.document();
        world.serve();
        world
    }

    pub fn cluster(&self, credentials: &Value) -> Value {
        let path = |file: &str| self.files.path(file);
        json!({
            "seed-nodes": [{"host-name": "127.0.0.1", "port": self.node.address().port(), "tls-name": "node.test"}],
            "conn-timeout": 20_000,
            "credentials": credentials,
            "tls": {
                "ca-file": path("ca.pem"), "cert-file": path("client.pem"), "key-file": path("client.key"),
                "key-file-password": NODE_KEY_PASSWORD, "protocols": "all",
            },
        })
    }

    pub fn credentials(password: &str) -> Value {
        json!({"user": USER, "password": password, "auth-mode": "EXTERNAL"})
    }

    pub fn bucket(id: &str, key: &str, endpoint: &str) -> Value {
        json!({"s3-storage": {
            "bucket": BUCKET, "path": "backups", "s3-region": "eu-central-1", "s3-endpoint-override": endpoint,
            "access-key-id": id, "secret-access-key": key, "s3-log-level": "TRACE",
        }})
    }

    pub fn azure(&self) -> Value {
        json!({"azure-storage": {
            "endpoint": self.cloud, "container-name": "backups",
            "account-name": "account", "account-key": ACCOUNT_KEY,
        }})
    }

    pub fn principal(&self) -> Value {
        json!({"azure-storage": {
            "endpoint": self.cloud, "container-name": "backups",
            "tenant-id": TENANT, "client-id": CLIENT, "client-secret": CLIENT_SECRET,
        }})
    }

    pub fn gcp(&self) -> Value {
        let key = json!({
            "type": "service_account",
            "private_key_id": "1",
            "private_key": include_str!("../../data/service_account.pem"),
            "client_email": "a@b.test",
            "token_uri": format!("{}/token", self.cloud),
        });
        json!({"gcp-storage": {"bucket-name": "backups", "endpoint": self.cloud, "key": key.to_string()}})
    }

    pub fn agent(&self) -> Value {
        json!({"connection-type": "tcp", "address": "127.0.0.1", "port": self.agent_port})
    }

    fn document(&self) -> Value {
        let path = |file: &str| self.files.path(file);
        let routine = |cluster: &str, storage: &str| {
            // Triggers only.
            json!({"source-cluster": cluster, "storage": storage, "backup-policy": "quick", "namespaces": ["source"],
                "interval-cron": "0 0 0 29 2 ?", "secret-agent": "keys"})
        };
        json!({
            "service": {
                "http": {"address": "127.0.0.1", "port": 0},
                "https": {"address": "127.0.0.1", "port": 0, "cert-file": path("server.pem"),
                    "key-file": path("server.key"), "key-file-password": HTTPS_KEY_PASSWORD},
                "auth": {"tokens": [{"name": "admin", "hash": token_hash(TOKEN), "role": "admin"}]},
                "logger": {"level": "TRACE", "format": "JSON", "stdout-writer": true,
                    "file-writer": {"filename": self.dir.path().join("logs/holdfast.log"), "maxsize": 5, "maxbackups": 0}},
                "state-dir": self.dir.path().join("state"),
            },
            "secret-agents": {"keys": self.agent()},
            "aerospike-clusters": {
                "node": self.cluster(&Self::credentials(PASSWORD)),
                "wrong": self.cluster(&Self::credentials("CanaryWrongPassword50")),
                "of-agent": self.cluster(&json!({"user": "of-agent", "password": "secrets:r:password",
                    "auth-mode": "EXTERNAL", "secret-agent-name": "keys"})),
            },
            "storage": {
                "s3": Self::bucket(ACCESS_KEY, SECRET_KEY, &self.s3.url),
                "s3-wrong": Self::bucket("CanaryWrongKeyId51", "CanaryWrongSecretKey52", &self.s3.url),
                "s3-away": Self::bucket(ACCESS_KEY, SECRET_KEY, &format!("http://127.0.0.1:{}", self.away_port)),
                "azure": self.azure(),
                "principal": self.principal(),
                "gcp": self.gcp(),
            },
            "backup-policies": {"quick": {
                "parallel": 1, "clock-skew-margin": 100,
                "retry-policy": {"base-timeout": 1, "multiplier": 1, "max-retries": 0},
                "encryption": {"mode": "AES256", "key-secret": "secrets:r:file-key"},
            }},
            "backup-routines": {
                "good": routine("node", "s3"),
                "by-agent": routine("of-agent", "s3"),
                "wrong-password": routine("wrong", "s3"),
                "wrong-key": routine("node", "s3-wrong"),
                "away": routine("node", "s3-away"),
                "azure": routine("node", "azure"),
                "principal": routine("node", "principal"),
                "gcp": routine("node", "gcp"),
            },
        })
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("holdfast.yaml")
    }

    fn stdout_path(&self) -> PathBuf {
        self.dir.path().join("stdout")
    }

    fn serve(&mut self) {
        // YAML is more than JSON.
        std::fs::write(self.config_path(), format!("{:#}\n", self.config)).unwrap();
        let out = |file: PathBuf| Stdio::from(std::fs::File::create(file).unwrap());
        let program = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["serve", "--config"])
            .arg(self.config_path())
            .env_remove("RUST_LOG")
            .env("AZURE_AUTHORITY_HOST", &self.cloud)
            .stdout(out(self.stdout_path()))
            .stderr(out(self.dir.path().join("stderr")))
            .spawn()
            .unwrap();
        self.program = Some(program);
        let started = std::time::Instant::now();
        loop {
            let log = std::fs::read_to_string(self.stdout_path()).unwrap();
            let mut lines = log.lines().filter(|line| line.contains("\"serving http\""));
            let event = lines.next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(address) = event.as_ref().and_then(|event| event["fields"]["address"].as_str()) {
                self.base = format!("http://{address}");
                return;
            }
            let errors = std::fs::read_to_string(self.dir.path().join("stderr")).unwrap();
            assert!(errors.is_empty() && started.elapsed() < PATIENCE, "it does not serve: {errors}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One request, whose answer is noted, headers too.
    pub async fn ask(&mut self, method: &str, path: &str, body: impl Into<String>) -> (u16, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        let request = request.header("x-request-id", "ControlRequestId");
        let answer = request.bearer_auth(TOKEN).body(body.into()).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let text = answer.text().await.unwrap();
        self.said.add(format!("api {method} {path}"), format!("{headers}\n{text}\n"));
        (status, text)
    }

    /// Waits until the storage that is away was not reached and is tried again: what is said of that is in the log then, and is
    /// what a job would end with in a minute. From then on the storage answers that it is to be asked in an hour: so nobody tries on.
    pub async fn give_up(&mut self) {
        let started = std::time::Instant::now();
        let tried = |log: &str| {
            log.lines().any(|line| line.contains("trying again") && line.contains("onnection refused"))
        };
        while !tried(&std::fs::read_to_string(self.stdout_path()).unwrap()) {
            assert!(started.elapsed() < PATIENCE, "it is not tried again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let away = self.away.take().unwrap();
        away.listen(16).unwrap();
        serve(away.into(), |_| {
            let error = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
            ("503 Slow Down", "content-type: application/xml\r\nretry-after: 3600", error.to_owned())
        });
    }

    /// Waits for a job's end: its status, and all of it.
    pub async fn ended(&mut self, id: &str) -> (String, Value) {
        let started = std::time::Instant::now();
        loop {
            let (_, text) = self.ask("GET", &format!("/v1/jobs/{id}"), "").await;
            let job: Value = serde_json::from_str(&text).unwrap();
            if !job["finished"].is_null() {
                return (job["status"].as_str().unwrap().to_owned(), job);
            }
            assert!(started.elapsed() < PATIENCE, "{job:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops the program, and takes all that it wrote to what was said.
    pub fn stop_and_collect(&mut self) {
        let mut program = self.program.take().unwrap();
        // While it runs, its store has a log of its own beside it.
        self.said.add_folder("state while it ran", &self.dir.path().join("state"));
        let told = Command::new("kill").arg("-TERM").arg(program.id().to_string()).status().unwrap();
        assert!(told.success() && program.wait().unwrap().success());
        let stdout = std::fs::read(self.stdout_path()).unwrap();
        self.said.add("log of standard output", stdout);
        self.said.add("standard error", std::fs::read(self.dir.path().join("stderr")).unwrap());
        self.said.add_folder("log file", &self.dir.path().join("logs"));
        self.said.add_folder("state", &self.dir.path().join("state"));
        let bucket = self.s3.bucket_dir();
        self.said.add_folder("storage", &bucket);
    }
}

fn record(key: i64) -> SandboxRecord {
    let key = key.to_be_bytes();
    SandboxRecord {
        digest: digest_of(b"customers", 1, &key),
        set: b"customers".to_vec(),
        key: None,
        bins: vec![Bin { name: b"n".to_vec(), kind: 1, value: key.to_vec() }],
        generation: 1,
        void_time: 0,
        last_update: holdfast::model::UnixMillis(1_790_000_000_000),
    }
}

/// Puts a password on a key.
pub fn encrypt(files: &Certificates, file: &str, password: &str) {
    let (_, key) = pkcs8::SecretDocument::read_pem_file(files.path(file)).unwrap();
    let key = pkcs8::PrivateKeyInfoRef::try_from(key.as_bytes()).unwrap();
    let salt = [7; 16];
    let scheme =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1000, &salt, [9; 16]).unwrap();
    let encrypted = key.encrypt_with_params(scheme, password).unwrap();
    files.write(file, &encrypted.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF).unwrap());
}

/// A double of a secret agent, which lives as long as this process: its port.
#[allow(clippy::disallowed_methods)] // it blocks, and ends with the test's process
fn agent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 8];
            if stream.read_exact(&mut head).is_err() {
                continue;
            }
            let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
            let mut question = vec![0; length];
            stream.read_exact(&mut question).unwrap();
            let question: Value = serde_json::from_slice(&question).unwrap();
            let answer = match question["SecretKey"].as_str().unwrap() {
                "password" => json!({"SecretValue": AGENT_PASSWORD}),
                "file-key" => json!({"SecretValue": FILE_KEY}),
                other => json!({"Error": format!("no {other}")}),
            };
            let answer = answer.to_string();
            stream.write_all(&head[..4]).unwrap();
            stream.write_all(&(answer.len() as u32).to_be_bytes()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

/// A double of the login services of Azure and Google Cloud, which give a token, and of their storage, which then refuses
/// everything; lives as long as this process: its address.
fn cloud() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    serve(listener, |head| {
        let token = json!({"access_token": CLOUD_TOKEN, "token_type": "Bearer", "expires_in": 3600});
        if head.lines().next().is_some_and(|line| line.contains("/token")) {
            ("200 OK", "content-type: application/json", token.to_string())
        } else {
            let error = "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>";
            ("403 Forbidden", "content-type: application/xml", error.to_owned())
        }
    });
    address
}

/// An address at which nobody answers.
fn away() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

/// Answers requests as long as this process lives.
#[allow(clippy::disallowed_methods)] // it blocks, and ends with the test's process
fn serve(
    listener: TcpListener,
    says: impl Fn(&str) -> (&'static str, &'static str, String) + Send + 'static,
) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |digits| digits.parse().unwrap())];
            let _ = stream.read_exact(&mut body);
            let (status, header, body) = says(&head);
            let answer = format!(
                "HTTP/1.1 {status}\r\n{header}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

/// Whether a document has `text` at a path of keys, where `*` is any key.
pub fn has_at(document: &Value, path: &str, text: &str) -> bool {
    let Some((key, rest)) = path.split_once('.') else {
        return document[path].as_str().is_some_and(|value| value.contains(text));
    };
    match key {
        "*" => document.as_object().is_some_and(|all| all.values().any(|one| has_at(one, rest, text))),
        key => has_at(&document[key], rest, text),
    }
}
