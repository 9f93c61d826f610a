//! A backup and what can happen to its scan (rules.md 3.9, wire.md 8).

use std::time::Duration;

use holdfast::sandbox::{Fault, Garble, Harm, Moment};
use serde_json::{Value, json};

use crate::bench::{Faulty, RECORDS};
use crate::node::SOURCE;
use crate::service::{ROUTINE, point};

/// The backup has every record once, in its counter and after a restore; and each of the faults has struck.
async fn survives(faults: &[Fault]) -> Faulty {
    let faulty = Faulty::start().await;
    let planted: Vec<_> = faults.iter().flat_map(|fault| faulty.plant(fault)).collect();
    let job = faulty.bench.back_up("full").await;
    assert_eq!(job["attempts"][SOURCE].as_array().unwrap().last().unwrap()["record-count"], RECORDS);
    assert!(planted.iter().all(|planted| planted.struck() > 0), "{planted:?}");
    faulty.is_restored(point(&job)).await;
    faulty
}

/// The backup fails with this code, and nothing of it is listed or left.
async fn fails(fault: Fault, code: &str, change: impl FnOnce(&mut Value)) {
    let faulty = Faulty::with(&[0, 0, 0], true, change).await;
    faulty.plant(&fault);
    let job = faulty.bench.run("full", ROUTINE).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{job:#}");
    assert_eq!(faulty.bench.list("full", ROUTINE).await, Vec::<Value>::new());
    assert_eq!(faulty.bench.files(""), Vec::<String>::new());
    // Nothing of it stands in the way of the next.
    faulty.heal();
    faulty.saved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_drop_after_some_records() {
    survives(&[
        Fault::new(Moment::Record, Harm::Close).at(100).every(137).times(3),
        Fault::new(Moment::Scan, Harm::Close).at(2),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_cut() {
    survives(&[Fault::new(Moment::Record, Harm::Cut).at(50).every(200).times(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_info_requests_that_are_refused() {
    survives(&[
        Fault::new(Moment::Connection, Harm::Close).at(4),
        Fault::new(Moment::Info, Harm::Close).at(6),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_that_are_refused_while_the_node_is_overloaded() {
    survives(&[
        Fault::new(Moment::Scan, Harm::Refuse(18)),
        Fault::new(Moment::Scan, Harm::Refuse(22)).at(2),
        Fault::new(Moment::Record, Harm::Refuse(9)).at(70),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_slow() {
    survives(&[Fault::new(Moment::Record, Harm::Delay(Duration::from_millis(20))).every(100).times(8)]).await;
}

/// The node accepts what it is asked, and then says nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_fall_silent_in_the_middle() {
    survives(&[Fault::new(Moment::Record, Harm::Silence).at(90)]).await;
}

/// Partitions are nobody's for a while, then another node's; some of them twice.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_move_during_the_scan() {
    let faulty = Faulty::start().await;
    let first = faulty.nodes.node(0);
    let planted = [
        first.plant(Fault::new(Moment::Record, Harm::Move(1000..2500, None)).at(100)),
        first.plant(Fault::new(Moment::Record, Harm::Move(500..1800, Some(2))).at(150)),
        first.plant(Fault::new(Moment::Scan, Harm::Move(1800..2500, Some(1))).at(3)),
        faulty.nodes.node(2).plant(Fault::new(Moment::Record, Harm::Move(600..1700, Some(1))).at(200)),
    ];
    let job = faulty.bench.back_up("full").await;
    assert_eq!(job["attempts"][SOURCE][0]["record-count"], RECORDS, "{job:#}");
    assert!(planted.iter().all(|planted| planted.struck() > 0), "{planted:?}");
    faulty.is_restored(point(&job)).await;
}

/// A node dies in the middle of its scan, and another takes its partitions over.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes() {
    let mut faulty = Faulty::start().await;
    let gone = faulty.nodes.node(1).plant(Fault::new(Moment::Record, Harm::Leave).at(100));
    let job = faulty.bench.back_up("full").await;
    assert_eq!((gone.struck(), &job["attempts"][SOURCE][0]["record-count"]), (1, &json!(RECORDS)), "{job:#}");
    faulty.is_restored(point(&job)).await;
    faulty.nodes.node_mut(1).bring_up().await.unwrap();
    let at = faulty.saved().await;
    faulty.is_restored(at).await;
}

/// Nobody has the partitions of a node that dies until it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_and_comes_back() {
    let mut faulty = Faulty::with(&[0, 0, 0], false, |_| {}).await;
    let gone = faulty.nodes.node(1).plant(Fault::new(Moment::Record, Harm::Leave).at(100));
    let id = faulty.bench.trigger("full", ROUTINE).await;
    gone.wait().await;
    faulty.nodes.node_mut(1).bring_up().await.unwrap();
    let job = faulty.bench.wait_job(id).await;
    assert_eq!(
        (&job["status"], &job["attempts"][SOURCE][0]["record-count"]),
        (&json!("succeeded"), &json!(RECORDS))
    );
    faulty.is_restored(point(&job)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_not_the_protocols() {
    for garble in [Garble::Version, Garble::Type, Garble::Size, Garble::Body] {
        let wrong = Fault::new(Moment::Record, Harm::Garble(garble)).at(80).for_ever();
        fails(wrong, "wire-malformed", |_| {}).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_that_are_refused_for_good() {
    fails(Fault::new(Moment::Scan, Harm::Refuse(4)).for_ever(), "scan-refused", |_| {}).await;
}

/// A deadline ends what would be tried again for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_nobody_serves() {
    let unserved = Fault::new(Moment::Record, Harm::Move(100..200, None)).at(10);
    let faulty = Faulty::with(&[0, 0, 0], true, |config| {
        config["backup-policies"]["quick"]["total-timeout"] = json!(1500);
    })
    .await;
    faulty.plant(&unserved);
    let job = faulty.bench.run("full", ROUTINE).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("scan-timeout")),
        "{job:#}"
    );
    assert_eq!(faulty.bench.files(""), Vec::<String>::new());
}
