//! Clusters with users and TLS, played by the sandbox as no enterprise server was at hand: jobs log in again where that is
//! needed, and no password is found in anything that a service writes or says.

use std::path::Path;
use std::sync::Arc;

use holdfast::aerospike::{Access, AuthMode, Cluster, ClusterOptions, Login, Seed, Tls};
use holdfast::sample::mixed;
use holdfast::sandbox::{
    Fault, Harm, Moment, SandboxCluster, SandboxOptions, SandboxSecurity, SandboxTls, SandboxUser,
};
use holdfast::secrets::{Keeper, SecretSource, StoredSecret};
use holdfast::tls::TlsFiles;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::certificates::Certificates;
use crate::node::{Node, SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, point};

const RECORDS: i64 = 3000;
const USER: &str = "backup-user";
/// Looked for in all that a service writes and says.
const CANARY: &str = "canary-f3a91c";

/// Two nodes that know a user and speak TLS, and a service that has a password.
struct Guarded {
    nodes: SandboxCluster,
    bench: Bench,
    certificates: Certificates,
}

impl Guarded {
    /// `password`: what the service has; the right one is in a file, so that the canary is found only where it came from.
    async fn start(password: &str) -> Self {
        let certificates = Certificates::new("node.test");
        let options = (0..2).map(|index| SandboxOptions {
            namespaces: vec![SOURCE.to_owned(), TARGET.to_owned()],
            node_name: format!("HF{index:014X}"),
            max_record_bytes: 8 << 20,
            security: Some(SandboxSecurity {
                users: vec![SandboxUser { name: USER.into(), password: CANARY.into(), external: true }],
                session_ttl_s: 3600,
                pki: false,
            }),
            tls: Some(SandboxTls { config: Arc::new(certificates.server(true)), name: "node.test".into() }),
            ..SandboxOptions::default()
        });
        let nodes = SandboxCluster::start(options.collect(), true, &CancellationToken::new()).await.unwrap();
        let port = nodes.node(0).address().port();
        let node = Node::entered(enter(&certificates, port).await, "127.0.0.1", port);
        let records: Vec<_> = (0..RECORDS).map(|key| mixed("customers", key, 1)).collect();
        node.write(SOURCE, &records).await;
        let credentials = json!({"user": USER, "password": password, "auth-mode": "EXTERNAL"});
        let cluster = cluster(&nodes, &certificates, &credentials);
        let bench = Bench::on(node, |config| config["aerospike-clusters"]["node"] = cluster).await;
        Self { nodes, bench, certificates }
    }

    async fn is_restored(&self) {
        let source = self.bench.node.snapshot(SOURCE).await;
        assert_eq!(source.0.len(), RECORDS as usize);
        assert_eq!(self.bench.differences(&source).await, Vec::<String>::new());
    }

    /// The canary is in no answer of the API and in no file of the service, the job store among them.
    async fn tells_nobody(&self, jobs: &[i64]) {
        let mut paths: Vec<String> = jobs.iter().map(|id| format!("/v1/jobs/{id}")).collect();
        paths.extend(
            ["/v1/config", "/v1/config/clusters", "/v1/jobs", "/v1/restore/jobs", "/metrics"].map(Into::into),
        );
        for path in paths {
            let text = self.bench.text(&path).await;
            assert!(!text.contains(CANARY), "{path}: {text}");
        }
        let mut looked_at = 0;
        visit(self.bench.dir.path(), &mut |path| {
            let bytes = std::fs::read(path).unwrap();
            assert!(
                !bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()),
                "{}",
                path.display()
            );
            looked_at += 1;
        });
        assert!(looked_at > 5, "{looked_at} files");
    }
}

fn cluster(nodes: &SandboxCluster, certificates: &Certificates, credentials: &Value) -> Value {
    let seeds: Vec<Value> = nodes
        .nodes()
        .iter()
        .map(|node| json!({"host-name": "127.0.0.1", "port": node.address().port(), "tls-name": "node.test"}))
        .collect();
    json!({
        "seed-nodes": seeds,
        "conn-timeout": 20_000,
        "cluster-name": "sandbox",
        "credentials": credentials,
        "tls": {
            "ca-file": certificates.path("ca.pem"),
            "cert-file": certificates.path("client.pem"),
            "key-file": certificates.path("client.key"),
            "protocols": "all",
        },
    })
}

