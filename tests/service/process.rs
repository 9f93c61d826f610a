//! The program itself: signals, exit codes, `check`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::helpers::one_routine;

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// A process that does not outlive a test that fails.
pub struct Served(pub Child);

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `holdfast serve` and gives its process, the address it serves, and the rest of its log.
pub fn serve(dir: &tempfile::TempDir, yaml: &str) -> (Served, String, impl Iterator<Item = String> + use<>) {
    let config = dir.path().join("holdfast.yaml");
    std::fs::write(&config, yaml).unwrap();
    serve_at(dir, &config, &[])
}

/// The same with the configuration that is at `config`, and with variables.
pub fn serve_at(
    dir: &tempfile::TempDir,
    config: &Path,
    variables: &[(&str, &Path)],
) -> (Served, String, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(HOLDFAST)
        .args(["serve", "--config"])
        .arg(config)
        .env("STATE_DIRECTORY", dir.path().join("state"))
        .envs(variables.iter().copied())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("serving http")).expect("it says where it serves");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = event["fields"]["address"].as_str().unwrap().to_owned();
    (Served(child), address, log)
}

fn signal(Served(child): &Served, name: &str) {
    let done = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

const SERVICE: &str = "service: {http: {port: 0}, logger: {format: JSON}}\n";

#[tokio::test]
async fn sighup_reads_the_file_again_and_sigterm_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("{SERVICE}{}", one_routine(&dir));
    let (mut child, address, mut log) = serve(&dir, &yaml);
    let url = format!("http://{address}/v1/config/routines/added");
    assert_eq!(reqwest::get(&url).await.unwrap().status().as_u16(), 404);

    std::fs::write(dir.path().join("holdfast.yaml"), format!("{yaml}  broken: 1\n")).unwrap();
    signal(&child, "HUP");
    let refused = log.find(|line| line.contains("not taken")).unwrap();
    assert!(refused.contains("broken"), "{refused}");

    std::fs::write(dir.path().join("holdfast.yaml"), yaml.replace("  resting:", "  added:")).unwrap();
    signal(&child, "HUP");
    log.find(|line| line.contains("configuration taken")).unwrap();
    assert_eq!(reqwest::get(&url).await.unwrap().status().as_u16(), 200);

    signal(&child, "TERM");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn check_prints_the_next_five_fire_times_in_their_zone() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("good.yaml");
    let yaml = one_routine(&dir).replace(
        "    interval-cron: \"0 0 0 1 1 ?\"\n",
        "    interval-cron: \"0 30 4 1 7 ?\"\n    schedule-timezone: Europe/Berlin\n    verify-cron: \"0 0 5 1 8 ?\"\n",
    );
    std::fs::write(&config, yaml).unwrap();
    let done = Command::new(HOLDFAST).arg("check").arg("-c").arg(&config).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{text}");
    assert_eq!(text.matches("-07-01T04:30:00+02:00").count(), 5, "{text}");
    assert_eq!(text.matches("-08-01T05:00:00+02:00").count(), 5, "{text}");
    assert!(text.contains("127.0.0.1:8080"), "{text}"); // rules.md 7.2
    assert!(text.contains("routine resting (disabled"), "{text}");
}

#[test]
fn check_says_how_files_are_encrypted_and_whether_the_key_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("encrypted.yaml");
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rsa_pkcs8.pem");
    for (path, says) in [(key, "    key "), ("/no/such/key", "WRONG, as seen from here: encryption.key-file")]
    {
        let block = format!("  once:\n    encryption: {{mode: AES256-GCM, key-file: {path}}}\n");
        std::fs::write(&config, one_routine(&dir).replacen("  once:\n", &block, 1)).unwrap();
        let done = Command::new(HOLDFAST).arg("check").arg("-c").arg(&config).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(text.contains("encryption: AES256-GCM, by key-file") && text.contains(says), "{text}");
        assert!(text.contains("not readable by the official tools"), "{text}");
    }
}

