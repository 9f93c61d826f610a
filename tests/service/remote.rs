//! `--remote`: the configuration is an object of a store, read from there and written back there (abs.md 2.1).

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::helpers::{Running, one_routine};
use crate::s3_server::{ACCESS_KEY, BUCKET, Fault, S3Server, SECRET_KEY, Seen};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");
const KEY: &str = "conf/holdfast.yaml";

/// A store with a configuration, and the document that points to it.
struct Remote {
    server: S3Server,
    dir: tempfile::TempDir,
}

impl Remote {
    async fn start() -> Self {
        let server = S3Server::start().await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(server.bucket_dir().join("conf")).unwrap();
        let pointer = json!({"s3-storage": {
            "bucket": BUCKET,
            "path": KEY,
            "s3-region": "eu-central-1",
            "s3-endpoint-override": server.url,
            "access-key-id": ACCESS_KEY,
            "secret-access-key": SECRET_KEY,
        }});
        std::fs::write(dir.path().join("pointer.yaml"), pointer.to_string()).unwrap();
        let remote = Self { server, dir };
        remote.put(&format!("# a remark\n{}", one_routine(&remote.dir)));
        remote
    }

    fn pointer(&self) -> PathBuf {
        self.dir.path().join("pointer.yaml")
    }

    fn object(&self) -> PathBuf {
        self.server.bucket_dir().join(KEY)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.object()).unwrap()
    }

    /// As an object store does it: whole or not at all.
    fn put(&self, text: &str) {
        put(&self.object(), text);
    }

    async fn serve(&self) -> Running {
        Running::start_at(tempfile::tempdir().unwrap(), &self.pointer(), true).await
    }
}

