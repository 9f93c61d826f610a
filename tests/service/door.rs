//! Who may do what: every role on every route.

use std::fmt::Write as _;

use holdfast::api::{Need, ROUTES, Reach, served, token_hash};
use holdfast::config::Role;
use reqwest::Method;
use tempfile::TempDir;

use crate::helpers::{Answer, Running, one_routine};

/// Name, role, whether limited to the routine `resting`.
const CALLERS: [(&str, Role, bool); 6] = [
    ("viewer", Role::Viewer, false),
    ("operator", Role::Operator, false),
    ("admin", Role::Admin, false),
    ("viewer-of-one", Role::Viewer, true),
    ("operator-of-one", Role::Operator, true),
    ("admin-of-one", Role::Admin, true),
];

fn auth(more: &str) -> String {
    let mut text = format!("service:\n  http: {{address: 127.0.0.1}}\n  auth:\n{more}    tokens:\n");
    for (name, role, limited) in CALLERS {
        let routines = if limited { ", routines: [resting]" } else { "" };
        let (hash, role) = (token_hash(&token(name)), role.as_str());
        writeln!(text, "    - {{name: {name}, hash: \"{hash}\", role: {role}{routines}}}").unwrap();
    }
    text
}

/// Not random, as nobody else listens.
fn token(name: &str) -> String {
    format!("hft_of_{name}")
}

fn guarded(dir: &TempDir) -> String {
    auth("") + &one_routine(dir)
}

async fn send(service: &Running, method: &str, path: &str, authorization: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> =
        authorization.map(|value| ("authorization", value)).into_iter().collect();
    service.send(Method::from_bytes(method.as_bytes()).unwrap(), path, &headers, "").await
}

async fn send_as(service: &Running, method: &str, path: &str, name: &str) -> Answer {
    send(service, method, path, Some(&format!("Bearer {}", token(name)))).await
}

/// A path of a pattern: of the routine `daily` or `resting`, and of a job.
fn path_of(pattern: &str, routine: &str, job: i64) -> String {
    pattern
        .replace("{name}", routine)
        .replace("{routine}", routine)
        .replace("{id}", &job.to_string())
        .replace("{timestamp}", "1700000000000")
}

/// A route that is not in the table is for admins only, and nobody has decided that: the table is complete, and has
/// nothing that is not there.
#[test]
fn every_route_of_the_server_is_in_the_table_of_roles_once() {
    let mut served: Vec<(String, String)> =
        served().into_iter().map(|(method, path)| (method.to_owned(), path)).collect();
    let mut table: Vec<(String, String)> =
        ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    served.sort();
    table.sort();
    assert!(served.len() > 40, "{served:?}");
    assert_eq!(served, table);
}

/// What only looks may be seen by a viewer, what changes something may not be done by one: said once more by method.
#[test]
fn no_route_that_changes_something_lets_a_viewer_in() {
    for route in ROUTES.iter().filter(|route| route.method != "GET") {
        assert!(route.need >= Need::Role(Role::Operator), "{route:?}");
    }
    let open: Vec<&str> = ROUTES.iter().filter(|one| one.need == Need::Nothing).map(|one| one.path).collect();
    assert_eq!(open, ["", "/", "/health", "/v1/health", "/ready", "/v1/ready"]);
    for route in ROUTES {
        let rules = route.path.starts_with("/v1/config") && route.method != "GET"
            || route.method == "DELETE"
            || ["/v1/routines/{name}/adopt", "/v1/audit"].contains(&route.path);
        assert_eq!(route.need == Need::Role(Role::Admin), rules, "{route:?}");
    }
}

