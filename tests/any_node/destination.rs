//! What a restore does with what the destination has: the table of rules.md 4.3, and what hides what (4.5).

use holdfast::sample::{SampleRecord, mixed};
use serde_json::{Value, json};

use crate::node::{SOURCE, TARGET};
use crate::service::{Bench, Restored, point};

fn record(key: i64) -> SampleRecord {
    SampleRecord::new("customers", key)
}

fn int(value: i64) -> [u8; 8] {
    value.to_be_bytes()
}

/// The integer bins of a record of the target, as `a=2 c=9`; none: it is not there.
async fn target(bench: &Bench, key: i64) -> Option<String> {
    let snapshot = bench.node.snapshot(TARGET).await;
    let record = snapshot.0.get(&record(key).digest)?;
    let bins = record.bins.iter().map(|(name, (_, value))| {
        format!(
            "{}={}",
            String::from_utf8_lossy(name),
            i64::from_be_bytes(value.as_slice().try_into().unwrap())
        )
    });
    Some(bins.collect::<Vec<_>>().join(" "))
}

/// A full with a=1 b=1, an incremental in which bin b is gone: a=2. The point after it.
async fn with_a_removed_bin() -> (Bench, i64) {
    let bench = Bench::start().await;
    bench.write(&[record(1).bin("a", 1, int(1)).bin("b", 1, int(1)), mixed("customers", 2, 1)]).await;
    bench.back_up("full").await;
    bench.write(&[record(1).bin("a", 1, int(2))]).await;
    let at = point(&bench.back_up("incremental").await);
    (bench, at)
}

