//! Verification of real backups: by request, after a backup, on a schedule (rules.md 3.4, 3.11).

use serde_json::{Value, json};

use crate::node::SOURCE;
use crate::service::{Bench, ROUTINE};
use holdfast::sample::mixed;

fn outcomes(list: &[Value]) -> Vec<&str> {
    list.iter().map(|one| one["verification"]["outcome"].as_str().unwrap_or("none")).collect()
}

async fn two_chains(bench: &Bench) {
    for (version, backup_type) in [(1, "full"), (2, "incremental"), (3, "incremental"), (4, "full")] {
        bench.write(&(0..100).map(|key| mixed("customers", key, version)).collect::<Vec<_>>()).await;
        bench.back_up(backup_type).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_routine_is_verified_and_a_damaged_full_breaks_what_builds_on_it() {
    let bench = Bench::start().await;
    two_chains(&bench).await;
    assert_eq!(outcomes(&bench.list("full", ROUTINE).await), ["none", "none"]);

    let job = bench.run("verify", ROUTINE).await;
    assert_eq!((&job["status"], &job["kind"]), (&json!("succeeded"), &json!("verify")), "{job:#}");
    assert_eq!(job["counters"]["verified"], 4, "{job:#}");
    assert_eq!(job["counters"]["read-records"], 400);
    assert_eq!(job["progress"]["bytes"], job["counters"]["total-bytes"]);
    let fulls = bench.list("full", ROUTINE).await;
    assert_eq!(outcomes(&fulls), ["verified", "verified"]);
    assert_eq!(fulls[0]["verification"]["job"], job["id"]);

    let key = fulls[0]["key"].as_str().unwrap();
    let file = bench.data_files(key)[0].clone();
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&file, bad).unwrap();
    let job = bench.run("verify", ROUTINE).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("backup-damaged")));
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("block 0") && message.contains("3 of 4 backups"), "{message}");
    assert_eq!(outcomes(&bench.list("full", ROUTINE).await), ["damaged", "verified"]);
    let incrementals = bench.list("incremental", ROUTINE).await;
    assert_eq!(outcomes(&incrementals), ["chain-broken", "chain-broken"]);
    assert!(incrementals[0]["verification"]["reason"].as_str().unwrap().contains(key), "{incrementals:#?}");
    let metrics = bench.text("/metrics").await;
    for line in [
        "verify_damaged_backups{routine=\"daily\",storage=\"disk\"} 3",
        "verify_last_successful{routine=\"daily\"} 0",
        "verify_last_success_timestamp_seconds{routine=\"daily\"} ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // Only what was asked for is read; what the others build on is known from before.
    let at = incrementals[1]["timestamp"].as_i64().unwrap();
    let id = bench.trigger_path(&format!("/v1/backups/verify/{ROUTINE}?from={at}&to={at}")).await;
    let job = bench.wait_job(id).await;
    assert_eq!(job["error"]["code"], "chain-gap", "{job:#}");
    assert_eq!(job["counters"]["backups"], 1);

    std::fs::write(&file, good).unwrap();
    let job = bench.run("verify", ROUTINE).await;
    assert_eq!(job["status"], "succeeded", "put back from a copy: {job:#}");
    assert_eq!(outcomes(&bench.list("incremental", ROUTINE).await), ["verified", "verified"]);
    assert!(
        bench.text("/metrics").await.contains("verify_damaged_backups{routine=\"daily\",storage=\"disk\"} 0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_compared_with_the_one_that_was_written() {
    let bench = Bench::start().await;
    bench.write(&[mixed("customers", 1, 1)]).await;
    bench.back_up("full").await;
    let manifest = bench.path(&bench.newest_key("full").await).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"producer\": \"h", "\"producer\": \"i")).unwrap();
    let job = bench.run("verify", ROUTINE).await;
    assert_eq!(job["error"]["code"], "backup-damaged", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("manifest.json is not the one"), "{job:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_after_reads_just_the_run_and_says_so() {
    let mut bench = Bench::with(|config| {
        config["backup-policies"]["quick"]["verify-after"] = json!(true);
    })
    .await;
    let after = async |bench: &Bench| -> Vec<Value> {
        let page = bench.get("/v1/jobs?kind=verify").await;
        let mut jobs = Vec::new();
        for job in page["jobs"].as_array().unwrap() {
            jobs.push(bench.wait_job(job["id"].as_i64().unwrap()).await);
        }
        jobs
    };
    bench.write(&[mixed("customers", 1, 1)]).await;
    bench.back_up("full").await;
    bench.write(&[mixed("customers", 2, 1)]).await;
    bench.back_up("incremental").await;
    // Nothing was changed, so nothing is committed, and there is nothing to verify (rules.md 3.12).
    bench.back_up("incremental").await;
    let jobs = after(&bench).await;
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
    for job in &jobs {
        assert_eq!(
            (&job["status"], &job["trigger"]),
            (&json!("succeeded"), &json!("after-backup")),
            "{job:#}"
        );
        assert_eq!((&job["counters"]["backups"], &job["namespaces"]), (&json!(1), &json!([SOURCE])));
    }
    assert_eq!(outcomes(&bench.list("full", ROUTINE).await), ["verified"]);
    assert_eq!(outcomes(&bench.list("incremental", ROUTINE).await), ["verified"]);
    // The row is written with the end of the backup: a restart between loses nothing.
    bench.stop_service().await;
    bench.start_service().await;
    assert_eq!(after(&bench).await.len(), 2);
}
