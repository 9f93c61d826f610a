//! Batch writes against scripted peers.

use tokio_util::sync::CancellationToken;

use super::{BatchWriter, RowOutcome, RowResult};
use crate::aerospike::peer::{Act, Peer, at_once, digest, fields, frame, last, replicas, row};
use crate::aerospike::wire::field;
use crate::aerospike::{Exists, ResultCode, WriteBatch, WritePolicy};
use crate::asb::{Bin, Particle, RecordHead};
use crate::error::Result;

fn batch(rows: u16) -> WriteBatch {
    let policy = WritePolicy { exists: Exists::CreateOnly, generation_greater: false };
    let mut batch = WriteBatch::new("test", policy);
    for pid in 0..rows {
        push(&mut batch, pid, &[0; 8]);
    }
    batch
}

fn push(batch: &mut WriteBatch, pid: u16, value: &[u8]) {
    let digest = digest(pid, 1);
    let head = RecordHead {
        namespace: b"test",
        set: b"demo",
        digest: &digest,
        key: None,
        generation: 1,
        void_time: 0,
        bin_count: 1,
    };
    batch.push(&head, [Bin { name: b"b", particle: Particle { kind: 4, bytes: value } }], 0).unwrap();
}

async fn write(peer: &Peer, batch: &WriteBatch, retries: u32) -> Result<Vec<RowOutcome>> {
    let mut writer = BatchWriter::new(peer.cluster().await, at_once(retries), 1000);
    writer.write(batch, &CancellationToken::new()).await
}

fn answer(rows: &[(u32, u8)]) -> Act {
    let mut messages: Vec<_> = rows.iter().map(|(index, result)| row(*index, *result)).collect();
    messages.push(last(0));
    Act::Answer(vec![frame(&messages)])
}

fn sure(result: RowResult) -> RowOutcome {
    RowOutcome { result, in_doubt: false }
}

fn doubtful(result: RowResult) -> RowOutcome {
    RowOutcome { result, in_doubt: true }
}

/// Rows in a request, by the count at its front.
fn row_count(request: &[u8]) -> u32 {
    let [(kind, data)] = fields(request).try_into().unwrap();
    assert_eq!(kind, field::BATCH);
    u32::from_be_bytes(data[..4].try_into().unwrap())
}

#[tokio::test]
async fn each_row_has_its_own_end() {
    // asb.md 6.1
    let acts = vec![answer(&[(1, 5), (0, 0), (2, 3), (3, 13), (4, 8)])];
    let peer = Peer::start("A", acts).await;
    let outcomes = write(&peer, &batch(5), 3).await.unwrap();
    let expected = [
        sure(RowResult::Inserted),
        sure(RowResult::Existed),
        sure(RowResult::Fresher),
        sure(RowResult::Failed(ResultCode(13))),
        sure(RowResult::Failed(ResultCode(8))),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn only_rows_that_may_pass_are_sent_again() {
    let first = answer(&[(0, 14), (1, 0), (2, 18), (3, 11)]);
    let second = answer(&[(0, 0), (1, 18), (2, 0)]);
    let third = answer(&[(0, 0)]);
    let peer = Peer::start("A", vec![first, second, third]).await;
    let outcomes = write(&peer, &batch(4), 5).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Inserted); 4]);
    let counts: Vec<_> = peer.requests().iter().map(|request| row_count(request)).collect();
    assert_eq!(counts, [4, 3, 1]);
}

#[tokio::test]
async fn a_row_that_never_passes_ends_with_its_last_code() {
    let peer = Peer::start("A", vec![answer(&[(0, 14)]), answer(&[(0, 18)])]).await;
    let outcomes = write(&peer, &batch(1), 1).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Failed(ResultCode::DEVICE_OVERLOAD))]);
}

