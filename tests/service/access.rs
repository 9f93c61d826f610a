//! A password in the configuration itself: jobs take it from there when they run. The cluster is a sandbox with a user.

use holdfast::sandbox::{Sandbox, SandboxOptions, SandboxSecurity, SandboxUser};
use reqwest::Method;
use tokio_util::sync::CancellationToken;

use crate::helpers::{Running, one_routine};

#[tokio::test]
async fn a_password_that_was_corrected_serves_the_next_job_and_one_that_waited() {
    let user = SandboxUser { name: "bob".into(), password: "right-one".into(), external: false };
    let security = SandboxSecurity { users: vec![user], ..SandboxSecurity::default() };
    let options = SandboxOptions { security: Some(security), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
    let port = sandbox.address().port();
    let yaml = |dir: &tempfile::TempDir, password: &str| {
        let credentials = format!("    credentials: {{user: bob, password: {password}}}\n    seed-nodes:");
        one_routine(dir)
            .replace("    seed-nodes:", &credentials)
            .replace("conn-timeout: 500", "conn-timeout: 20000")
            .replace("port: 1}", &format!("port: {port}}}"))
    };
    let service = Running::start(|dir| yaml(dir, "wrong-one")).await;
    let failed = service.trigger("/v1/backups/full/daily").await;
    let failed = service.job_in(failed, &["failed", "succeeded"]).await;
    assert_eq!(failed["error"]["code"], "login-refused", "{failed:#}");
    // Its row is made now; what it holds is where the password stands.
    let waiting = service.trigger("/v1/backups/full/daily?delay=10000").await;

    std::fs::write(service.config_path(), yaml(&service.dir, "right-one")).unwrap();
    service.expect(Method::POST, "/v1/config/apply", "", 200, "").await;
    let next = service.trigger("/v1/backups/full/daily").await;
    let next = service.job_in(next, &["failed", "succeeded"]).await;
    assert_eq!(next["status"], "succeeded", "{next:#}");

    // Also by a process that was not there when the row was made.
    let service = service.restart().await;
    let waited = service.job_in(waiting, &["failed", "succeeded"]).await;
    assert_eq!(waited["status"], "succeeded", "{waited:#}");
    let shown = service.get("/v1/config").await.body;
    assert!(shown.contains("[secret]") && !shown.contains("right-one"), "{shown}");
}
