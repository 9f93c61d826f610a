//! What keeps a restore from writing over what nobody meant it to: the plan before, the confirmation, the safety backup.
//! The cluster is a sandbox.

mod scene;

use std::path::PathBuf;

use holdfast::sandbox::{Fault, Harm, Moment};
use serde_json::{Value, json};

use scene::{BY_PATH, BY_TIME, ENDED, PARAMETER_ERROR, Scene, files, over, records, safely, with};

#[tokio::test]
async fn a_dry_run_tells_the_plan_and_leaves_no_job_and_no_record() {
    let scene = Scene::with("").await;
    scene.saved().await;
    scene.write("source", &records("a", 0..10, 2)).await;
    let at = scene.back_up("incremental").await;
    let jobs = scene.jobs().await;

    let plan = scene.plan(BY_TIME, &safely(at)).await;
    let one = &plan["namespaces"][0];
    assert_eq!((&one["namespace"], &one["destination"]), (&json!("source"), &json!("target")), "{plan:#}");
    assert_eq!(one["destination-empty"], true);
    assert_eq!((&one["order"], &one["policy"]), (&json!("newest-first"), &json!("create-only")));
    assert_eq!(one["destination-records-estimate"], 0);
    let members = one["members"].as_array().unwrap();
    let types: Vec<&Value> = members.iter().map(|member| &member["type"]).collect();
    assert_eq!(types, ["full", "incremental"], "{plan:#}");
    let chain: Vec<&Value> = members.iter().map(|member| &member["key"]).collect();
    assert_eq!(json!(chain), one["chain"]);
    let listed = scene.service.get("/v1/backups/full/daily").await.json();
    assert_eq!(members[0]["key"], listed[0]["key"]);
    assert_eq!(members[0]["bytes"], listed[0]["byte-count"]);
    assert_eq!((&members[0]["records"], &members[1]["records"]), (&json!(100), &json!(10)));
    assert_eq!((&plan["records"], &one["records"]), (&json!(110), &json!(110)));
    assert_eq!(plan["bytes"], one["bytes"]);
    assert!(plan["files"].as_u64() >= Some(2), "{plan:#}");
    for instant in ["complete-before", "finished"] {
        assert!(one[instant].is_string(), "{instant}: {plan:#}");
    }
    assert_eq!((&plan["conflicts"], &plan["confirmation-required"]), (&json!([]), &json!(false)));
    assert_eq!(plan["safety-backup"]["storage"], "spare");

    // Nothing was made of it.
    assert_eq!(scene.jobs().await, jobs);
    assert_eq!(scene.seen("target").await.0.len(), 0);
    assert_eq!(files(&scene.spare()), Vec::<PathBuf>::new());

    // The job's own account says the same.
    let job = scene.restore(BY_TIME, &over(at)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let done = &job["result"]["namespaces"][0]["plan"];
    for (field, value) in done.as_object().unwrap() {
        assert_eq!(value, &one[field], "{field}: {job:#}");
    }
}

/// rules.md 4.3: every row of the table, by time and by path.
#[tokio::test]
async fn a_dry_run_names_the_row_of_the_table_that_applies() {
    let scene = Scene::with("").await;
    let at = scene.saved().await;
    scene.write("target", &records("b", 0..7, 1)).await;
    let key = scene.service.get("/v1/backups/full/daily").await.json()[0]["key"].clone();
    for (more, order, policy) in [
        (json!({"unique": true}), "newest-first", "create-only"),
        (json!({"replace": true}), "newest-first", "replace"),
        (json!({}), "newest-first", "update"),
        (json!({"set-list": ["empty"]}), "newest-first", "create-only"),
    ] {
        let remap = json!({"namespace": {"source": "source", "destination": "target"}});
        let policy_asked = with(&remap, &more);
        let by_time = json!({"routine": "daily", "time": at, "policy": policy_asked});
        let by_path = json!({"backup-data-path": key, "source-name": "disk", "destination-name": "near",
            "policy": policy_asked});
        for (path, body) in [(BY_TIME, by_time), (BY_PATH, by_path)] {
            let one = &scene.plan(path, &body).await["namespaces"][0];
            assert_eq!((&one["order"], &one["policy"]), (&json!(order), &json!(policy)), "{more} {path}");
            assert_eq!(one["destination-records-estimate"], 7, "{more} {path}");
        }
    }
    let chronological = with(&over(at), &json!({"disable-reordering": true}));
    let one = &scene.plan(BY_TIME, &chronological).await["namespaces"][0];
    assert_eq!((&one["order"], &one["policy"]), (&json!("chronological"), &json!("replace")));
}

#[tokio::test]
async fn a_dry_run_that_could_not_be_done_says_why_as_the_job_would() {
    let scene = Scene::with("").await;
    let at = scene.saved().await;
    let dry = |body: &Value| with(body, &json!({"dry-run": true}));
    let mut elsewhere = over(at);
    elsewhere["policy"]["namespace"]["destination"] = json!("nowhere");
    let path =
        json!({"backup-data-path": "daily/backup/1", "source-name": "disk", "destination-name": "near"});
    for (to, body, code) in [
        (BY_TIME, over(1_000_000_000_000), "no-full-backup"),
        (BY_TIME, elsewhere, "namespace-missing"),
        (BY_PATH, path, "backup-path-empty"),
    ] {
        let problem = [("accept", "application/problem+json")];
        let answer = scene.service.send(reqwest::Method::POST, to, &problem, dry(&body).to_string()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!(code)), "{answer:?}");
        let job = scene.restore(to, &body).await;
        assert_eq!(job["error"]["code"], code, "{job:#}");
    }
    scene
        .service
        .expect(
            reqwest::Method::POST,
            BY_TIME,
            r#"{"dry-run": true}"#,
            400,
            "invalid request: empty field validation error: \"time\" required\n",
        )
        .await;
}

