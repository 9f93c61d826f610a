//! The configuration changes again and again, through the API and in its file, while fifty routines fire each second: every
//! slot is there once, and no job is disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use holdfast::catalog::OwnerTimes;
use holdfast::clock::{Clock, SystemClock};
use holdfast::sandbox::{Sandbox, SandboxOptions};
use reqwest::Method;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::helpers::Running;

const ROUTINES: usize = 50;

/// How long a test waits for what must happen; only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_mins(3);

/// Each second, in two ways to write it: a change from one to the other is a new version of the schedule (rules.md 1.1).
const EACH_SECOND: [&str; 2] = ["* * * * * ?", "0/1 * * * * ?"];

#[tokio::test(flavor = "multi_thread")]
async fn changes_under_load_lose_and_double_no_slot_and_disturb_no_job() {
    changes_under_load(60).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: 1,000 changes"]
async fn a_thousand_changes_under_load_lose_and_double_no_slot_and_disturb_no_job() {
    changes_under_load(1_000).await;
}

async fn changes_under_load(changes: usize) {
    let node = Sandbox::start(SandboxOptions::default(), &CancellationToken::new()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let yaml = yaml(&dir, node.address().port());
    let service = Running::start_with(dir, &yaml, OwnerTimes::default()).await;
    let first = SystemClock.now().secs() + 1;
    let store = open(&service).await;

    let (started, mut api, mut file) = (Instant::now(), 0, 0);
    for change in 0..changes {
        match change % 8 {
            5 => {
                edit(&service, change).await;
                file += 1;
            }
            // The file is edited, and before anybody has looked at it the API is asked for another change.
            6 => {
                rewrite(&service, change);
                ask(
                    &service,
                    "PUT",
                    "policies/beside",
                    &format!(r#"{{"parallel":{}}}"#, 1 + change % 7),
                    200,
                )
                .await;
                api += 1;
                file += 1;
            }
            kind => {
                change_by_api(&service, kind, change).await;
                api += 1;
            }
        }
    }
    let took = started.elapsed();

    let last = SystemClock.now().secs();
    let behind = "SELECT count(*) FROM schedules WHERE routine LIKE 'r%' AND ifnull(mark_ms, 0) < ?1";
    wait_for_none(&store, behind, last * 1000).await;
    let open = "SELECT count(*) FROM jobs JOIN slots ON slots.id = jobs.slot_id \
                WHERE slots.fire_s <= ?1 AND jobs.finished_ms IS NULL";
    wait_for_none(&store, open, last).await;
    let seen = judge(&store, first, last).await;
    println!(
        "{changes} changes ({api} by the API, {file} in the file) in {:.0} s, {} slots, jobs: {seen:?}",
        took.as_secs_f64(),
        ROUTINES as i64 * (last - first + 1),
    );
    assert!(seen["succeeded"] > ROUTINES, "backups ran meanwhile: {seen:?}");
}

/// Compares slots and jobs with the schedule: how jobs ended, by status and reason.
async fn judge(store: &SqlitePool, first: i64, last: i64) -> BTreeMap<String, usize> {
    let rows = sqlx::query(
        "SELECT slots.routine, slots.fire_s, slots.state, slots.count, jobs.status, jobs.reason_code, jobs.error \
         FROM slots LEFT JOIN jobs ON jobs.slot_id = slots.id WHERE slots.fire_s BETWEEN ?1 AND ?2",
    );
    let rows = rows.bind(first).bind(last).fetch_all(store).await.unwrap();
    let mut jobs: BTreeMap<(String, i64), usize> = BTreeMap::new();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let (routine, fire_s): (String, i64) = (row.get(0), row.get(1));
        let text = |at: usize| row.get::<Option<String>, _>(at).unwrap_or_default();
        let (status, reason) = (text(4), text(5));
        assert_eq!((text(2).as_str(), row.get::<i64, _>(3)), ("fired", 1), "{routine} at {fire_s}");
        let documented = ["full-running", "already-queued"].contains(&reason.as_str());
        assert!(
            status == "succeeded" || status == "skipped" && documented,
            "{routine} at {fire_s} is {status}: {reason} {}",
            text(6)
        );
        *ends.entry(format!("{status} {reason}").trim().to_owned()).or_default() += 1;
        *jobs.entry((routine, fire_s)).or_default() += 1;
    }
    let expected: BTreeSet<(String, i64)> =
        (0..ROUTINES).flat_map(|at| (first..=last).map(move |second| (name(at), second))).collect();
    let fired: BTreeSet<(String, i64)> = jobs.keys().cloned().collect();
    assert_eq!(expected.difference(&fired).collect::<Vec<_>>(), Vec::<&(String, i64)>::new(), "lost");
    assert_eq!(
        fired.difference(&expected).collect::<Vec<_>>(),
        Vec::<&(String, i64)>::new(),
        "of no schedule"
    );
    assert_eq!(
        jobs.iter().filter(|(_, jobs)| **jobs != 1).collect::<Vec<_>>(),
        Vec::new(),
        "more than one job"
    );
    ends
}

async fn change_by_api(service: &Running, kind: usize, change: usize) {
    let path = |section: &str, name: &str| format!("{section}/{name}");
    let disk = service.dir.path().join("others");
    match kind {
        // What others run by, and the schedule of one in other words.
        0 => {
            let policy =
                format!(r#"{{"parallel":{},"clock-skew-margin":{}}}"#, 1 + change % 3, 1 + change % 20);
            ask(service, "PUT", "policies/quick", &policy, 200).await;
        }
        1 => {
            let (at, cron) = (change / 8 % ROUTINES, EACH_SECOND[(change / 8 + 1) % 2]);
            ask(service, "PUT", &path("routines", &name(at)), &routine(cron), 200).await;
        }
        // Things that come, rest and go.
        2 => ask(service, "POST", &path("routines", &format!("x{change}")), &routine("@yearly"), 201).await,
        3 => {
            let rest = format!("routines/x{}/disable", change - 1);
            let storage = format!(r#"{{"local-storage":{{"path":"{}/{change}"}}}}"#, disk.display());
            let new = path("storage", &format!("s{change}"));
            // Both at once: one waits for the other.
            tokio::join!(ask(service, "PUT", &rest, "", 204), ask(service, "POST", &new, &storage, 201));
        }
        4 => ask(service, "DELETE", &path("routines", &format!("x{}", change - 2)), "", 204).await,
        // The whole document, as somebody reads, changes and writes it.
        _ => {
            let mut document = service.get("/v1/config").await.json();
            document["backup-routines"][name(change % ROUTINES)]["interval-cron"] =
                EACH_SECOND[change / 8 % 2].into();
            document["storage"].as_object_mut().unwrap().retain(|name, _| name == "disk");
            ask(service, "PUT", "", &document.to_string(), 200).await;
        }
    }
}

/// Edits the file, and waits until the service has taken it by itself or, each other time, tells it to.
async fn edit(service: &Running, change: usize) {
    rewrite(service, change);
    if change % 16 == 5 {
        ask_path(service, "POST", "/v1/config/apply", "", 200).await;
    }
    let started = Instant::now();
    let wanted = format!("edit {change}");
    while service.get("/v1/config/clusters/node").await.json()["label"] != wanted.as_str() {
        assert!(started.elapsed() < PATIENCE, "the file was not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another label, and another routine with its schedule in other words, as an editor replaces a file.
fn rewrite(service: &Running, change: usize) {
    let path = service.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    let label = text.lines().find(|line| line.trim_start().starts_with("label:")).unwrap();
    let text = text.replace(label, &format!("    label: edit {change}"));
    let block = format!("  {}:\n", name(change / 8 % ROUTINES));
    let (before, rest) = text.split_once(&block).unwrap();
    let (from, to) = if rest.contains(EACH_SECOND[0]) { (0, 1) } else { (1, 0) };
    let text = format!("{before}{block}{}", rest.replacen(EACH_SECOND[from], EACH_SECOND[to], 1));
    let new = path.with_extension("edited");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, &path).unwrap();
}

async fn ask(service: &Running, method: &str, path: &str, body: &str, status: u16) {
    let path = format!("/v1/config/{path}");
    ask_path(service, method, path.trim_end_matches('/'), body, status).await;
}

async fn ask_path(service: &Running, method: &str, path: &str, body: &str, status: u16) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = service.send(method.clone(), path, &[], body.to_owned()).await;
    assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.body);
}

fn name(at: usize) -> String {
    format!("r{at:02}")
}

fn routine(cron: &str) -> String {
    format!(
        r#"{{"source-cluster":"node","storage":"disk","backup-policy":"quick","namespaces":["test"],"interval-cron":"{cron}"}}"#
    )
}

/// Plain block YAML, which a change is written into.
fn yaml(dir: &TempDir, port: u16) -> String {
    let mut yaml = format!(
        "# every second\n\
         aerospike-clusters:\n  node:\n    label: edit none\n    seed-nodes:\n    - host-name: 127.0.0.1\n      port: {port}\n\
         storage:\n  disk:\n    local-storage:\n      path: {}\n\
         backup-policies:\n  quick:\n    parallel: 1\n    clock-skew-margin: 1\n  beside:\n    parallel: 1\n\
         backup-routines:\n",
        dir.path().join("backups").display()
    );
    for at in 0..ROUTINES {
        write!(
            yaml,
            "  {}:\n    source-cluster: node\n    storage: disk\n    backup-policy: quick\n    namespaces:\n    - test\n    \
             interval-cron: \"{}\"\n",
            name(at),
            EACH_SECOND[0]
        )
        .unwrap();
    }
    yaml
}

async fn open(service: &Running) -> SqlitePool {
    let file = service.dir.path().join("state/holdfast.db");
    let options =
        SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(Duration::from_secs(30));
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

/// Waits until a count is 0.
async fn wait_for_none(store: &SqlitePool, count: &'static str, bound: i64) {
    let started = Instant::now();
    loop {
        let left: i64 = sqlx::query_scalar(count).bind(bound).fetch_one(store).await.unwrap();
        if left == 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{left} left of: {count}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
