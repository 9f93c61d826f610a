//! A restore and what can happen to its batches (rules.md 4.4, 4.6).

use std::time::Duration;

use holdfast::sandbox::{Fault, Garble, Harm, Moment};
use serde_json::{Value, json};

use crate::bench::{Faulty, RECORDS};
use crate::node::{SOURCE, TARGET};
use crate::service::{Restored, point};

/// Retries that outlast every fault here.
fn patient() -> Value {
    json!({"policy": {"retry-policy": {"base-timeout": 20, "multiplier": 1, "max-retries": 8}}})
}

fn in_doubt(restored: &Restored) -> u64 {
    restored.status["errors-in-doubt"].as_u64().unwrap()
}

/// Every record is inserted once; each fault has struck. The end of the job.
async fn survives_with(faults: &[Fault], request: Value) -> Restored {
    let faulty = Faulty::start().await;
    let at = faulty.saved().await;
    let planted: Vec<_> = faults.iter().flat_map(|fault| faulty.plant(fault)).collect();
    let restored = faulty.bench.restore_to(at, request).await.ok();
    assert!(planted.iter().all(|planted| planted.struck() > 0), "{planted:?}");
    assert_eq!(restored.records("inserted"), RECORDS as u64, "{restored:#?}");
    faulty.heal();
    faulty.is_same().await;
    restored
}

async fn survives(faults: &[Fault]) -> Restored {
    survives_with(faults, patient()).await
}

/// The restore fails with this code, and another one is not hindered by what it wrote.
async fn fails(fault: Fault, code: &str, request: Value) -> String {
    let faulty = Faulty::start().await;
    let at = faulty.saved().await;
    faulty.plant(&fault);
    let refused = faulty.bench.restore_to(at, request).await.refused(code);
    faulty.heal();
    let again = faulty.bench.restore_to(at, patient()).await.ok();
    assert_eq!(again.records("read"), RECORDS as u64, "{again:#?}");
    faulty.is_same().await;
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_drop_before_anything_is_written() {
    let restored = survives(&[
        Fault::new(Moment::Batch, Harm::Close).at(2).times(2),
        Fault::new(Moment::Info, Harm::Close).at(9),
    ])
    .await;
    // We cannot know that nothing was written.
    assert!(in_doubt(&restored) > 0, "{restored:#?}");
}

/// rules.md 4.4: the rows were written and we do not know it; they exist when they are written again.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_doubt_were_inserted_by_us() {
    for harm in [Harm::Close, Harm::Cut] {
        let restored = survives(&[Fault::new(Moment::Answer, harm).at(2).times(2)]).await;
        assert!(in_doubt(&restored) > 0, "{restored:#?}");
        assert_eq!(restored.records("existed"), 0, "{restored:#?}");
    }
}

/// rules.md 4.4: of an older member, what is there may be the newer version, so it counts as existed.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_doubt_of_an_older_member_existed() {
    let faulty = Faulty::start().await;
    faulty.saved().await;
    // On one partition of the first node alone.
    let newer = (RECORDS..RECORDS + 3).map(|key| holdfast::sample::mixed("customers", key, 1));
    faulty.bench.write(&newer.collect::<Vec<_>>()).await;
    let at = point(&faulty.bench.back_up("incremental").await);
    // The newest member goes first and has three rows: one batch for a node at most.
    let lost: Vec<_> = (0..3)
        .map(|node| faulty.nodes.node(node).plant(Fault::new(Moment::Answer, Harm::Close).at(3)))
        .collect();
    let restored = faulty.bench.restore_to(at, patient()).await.ok();
    assert!(lost.iter().all(|lost| lost.struck() == 1));
    let doubt = in_doubt(&restored);
    assert!(doubt > 0, "{restored:#?}");
    let read = restored.records("read");
    assert_eq!((read, restored.records("existed")), (RECORDS as u64 + 3, doubt), "{restored:#?}");
    assert_eq!(restored.records("inserted"), read - doubt);
    let source = faulty.bench.node.snapshot(SOURCE).await;
    assert_eq!(faulty.bench.differences(&source).await, Vec::<String>::new());
}