/// rules.md 2.4
#[tokio::test]
async fn what_collides_with_a_restore_is_named_by_its_job_before_and_after() {
    let scene = Scene::with("").await;
    let at = scene.saved().await;
    scene.sandbox.plant(Fault::new(Moment::Batch, Harm::Silence).for_ever());
    let first = scene.start(BY_TIME, &over(at)).await;
    scene.service.job_in(first, &["running"]).await;

    let plan = scene.plan(BY_TIME, &over(at)).await;
    let conflict = &plan["conflicts"][0];
    assert_eq!(plan["conflicts"].as_array().unwrap().len(), 1, "{plan:#}");
    assert_eq!((&conflict["job"], &conflict["kind"]), (&json!(first), &json!("restore")));
    assert_eq!((&conflict["status"], &conflict["code"]), (&json!("running"), &json!("restore-running")));
    assert_eq!((&conflict["routine"], &conflict["namespace"]), (&json!("daily"), &json!("target")));

    let second = scene.restore(BY_TIME, &over(at)).await;
    assert_eq!(second["status"], "failed", "{second:#}");
    assert_eq!(second["error"]["code"], "restore-running");
    let said = format!("job {first}.");
    assert!(second["error"]["message"].as_str().unwrap().ends_with(&said), "{second:#}");
    assert_eq!(conflict["reason"], second["error"]["message"]);
    // Nothing is written by a validation, so nothing is in its way.
    let validation = scene.plan(BY_TIME, &with(&over(at), &json!({"validate": true}))).await;
    assert_eq!(validation["conflicts"], json!([]));
    scene.ask(&format!("/v1/jobs/{first}/cancel"), &json!({})).await;
    scene.service.job_in(first, &["canceled"]).await;
    scene.sandbox.heal();

    // And the other way: a backup that runs is named to the restore.
    scene.sandbox.plant(Fault::new(Moment::Record, Harm::Silence).for_ever());
    let backup = scene.service.trigger("/v1/backups/full/daily").await;
    scene.service.job_in(backup, &["running"]).await;
    let mut into_source = over(at);
    into_source["policy"]["namespace"]["destination"] = json!("source");
    let refused = scene.restore(BY_TIME, &into_source).await;
    assert_eq!(refused["error"]["code"], "backup-running", "{refused:#}");
    assert!(refused["error"]["message"].as_str().unwrap().contains(&format!("job {backup}")), "{refused:#}");
}

