//! One owner per routine folder: two installations with one configuration (rules.md 5.5).

use std::fs::{File, read_to_string};
use std::path::Path;
use std::time::Duration;

use holdfast::sample::mixed;
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, ROUTINE, is_asb, point, warnings};

async fn with_a_full() -> (Bench, i64) {
    let bench = Bench::start().await;
    bench.write(&(0..100).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let full = bench.back_up("full").await;
    (bench, point(&full))
}

/// The instance in the owner file of the routine.
fn owner(bench: &Bench) -> String {
    owner_in(&bench.path(ROUTINE))
}

fn owner_in(folder: &Path) -> String {
    let text = read_to_string(folder.join("holdfast-owner.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    document["instance"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(job: &Value) {
    let ended = (&job["status"], &job["error"]["code"]);
    assert_eq!(ended, (&json!("failed"), &json!("routine-owned")), "{job:#}");
}

/// A configuration copied to a test system must not prune production's backups, and may restore them.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_configuration_reads_and_restores_but_writes_only_once_it_has_adopted() {
    let (mut bench, at) = with_a_full().await;
    let expected = bench.node.snapshot(SOURCE).await;
    let production = owner(&bench);
    let before = bench.files(ROUTINE);

    let first = bench.start_copy("copied").await;
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
    bench.node.empty(TARGET).await;
    bench.restore_to(at, json!({})).await.ok();
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new());
    for backup_type in ["full", "incremental"] {
        let job = bench.run(backup_type, ROUTINE).await;
        refused(&job);
        let said = job["error"]["message"].as_str().unwrap();
        assert!(said.contains(&production) && said.contains("holdfast adopt daily"), "{said}");
    }
    assert_eq!(bench.files(ROUTINE), before, "nothing was written or removed");
    assert_eq!(bench.get(&format!("/v1/routines/{ROUTINE}/owner")).await["state"], "other");

    let (status, body) = bench.post(&format!("/v1/routines/{ROUTINE}/adopt"), &Value::Null).await;
    assert_eq!(status, 200, "{body}");
    let adopted: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&adopted["state"], &adopted["owner"]["instance"]), (&json!("other"), &json!(production)));
    assert_eq!(adopted["this-instance"], owner(&bench));
    bench.back_up("incremental").await;
    bench.back_up("full").await;

    let copied = bench.talk_to(first);
    refused(&bench.run("full", ROUTINE).await);
    assert_eq!(bench.list("full", ROUTINE).await.len(), 2, "it still reads");
    copied.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_not_renewed_for_an_hour_is_replaced_with_a_warning() {
    let (mut bench, _) = with_a_full().await;
    let gone = owner(&bench);
    let first = bench.start_copy("other").await;
    // It has ended; for less than an hour it keeps its folder.
    first.stop().await.unwrap();
    refused(&bench.run("full", ROUTINE).await);
    let shown = bench.path("holdfast-instances").join(format!("{gone}.json"));
    let shown = File::options().write(true).open(shown).unwrap();
    let renewed = shown.metadata().unwrap().modified().unwrap();
    shown.set_modified(renewed - Duration::from_mins(61)).unwrap();
    let job = bench.back_up("full").await;
    let said = warnings(&job);
    assert!(said.contains("owner-replaced") && said.contains(&gone), "{said}");
    assert_ne!(owner(&bench), gone);
    let job = bench.back_up("full").await;
    assert!(!warnings(&job).contains("owner-replaced"), "once: {job:#}");
}