#[tokio::test]
async fn a_timeout_of_the_server_leaves_a_doubt_that_stays() {
    // rules.md 4.4
    let peer = Peer::start("A", vec![answer(&[(0, 9), (1, 14)]), answer(&[(0, 5), (1, 5)])]).await;
    let outcomes = write(&peer, &batch(2), 1).await.unwrap();
    assert_eq!(outcomes, [doubtful(RowResult::Existed), sure(RowResult::Existed)]);
}

#[tokio::test]
async fn a_lost_connection_leaves_the_unanswered_rows_in_doubt() {
    let half = frame(&[row(0, 0), row(2, 5)]);
    let peer = Peer::start("A", vec![Act::AnswerThenClose(half), answer(&[(0, 5)])]).await;
    let outcomes = write(&peer, &batch(3), 1).await.unwrap();
    let expected = [sure(RowResult::Inserted), doubtful(RowResult::Existed), sure(RowResult::Existed)];
    assert_eq!(outcomes, expected);
    assert_eq!(row_count(&peer.requests()[1]), 1);
}

#[tokio::test]
async fn rows_that_nobody_ever_answers_end_unanswered_and_in_doubt() {
    let peer = Peer::start("A", vec![Act::AnswerThenClose(Vec::new()); 3]).await;
    let outcomes = write(&peer, &batch(1), 2).await.unwrap();
    assert_eq!(outcomes, [doubtful(RowResult::Unanswered)]);
}

#[tokio::test]
async fn an_answer_that_ends_without_a_row_leaves_it_in_doubt() {
    let peer = Peer::start("A", vec![answer(&[(0, 0)]), answer(&[(0, 0)])]).await;
    let outcomes = write(&peer, &batch(2), 1).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Inserted), doubtful(RowResult::Inserted)]);
}

#[tokio::test]
async fn full_queues_are_tried_again_without_a_doubt() {
    let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[last(152)])]), answer(&[(0, 5)])]).await;
    let outcomes = write(&peer, &batch(1), 1).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Existed)]);
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_is_an_error() {
    for code in [150, 151, 81] {
        let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[last(code)])])]).await;
        let error = write(&peer, &batch(2), 3).await.unwrap_err();
        assert_eq!((error.code(), error.is_temporary()), ("batch-refused", false));
    }
}

#[tokio::test]
async fn an_answer_about_a_row_that_was_not_sent_is_malformed() {
    let peer = Peer::start("A", vec![answer(&[(0, 0), (7, 0)])]).await;
    assert_eq!(write(&peer, &batch(2), 3).await.unwrap_err().code(), "wire-malformed");
}

#[tokio::test]
async fn rows_go_to_their_owners() {
    let low = Peer::start("A", vec![answer(&[(0, 0), (1, 5)])]).await;
    let high = Peer::start("B", vec![answer(&[(0, 3)])]).await;
    low.info("replicas", &replicas(|pid| pid < 2));
    high.info("replicas", &replicas(|pid| pid >= 2));
    low.info("peers-clear-std", &format!("1,3000,[[B,,[127.0.0.1:{}]]]", high.address.port()));
    let outcomes = write(&low, &batch(3), 0).await.unwrap();
    let expected = [sure(RowResult::Inserted), sure(RowResult::Existed), sure(RowResult::Fresher)];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn requests_are_bounded_by_rows_and_by_bytes() {
    let all = |count| answer(&(0..count).map(|index| (index, 0)).collect::<Vec<_>>());
    let peer = Peer::start("A", vec![all(128), all(2)]).await;
    write(&peer, &batch(130), 0).await.unwrap();

    let mut large = batch(0);
    for pid in 0..3 {
        push(&mut large, pid, &vec![7; 700 << 10]);
    }
    let peer = Peer::start("A", vec![all(1), all(1), all(1)]).await;
    let outcomes = write(&peer, &large, 0).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Inserted); 3]);
}

#[tokio::test]
async fn a_row_without_an_owner_waits_for_one() {
    let peer = Peer::start("A", vec![answer(&[(0, 0)])]).await;
    peer.info("replicas", &replicas(|pid| pid != 1));
    let outcomes = write(&peer, &batch(2), 2).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Inserted), sure(RowResult::Unanswered)]);
}