#[tokio::test]
async fn a_restore_into_what_is_not_empty_wants_a_confirmation_where_the_service_does() {
    let scene = Scene::with("require-restore-confirmation: true").await;
    let at = scene.saved().await;
    // Nothing is there.
    assert_eq!(scene.plan(BY_TIME, &over(at)).await["confirmation-required"], false);
    let key = ("idempotency-key", "one");
    let body = over(at).to_string();
    let post = |headers: Vec<(&'static str, &'static str)>| {
        let (body, service) = (body.clone(), &scene.service);
        async move { service.send(reqwest::Method::POST, BY_TIME, &headers, body).await }
    };
    let made = post(vec![key]).await;
    let id: i64 = made.body.parse().unwrap();
    assert_eq!(scene.service.job_in(id, &ENDED).await["status"], "succeeded");
    // The same request again is the same job, although by now records are there.
    assert_eq!(post(vec![key]).await.body, made.body);

    let before = scene.seen("target").await;
    let jobs = scene.jobs().await;
    let refused = post(vec![("accept", "application/problem+json")]).await;
    assert_eq!(refused.status.as_u16(), 409, "{refused:?}");
    let refused = refused.json();
    assert_eq!(refused["code"], "confirmation-required", "{refused}");
    let text = refused["detail"].as_str().unwrap();
    assert!(text.contains("\"target\"") && text.contains("100 records"), "{text}");
    assert!(refused["hint"].as_str().unwrap().contains("confirm: true"), "{refused}");
    assert_eq!(scene.jobs().await, jobs);
    assert_eq!(scene.plan(BY_TIME, &over(at)).await["confirmation-required"], true);
    assert_eq!(scene.seen("target").await, before);

    let confirmed = with(&over(at), &json!({"confirm": true}));
    assert_eq!(scene.plan(BY_TIME, &confirmed).await["confirmation-required"], false);
    assert_eq!(scene.restore(BY_TIME, &confirmed).await["status"], "succeeded");
    // What writes nothing needs none, and other sets are none of its business.
    for more in [
        json!({"validate": true}),
        json!({"policy": {"set-list": ["empty"],
        "namespace": {"source": "source", "destination": "target"}}}),
    ] {
        let job = scene.restore(BY_TIME, &with(&over(at), &more)).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
}

/// The request is looked at when it comes, the job when it starts: in between somebody may have written.
#[tokio::test]
async fn a_restore_that_was_asked_for_before_the_records_came_is_not_done_either() {
    let scene = Scene::with("require-restore-confirmation: true").await;
    let at = scene.saved().await;
    // The request cannot tell, as its look at the cluster fails, and leaves it to the job; that is tried again.
    scene.sandbox.plant(Fault::new(Moment::Scan, Harm::Refuse(PARAMETER_ERROR)).for_ever());
    let id = scene.start(BY_TIME, &over(at)).await;
    assert_eq!(scene.service.job_in(id, &ENDED).await["status"], "failed");
    scene.sandbox.heal();
    scene.write("target", &records("b", 0..7, 1)).await;
    let before = scene.seen("target").await;
    let again = scene.ask(&format!("/v1/jobs/{id}/retry"), &json!({})).await;
    let again: i64 = again.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
    let job = scene.service.job_in(again, &ENDED).await;
    assert_eq!(job["error"]["code"], "confirmation-required", "{job:#}");
    assert_eq!(scene.seen("target").await, before);
}

#[tokio::test]
async fn one_call_undoes_a_restore_with_a_safety_backup() {
    let scene = Scene::with("").await;
    let at = scene.saved().await;
    // What is there before: other versions of half of it, and records that no backup knows.
    scene.write("target", &records("a", 0..50, 9)).await;
    scene.write("target", &records("mine", 0..50, 1)).await;
    let before = scene.seen("target").await;

    let job = scene.restore(BY_TIME, &safely(at)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let after = scene.seen("target").await;
    assert_eq!(after.0.len(), 150);
    assert_ne!(before.differences(&after, 0), Vec::<String>::new());
    // The restore's numbers are of the restore alone.
    assert_eq!(job["counters"]["read-records"], 100, "{job:#}");
    assert_eq!(job["progress"]["done-records"], 100, "{job:#}");

    let saved = &job["result"]["safety-backup"];
    assert_eq!((&saved["storage"], &saved["job"]), (&json!("spare"), &job["id"]), "{job:#}");
    let path = saved["path"].as_str().unwrap();
    let (routine, timestamp) = (saved["routine"].as_str().unwrap(), saved["timestamp"].as_i64().unwrap());
    assert!(routine.starts_with("holdfast-safety-"), "{saved}");
    assert_eq!(path, format!("{routine}/backup/{timestamp}_job-{}", job["id"]));
    assert_eq!(saved["namespaces"][0]["records"], 100);
    let attempt = &job["attempts"]["target"][0];
    assert_eq!(
        (&attempt["status"], &attempt["folder"]),
        (&json!("committed"), &saved["namespaces"][0]["key"])
    );
    // It is in no list, and the routine's next incremental does not build on it.
    for path in ["/v1/backups/full/daily", "/v1/backups/full/daily?refresh=true"] {
        assert_eq!(scene.service.get(path).await.json().as_array().unwrap().len(), 1);
    }

    let undo = &saved["undo"];
    let undone = scene.restore(undo["path"].as_str().unwrap(), &undo["body"]).await;
    assert_eq!(undone["status"], "succeeded", "{undone:#}");
    let restored = scene.seen("target").await;
    // Record by record as it was; what the restore had added and nobody had before stays: a restore deletes nothing.
    let differences = before.differences(&restored, 1);
    assert_eq!(differences.len(), 50, "{differences:?}");
    assert!(differences.iter().all(|one| one.ends_with("is too many")), "{differences:?}");

    // A second one goes beside the first.
    let again = scene.restore(BY_TIME, &safely(at)).await;
    let second = &again["result"]["safety-backup"]["path"];
    assert!(second.is_string() && second != &saved["path"], "{again:#}");
    assert!(!files(&scene.spare().join(path)).is_empty());
}

#[tokio::test]
async fn a_restore_whose_safety_backup_fails_does_not_begin() {
    let scene = Scene::with("").await;
    let at = scene.saved().await;
    scene.write("target", &records("a", 0..50, 9)).await;
    let before = scene.seen("target").await;
    // The key is only for what is written: the backups to be restored are in clear.
    let mut no_key = safely(at);
    no_key["policy"]["encryption"] = json!({"mode": "AES256", "key-file": "/nowhere/key.pem"});
    let job = scene.restore(BY_TIME, &no_key).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("safety-backup-failed")));
    let text = job["error"]["message"].as_str().unwrap();
    assert!(text.contains("has not begun") && text.contains("key-file"), "{text}");
    // And one that fails in the midst of it.
    let torn = scene.sandbox.plant(Fault::new(Moment::Scan, Harm::Refuse(PARAMETER_ERROR)).at(2).for_ever());
    let job = scene.restore(BY_TIME, &safely(at)).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("safety-backup-failed")));
    assert!(torn.struck() > 0);
    assert_eq!(job["attempts"]["target"][0]["status"], "failed", "{job:#}");
    scene.sandbox.heal();
    assert_eq!(scene.seen("target").await, before);
    assert_eq!(files(&scene.spare()), Vec::<PathBuf>::new(), "nothing half-made stays");
    let unknown = with(&over(at), &json!({"safety-backup": {"storage": "spar"}}));
    let answer = scene.ask(BY_TIME, &unknown).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(answer.body.contains("did you mean: \"spare\""), "{answer:?}");
    for (body, says) in [
        (json!({"safety-backup": {}}), "storage"),
        (json!({"safety-backup": {"storage": "spare"}, "validate": true}), "validate"),
    ] {
        let answer = scene.ask(BY_TIME, &with(&over(at), &body)).await;
        assert_eq!(answer.status.as_u16(), 400);
        assert!(answer.body.contains(says), "{answer:?}");
    }
}

