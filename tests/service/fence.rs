//! What a restore may read and where it may write: folders, names and destinations of requests.

use std::os::unix::fs::symlink;

use holdfast::api::token_hash;
use serde_json::{Value, json};

use crate::helpers::{Running, one_routine};

const ENDED: [&str; 6] = ["succeeded", "failed", "canceled", "skipped", "missed", "interrupted"];

const BY_TIME: &str = "/v1/restore/timestamp";
const BY_PATH: &str = "/v1/restore/full";

fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// `service.allow-inline-destinations`: who may say to which cluster records go.
#[tokio::test]
async fn a_destination_that_is_not_configured_is_for_those_who_may_name_one() {
    const CALLERS: [&str; 2] = ["operator", "admin"];
    let tokens: Vec<String> = CALLERS
        .iter()
        .map(|role| format!("{{name: {role}, hash: \"{}\", role: {role}}}", token_hash(role)))
        .collect();
    let auth = format!("http: {{address: 127.0.0.1}}, auth: {{tokens: [{}]}}", tokens.join(", "));
    let open = "http: {address: 127.0.0.1}".to_owned();
    let allow = |service: &str, allowed: bool| format!("{service}, allow-inline-destinations: {allowed}");
    for (service, caller, allowed) in [
        (open.clone(), None, true),
        (allow(&open, true), None, true),
        (allow(&open, false), None, false),
        (auth.clone(), Some("operator"), false),
        (auth.clone(), Some("admin"), true),
        (allow(&auth, true), Some("operator"), true),
        (allow(&auth, false), Some("operator"), false),
        (allow(&auth, false), Some("admin"), false),
    ] {
        let running = Running::start(|dir| format!("service: {{{service}}}\n{}", one_routine(dir))).await;
        let bearer = caller.map(|name| format!("Bearer {name}"));
        let mut headers = vec![("accept", "application/problem+json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let inline = json!({"seed-nodes": [{"host-name": "127.0.0.1", "port": 1}], "conn-timeout": 100});
        let by_time = json!({"routine": "daily", "time": 1_710_671_632_452_i64, "destination": inline});
        let by_path = json!({"backup-data-path": "x", "source-name": "disk", "destination": inline});
        for (path, body) in [(BY_TIME, by_time), (BY_PATH, by_path)] {
            let ask = async |body: &Value| {
                running.send(reqwest::Method::POST, path, &headers, body.to_string()).await
            };
            let answer = ask(&body).await;
            if allowed {
                assert_eq!(answer.status.as_u16(), 202, "{service} {caller:?}: {answer:?}");
            } else {
                assert_eq!(answer.status.as_u16(), 403, "{service} {caller:?}: {answer:?}");
                assert_eq!(answer.json()["code"], "inline-destination-forbidden");
                // Nor is it looked at for the asking.
                let answer = ask(&with(&body, &json!({"dry-run": true}))).await;
                assert_eq!(answer.status.as_u16(), 403, "{service} {caller:?}: {answer:?}");
            }
            // A configured one is for every operator.
            let mut named = body.clone();
            named.as_object_mut().unwrap().remove("destination");
            let named = with(&named, &json!({"destination-name": "nowhere"}));
            assert_eq!(ask(&named).await.status.as_u16(), 202, "{service} {caller:?}");
        }
    }
}

/// abs.md 7: whatever a request calls a folder, it is one below the folders that requests may read.
#[tokio::test]
async fn no_spelling_of_an_inline_folder_leads_out_of_the_roots() {
    let at = |dir: &tempfile::TempDir, name: &str| dir.path().join(name).display().to_string();
    for given in [false, true] {
        let service = Running::start(|dir| {
            for folder in ["backups/daily", "old/in", "secret"] {
                std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            }
            for root in ["backups", "old"] {
                symlink(dir.path().join("secret"), dir.path().join(root).join("out")).unwrap();
                symlink("../secret", dir.path().join(root).join("up")).unwrap();
            }
            symlink("in", dir.path().join("old/link-in")).unwrap();
            let roots = format!("service: {{local-storage-roots: [{}]}}\n", at(dir, "old"));
            format!("{}{}", if given { &roots } else { "" }, one_routine(dir))
        })
        .await;
        let root = at(&service.dir, if given { "old" } else { "backups" });
        let other = at(&service.dir, if given { "backups" } else { "old" });
        let body = |path: &str, dry: bool| {
            json!({"backup-data-path": "daily/backup", "source": {"local-storage": {"path": path}},
                "destination-name": "nowhere", "dry-run": dry})
            .to_string()
        };
        for bad in [
            "/".to_owned(),
            "/etc".to_owned(),
            "/proc/self/root/etc".to_owned(),
            "~".to_owned(),
            "secret".to_owned(),
            at(&service.dir, "secret"),
            other.clone(),
            format!("{root}x"),
            format!("{root}/.."),
            format!("{root}/../secret"),
            format!("{root}/./../secret"),
            format!("{root}/daily/../../secret"),
            format!("{root}/out"),
            format!("{root}/out/"),
            format!("{root}//out/."),
            format!("{root}/up"),
            format!("{root}/out/deeper/.."),
        ] {
            for dry in [false, true] {
                let answer = service.post(BY_PATH, &body(&bad, dry)).await;
                assert_eq!(answer.status.as_u16(), 400, "{bad}: {answer:?}");
                assert!(!answer.body.contains("secret: ") && !answer.body.contains("root:"), "{answer:?}");
            }
        }
        let jobs = service.get("/v1/jobs").await.json();
        assert_eq!(jobs["jobs"], json!([]), "nothing of it became a job");
        let mut good =
            vec![root.clone(), format!("{root}/"), format!("{root}/./"), format!("{root}/not-there")];
        if given {
            good.push(format!("{root}/link-in"));
        }
        for good in good {
            let answer = service.post(BY_PATH, &body(&good, false)).await;
            assert_eq!(answer.status.as_u16(), 202, "{good}: {answer:?}");
        }
    }
}

/// A link that is put there while the restore waits is seen by its job.
#[tokio::test]
async fn a_folder_that_becomes_a_link_is_not_followed_by_the_job() {
    let service = Running::start(one_routine).await;
    let root = service.dir.path().join("backups");
    let secret = service.dir.path().join("secret/daily/backup/x");
    std::fs::create_dir_all(&secret).unwrap();
    // Not there yet when it is asked for, so that the first job fails and can be tried again.
    let body = json!({"backup-data-path": "daily/backup/x", "destination-name": "nowhere",
        "source": {"local-storage": {"path": root.join("later")}}});
    let id: i64 = service.post(BY_PATH, &body.to_string()).await.body.parse().unwrap();
    let job = service.job_in(id, &ENDED).await;
    assert_eq!(job["error"]["code"], "storage-not-found", "{job:#}");
    symlink(service.dir.path().join("secret"), root.join("later")).unwrap();
    let again = service.post(&format!("/v1/jobs/{id}/retry"), "").await;
    let again: i64 = again.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
    let job = service.job_in(again, &ENDED).await;
    assert_eq!(job["error"]["code"], "storage-outside-roots", "{job:#}");
    assert_eq!(service.post(BY_PATH, &body.to_string()).await.status.as_u16(), 400);
}

/// abs.md 1.3 and 7: `backup-data-path` is clean and relative, names are single path segments.
#[tokio::test]
async fn paths_and_names_of_requests_stay_where_they_belong() {
    let service = Running::start(one_routine).await;
    let long = "a/".repeat(600);
    for path in [
        "/etc",
        "//etc",
        "~/x",
        "~root",
        "..",
        "../x",
        "daily/../../etc",
        "daily/..",
        "./daily",
        "daily/./x",
        "daily//x",
        ".",
        "daily\\..\\x",
        "daily\\x",
        "..\\x",
        "daily\0x",
        &long,
    ] {
        let body = json!({"backup-data-path": path, "source-name": "disk", "destination-name": "nowhere"});
        let answer = service.post(BY_PATH, &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), 400, "{path:?}: {answer:?}");
        assert!(answer.body.starts_with("invalid request: validation error: "), "{path:?}: {answer:?}");
    }
    for name in ["..", ".", "a/b", "../daily", "a\\b", "~x", "a\0", "a\nb", &"x".repeat(256)] {
        let body = json!({"routine": name, "time": 1_710_671_632_452_i64, "source-name": "disk",
            "destination-name": "nowhere"});
        let answer = service.post(BY_TIME, &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), 400, "{name:?}: {answer:?}");
        for kind in ["clusters", "policies", "routines", "storage", "secret-agents"] {
            let escaped = name.bytes().fold(String::new(), |path, byte| format!("{path}%{byte:02X}"));
            let (path, body) = (format!("/v1/config/{kind}/{escaped}"), "{}".to_owned());
            let answer = service.send(reqwest::Method::POST, &path, &[], body).await;
            let status = answer.status.as_u16();
            assert!([400, 404, 405].contains(&status), "{path}: {answer:?}");
        }
    }
    // Those that are folders of Holdfast are nobody's name either.
    let routine =
        r#"{"source-cluster": "nowhere", "storage": "disk", "interval-cron": "@daily", "namespaces": []}"#;
    for name in ["holdfast-instances", "holdfast-safety-x"] {
        let answer = service.post(&format!("/v1/config/routines/{name}"), routine).await;
        assert_eq!(answer.status.as_u16(), 400, "{name}: {answer:?}");
        assert!(answer.body.contains("is taken"), "{answer:?}");
    }
    assert_eq!(service.get("/v1/jobs").await.json()["jobs"], json!([]));
}
