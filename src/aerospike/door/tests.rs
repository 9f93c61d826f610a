//! Logins and TLS against the sandbox: what only an enterprise server has is played there, and no such server was at hand.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Access, Tls};
use crate::aerospike::{AuthMode, Cluster, ClusterOptions, Login, Seed};
use crate::engine::aerospike::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::sample::{self, mixed};
use crate::sandbox::{
    Fault, Harm, Moment, SandboxCluster, SandboxOptions, SandboxSecurity, SandboxTls, SandboxUser,
};
use crate::secrets::test_agent::TestAgent;
use crate::secrets::{Keeper, Secret, SecretSource, StoredSecret};
use crate::tls::TlsFiles;
use crate::tls::test_certificates::Certificates;

const PASSWORD: &str = "hunter2-canary";

/// Nodes that share records and, if they are two, each other's partitions.
async fn nodes(count: usize, change: impl Fn(&mut SandboxOptions)) -> SandboxCluster {
    let options = (0..count).map(|index| {
        let mut options =
            SandboxOptions { node_name: format!("HF{index:014X}"), ..SandboxOptions::default() };
        change(&mut options);
        options
    });
    SandboxCluster::start(options.collect(), true, &CancellationToken::new()).await.unwrap()
}

fn secured(session_ttl_s: u32) -> SandboxSecurity {
    let user = |name: &str, external| SandboxUser { name: name.into(), password: PASSWORD.into(), external };
    SandboxSecurity { users: vec![user("bob", false), user("eve", true)], session_ttl_s, pki: true }
}

fn with_tls(certificates: &Certificates, asks_back: bool) -> SandboxTls {
    SandboxTls { config: Arc::new(certificates.server(asks_back)), name: "node.test".into() }
}

fn literal(password: &str) -> StoredSecret {
    let (keeper, mut secret) = (Keeper::default(), Secret::parse(password).unwrap());
    keeper.take(&mut secret);
    StoredSecret::new(SecretSource::of(secret.reference().unwrap(), None).unwrap(), keeper)
}

fn login(mode: AuthMode, user: &str, password: &str) -> Login {
    Login { mode, user: user.into(), password: Some(literal(password)) }
}

fn bob() -> Access {
    Access { login: Some(login(AuthMode::Internal, "bob", PASSWORD)), ..Access::default() }
}

fn trusting(certificates: &Certificates) -> Tls {
    Tls {
        files: TlsFiles { ca_file: Some(certificates.path("ca.pem")), ..TlsFiles::default() },
        name: Some("node.test".into()),
        ..Tls::default()
    }
}

async fn enter(nodes: &SandboxCluster, access: Access) -> Result<Cluster> {
    let seed = |port| Seed { host: "127.0.0.1".into(), port };
    // All nodes are seeds: a mistake must not be tried at each of them.
    let seeds = nodes.nodes().iter().map(|node| seed(node.address().port())).collect();
    let options = ClusterOptions { seeds, connect_timeout_ms: 20_000, label: "prod".into() };
    Cluster::enter(&options, access).await
}

async fn fill(cluster: &Cluster, count: i64) {
    let records: Vec<_> = (0..count).map(|key| mixed("demo", key, 1)).collect();
    sample::write(cluster, "test", &records).await.unwrap();
}

async fn count(cluster: &Cluster) -> usize {
    Snapshot::take(cluster, "test", &CancellationToken::new()).await.unwrap().0.len()
}