#[tokio::test]
async fn a_silent_peer_and_a_long_delay_do_not_hold_up_a_cancel() {
    let slow = crate::aerospike::RetryPolicy { base_timeout_ms: 3_600_000, multiplier: 1.0, max_retries: 1 };
    for act in [Act::Hang, answer(&[(0, 14)])] {
        let peer = Peer::start("A", vec![act]).await;
        let mut writer = BatchWriter::new(peer.cluster().await, slow, 0);
        let token = CancellationToken::new();
        let rows = batch(1);
        let canceling = async {
            while peer.requests().is_empty() {
                tokio::task::yield_now().await;
            }
            token.cancel();
        };
        let (result, ()) = tokio::join!(writer.write(&rows, &token), canceling);
        assert_eq!(result.unwrap_err().code(), "canceled");
    }
}

#[tokio::test]
async fn servers_before_batch_writes_are_refused() {
    let peer = Peer::start("A", vec![]).await;
    peer.info("build", "5.7.0.8");
    assert_eq!(write(&peer, &batch(1), 0).await.unwrap_err().code(), "server-too-old");
}

/// One frame of one message.
fn single(result: u8) -> Act {
    Act::Answer(vec![frame(&[row(0, result)])])
}

#[tokio::test]
async fn singly_each_row_has_a_request_of_its_own_and_only_open_ones_are_sent_again() {
    // One connection serves one request after another: the acts come in the order of the rows only for one row at once.
    let peer = Peer::start("A", vec![single(14), single(0)]).await;
    let mut writer = BatchWriter::new(peer.cluster().await, at_once(3), 1000).singly(true);
    let outcomes = writer.write(&batch(1), &CancellationToken::new()).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Inserted)]);
    let requests = peer.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let kinds: Vec<u8> = fields(request).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [field::DIGEST, field::NAMESPACE, field::SET]);
    }
    let peer = Peer::start("A", vec![single(13), single(13), single(13)]).await;
    let mut writer = BatchWriter::new(peer.cluster().await, at_once(3), 1000).singly(true);
    let outcomes = writer.write(&batch(3), &CancellationToken::new()).await.unwrap();
    assert_eq!(outcomes, [sure(RowResult::Failed(ResultCode(13))); 3]);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_in_doubt_singly_too() {
    let peer = Peer::start("A", vec![Act::AnswerThenClose(Vec::new()), single(5)]).await;
    let mut writer = BatchWriter::new(peer.cluster().await, at_once(3), 1000).singly(true);
    let outcomes = writer.write(&batch(1), &CancellationToken::new()).await.unwrap();
    assert_eq!(outcomes, [doubtful(RowResult::Existed)]);
}

/// asb.md 6.1
#[tokio::test]
async fn a_cluster_takes_no_batch_writes_if_it_is_old_or_a_node_has_no_threads_for_them() {
    for (build, threads, takes) in
        [("8.1.2.0", "2", true), ("8.1.2.0", "0", false), ("5.7.0.8", "2", false), ("6.0.0.0", "", true)]
    {
        let peer = Peer::start("A", Vec::new()).await;
        peer.info("build", build);
        let config = if threads.is_empty() {
            "ERROR:4:not allowed".to_owned()
        } else {
            format!("a=1;batch-index-threads={threads};b=2")
        };
        peer.info("get-config:context=service", &config);
        assert_eq!(peer.cluster().await.takes_batch_writes().await, takes, "{build} {threads}");
    }
}

#[tokio::test]
async fn a_request_has_as_many_rows_as_were_asked_for() {
    let rows: Vec<(u32, u8)> = (0..300).map(|index| (index, 0)).collect();
    let peer = Peer::start("A", vec![answer(&rows)]).await;
    write(&peer, &batch(300).with_rows_max(300), 0).await.unwrap();
    assert_eq!(peer.requests().iter().map(|request| row_count(request)).collect::<Vec<_>>(), [300]);
}