/// Every cell: caller × route × routine.
#[tokio::test]
async fn each_role_is_let_in_where_the_table_says_and_nowhere_else() {
    let service = Running::start(guarded).await;
    let mut cells = 0;
    for (routine, resting) in [("daily", false), ("resting", true)] {
        let about = format!("/v1/backups/verify/{routine}?from=1&to=2");
        let made = send_as(&service, "POST", &about, "admin").await;
        let job: i64 = made.header("location").strip_prefix("/v1/jobs/").unwrap().parse().unwrap();
        for (method, pattern) in served() {
            let route = ROUTES.iter().find(|route| (route.method, route.path) == (method, pattern.as_str()));
            let route = route.unwrap_or_else(|| panic!("{method} {pattern} is in no table"));
            let path = path_of(&pattern, routine, job);
            let open = route.need == Need::Nothing;
            for (authorization, what) in [
                (None, "nobody"),
                (Some("Bearer hft_wrong".to_owned()), "unknown"),
                (Some(format!("Basic {}", "!!")), "no base64"),
                (Some("Digest x".to_owned()), "another scheme"),
            ] {
                let answer = send(&service, method, &path, authorization.as_deref()).await;
                assert_eq!(answer.status.as_u16() == 401, !open, "{what}: {method} {path}: {answer:?}");
                assert_ne!(answer.status.as_u16(), 403, "{what}: {method} {path}");
                cells += 1;
            }
            for (name, role, limited) in CALLERS {
                let allowed = match route.need {
                    Need::Nothing => true,
                    Need::Metrics => role >= Role::Viewer,
                    Need::Role(need) => role >= need,
                };
                let reached = !limited
                    || open
                    || match route.reach {
                        Reach::Any | Reach::List | Reach::Body => true,
                        Reach::Routine | Reach::Job => resting,
                        Reach::Whole => false,
                    };
                let answer = send_as(&service, method, &path, name).await;
                let status = answer.status.as_u16();
                assert_eq!(status != 403, allowed && reached, "{name}: {method} {path}: {answer:?}");
                assert_ne!(status, 401, "{name}: {method} {path}");
                if status == 403 {
                    assert!(answer.body.starts_with(name), "{answer:?}");
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 2 * served().len() * (4 + CALLERS.len()));
}

#[tokio::test]
async fn whoever_is_limited_sees_and_restores_its_routines_only() {
    let service = Running::start(guarded).await;
    for routine in ["daily", "resting"] {
        send_as(&service, "POST", &format!("/v1/backups/verify/{routine}"), "operator").await;
    }
    let all = send_as(&service, "GET", "/v1/jobs", "viewer").await.json();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 2);
    assert!(
        service.job_as(all["jobs"][0]["id"].as_i64().unwrap(), &token("viewer")).await["requested-by"]
            .as_str()
            .unwrap()
            .starts_with("operator (127.0.0.1")
    );
    let own = send_as(&service, "GET", "/v1/jobs", "viewer-of-one").await.json();
    let routines: Vec<_> = own["jobs"].as_array().unwrap().iter().map(|job| &job["routine"]).collect();
    assert_eq!(routines, ["resting"]);
    let other = send_as(&service, "GET", "/v1/jobs?routine=daily", "viewer-of-one").await.json();
    assert_eq!(other["jobs"].as_array().unwrap().len(), 0);
    let lists = send_as(&service, "GET", "/v1/backups/full", "viewer-of-one").await.json();
    assert_eq!(lists.as_object().unwrap().keys().collect::<Vec<_>>(), ["resting"]);

    let bearer = format!("Bearer {}", token("operator-of-one"));
    for (body, status) in [
        (r#"{"routine": "resting", "time": 1700000000000}"#, 202),
        (r#"{"routine": "daily", "time": 1700000000000}"#, 403),
        (r#"{"routine": "resting", "time": 1700000000000, "source-name": "disk"}"#, 403),
        (r#"{"routine": "resting", "time": 1700000000000, "destination-name": "nowhere"}"#, 403),
        (
            r#"{"routine": "resting", "time": 1700000000000, "policy": {"namespace": {"source": "test", "destination": "other"}}}"#,
            403,
        ),
    ] {
        let headers = [("authorization", bearer.as_str())];
        let answer = service.send(Method::POST, "/v1/restore/timestamp", &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_scraper_may_send_basic_credentials_and_metrics_may_be_open() {
    let service = Running::start(guarded).await;
    let basic = |text: &str| format!("Basic {}", base64(text));
    let good = basic(&format!("viewer:{}", token("viewer")));
    assert_eq!(send(&service, "GET", "/metrics", Some(&good)).await.status.as_u16(), 200);
    for bad in [basic("viewer:x"), basic(&format!("admin:{}", token("viewer"))), basic("viewer"), basic("")] {
        assert_eq!(send(&service, "GET", "/metrics", Some(&bad)).await.status.as_u16(), 401, "{bad}");
    }
    let refused = send(&service, "GET", "/metrics", None).await;
    assert_eq!(refused.body, "no credentials: send Authorization: Bearer TOKEN\n");
    assert!(refused.header("www-authenticate").starts_with("Bearer"));

    let open = Running::start(|dir| auth("    open-metrics: true\n") + &one_routine(dir)).await;
    assert_eq!(send(&open, "GET", "/metrics", None).await.status.as_u16(), 200);
    assert_eq!(send(&open, "GET", "/v1/jobs", None).await.status.as_u16(), 401);
}

/// RFC 4648, for the few bytes here.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.as_bytes()
        .chunks(3)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            (0..4).map(move |at| {
                if at <= chunk.len() { DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char } else { '=' }
            })
        })
        .collect()
}

#[tokio::test]
async fn unknown_paths_and_methods_tell_strangers_nothing() {
    let service = Running::start(guarded).await;
    for (method, path) in [("GET", "/v1/nothing"), ("POST", "/v1/nothing"), ("PATCH", "/v1/jobs")] {
        assert_eq!(send(&service, method, path, None).await.status.as_u16(), 401, "{method} {path}");
    }
    assert_eq!(send_as(&service, "GET", "/v1/nothing", "viewer").await.status.as_u16(), 404);
    assert_eq!(send_as(&service, "PATCH", "/v1/jobs", "viewer").await.status.as_u16(), 405);
    let problem = [("accept", "application/problem+json")];
    let answer = service.send(Method::GET, "/v1/jobs", &problem, "").await;
    assert_eq!(answer.json()["code"], "unauthenticated");
}

/// No spelling of a path leads past the door.
#[tokio::test]
async fn tricks_with_paths_open_nothing() {
    let service = Running::start(guarded).await;
    for path in [
        "/v1/jobs/",
        "//v1/jobs",
        "/v1//jobs",
        "/v1/./jobs",
        "/health/../v1/jobs",
        "/health/%2e%2e/v1/jobs",
        "/v1/%6aobs",
        "/v1/jobs%2f",
        "/v1/jobs;x=1",
        "/v1/jobs%00",
        "/V1/JOBS",
        "/v1/health/../config",
        "/v1/config%2fapply",
        "/metrics/",
        "/%2e/metrics",
        "/v1/jobs?%2fhealth",
        "/v1/jobs#/health",
    ] {
        let answer =
            raw(&service, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        let status = &answer[9..12];
        assert!(["400", "401"].contains(&status), "{path}: {answer}");
    }
    // A limit to one routine holds for every spelling of another.
    for name in
        ["daily", "%64aily", "daily%20", "./daily", "resting/../daily", "resting%2f..%2fdaily", "Daily"]
    {
        let bearer = token("viewer-of-one");
        let head = format!(
            "GET /v1/backups/full/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&service, &head).await;
        assert!(["400", "403", "404"].contains(&&answer[9..12]), "{name}: {answer}");
    }
}

async fn raw(service: &Running, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(service.service.http_address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_reload_takes_over_who_may_do_what() {
    let service = Running::start(guarded).await;
    let text = std::fs::read_to_string(service.config_path()).unwrap();
    let fewer: String = text.split_inclusive('\n').filter(|line| !line.contains("name: viewer,")).collect();
    std::fs::write(service.config_path(), fewer).unwrap();
    assert_eq!(send_as(&service, "GET", "/version", "viewer").await.status.as_u16(), 200);
    assert_eq!(send_as(&service, "POST", "/v1/config/apply", "admin").await.status.as_u16(), 200);
    assert_eq!(send_as(&service, "GET", "/version", "viewer").await.status.as_u16(), 401);
}