fn is_refused(error: &Error, code: &str, says: &[&str]) {
    let report = error.report();
    assert_eq!((error.code(), error.is_temporary()), (code, false), "{report}");
    assert!(says.iter().all(|part| report.contains(part)), "{report}");
    assert!(!report.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn each_node_is_logged_in_to_once_and_its_session_serves_every_connection() {
    let nodes = nodes(2, |options| options.security = Some(secured(3600))).await;
    let cluster = enter(&nodes, bob()).await.unwrap();
    fill(&cluster, 500).await;
    assert_eq!(count(&cluster).await, 500);
    for node in nodes.nodes() {
        assert_eq!(node.logins(), (1, 0));
    }
    let nobody = enter(&nodes, Access::default()).await.unwrap_err();
    is_refused(&nobody, "login-refused", &["\"prod\"", "asks who we are", "credentials"]);
}

#[tokio::test]
async fn credentials_that_will_not_do_are_named_and_tried_once() {
    let nodes = nodes(2, |options| options.security = Some(secured(0))).await;
    let of = |mode, user: &str, password: &str| Access {
        login: Some(login(mode, user, password)),
        ..Access::default()
    };
    for (user, password, code) in [("bob", "hunter2-wrong", "(65)"), ("joe", PASSWORD, "(60)")] {
        let before: u64 = nodes.nodes().iter().map(|node| node.logins().1).sum();
        let error = enter(&nodes, of(AuthMode::Internal, user, password)).await.unwrap_err();
        is_refused(&error, "login-refused", &["\"prod\"", &format!("user \"{user}\""), code, "credentials"]);
        let after: u64 = nodes.nodes().iter().map(|node| node.logins().1).sum();
        assert_eq!(after - before, 1, "an account may be locked after a few tries");
    }
}

#[tokio::test]
async fn a_server_without_users_says_so() {
    let nodes = nodes(1, |_| {}).await;
    let error = enter(&nodes, bob()).await.unwrap_err();
    is_refused(&error, "login-refused", &["security not supported (51)", "community edition"]);
}

#[tokio::test]
async fn a_session_that_has_ended_is_renewed_in_the_middle_of_work() {
    let nodes = nodes(2, |options| options.security = Some(secured(120))).await;
    let cluster = enter(&nodes, bob()).await.unwrap();
    fill(&cluster, 300).await;
    for node in nodes.nodes() {
        node.expire_sessions();
    }
    assert_eq!(count(&cluster).await, 300, "a scan, and the questions before and after it");
    for node in nodes.nodes() {
        node.expire_sessions();
    }
    let records: Vec<_> = (300..400).map(|key| mixed("demo", key, 1)).collect();
    sample::write(&cluster, "test", &records).await.unwrap();
    assert_eq!(count(&cluster).await, 400);
    for node in nodes.nodes() {
        assert_eq!((node.logins().0 >= 3, node.logins().1), (true, 0), "{:?}", node.logins());
    }
}

#[tokio::test]
async fn a_new_password_is_read_at_the_next_login() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    let nodes = nodes(1, |options| options.security = Some(secured(0))).await;
    let password = StoredSecret::new(SecretSource::File(path.clone()), Keeper::default());
    let login = Login { mode: AuthMode::Internal, user: "bob".into(), password: Some(password) };
    let cluster = enter(&nodes, Access { login: Some(login), ..Access::default() }).await.unwrap();
    nodes.node(0).set_password("bob", "hunter2-new");
    nodes.node(0).expire_sessions();
    let error = cluster.refresh().await.unwrap_err();
    is_refused(&error, "login-refused", &["(65)"]);
    std::fs::write(&path, "hunter2-new").unwrap();
    cluster.refresh().await.unwrap();
    assert_eq!(count(&cluster).await, 0);
    std::fs::remove_file(&path).unwrap();
    nodes.node(0).expire_sessions();
    is_refused(&cluster.refresh().await.unwrap_err(), "secret-missing", &["\"bob\"", "\"prod\""]);
}

/// The agent is a double (`secrets/test_agent.rs`).
#[tokio::test]
async fn a_password_is_asked_of_the_secret_agent_at_each_login() {
    let agent = TestAgent::tcp().await;
    let nodes = nodes(1, |options| options.security = Some(secured(0))).await;
    let source =
        SecretSource::Agent { resource: "r".into(), key: "k".into(), agent: Box::new(agent.options.clone()) };
    let password = StoredSecret::new(source, Keeper::default());
    let login = Login { mode: AuthMode::Internal, user: "bob".into(), password: Some(password) };
    let access = || Access { login: Some(login.clone()), ..Access::default() };
    let error = enter(&nodes, access()).await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("secret-agent-refused", true));
    agent.put("r", "k", PASSWORD);
    let cluster = enter(&nodes, access()).await.unwrap();
    agent.put("r", "k", "hunter2-new");
    cluster.refresh().await.expect("the session lasts");
    nodes.node(0).set_password("bob", "hunter2-new");
    nodes.node(0).expire_sessions();
    cluster.refresh().await.unwrap();
    assert_eq!(nodes.node(0).logins(), (2, 0));
}

#[tokio::test]
async fn an_external_password_and_a_certificate_go_over_tls() {
    let certificates = Certificates::new("node.test");
    let nodes = nodes(2, |options| {
        options.security = Some(secured(3600));
        options.tls = Some(with_tls(&certificates, true));
    })
    .await;
    let mut tls = trusting(&certificates);
    tls.files.cert_file = Some(certificates.path("client.pem"));
    tls.files.key_file = Some(certificates.path("client.key"));
    let access = |login| Access { login, tls: Some(tls.clone()), ..Access::default() };

    let cluster = enter(&nodes, access(Some(login(AuthMode::External, "eve", PASSWORD)))).await.unwrap();
    assert_eq!(cluster.nodes().await.len(), 2, "peers are asked for their TLS addresses and names");
    fill(&cluster, 500).await;
    let by_certificate = Login { mode: AuthMode::Pki, user: String::new(), password: None };
    let cluster = enter(&nodes, access(Some(by_certificate))).await.unwrap();
    assert_eq!(count(&cluster).await, 500);
    for node in nodes.nodes() {
        node.expire_sessions();
    }
    assert_eq!(count(&cluster).await, 500, "a session by certificate is renewed too");

    let error =
        enter(&nodes, access(Some(login(AuthMode::External, "eve", "hunter2-wrong")))).await.unwrap_err();
    is_refused(&error, "login-refused", &["user \"eve\"", "(65)"]);
    let nobody =
        Tls { files: TlsFiles { cert_file: None, key_file: None, ..tls.files.clone() }, ..tls.clone() };
    let error = enter(&nodes, Access { tls: Some(nobody), ..bob() }).await.unwrap_err();
    is_refused(&error, "tls-refused", &["\"prod\"", "does not accept our certificate"]);
    let in_clear = Access { login: Some(login(AuthMode::External, "eve", PASSWORD)), ..Access::default() };
    is_refused(&enter(&nodes, in_clear).await.unwrap_err(), "login-refused", &["need tls"]);
    let error = enter(&nodes, bob()).await.unwrap_err();
    assert!(matches!(error.code(), "cluster-unreachable" | "wire-malformed"), "in clear: {}", error.report());
}