async fn enter(certificates: &Certificates, port: u16) -> Cluster {
    certificates.write("password", CANARY);
    let file = SecretSource::File(certificates.path("password"));
    let options = ClusterOptions {
        seeds: vec![Seed { host: "127.0.0.1".into(), port }],
        connect_timeout_ms: 20_000,
        label: "test".into(),
    };
    let files = TlsFiles {
        ca_file: Some(certificates.path("ca.pem")),
        cert_file: Some(certificates.path("client.pem")),
        key_file: Some(certificates.path("client.key")),
        ..TlsFiles::default()
    };
    let login = Login {
        mode: AuthMode::External,
        user: USER.into(),
        password: Some(StoredSecret::new(file, Keeper::default())),
    };
    let access = Access {
        login: Some(login),
        tls: Some(Tls { files, name: Some("node.test".into()), ..Tls::default() }),
        ..Access::default()
    };
    Cluster::enter(&options, access).await.unwrap()
}

fn visit(dir: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { visit(&path, each) } else { each(&path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_and_ended_sessions_cost_a_retry_and_the_password_stays_with_us() {
    let mut guarded = Guarded::start(CANARY).await;
    let lost = guarded.nodes.node(1).plant(Fault::new(Moment::Record, Harm::Leave).at(300));
    let job = guarded.bench.back_up("full").await;
    assert_eq!(lost.struck(), 1);
    assert_eq!(job["attempts"][SOURCE].as_array().unwrap().last().unwrap()["record-count"], RECORDS);
    guarded.nodes.node_mut(1).bring_up().await.unwrap();
    guarded.bench.node.cluster.refresh().await.unwrap();

    // By another cluster of the same nodes, which stands in the request with its password (abs.md 7.9).
    for node in guarded.nodes.nodes() {
        node.expire_sessions();
    }
    let credentials = json!({"user": USER, "password": CANARY, "auth-mode": "EXTERNAL"});
    let destination = cluster(&guarded.nodes, &guarded.certificates, &credentials);
    let lost = guarded.nodes.node(1).plant(Fault::new(Moment::Row, Harm::Leave).at(200));
    let retries = json!({"retry-policy": {"base-timeout": 20, "multiplier": 1, "max-retries": 8}});
    let more = json!({"destination": destination, "policy": retries});
    let restored = guarded.bench.restore_to(point(&job), more).await.ok();
    assert_eq!((restored.records("inserted"), lost.struck()), (RECORDS as u64, 1), "{restored:#?}");
    guarded.bench.node.cluster.refresh().await.unwrap();
    guarded.is_restored().await;
    let refused: u64 = guarded.nodes.nodes().iter().map(|node| node.logins().1).sum();
    assert_eq!(refused, 0);
    guarded.tells_nobody(&[job["id"].as_i64().unwrap(), restored.job["id"].as_i64().unwrap()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_job_at_once_and_names_the_user_only() {
    let wrong = format!("{CANARY}-not");
    let guarded = Guarded::start(&wrong).await;
    let job = guarded.bench.run("full", ROUTINE).await;
    let error = &job["error"];
    assert_eq!((&job["status"], &error["code"]), (&json!("failed"), &json!("login-refused")), "{job:#}");
    let text = error["message"].as_str().unwrap();
    assert!(text.contains(USER) && text.contains("\"node\"") && text.contains("(65)"), "{text}");
    let refused: u64 = guarded.nodes.nodes().iter().map(|node| node.logins().1).sum();
    assert_eq!(refused, 1, "an account may be locked after a few tries");
    assert!(!job.to_string().contains(CANARY));
    let shown = guarded.bench.text("/v1/config").await;
    assert!(shown.contains("[secret]") && !shown.contains(CANARY), "{shown}");
}