/// Fills the target with record 1 as c=9, of generation `writes`, then restores.
async fn restore_over(bench: &Bench, at: i64, writes: u32, more: Value) -> Restored {
    bench.node.empty(TARGET).await;
    for _ in 0..writes {
        bench.node.write(TARGET, &[record(1).bin("c", 1, int(9))]).await;
    }
    bench.restore_to(at, more).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_merges_bins_replace_removes_them_and_unique_keeps_the_record() {
    let (bench, at) = with_a_removed_bin().await;
    for (policy, expected, word) in [
        (json!({}), "a=2 c=9", "update"),
        (json!({"replace": true}), "a=2", "replace"),
        (json!({"unique": true}), "c=9", "create-only"),
    ] {
        let restored = restore_over(&bench, at, 1, json!({"policy": policy})).await;
        // Bin b was removed between the backups: it does not come back.
        assert_eq!(target(&bench, 1).await.as_deref(), Some(expected), "{policy}");
        let plan = &restored.job["result"]["namespaces"][0]["plan"];
        assert_eq!(
            (&plan["order"], &plan["policy"], &plan["destination-empty"], &plan["verify-first"]),
            (&json!("newest-first"), &json!(word), &json!(false), &json!(true))
        );
        let counted = (restored.records("read"), restored.records("inserted"), restored.records("existed"));
        assert_eq!(counted, if word == "create-only" { (3, 1, 2) } else { (3, 2, 1) }, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresher_record_stays_and_is_counted_unless_generations_do_not_matter() {
    let (bench, at) = with_a_removed_bin().await;
    let restored = restore_over(&bench, at, 5, json!({})).await;
    assert_eq!(target(&bench, 1).await.as_deref(), Some("c=9"));
    let counted = (restored.records("fresher"), restored.records("inserted"), restored.records("existed"));
    assert_eq!(counted, (1, 1, 1));
    assert!(restored.warnings().contains("1 records are fresher"), "{}", restored.warnings());

    let restored = restore_over(&bench, at, 5, json!({"policy": {"no-generation": true}})).await;
    assert_eq!(target(&bench, 1).await.as_deref(), Some("a=2 c=9"));
    assert_eq!((restored.records("fresher"), restored.records("inserted")), (0, 2));
    assert!(!restored.warnings().contains("fresher"), "{}", restored.warnings());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reordering_members_are_written_in_the_order_of_time() {
    let (bench, at) = with_a_removed_bin().await;
    // The policy as given for every member: an update of an update, so b is there again.
    for (policy, expected) in [
        (json!({"no-generation": true}), "a=2 b=1 c=9"),
        (json!({"no-generation": true, "replace": true}), "a=2"),
    ] {
        let more = json!({"disable-reordering": true, "policy": policy});
        let restored = restore_over(&bench, at, 1, more).await;
        assert_eq!(target(&bench, 1).await.as_deref(), Some(expected));
        assert_eq!(restored.job["result"]["namespaces"][0]["plan"]["order"], "chronological");
        assert_eq!((restored.records("read"), restored.records("inserted")), (3, 3));
    }
    bench.node.empty(TARGET).await;
    bench.restore_to(at, json!({"disable-reordering": true})).await.ok();
    assert_eq!(target(&bench, 1).await.as_deref(), Some("a=2 b=1"));
    let request =
        json!({"routine": "daily", "time": at, "disable-reordering": true, "policy": {"unique": true}});
    let (status, body) = bench.post("/v1/restore/timestamp", &request).await;
    assert_eq!(status, 400, "{body}");
}

/// Emptiness is that of the sets concerned.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_other_sets_do_not_make_a_destination_full() {
    let (bench, at) = with_a_removed_bin().await;
    bench.node.write(TARGET, &[mixed("others", 1, 1)]).await;
    let restored = bench.restore_to(at, json!({"policy": {"set-list": ["customers"]}})).await.ok();
    assert_eq!(restored.job["result"]["namespaces"][0]["plan"]["destination-empty"], true);
    assert_eq!(target(&bench, 1).await.as_deref(), Some("a=2"));
}

/// rules.md 4.5: the official tools bring the older version back.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_has_expired_hides_the_older_ones() {
    let bench = Bench::start().await;
    bench.write(&[record(1).bin("a", 1, int(1)), record(2).bin("a", 1, int(1))]).await;
    bench.back_up("full").await;
    bench.write(&[record(1).bin("a", 1, int(2)).living_s(6)]).await;
    let void_time = bench.node.snapshot(SOURCE).await.0[&record(1).digest].void_time;
    let job = bench.back_up("incremental").await;
    assert_eq!(
        bench.list("incremental", "daily").await[0]["record-count"],
        1,
        "it lived while it was backed up"
    );
    bench.node.wait_past(void_time).await;
    for disable_reordering in [false, true] {
        for destination in [None, Some(mixed("customers", 3, 1))] {
            bench.node.empty(TARGET).await;
            let was = destination.is_some();
            bench.node.write(TARGET, &destination.into_iter().collect::<Vec<_>>()).await;
            let more = json!({"disable-reordering": disable_reordering});
            let restored = bench.restore_to(point(&job), more).await.ok();
            assert_eq!(
                target(&bench, 1).await,
                None,
                "reordering off: {disable_reordering}, not empty: {was}"
            );
            assert_eq!(target(&bench, 2).await.as_deref(), Some("a=1"));
            let counted =
                (restored.records("expired"), restored.records("existed"), restored.records("inserted"));
            assert_eq!(counted, (1, 1, 1), "{:#}", restored.status);
        }
    }
    // With a longer life it is not expired, and is restored in its newest version.
    bench.node.empty(TARGET).await;
    bench.restore_to(point(&job), json!({"policy": {"extra-ttl": 3600}})).await.ok();
    assert_eq!(target(&bench, 1).await.as_deref(), Some("a=2"));
}

/// rules.md 4.7
#[tokio::test(flavor = "multi_thread")]
async fn void_times_are_those_of_the_backup_plus_what_is_added() {
    let bench = Bench::start().await;
    bench.write(&[record(1).bin("a", 1, int(1)).living_s(1000), record(2).bin("a", 1, int(1))]).await;
    let at = point(&bench.back_up("full").await);
    let source = bench.node.snapshot(SOURCE).await;
    for added in [0, 500] {
        bench.node.empty(TARGET).await;
        bench.restore_to(at, json!({"policy": {"extra-ttl": added}})).await.ok();
        let target = bench.node.snapshot(TARGET).await;
        let (before, after) = (&source.0[&record(1).digest], &target.0[&record(1).digest]);
        assert!(after.void_time.abs_diff(before.void_time + added) <= 1, "{before:?} {after:?}");
        assert_eq!(target.0[&record(2).digest].void_time, 0);
    }
}