#[test]
fn check_prints_every_problem_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bad.yaml");
    let yaml = one_routine(&dir).replace("@daily", "@often").replace("local-storage", "local-storag");
    std::fs::write(&config, yaml).unwrap();
    let done = Command::new(HOLDFAST).arg("check").arg("-c").arg(&config).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(2), "{text}");
    assert!(text.contains("bad.yaml:8: ") && text.contains("did you mean: \"local-storage\"?"), "{text}");
    assert!(text.contains("@often"), "{text}");
}

#[test]
fn a_bad_configuration_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bad.yaml");
    std::fs::write(&config, "servce: {}\n").unwrap();
    let done = Command::new(HOLDFAST).arg("serve").arg("-c").arg(&config).output().unwrap();
    let text = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{text}");
    assert!(text.contains("bad.yaml:1") && text.contains("did you mean: \"service\"?"), "{text}");
}

/// Runs `holdfast store` with arguments: exit code, output, errors.
fn store(dir: &tempfile::TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(HOLDFAST);
    command.arg("store").args(arguments).env("STATE_DIRECTORY", dir.path().join("state"));
    let done = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// rules.md 2.7, from the damage to the next start.
#[tokio::test]
async fn a_damaged_store_is_set_aside_by_the_command_that_the_refusal_names() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("{SERVICE}{}", one_routine(&dir));
    let (mut child, address, _log) = serve(&dir, &yaml);
    let jobs = format!("http://{address}/v1/jobs");
    let trigger = format!("http://{address}/v1/backups/full/daily?delay=3600000");
    reqwest::Client::new().post(&trigger).send().await.unwrap();
    let page: serde_json::Value = reqwest::get(&jobs).await.unwrap().json().await.unwrap();
    let last = page["jobs"][0]["id"].as_i64().unwrap();
    let config = dir.path().join("holdfast.yaml");
    let config = config.to_str().unwrap();
    let (code, text, _) = store(&dir, &["check", "--config", config]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("in use by a service: yes") && text.contains("1 scheduled"), "{text}");
    let (code, _, error) = store(&dir, &["rebuild", "--config", config]);
    assert!(code == Some(1) && error.contains("another process"), "{error}");
    signal(&child, "TERM");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));

    let state = dir.path().join("state");
    let db = state.join("holdfast.db");
    let mut bytes = std::fs::read(&db).unwrap();
    bytes[..100].fill(0x5a);
    std::fs::write(&db, bytes).unwrap();
    let done = Command::new(HOLDFAST)
        .args(["serve", "--config", config])
        .env("STATE_DIRECTORY", &state)
        .output()
        .unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{error}");
    assert!(error.contains("`holdfast store rebuild --config FILE`"), "{error}");
    let (code, text, error) = store(&dir, &["check", "--state-dir", state.to_str().unwrap()]);
    assert!(code == Some(1) && error.contains("store rebuild"), "{text}{error}");

    let (code, text, error) = store(&dir, &["rebuild", "--config", config]);
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("set aside: ") && text.contains("routine daily: 0 namespaces in"), "{text}");
    let (code, text, _) = store(&dir, &["check", "--config", config]);
    assert_eq!(code, Some(0), "{text}");

    // A new store fires nothing of the past (rules.md 1.1) and gives no id twice (2.7).
    let (_child, address, _log) = serve(&dir, &yaml);
    let page: serde_json::Value =
        reqwest::get(format!("http://{address}/v1/jobs")).await.unwrap().json().await.unwrap();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 0, "{page}");
    let trigger = format!("http://{address}/v1/backups/full/daily?delay=3600000");
    let answer = reqwest::Client::new().post(&trigger).send().await.unwrap();
    let id: i64 = answer.headers()["location"].to_str().unwrap()["/v1/jobs/".len()..].parse().unwrap();
    assert!(id > last, "{id} after {last}");
}
