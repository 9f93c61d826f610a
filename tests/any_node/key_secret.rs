//! Backups encrypted with a key of a secret agent, end to end (rules.md 7.4). The agent is a double, as the secrets' own
//! tests have it.

use std::time::Duration;

use holdfast::sample::mixed;
use holdfast::secrets::AgentPlace;
use serde_json::{Value, json};

use crate::agent::TestAgent;
use crate::encryption::{KEY, key_file, no_key_is_left};
use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, PATIENCE, ROUTINE, point, warnings};

const REFERENCE: &str = "secrets:backup:key";

/// The agent as a document names it.
fn document(agent: &TestAgent) -> Value {
    let AgentPlace::Tcp { host, port, .. } = &agent.options.place else { panic!("not at a port") };
    // A machine that is busy is no agent that is away.
    json!({"connection-type": "tcp", "address": host, "port": port, "timeout": 20_000})
}

/// A service whose routine takes its key from `agent`.
async fn bench(agent: &TestAgent, change: impl FnOnce(&mut Value)) -> Bench {
    Bench::with(|config| {
        config["secret-agents"] = json!({"vault": document(agent)});
        let policy = &mut config["backup-policies"]["quick"];
        policy["encryption"] = json!({"mode": "AES256", "key-secret": REFERENCE});
        config["backup-routines"][ROUTINE]["secret-agent"] = json!("vault");
        change(config);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_agent_encrypts_verifies_and_restores() {
    let agent = TestAgent::tcp().await;
    agent.put("backup", "key", KEY);
    let bench = bench(&agent, |config| {
        config["backup-policies"]["quick"]["verify-after"] = json!(true);
        config["backup-policies"]["quick"]["retention"] = json!({"full": 1});
    })
    .await;
    bench.write(&(0..50).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    bench.back_up("full").await;
    bench.back_up("full").await;
    bench.write(&[mixed("customers", 1, 2)]).await;
    let job = bench.back_up("incremental").await;
    let expected = bench.node.snapshot(SOURCE).await;
    for kind in ["verify", "retention"] {
        let page = bench.get(&format!("/v1/jobs?kind={kind}")).await;
        let after = page["jobs"].as_array().unwrap();
        assert!(!after.is_empty(), "a {kind} follows");
        for job in after {
            let job = bench.wait_job(job["id"].as_i64().unwrap()).await;
            assert_eq!(job["status"], "succeeded", "{job:#}");
        }
    }
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(
        (&verified["status"], warnings(&verified).as_str()),
        (&json!("succeeded"), ""),
        "{verified:#}"
    );

    bench.node.empty(TARGET).await;
    bench.restore_to(point(&job), json!({})).await.ok();
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
    // By path the request names key and agent; the same key of a file does as well.
    let key = bench.newest_key("full").await;
    let (_dir, file) = key_file();
    let by_secret = json!({"encryption": {"key-secret": REFERENCE}});
    for request in [
        json!({"policy": by_secret, "secret-agent-name": "vault"}),
        json!({"policy": by_secret, "secret-agent": document(&agent)}),
        json!({"policy": {"encryption": {"key-file": file}}}),
    ] {
        bench.node.empty(TARGET).await;
        assert_eq!(bench.restore_of(&key, request).await.ok().records("inserted"), 50);
    }
    let nobody = json!({"backup-data-path": key, "source-name": "disk", "destination-name": "node",
                        "policy": by_secret});
    let (status, text) = bench.post("/v1/restore/full", &nobody).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("\"key-secret\" needs \"secret-agent\""), "{text}");
    no_key_is_left(bench.dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_no_answer_for_now_is_asked_again() {
    let agent = TestAgent::tcp().await;
    agent.say("backup", "key", r#"{"Error":"sealed"}"#);
    let bench = bench(&agent, |config| {
        config["backup-policies"]["quick"]["retry-policy"] =
            json!({"base-timeout": 10, "multiplier": 1, "max-retries": 100_000});
    })
    .await;
    bench.write(&[mixed("customers", 1, 1)]).await;
    let id = bench.trigger("full", ROUTINE).await;
    let asked = tokio::time::timeout(PATIENCE, async {
        while agent.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    asked.await.expect("the agent is asked");
    agent.put("backup", "key", KEY);
    let job = bench.wait_job(id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let told = warnings(&job);
    assert!(told.contains("the key of the files: encryption.key-secret: secret agent"), "{told}");
    no_key_is_left(bench.dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_agent_nothing_is_written_in_clear_and_nothing_is_called_damaged() {
    let agent = TestAgent::tcp().await;
    agent.put("backup", "key", KEY);
    let bench = bench(&agent, |_| {}).await;
    bench.write(&[mixed("customers", 1, 1)]).await;
    let job = bench.back_up("full").await;
    let files = bench.files("");
    drop(agent);
    let away = bench.run("full", ROUTINE).await;
    assert_eq!(
        (&away["status"], &away["error"]["code"]),
        (&json!("failed"), &json!("secret-agent-unreachable")),
        "{away:#}"
    );
    assert!(warnings(&away).contains("tried again"), "as the retry-policy says: {away:#}");
    assert_eq!(bench.files(""), files);
    let verified = bench.run("verify", ROUTINE).await;
    assert_eq!(verified["error"]["code"], "encryption-key-missing", "{verified:#}");
    assert!(warnings(&verified).contains("secret-agent-unreachable"), "{verified:#}");
    bench.restore_to(point(&job), json!({})).await.refused("secret-agent-unreachable");
    let by_path = json!({"policy": {"encryption": {"key-secret": REFERENCE}}, "secret-agent-name": "vault"});
    bench.restore_of(&bench.newest_key("full").await, by_path).await.refused("secret-agent-unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_has_that_is_no_key_is_refused_at_once_and_shown_to_nobody() {
    let agent = TestAgent::tcp().await;
    let bench = bench(&agent, |_| {}).await;
    for (answer, code, says) in [
        (
            r#"{"SecretValue":"hunter2!"}"#,
            "encryption-key",
            "encryption.key-secret secrets:backup:key: it is neither",
        ),
        (r#"{"hunter2":1}"#, "secret-malformed", "encryption.key-secret: secret secrets:backup:key"),
    ] {
        agent.say("backup", "key", answer);
        let asked = agent.asked();
        let job = bench.run("full", ROUTINE).await;
        assert_eq!(job["error"]["code"], code, "{job:#}");
        assert!(job["error"]["message"].as_str().unwrap().starts_with(says), "{job:#}");
        assert!(!job.to_string().contains("hunter2"), "{job:#}");
        assert_eq!(agent.asked(), asked + 1, "no other try mends it");
    }
}
