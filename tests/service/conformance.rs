//! abs.md 7.1 to 7.4 as tables: status and body of every call, for each release that is spoken.
//!
//! Where we differ from ABS on purpose the row says so. The cases that are no calls are tables beside what they are about:
//! 7.5 and 7.8 in `catalog`, 7.6 in `retention`, 7.7 in `model::chain`. 7.9 names S3, which is not built. 7.10 is `operator`.

use crate::helpers::Running;
use reqwest::Method;

/// What one call must answer: the same in every release, or by release.
#[derive(Clone, Copy)]
enum Says {
    /// This body.
    Same(&'static str),
    /// Until 3.6, and from 3.7 on.
    Then(&'static str, &'static str),
}

use Says::{Same, Then};

/// One call: the request, its body, the statuses until 3.6 and from 3.7 on, and the answer.
type Row = (&'static str, &'static str, u16, u16, Says);

const CLUSTER: &str = r#"{"seed-nodes":[{"host-name":"localhost","port":3000}]}"#;
const STORAGE: &str = r#"{"local-storage":{"path":"DIR/backups"}}"#;
const ROUTINE: &str = r#"{"backup-policy":"p1","source-cluster":"c1","storage":"s1","interval-cron":"@daily","namespaces":["test"]}"#;
/// abs.md 7.3.
const DOCUMENT: &str = r#"{"aerospike-clusters":{"c1":{"seed-nodes":[{"host-name":"localhost","port":3000}]}},"storage":{"s1":{"local-storage":{"path":"DIR/backups"}}},"backup-policies":{"p1":{}},"backup-routines":{"keep":{"source-cluster":"c1","storage":"s1","backup-policy":"p1","interval-cron":"@daily","namespaces":["test"]}}}"#;

/// A service without configuration (abs.md 7.1).
const UNCONFIGURED: &[Row] = &[
    ("GET /v1/config", "", 200, 200, Same("{}")),
    ("PUT /v1/config", "{}", 200, 200, Same("")),
    ("POST /v1/config/apply", "", 200, 200, Same("")),
    ("GET /v1/config/clusters", "", 200, 200, Same("{}")),
    ("GET /v1/config/storage", "", 200, 200, Same("{}")),
    ("GET /v1/config/policies", "", 200, 200, Same("{}")),
    ("GET /v1/config/routines", "", 200, 200, Same("{}")),
    // Ours: ABS has no paths for secret agents.
    ("GET /v1/config/secret-agents", "", 200, 200, Same("{}")),
    ("GET /v1/config/clusters/cluster1", "", 404, 404, Same("cluster \"cluster1\" not found\n")),
    ("GET /v1/config/secret-agents/a", "", 404, 404, Same("secret agent \"a\" not found\n")),
    (
        "POST /v1/config/clusters/cluster1",
        "{}",
        400,
        400,
        Then(
            "invalid JSON payload: seed nodes are not specified\n",
            "invalid request: seed nodes are not specified\n",
        ),
    ),
    (
        "PUT /v1/config/clusters/cluster1",
        "{}",
        400,
        400,
        Then(
            "invalid JSON payload: seed nodes are not specified\n",
            "invalid request: seed nodes are not specified\n",
        ),
    ),
    (
        "DELETE /v1/config/clusters/cluster1",
        "",
        400,
        404,
        Then(
            "invalid request: failed to update configuration: delete Aerospike cluster \"cluster1\": item not found\n",
            "invalid request: failed to update configuration: delete Aerospike cluster \"cluster1\": cluster \"cluster1\" \
             not found\n",
        ),
    ),
    (
        "POST /v1/config/storage/storage1",
        "{}",
        400,
        400,
        Then(
            "invalid JSON payload: no storage type specified\n",
            "invalid request: no storage type specified\n",
        ),
    ),
    (
        "PUT /v1/config/storage/storage1",
        "{}",
        400,
        400,
        Then(
            "invalid JSON payload: no storage type specified\n",
            "invalid request: no storage type specified\n",
        ),
    ),
    (
        "DELETE /v1/config/storage/storage1",
        "",
        400,
        404,
        Then(
            "invalid request: failed to update configuration: delete storage \"storage1\": item not found\n",
            "invalid request: failed to update configuration: delete storage \"storage1\": storage \"storage1\" not \
             found\n",
        ),
    ),
    (
        "PUT /v1/config/policies/policy1",
        "{}",
        400,
        404,
        Then(
            "invalid request: failed to update configuration: update backup policy \"policy1\": item not found\n",
            "invalid request: failed to update configuration: update backup policy \"policy1\": policy \"policy1\" not \
             found\n",
        ),
    ),
    ("POST /v1/config/policies/policy1", "{}", 201, 201, Same("")),
    (
        "POST /v1/config/routines/routine1",
        "{}",
        400,
        400,
        Then(
            "invalid JSON payload: empty field validation error: \"source-cluster\" required\n",
            "invalid request: empty field validation error: \"source-cluster\" required\n",
        ),
    ),
    (
        "PUT /v1/config/routines/routine1",
        "{}",
        400,
        400,
        Then(
            "invalid JSON payload: empty field validation error: \"source-cluster\" required\n",
            "invalid request: empty field validation error: \"source-cluster\" required\n",
        ),
    ),
    ("PUT /v1/config/routines/routine1/disable", "", 404, 404, Same("routine \"routine1\" not found\n")),
    ("PUT /v1/config/routines/routine1/enable", "", 404, 404, Same("routine \"routine1\" not found\n")),
    ("GET /v1/retrieve/configuration/routine1/1000", "", 404, 404, Same("routine \"routine1\" not found\n")),
    ("PATCH /v1/config/clusters/c", "", 405, 405, Same("Method Not Allowed\n")),
    // On purpose: until 3.6 ABS takes an empty body for an empty configuration and wipes everything.
    (
        "PUT /v1/config",
        "",
        400,
        400,
        Then("invalid JSON payload: request body is empty\n", "invalid request: request body is empty\n"),
    ),
    // On purpose: until 3.6 ABS does not look at what follows the document.
    (
        "PUT /v1/config",
        "{} {}",
        400,
        400,
        Then(
            "invalid JSON payload: trailing characters at line 1 column 4\n",
            "invalid request: trailing characters at line 1 column 4\n",
        ),
    ),
    (
        "POST /v1/config/policies/p",
        "{\"paralel\":1}",
        400,
        400,
        Then(
            "invalid JSON payload: unknown field \"paralel\" - did you mean: \"parallel\"?\n",
            "invalid request: unknown field \"paralel\" - did you mean: \"parallel\"?\n",
        ),
    ),
    // On purpose in every release: a name is a folder.
    (
        "POST /v1/config/policies/..%2Fp",
        "{}",
        400,
        400,
        Same(
            "invalid request: failed to update configuration: add backup policy \"../p\": name \"../p\" must be a \
             single path segment: no \"/\", \"\\\" or control characters\n",
        ),
    ),
];

/// The rest of abs.md 7.1: what is not about the configuration, the same in every release.
const BESIDE: &[Row] = &[
    ("GET /", "", 200, 200, Same("")),
    ("GET /health", "", 200, 200, Same("Ok")),
    // On purpose: ABS says so always; ours only once the schedule is loaded.
    ("GET /ready", "", 200, 200, Same("Ok")),
    // Ours: the operator asks there.
    ("GET /v1/health", "", 200, 200, Same("Ok")),
    ("GET /v1/backups/full", "", 200, 200, Same("{}")),
    ("GET /v1/backups/incremental", "", 200, 200, Same("{}")),
    ("GET /v1/backups/full/routine1", "", 404, 404, NO_ROUTINE),
    ("GET /v1/backups/incremental/routine1", "", 404, 404, NO_ROUTINE),
    ("POST /v1/backups/full/routine1", "", 404, 404, NO_ROUTINE),
    ("POST /v1/backups/incremental/routine1", "", 404, 404, NO_ROUTINE),
    ("POST /v1/backups/schedule/routine1", "", 404, 404, NO_ROUTINE),
    ("POST /v1/backups/cancel/routine1", "", 404, 404, NO_ROUTINE),
    ("GET /v1/backups/currentBackup/routine1", "", 404, 404, NO_ROUTINE),
    ("GET /v1/config/storage/storage1", "", 404, 404, Same("storage \"storage1\" not found\n")),
    ("GET /v1/config/policies/policy1", "", 404, 404, Same("policy \"policy1\" not found\n")),
    ("GET /v1/config/routines/routine1", "", 404, 404, NO_ROUTINE),
    (
        "POST /v1/restore/full",
        "{}",
        400,
        400,
        Same("invalid request: empty field validation error: \"backup-data-path\" required\n"),
    ),
    (
        "POST /v1/restore/incremental",
        "{}",
        400,
        400,
        Same("invalid request: empty field validation error: \"backup-data-path\" required\n"),
    ),
    (
        "POST /v1/restore/timestamp",
        "{}",
        400,
        400,
        Same("invalid request: empty field validation error: \"time\" required\n"),
    ),
    ("GET /v1/restore/jobs", "", 200, 200, Same("{}")),
    ("GET /v1/restore/status/1", "", 404, 404, Same("job '\\x01' not found\n")),
    ("POST /v1/restore/cancel/1", "", 404, 404, Same("job '\\x01' not found\n")),
    ("GET /no-such-route", "", 404, 404, Same("")),
    ("GET /v1/jobs", "", 200, 200, Same("{\"jobs\":[],\"next\":null}")),
];

const NO_ROUTINE: Says = Same("routine \"routine1\" not found\n");

/// abs.md 7.4: schedules, each asked by a dry run.
const CRONS: &[(&str, bool)] = &[
    ("0 0 0 * * ? *", true),
    ("0 0 0/2 * * ? *", true),
    ("0 0/30 * * * ? *", true),
    ("0 0 3 ? * MON-FRI *", true),
    ("0 0 1 1 * ? *", true),
    ("0 0 2 ? * SUN *", true),
    ("0 0 1,13 * * ? *", true),
    ("@daily", true),
    ("0 0 * * *", false),
    ("0 0 0 1 * MON", false),
];

#[tokio::test]
async fn schedules_are_taken_and_refused_as_in_abs() {
    let service = Running::start(|_| String::new()).await;
    ask(&service, "3.5", &("PUT /v1/config", DOCUMENT, 200, 200, Same(""))).await;
    for (cron, good) in CRONS {
        let body = ROUTINE.replace("@daily", cron);
        let path = "/v1/config/routines/r?dry-run=true";
        let answer = service.send(Method::POST, path, &[], body).await;
        assert_eq!(answer.status.as_u16(), if *good { 200 } else { 400 }, "{cron}: {}", answer.body);
    }
}

/// A service with the document of abs.md 7.3; the rows follow one another.
const CONFIGURED: &[Row] = &[
    ("PUT /v1/config", DOCUMENT, 200, 200, Same("")),
    ("GET /v1/config", "", 200, 200, Same(DOCUMENT)),
    ("GET /v1/config/clusters/c1", "", 200, 200, Same(CLUSTER)),
    ("GET /v1/config/storage/s1", "", 200, 200, Same(STORAGE)),
    ("GET /v1/config/policies/p1", "", 200, 200, Same("{}")),
    (
        "POST /v1/config/clusters/c1",
        CLUSTER,
        400,
        409,
        Then(
            "invalid request: failed to update configuration: add Aerospike cluster \"c1\": item already exists\n",
            "invalid request: failed to update configuration: add Aerospike cluster \"c1\": cluster \"c1\" already \
             exists\n",
        ),
    ),
    (
        "POST /v1/config/storage/s1",
        STORAGE,
        400,
        409,
        Then(
            "invalid request: failed to update configuration: add storage \"s1\": item already exists\n",
            "invalid request: failed to update configuration: add storage \"s1\": storage \"s1\" already exists\n",
        ),
    ),
    (
        "POST /v1/config/policies/p1",
        "{}",
        400,
        409,
        Then(
            "invalid request: failed to update configuration: add backup policy \"p1\": item already exists\n",
            "invalid request: failed to update configuration: add backup policy \"p1\": policy \"p1\" already exists\n",
        ),
    ),
    (
        "POST /v1/config/routines/keep",
        ROUTINE,
        400,
        409,
        Then(
            "invalid request: failed to update configuration: add backup routine \"keep\": item already exists\n",
            "invalid request: failed to update configuration: add backup routine \"keep\": routine \"keep\" already \
             exists\n",
        ),
    ),
    (
        "DELETE /v1/config/clusters/c1",
        "",
        400,
        409,
        Same(
            "invalid request: failed to update configuration: delete Aerospike cluster \"c1\": item is in use: it is used \
             in routine \"keep\"\n",
        ),
    ),
    (
        "DELETE /v1/config/storage/s1",
        "",
        400,
        409,
        Same(
            "invalid request: failed to update configuration: delete storage \"s1\": item is in use: it is used in \
             routine \"keep\"\n",
        ),
    ),
    (
        "DELETE /v1/config/policies/p1",
        "",
        400,
        409,
        Same(
            "invalid request: failed to update configuration: delete backup policy \"p1\": item is in use: it is used in \
             routine \"keep\"\n",
        ),
    ),
    (
        "POST /v1/config/routines/other",
        r#"{"source-cluster":"c2","storage":"s1","interval-cron":"@daily","namespaces":[]}"#,
        400,
        400,
        Same(
            "invalid request: failed to update configuration: add backup routine \"other\": not found validation error: \
             cluster \"c2\" - did you mean: \"c1\"?\n",
        ),
    ),
    (
        "PUT /v1/config",
        r#"{"service":{"http":{"port":1}}}"#,
        400,
        400,
        Same("invalid request: static configuration has changed: service.http.port\n"),
    ),
    ("POST /v1/config/routines/other", ROUTINE, 201, 201, Same("")),
    ("PUT /v1/config/routines/other", ROUTINE, 200, 200, Same("")),
    ("PUT /v1/config/routines/other/disable", "", 204, 204, Same("")),
    // Twice is as good as once.
    ("PUT /v1/config/routines/other/disable", "", 204, 204, Same("")),
    ("POST /v1/backups/full/other", "", 404, 404, Same("routine \"other\" not found: it is disabled\n")),
    ("PUT /v1/config/routines/other/enable", "", 204, 204, Same("")),
    (
        "GET /v1/config/routines/other",
        "",
        200,
        200,
        Same(
            r#"{"source-cluster":"c1","storage":"s1","backup-policy":"p1","interval-cron":"@daily","namespaces":["test"]}"#,
        ),
    ),
    ("DELETE /v1/config/routines/other", "", 204, 204, Same("")),
    (
        "POST /v1/config/secret-agents/a",
        r#"{"connection-type":"tcp","address":"a","port":1}"#,
        201,
        201,
        Same(""),
    ),
    (
        "GET /v1/config/secret-agents/a",
        "",
        200,
        200,
        Same(r#"{"connection-type":"tcp","address":"a","port":1}"#),
    ),
    ("DELETE /v1/config/secret-agents/a", "", 204, 204, Same("")),
    ("POST /v1/config/apply", "", 200, 200, Same("")),
    ("GET /v1/config", "", 200, 200, Same(DOCUMENT)),
    (
        "GET /v1/retrieve/configuration/keep/1000",
        "",
        404,
        404,
        Same("routine \"keep\" has no full backup at or before 1000\n"),
    ),
    ("DELETE /v1/config/routines/keep", "", 204, 204, Same("")),
    ("DELETE /v1/config/clusters/c1", "", 204, 204, Same("")),
    ("DELETE /v1/config/storage/s1", "", 204, 204, Same("")),
    ("DELETE /v1/config/policies/p1", "", 204, 204, Same("")),
    ("GET /v1/config", "", 200, 200, Same("{}")),
];

#[tokio::test]
async fn every_release_answers_as_the_table_says() {
    for level in ["3.5", "3.6", "3.7"] {
        let yaml = format!("service: {{compatibility: \"{level}\"}}\n");
        for table in [BESIDE, UNCONFIGURED, CONFIGURED] {
            let service = Running::start(|_| yaml.clone()).await;
            for row in table {
                ask(&service, level, row).await;
            }
        }
    }
}

async fn ask(service: &Running, level: &str, row: &Row) {
    let (request, body, old, new, says) = row;
    let dir = service.dir.path().display().to_string();
    let (status, text) = match (level, says) {
        ("3.7", Then(_, text) | Same(text)) => (*new, *text),
        (_, Then(text, _) | Same(text)) => (*old, *text),
    };
    let (method, path) = request.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    // It is static, so a whole document must say it again, in ABS as here.
    let spoken = format!("\"service\":{{\"compatibility\":\"{level}\"");
    let body = match *body {
        _ if *request != "PUT /v1/config" => (*body).to_owned(),
        "{}" => format!("{{{spoken}}}}}"),
        DOCUMENT => DOCUMENT.replacen('{', &format!("{{{spoken}}},"), 1),
        other => other.replacen("\"service\":{", &format!("{spoken},"), 1),
    };
    let answer = service.send(method, path, &[], body.replace("DIR", &dir)).await;
    // The whole document also has the release that is spoken.
    let service_section = format!("\"service\":{{\"compatibility\":\"{level}\"}}");
    let got = answer.body.replace(&format!("{service_section},"), "").replace(&service_section, "");
    assert_eq!(
        (answer.status.as_u16(), got.as_str()),
        (status, text.replace("DIR", &dir).as_str()),
        "{level}: {request} {body}"
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_500_until_3_6_and_503_from_then_on_and_changes_nothing() {
    for (level, status) in [("3.5", 500), ("3.6", 500), ("3.7", 503)] {
        let service = Running::start(|_| format!("service: {{compatibility: \"{level}\"}}\n")).await;
        // A folder stands where the new file would be made: not even root can write there.
        let blocked = service.dir.path().join("holdfast.yaml.holdfast-new");
        std::fs::create_dir(&blocked).unwrap();
        let before = std::fs::read_to_string(service.config_path()).unwrap();
        let refused = service.post("/v1/config/policies/p", "{}").await;
        assert_eq!(refused.status.as_u16(), status, "{level}");
        assert!(refused.body.starts_with("failed to write configuration: "), "{}", refused.body);
        assert_eq!(service.get("/v1/config/policies").await.body, "{}");
        assert_eq!(std::fs::read_to_string(service.config_path()).unwrap(), before);
        std::fs::remove_dir(&blocked).unwrap();
        assert_eq!(service.post("/v1/config/policies/p", "{}").await.status.as_u16(), 201);
    }
}