/// Key busy, overloaded, unavailable, and a row that was written and then timed out.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_refused_for_now() {
    let restored = survives(&[
        Fault::new(Moment::Row, Harm::Refuse(14)).every(7).times(50),
        Fault::new(Moment::Row, Harm::Refuse(18)).at(2).every(5).times(50),
        Fault::new(Moment::Row, Harm::Refuse(11)).at(3).every(11).times(20),
    ])
    .await;
    assert_eq!(in_doubt(&restored), 0, "a row that was refused is in no doubt: {restored:#?}");
    let restored = survives(&[Fault::new(Moment::RowDone, Harm::Refuse(9)).at(5).every(9).times(20)]).await;
    assert_eq!(in_doubt(&restored), 60, "{restored:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_are_refused_for_now() {
    let restored = survives(&[Fault::new(Moment::Batch, Harm::Refuse(152)).at(2).times(2)]).await;
    assert_eq!(in_doubt(&restored), 0, "full queues begin no row: {restored:#?}");
    survives(&[Fault::new(Moment::Batch, Harm::Refuse(18)).at(2).times(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_slow() {
    survives(&[Fault::new(Moment::Row, Harm::Delay(Duration::from_millis(20))).every(60).times(8)]).await;
}

/// The node takes a batch and never answers: the server's own time and some grace are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_fall_silent() {
    let mut request = patient();
    request["policy"]["socket-timeout"] = json!(300);
    let restored = survives_with(&[Fault::new(Moment::Answer, Harm::Silence).at(2)], request).await;
    assert!(in_doubt(&restored) > 0, "{restored:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_move() {
    let faulty = Faulty::start().await;
    let at = faulty.saved().await;
    let first = faulty.nodes.node(0);
    let planted = [
        first.plant(Fault::new(Moment::Row, Harm::Move(1000..2500, None)).at(100)),
        // Whoever looks for the owners anew finds one: all batches may be on their way by then, and none would come later.
        first.plant(Fault::new(Moment::Info, Harm::Move(1000..2500, Some(2))).for_ever()),
        faulty.nodes.node(2).plant(Fault::new(Moment::Row, Harm::Move(0..1000, Some(1))).at(200)),
    ];
    let retries = json!({"base-timeout": 200, "multiplier": 1, "max-retries": 20});
    let request = json!({"policy": {"retry-policy": retries}});
    let restored = faulty.bench.restore_to(at, request).await.ok();
    assert!(planted.iter().all(|planted| planted.struck() > 0), "{planted:?}");
    assert_eq!(restored.records("inserted"), RECORDS as u64, "{restored:#?}");
    faulty.is_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes() {
    let faulty = Faulty::start().await;
    let at = faulty.saved().await;
    let gone = faulty.nodes.node(1).plant(Fault::new(Moment::Row, Harm::Leave).at(200));
    let restored = faulty.bench.restore_to(at, patient()).await.ok();
    assert_eq!((gone.struck(), restored.records("inserted")), (1, RECORDS as u64), "{restored:#?}");
    faulty.bench.node.cluster.refresh().await.unwrap();
    faulty.is_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_and_comes_back() {
    let mut faulty = Faulty::with(&[0, 0, 0], false, |_| {}).await;
    let at = faulty.saved().await;
    let gone = faulty.nodes.node(1).plant(Fault::new(Moment::Row, Harm::Leave).at(200));
    let mut request = patient();
    request["policy"]["retry-policy"]["base-timeout"] = json!(500);
    let id = faulty.bench.trigger_restore_to(at, &request).await;
    gone.wait().await;
    faulty.nodes.node_mut(1).bring_up().await.unwrap();
    let restored = faulty.bench.restored(id).await.ok();
    assert_eq!(restored.records("inserted"), RECORDS as u64, "{restored:#?}");
    faulty.bench.node.cluster.refresh().await.unwrap();
    faulty.is_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_the_protocols() {
    for garble in [Garble::Version, Garble::Type, Garble::Size, Garble::Body] {
        fails(Fault::new(Moment::Answer, Harm::Garble(garble)).at(2), "wire-malformed", patient()).await;
    }
}

/// Retries end, and the codes are named.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_refused_for_good() {
    for (code, name) in [(14, "key busy (14)"), (18, "device overload (18)"), (4, "parameter (4)")] {
        let refuse = Fault::new(Moment::Row, Harm::Refuse(code)).at(50).every(3).for_ever();
        let text = fails(refuse, "records-refused", json!({})).await;
        assert!(text.contains(name), "{text}");
    }
    let lost = Fault::new(Moment::Batch, Harm::Close).at(2).for_ever();
    let text = fails(lost, "records-refused", json!({})).await;
    assert!(text.contains("no answer"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_take_too_long() {
    let silent = Fault::new(Moment::Batch, Harm::Silence).at(2).for_ever();
    fails(silent, "write-timeout", json!({"policy": {"total-timeout": 500}})).await;
}

/// What a failed restore wrote stays and is counted (rules.md 4.6).
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_counts_what_it_wrote() {
    let faulty = Faulty::start().await;
    let at = faulty.saved().await;
    faulty.plant(&Fault::new(Moment::Row, Harm::Refuse(4)).at(300).for_ever());
    let restored = faulty.bench.restore_to(at, json!({})).await;
    restored.refused("records-refused");
    let inserted = restored.records("inserted");
    assert!((1..RECORDS as u64).contains(&inserted), "{restored:#?}");
    faulty.heal();
    // What the other writers had sent when the first was refused is in doubt.
    let written = faulty.bench.node.snapshot(TARGET).await.0.len() as u64;
    assert!((inserted..=inserted + in_doubt(&restored)).contains(&written), "{written} {restored:#?}");
}