/// rules.md 2.8, 6.1 and 6.4
#[tokio::test]
async fn a_restore_that_ends_in_its_safety_backup_leaves_no_trace() {
    for by_cancel in [true, false] {
        let mut scene = Scene::with("").await;
        let at = scene.saved().await;
        scene.write("target", &records("a", 0..50, 9)).await;
        let before = scene.seen("target").await;
        let silent = scene.sandbox.plant(Fault::new(Moment::Record, Harm::Silence).at(5).for_ever());
        let id = scene.start(BY_TIME, &safely(at)).await;
        silent.wait().await;
        let job = scene.service.job(id).await;
        assert!(job["doing"].as_str().unwrap().contains("safety backup"), "{job:#}");
        if by_cancel {
            scene.ask(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
        } else {
            scene.service = scene.service.restart().await;
        }
        let job = scene.service.job_in(id, &ENDED).await;
        let ended = (job["status"].as_str().unwrap(), job["reason-code"].as_str());
        let wanted = if by_cancel { ("canceled", None) } else { ("interrupted", Some("shutdown")) };
        assert_eq!(ended, wanted, "{job:#}");
        assert_eq!(job["attempts"]["target"][0]["status"], "canceled", "{job:#}");
        scene.sandbox.heal();
        assert_eq!(files(&scene.spare()), Vec::<PathBuf>::new());
        assert_eq!(scene.seen("target").await, before);
        // Nothing had been written: the next attempt saves anew, and goes on.
        let again = scene.ask(&format!("/v1/jobs/{id}/retry"), &json!({})).await;
        let again: i64 = again.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
        let job = scene.service.job_in(again, &ENDED).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        assert_eq!(job["result"]["safety-backup"]["job"], again);
    }
}

/// What an attempt has begun to write over is only in what was saved before it.
#[tokio::test]
async fn a_restore_that_is_tried_again_is_undone_by_what_was_saved_first() {
    let scene = Scene::with("").await;
    let at = scene.saved().await;
    scene.write("target", &records("a", 0..100, 9)).await;
    let before = scene.seen("target").await;
    let slowly = json!({"parallel": 1, "batch-size": 10, "max-async-batches": 1});
    let mut request = safely(at);
    request["policy"] = with(&request["policy"], &slowly);
    let silent = scene.sandbox.plant(Fault::new(Moment::Batch, Harm::Silence).at(3).for_ever());
    let id = scene.start(BY_TIME, &request).await;
    silent.wait().await;
    scene.ask(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    let first = scene.service.job_in(id, &ENDED).await;
    assert_eq!(first["status"], "canceled", "{first:#}");
    assert_eq!(first["result"]["safety-backup"]["job"], id, "{first:#}");
    scene.sandbox.heal();
    assert_ne!(scene.seen("target").await, before, "it has begun to write");

    let again = scene.ask(&format!("/v1/jobs/{id}/retry"), &json!({})).await;
    let again: i64 = again.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
    let job = scene.service.job_in(again, &ENDED).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let saved = &job["result"]["safety-backup"];
    assert_eq!(saved, &first["result"]["safety-backup"]);
    assert_ne!(scene.seen("target").await, before);
    let undone = scene.restore(BY_PATH, &saved["undo"]["body"]).await;
    assert_eq!(undone["status"], "succeeded", "{undone:#}");
    assert_eq!(before.differences(&scene.seen("target").await, 1), Vec::<String>::new());
}