fn put(object: &std::path::Path, text: &str) {
    // What the server remembers of the one it wrote itself: its checksum.
    let root = object.ancestors().nth(3).unwrap();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let new = object.with_file_name("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, object).unwrap();
}

fn is_write(seen: &Seen) -> bool {
    seen.method == "PUT" && seen.path.ends_with(KEY)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_written_over_what_was_read_with_its_comments_and_survives_a_restart() {
    let remote = Remote::start().await;
    let service = remote.serve().await;
    let status = service.get("/v1/config/status").await.json();
    let file = status["file"].as_str().unwrap();
    assert!(file.starts_with("S3 bucket bucket at ") && file.ends_with("/conf/holdfast.yaml"), "{file}");
    remote.server.seen();
    assert_eq!(service.post("/v1/config/policies/p", r#"{"parallel": 3}"#).await.status.as_u16(), 201);
    let written: Vec<Seen> = remote.server.seen().into_iter().filter(is_write).collect();
    assert_eq!(written.len(), 1);
    assert!(written[0].header("if-match").is_some_and(|tag| !tag.is_empty()), "{:?}", written[0]);
    assert!(remote.text().starts_with("# a remark\n") && remote.text().contains("parallel: 3"));
    for path in ["/v1/config/status", "/v1/config", "/metrics"] {
        assert!(!service.get(path).await.body.contains(SECRET_KEY), "{path}");
    }
    service.service.stop().await.unwrap();
    let service = remote.serve().await;
    assert_eq!(service.get("/v1/config/policies/p").await.json(), json!({"parallel": 3}));

    // One that is no plain block YAML loses its comments: the old one is kept beside it.
    let flow = "# a remark\nbackup-policies: {old: {}}\n";
    remote.put(flow);
    let answer = service.post("/v1/config/policies/q", "{}").await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    assert!(answer.header("holdfast-config-rewritten").ends_with("/conf/holdfast.yaml.bak"));
    let kept = remote.server.bucket_dir().join(format!("{KEY}.bak"));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), flow);
}

/// rules.md 7.1
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_not_persisted_changes_nothing_and_one_that_was_after_all_is_made() {
    let remote = Remote::start().await;
    let service = remote.serve().await;
    let before = remote.text();
    remote.server.on(|seen| is_write(seen).then(|| Fault::error(403, "AccessDenied")));
    let refused = service.post("/v1/config/policies/p", "{}").await;
    assert_eq!(refused.status.as_u16(), 500, "{}", refused.body);
    assert!(refused.body.starts_with("failed to write configuration: write S3 bucket"), "{}", refused.body);
    assert!(
        refused.body.contains("403") && refused.body.contains("Nothing has changed."),
        "{}",
        refused.body
    );
    assert!(!refused.body.contains(SECRET_KEY), "{}", refused.body);
    assert_eq!(service.get("/v1/config/policies/p").await.status.as_u16(), 404);
    assert_eq!(remote.text(), before);

    // It was written, and the answer is lost.
    remote.server.on(|seen| is_write(seen).then_some(Fault::Hidden(403)));
    assert_eq!(service.post("/v1/config/policies/p", "{}").await.status.as_u16(), 201);
    assert!(remote.text().contains("  p: {}"));

    // Somebody else was faster: their work stays, and is taken.
    let theirs = before.replace("0 0 0 1 1 ?", "0 0 0 3 3 ?");
    let object = remote.object();
    remote.server.on(move |seen| {
        let changed = is_write(seen);
        changed.then(|| put(&object, &theirs));
        changed.then(|| Fault::error(412, "PreconditionFailed"))
    });
    let refused = service.post("/v1/config/policies/q", "{}").await;
    assert_eq!(refused.status.as_u16(), 500, "{}", refused.body);
    assert!(refused.body.contains("changed by somebody else at the same time"), "{}", refused.body);
    remote.server.heal();
    service.until("/v1/config/routines/daily", "0 0 0 3 3 ?").await;
    assert_eq!(service.get("/v1/config/policies/q").await.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_there_is_taken_and_what_is_bad_or_away_leaves_the_old_in_force() {
    let remote = Remote::start().await;
    let service = remote.serve().await;
    let good = remote.text();
    remote.put(&good.replace("0 0 0 1 1 ?", "0 0 0 2 2 ?"));
    service.until("/v1/config/routines/daily", "0 0 0 2 2 ?").await;
    // Said after it is in force.
    service.until("/v1/config/status", "\"in-force-by\":\"file\"").await;

    remote.put(&good.replace("source-cluster: nowhere", "source-cluster: elsewhere"));
    service.until("/v1/config/status", "elsewhere").await;
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 0\n"));
    assert!(service.get("/v1/config/routines/daily").await.body.contains("0 0 0 2 2 ?"));
    assert_eq!(service.post("/v1/config/policies/p", "{}").await.status.as_u16(), 409);

    remote.put(&good);
    service.until("/v1/config/status", "\"last-read-taken\":true").await;
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 1\n"));

    remote.server.on(|_| Some(Fault::error(403, "AccessDenied")));
    service.until("/v1/config/status", "\"last-read-taken\":false").await;
    let problem = service.get("/v1/config/status").await.json()["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("403") && !problem.contains(SECRET_KEY), "{problem}");
    assert!(service.get("/metrics").await.body.contains("config_last_reload_successful 0\n"));
    assert_eq!(service.get("/v1/config/routines/daily").await.status.as_u16(), 200);
    assert_eq!(service.post("/v1/config/policies/p", "{}").await.status.as_u16(), 500);
    remote.server.heal();
    service.until("/v1/config/status", "\"last-read-taken\":true").await;
    assert_eq!(service.post("/v1/config/policies/p", "{}").await.status.as_u16(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reads_what_the_pointer_points_to() {
    let remote = Remote::start().await;
    let check = async |pointer: PathBuf| {
        let ran = holdfast::tasks::blocking(move || {
            Ok(Command::new(HOLDFAST).args(["check", "-r", "-c"]).arg(pointer).output().unwrap())
        });
        let ran = ran.await.unwrap();
        let (out, err) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        assert!(!out.contains(SECRET_KEY) && !err.contains(SECRET_KEY), "{out}{err}");
        (ran.status.code(), out, err)
    };
    let (code, out, err) = check(remote.pointer()).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("/conf/holdfast.yaml: ok, 1 clusters") && out.contains("routine daily"), "{out}");

    remote.put("aerospike-clusters: {c: {}}\n");
    let (code, out, _) = check(remote.pointer()).await;
    assert_eq!(code, Some(2));
    assert!(out.contains("/conf/holdfast.yaml:1: aerospike-clusters.c"), "{out}");

    std::fs::remove_file(remote.object()).unwrap();
    let (code, _, err) = check(remote.pointer()).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("/conf/holdfast.yaml does not exist"), "{err}");

    std::fs::write(remote.pointer(), "s3-storage: {bucket: b, s3-region: r}").unwrap();
    let (code, _, err) = check(remote.pointer()).await;
    assert_eq!(code, Some(2));
    assert!(err.contains("pointer.yaml:1: s3-storage.path"), "{err}");

    // It may point to a file, too.
    let file = remote.dir.path().join("real.yaml");
    std::fs::write(&file, one_routine(&remote.dir)).unwrap();
    std::fs::write(remote.pointer(), json!({"local-storage": {"path": file}}).to_string()).unwrap();
    let (code, out, err) = check(remote.pointer()).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("real.yaml: ok"), "{out}");
}
