//! Cancel while nodes are silent (rules.md 2.8).

use holdfast::sandbox::{Fault, Harm, Moment};
use serde_json::{Value, json};

use crate::bench::Faulty;
use crate::service::ROUTINE;

async fn cancel(faulty: &Faulty, id: i64) -> Value {
    let (status, body) = faulty.bench.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 202, "{body}");
    faulty.bench.wait_job(id).await
}

/// Left alone, a scan of silent nodes is tried for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_canceled_while_its_nodes_are_silent() {
    for moment in [Moment::Scan, Moment::Record] {
        let faulty = Faulty::start().await;
        let silent = faulty.plant(&Fault::new(moment, Harm::Silence).for_ever());
        let deaf = Fault::new(Moment::Info, Harm::Silence).for_ever();
        let id = faulty.bench.trigger("full", ROUTINE).await;
        silent[0].wait().await;
        faulty.plant(&deaf);
        let job = cancel(&faulty, id).await;
        assert_eq!(job["status"], "canceled", "{job:#}");
        assert_eq!(faulty.bench.files(""), Vec::<String>::new());
        faulty.heal();
        faulty.saved().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_canceled_while_its_partitions_are_nobodys() {
    let faulty = Faulty::start().await;
    let moved = faulty.nodes.node(0).plant(Fault::new(Moment::Record, Harm::Move(0..4096, None)).at(50));
    let id = faulty.bench.trigger("full", ROUTINE).await;
    moved.wait().await;
    assert_eq!(cancel(&faulty, id).await["status"], "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_canceled_while_its_nodes_are_silent() {
    for moment in [Moment::Batch, Moment::Answer] {
        let faulty = Faulty::start().await;
        let at = faulty.saved().await;
        let silent = faulty.plant(&Fault::new(moment, Harm::Silence).at(2).for_ever());
        let id = faulty.bench.trigger_restore_to(at, &json!({})).await;
        silent[0].wait().await;
        let job = cancel(&faulty, id).await;
        assert_eq!(job["status"], "canceled", "{job:#}");
        faulty.heal();
        // What it wrote stays; what is written again is either inserted or existed.
        let again = faulty.bench.restore_to(at, json!({})).await.ok();
        assert_eq!(again.records("read"), crate::bench::RECORDS as u64);
        faulty.is_same().await;
    }
}