#[tokio::test]
async fn certificates_are_looked_at_and_read_again_when_they_were_replaced() {
    let certificates = Certificates::new("node.test");
    let other = Certificates::new("node.test");
    let nodes = nodes(1, |options| options.tls = Some(with_tls(&certificates, false))).await;
    let with = |tls: Tls| Access { tls: Some(tls), ..Access::default() };
    let port = nodes.node(0).address().port();

    let wrong_name = Tls { name: Some("else.test".into()), ..trusting(&certificates) };
    let error = enter(&nodes, with(wrong_name.clone())).await.unwrap_err();
    is_refused(&error, "tls-refused", &["as \"else.test\"", "tls-name"]);
    let of_seed = vec![("127.0.0.1".to_owned(), port, "node.test".to_owned())];
    enter(&nodes, with(Tls { seed_names: of_seed, ..wrong_name })).await.unwrap();
    let by_host = Tls { name: None, ..trusting(&certificates) };
    enter(&nodes, with(by_host)).await.unwrap();
    let error = enter(&nodes, with(trusting(&other))).await.unwrap_err();
    is_refused(&error, "tls-refused", &["UnknownIssuer", "ca-file"]);

    // The cluster stays, the files change.
    let authority = std::fs::read_to_string(certificates.path("ca.pem")).unwrap();
    let cluster = enter(&nodes, with(trusting(&certificates))).await.unwrap();
    certificates.write("ca.pem", "half a fi");
    cluster.refresh().await.expect("files that are being replaced do not disturb");
    certificates.write("ca.pem", &std::fs::read_to_string(other.path("ca.pem")).unwrap());
    is_refused(&cluster.refresh().await.unwrap_err(), "tls-refused", &["UnknownIssuer"]);
    certificates.write("ca.pem", &format!("{authority}\n# again"));
    cluster.refresh().await.unwrap();
}

#[tokio::test]
async fn alternate_addresses_are_asked_for_where_the_others_lead_nowhere() {
    let nodes = nodes(2, |options| options.behind_alternate = true).await;
    let alternate = Access { services_alternate: true, ..Access::default() };
    let found = async |access| enter(&nodes, access).await.unwrap().nodes().await.len();
    assert_eq!((found(Access::default()).await, found(alternate).await), (1, 2));
}

#[tokio::test]
async fn a_cluster_of_another_name_is_not_entered() {
    let nodes = nodes(2, |options| options.cluster_name = "blue".into()).await;
    let named = |name: &str| Access { cluster_name: Some(name.into()), ..Access::default() };
    assert_eq!(enter(&nodes, named("blue")).await.unwrap().nodes().await.len(), 2);
    let error = enter(&nodes, named("green")).await.unwrap_err();
    is_refused(&error, "cluster-name-differs", &["must call itself \"green\"", "says \"blue\""]);
}

#[tokio::test]
async fn a_node_that_goes_in_the_middle_of_a_scan_costs_a_retry_with_tls_and_login_too() {
    let certificates = Certificates::new("node.test");
    let mut nodes = nodes(2, |options| {
        options.security = Some(secured(3600));
        options.tls = Some(with_tls(&certificates, false));
    })
    .await;
    let access = Access { tls: Some(trusting(&certificates)), ..bob() };
    let cluster = enter(&nodes, access).await.unwrap();
    fill(&cluster, 2000).await;
    let fault = nodes.node(1).plant(Fault::new(Moment::Record, Harm::Leave).at(100));
    assert_eq!(count(&cluster).await, 2000);
    assert_eq!(fault.struck(), 1);
    nodes.node_mut(1).bring_up().await.unwrap();
    cluster.refresh().await.unwrap();
    nodes.node(1).expire_sessions();
    assert_eq!(count(&cluster).await, 2000, "it is back, and has forgotten who we are");
}