/// Taken on first write: a folder that ABS wrote, and that shows nothing of Holdfast (rules.md 5.5).
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_an_owner_is_taken_by_the_first_backup() {
    let (mut bench, _) = with_a_full().await;
    let first = bench.start_copy("other").await;
    first.stop().await.unwrap();
    std::fs::remove_file(bench.path(ROUTINE).join("holdfast-owner.json")).unwrap();
    std::fs::remove_dir_all(bench.path("holdfast-instances")).unwrap();
    bench.back_up("incremental").await;
    let this = &bench.get(&format!("/v1/routines/{ROUTINE}/owner")).await["this-instance"];
    assert_eq!(*this, owner(&bench));
    // What owners write is no backup and no data, wherever somebody looks for one.
    assert_eq!(bench.list("full", ROUTINE).await.len(), 1);
    assert!(!bench.files("holdfast-instances").iter().any(|file| is_asb(file)));
    let nearest = bench.restore_of("nothing", json!({})).await.refused("backup-path-empty");
    assert!(nearest.contains(ROUTINE) && !nearest.contains("holdfast-instances"), "{nearest}");
}

/// The same for the storage of a copy, whose folder has an owner of its own: it is asked before a copy and before a retention
/// there, and adopted by its name.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_a_copy_has_an_owner_of_its_own() {
    let mut bench = Bench::with(|config| {
        let disk = config["storage"]["disk"]["local-storage"]["path"].as_str().unwrap().to_owned();
        let path = Path::new(&disk).parent().unwrap().join("vault");
        config["storage"]["vault"] = json!({"local-storage": {"path": path}});
        config["backup-routines"][ROUTINE]["copies"] =
            json!([{"storage": "vault", "on": "full", "retention": {"full": 1}}]);
    })
    .await;
    bench.write(&(0..100).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let copy = async |bench: &Bench| {
        let (status, text) =
            bench.post("/v1/backups/copy", &json!({"routine": ROUTINE, "storage": "vault"})).await;
        assert_eq!(status, 202, "{text}");
        let newest = bench.get("/v1/jobs?kind=copy&limit=1").await["jobs"][0]["id"].as_i64().unwrap();
        bench.wait_job(newest).await
    };
    let prune = async |bench: &Bench| {
        bench.wait_job(bench.trigger_path(&format!("/v1/retention/{ROUTINE}?storage=vault")).await).await
    };
    for _ in 0..2 {
        bench.back_up("full").await;
        assert_eq!(copy(&bench).await["status"], "succeeded");
    }
    let vault = bench.dir.path().join("vault").join(ROUTINE);
    let production = owner(&bench);
    assert_eq!(owner_in(&vault), production);

    let first = bench.start_copy("copied").await;
    let own = format!("/v1/routines/{ROUTINE}/owner");
    for job in [copy(&bench).await, prune(&bench).await] {
        refused(&job);
        let said = job["error"]["message"].as_str().unwrap();
        assert!(said.contains("holdfast adopt daily --storage vault"), "{said}");
    }
    assert_eq!(bench.get(&format!("{own}?storage=vault")).await["state"], "other");
    let (status, body) =
        bench.post(&format!("/v1/routines/{ROUTINE}/adopt?storage=vault"), &Value::Null).await;
    let adopted: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &adopted["state"]), (200, &json!("other")), "{body}");
    assert_eq!(adopted["owner"]["instance"], production);
    assert_eq!(adopted["this-instance"], owner_in(&vault));
    // Only that one: the routine's own folder is another instance's, and shown as such.
    assert_eq!((owner(&bench), &bench.get(&own).await["state"]), (production, &json!("other")));
    for job in [copy(&bench).await, prune(&bench).await] {
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
    let shown = |text: &str, owned| text.contains(&format!("routine_owned{{routine=\"daily\"}} {owned}"));
    assert!(shown(&bench.text("/metrics").await, 0), "what is seen of a copy's folder is noted of none");
    refused(&bench.run("full", ROUTINE).await);
    for path in [format!("{own}?storage=nowhere"), format!("/v1/routines/{ROUTINE}/owner?storage=volt")] {
        assert_eq!(bench.answer(&path).await.0, 404);
    }

    let copied = bench.talk_to(first);
    for job in [copy(&bench).await, prune(&bench).await] {
        refused(&job);
    }
    assert!(shown(&bench.text("/metrics").await, 1), "nor what is refused there");
    bench.back_up("incremental").await;
    copied.stop().await.unwrap();
}
