//! Scans against scripted peers.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{ScanReport, ScanRequest, ScanSink, scan_partitions, unreadable};
use crate::aerospike::peer::{
    Act, Peer, at_once, digest, fields, frame, last, partition_done, record, replicas, row,
};
use crate::aerospike::wire::{RecordView, field};
use crate::aerospike::{Cluster, RetryPolicy};
use crate::error::{Error, Result};
use crate::model::partitions::PartitionSet;

/// What a sink heard of the queries: vouched and done, or none where one was refuted.
type Ends = Vec<Option<(bool, PartitionSet)>>;

#[derive(Debug, Clone, Default)]
struct Collected {
    digests: Arc<Mutex<Vec<[u8; 20]>>>,
    ends: Arc<Mutex<Ends>>,
    fail_after: Option<usize>,
}

#[async_trait]
impl ScanSink for Collected {
    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        let mut digests = self.digests.lock().unwrap();
        if self.fail_after.is_some_and(|count| digests.len() >= count) {
            return Err(Error::permanent("sink-full", "the sink is full"));
        }
        assert_eq!(record.head().namespace, b"test");
        assert_eq!(record.bins().count(), 1);
        digests.push(*record.head().digest);
        Ok(())
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        Ok(())
    }

    fn query_ended(&mut self, query: u64, vouched: bool, done: &PartitionSet) {
        assert_ne!(query, 0);
        self.ends.lock().unwrap().push(Some((vouched, done.clone())));
    }

    fn query_refuted(&mut self) {
        self.ends.lock().unwrap().push(None);
    }
}

impl Collected {
    fn taken(&self) -> Vec<[u8; 20]> {
        self.digests.lock().unwrap().clone()
    }
}

fn request() -> ScanRequest {
    ScanRequest { retry: at_once(3), ..ScanRequest::new("test") }
}

fn partitions(pids: &[u16]) -> PartitionSet {
    pids.iter().copied().collect()
}

async fn scan_into(
    sink: &Collected,
    cluster: &Cluster,
    request: &ScanRequest,
    pids: &[u16],
) -> Result<ScanReport> {
    let sinks: Vec<Box<dyn ScanSink>> = vec![Box::new(sink.clone())];
    scan_partitions(cluster, request, &partitions(pids), sinks, &CancellationToken::new()).await
}

async fn scan(peer: &Peer, pids: &[u16]) -> (Result<ScanReport>, Vec<[u8; 20]>) {
    let sink = Collected::default();
    let result = scan_into(&sink, &peer.cluster().await, &request(), pids).await;
    (result, sink.taken())
}

#[tokio::test]
async fn a_scan_is_complete_when_its_stream_ends_well() {
    // a real node says nothing of partitions that it read to their end; an older one says "ok"
    let frames =
        vec![frame(&[record(1, 1), record(2, 1)]), frame(&[partition_done(1, 0)]), frame(&[last(0)])];
    let peer = Peer::start("A", vec![Act::Answer(frames)]).await;
    let (result, taken) = scan(&peer, &[1, 2]).await;
    let expected =
        ScanReport { records: 2, partitions_done: 2, retries: 0, unvouched_streams: 1, compressed_frames: 0 };
    assert_eq!(result.unwrap(), expected);
    assert_eq!(taken, [digest(1, 1), digest(2, 1)]);
}

#[tokio::test]
async fn a_lost_connection_is_resumed_after_the_last_record_of_each_partition() {
    // the second frame stops in its middle: none of it reaches the sink
    let mut torn = frame(&[record(1, 1), record(2, 1), record(1, 2)]);
    let second = frame(&[record(2, 2), record(3, 1)]);
    torn.extend_from_slice(&second[..second.len() - 5]);
    let rest = frame(&[record(2, 2), record(3, 1), last(0)]);
    let peer = Peer::start("A", vec![Act::AnswerThenClose(torn), Act::Answer(vec![rest])]).await;
    let (result, taken) = scan(&peer, &[1, 2, 3]).await;
    assert_eq!(result.unwrap().retries, 1);
    assert_eq!(taken, [digest(1, 1), digest(2, 1), digest(1, 2), digest(2, 2), digest(3, 1)]);

    let requests = peer.requests();
    let asked = |request: &[u8], kind| {
        fields(request).into_iter().find(|(found, _)| *found == kind).map(|(_, data)| data)
    };
    assert_eq!(asked(&requests[0], field::PARTITIONS).unwrap(), [1, 0, 2, 0, 3, 0]);
    assert_eq!(asked(&requests[0], field::DIGESTS), None);
    assert_eq!(asked(&requests[1], field::PARTITIONS).unwrap(), [3, 0]);
    assert_eq!(asked(&requests[1], field::DIGESTS).unwrap(), [digest(1, 2), digest(2, 1)].concat());
    assert_ne!(asked(&requests[0], field::QUERY_ID), asked(&requests[1], field::QUERY_ID));
}

/// rules.md 6.3
#[tokio::test]
async fn a_scan_goes_on_behind_what_an_earlier_one_has_read() {
    let rest = vec![frame(&[record(2, 2), last(0)])];
    let peer = Peer::start("A", vec![Act::Answer(rest)]).await;
    let request = ScanRequest { after: vec![digest(2, 1), digest(9, 1)], ..request() };
    let sink = Collected::default();
    scan_into(&sink, &peer.cluster().await, &request, &[1, 2]).await.unwrap();
    let asked = fields(&peer.requests()[0]);
    let field_of = |kind| asked.iter().find(|(found, _)| *found == kind).map(|(_, data)| data.clone());
    assert_eq!(field_of(field::PARTITIONS).unwrap(), [1, 0]);
    assert_eq!(field_of(field::DIGESTS).unwrap(), digest(2, 1));
}

/// What a checkpoint goes by: only what a node confirms is confirmed.
#[tokio::test]
async fn a_sink_hears_how_each_query_ended() {
    let mut torn = frame(&[record(1, 1)]);
    torn.extend_from_slice(&frame(&[record(2, 1)])[..10]);
    let acts = [
        Act::AnswerThenClose(torn),
        Act::Answer(vec![frame(&[record(2, 1), partition_done(1, 11), last(0)])]),
        Act::Answer(vec![frame(&[last(0)])]),
    ];
    let peer = Peer::start("A", acts.into()).await;
    let sink = Collected::default();
    scan_into(&sink, &peer.cluster().await, &request(), &[1, 2]).await.unwrap();
    let ended = |done: &[u16]| Some((false, partitions(done)));
    assert_eq!(*sink.ends.lock().unwrap(), [ended(&[]), ended(&[2]), ended(&[1])]);

    for (account, ends) in [
        ("status=done(ok):recs-succeeded=1:recs-failed=0", Some((true, partitions(&[1])))),
        ("status=done(ok):recs-succeeded=2:recs-failed=0", None),
        ("status=done(ok):recs-succeeded=1:recs-failed=1", None),
    ] {
        let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[record(1, 1), last(0)])])]).await;
        peer.info("query-show", account);
        let sink = Collected::default();
        let _ = scan_into(&sink, &peer.cluster().await, &request(), &[1]).await;
        assert_eq!(*sink.ends.lock().unwrap(), [ends], "{account}");
    }
}

#[tokio::test]
async fn nodes_are_asked_about_the_queries_of_a_read_that_was_cut_off() {
    let peer = Peer::start("A", Vec::new()).await;
    let cluster = peer.cluster().await;
    assert_eq!(unreadable(&cluster, &[1, 2]).await.unwrap(), 2, "no node knows them any more");
    peer.info("query-show", "status=done(abandoned-response-error):recs-succeeded=7:recs-failed=0");
    assert_eq!(unreadable(&cluster, &[1, 2]).await.unwrap(), 0);
    peer.info("query-show", "status=active(ok):recs-succeeded=7:recs-failed=1");
    assert_eq!(unreadable(&cluster, &[1]).await.unwrap_err().code(), "records-unreadable");
}

#[tokio::test]
async fn a_partition_that_moves_is_read_from_its_new_owner() {
    let first = frame(&[record(1, 1), partition_done(2, 11), last(0)]);
    let old = Peer::start("A", vec![Act::Answer(vec![first])]).await;
    let new = Peer::start("B", vec![Act::Answer(vec![frame(&[record(2, 1), last(0)])])]).await;
    let neighbours = format!("1,3000,[[B,,[127.0.0.1:{}]]]", new.address.port());
    old.info("peers-clear-std", &neighbours);
    new.info("replicas", &replicas(|_| false));
    let cluster = old.cluster().await;
    assert_eq!(cluster.nodes().await.len(), 2);

    let sink = Collected::default();
    let retry = RetryPolicy { base_timeout_ms: 1, multiplier: 1.0, max_retries: 3 };
    let moved = MovesOnFirstFrame { sink: sink.clone(), old: &old, new: &new };
    // the map changes while the first stream is read
    let result = moved.scan(&cluster, &ScanRequest { retry, ..request() }).await;
    assert_eq!(result.unwrap().records, 2);
    assert_eq!(sink.taken(), [digest(1, 1), digest(2, 1)]);
}

struct MovesOnFirstFrame<'a> {
    sink: Collected,
    old: &'a Peer,
    new: &'a Peer,
}

impl MovesOnFirstFrame<'_> {
    async fn scan(&self, cluster: &Cluster, request: &ScanRequest) -> Result<ScanReport> {
        let (sink, token) = (self.sink.clone(), CancellationToken::new());
        let sinks: Vec<Box<dyn ScanSink>> = vec![Box::new(sink)];
        let set = partitions(&[1, 2]);
        let moves = async {
            while self.sink.taken().is_empty() {
                tokio::task::yield_now().await;
            }
            self.old.info("replicas", &replicas(|pid| pid != 2));
            self.new.info("replicas", &replicas(|pid| pid == 2));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = scan_partitions(cluster, request, &set, sinks, &token) => result,
            () = moves => unreachable!(),
        }
    }
}

#[tokio::test]
async fn a_partition_that_nobody_serves_is_named() {
    let refusal = || Act::Answer(vec![frame(&[partition_done(2, 11), partition_done(7, 11), last(0)])]);
    let first =
        Act::Answer(vec![frame(&[record(1, 1), partition_done(2, 11), partition_done(7, 11), last(0)])]);
    let peer = Peer::start("A", vec![first, refusal(), refusal(), refusal(), refusal()]).await;
    let (result, taken) = scan(&peer, &[1, 2, 7]).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), "scan-incomplete");
    assert!(error.is_temporary());
    assert!(error.to_string().contains("partitions 2, 7:"), "{error}");
    assert_eq!(taken, [digest(1, 1)]);
    assert_eq!(peer.requests().len(), 5); // the first made progress, then one try and three retries
}

#[tokio::test]
async fn partitions_without_an_owner_are_named() {
    let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[last(0)])])]).await;
    peer.info("replicas", &replicas(|pid| pid != 4095));
    let (result, _) = scan(&peer, &[4094, 4095]).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("partitions 4095:"), "{error}");
}

#[tokio::test]
async fn a_stream_that_closes_without_its_end_is_never_complete() {
    let acts = vec![Act::AnswerThenClose(Vec::new()); 4];
    let peer = Peer::start("A", acts).await;
    let (result, _) = scan(&peer, &[1]).await;
    assert_eq!(result.unwrap_err().code(), "scan-incomplete");
}

#[tokio::test]
async fn progress_renews_the_budget_of_retries() {
    let one = |number| Act::AnswerThenClose(frame(&[record(1, number)]));
    let mut acts: Vec<Act> = (1..=8).map(one).collect(); // more losses than the three retries
    acts.push(Act::Answer(vec![frame(&[last(0)])]));
    let peer = Peer::start("A", acts).await;
    let (result, taken) = scan(&peer, &[1]).await;
    assert_eq!(result.unwrap().retries, 8);
    assert_eq!(taken.len(), 8);
}

#[tokio::test]
async fn a_refusal_ends_the_scan_with_and_without_the_bit_for_last() {
    for (refusal, temporary) in [(last(15), true), (last(4), false), (row(0, 20), false), (row(0, 81), false)]
    {
        let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[refusal])])]).await;
        let (result, _) = scan(&peer, &[1]).await;
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.is_temporary()), ("scan-refused", temporary), "{error}");
    }
}

#[tokio::test]
async fn a_node_with_too_many_queries_is_asked_again() {
    let acts =
        vec![Act::Answer(vec![frame(&[row(0, 22)])]), Act::Answer(vec![frame(&[record(1, 1), last(0)])])];
    let peer = Peer::start("A", acts).await;
    let (result, taken) = scan(&peer, &[1]).await;
    assert_eq!(result.unwrap().retries, 1);
    assert_eq!(taken.len(), 1);
}

#[tokio::test]
async fn a_set_that_is_not_there_is_an_empty_set() {
    let not_found = || vec![Act::Answer(vec![frame(&[last(2)])])];
    let peer = Peer::start("A", not_found()).await;
    let of_set = ScanRequest { set: Some(b"gone".to_vec()), ..request() };
    let report = scan_into(&Collected::default(), &peer.cluster().await, &of_set, &[1]).await.unwrap();
    assert_eq!((report.records, report.partitions_done), (0, 1));

    let peer = Peer::start("A", not_found()).await;
    let (result, _) = scan(&peer, &[1]).await; // of a whole namespace it would be nonsense
    assert_eq!(result.unwrap_err().code(), "scan-refused");
}

#[tokio::test]
async fn bytes_that_are_not_the_protocol_end_the_scan() {
    let mut cut_record = record(1, 1);
    cut_record.truncate(cut_record.len() - 3);
    let of_another_partition = record(9, 1);
    let mut info_frame = frame(&[last(0)]);
    info_frame[1] = 1;
    let mut too_long = frame(&[last(0)]);
    too_long[2..8].fill(0xFF);
    let mut other_version = frame(&[last(0)]);
    other_version[0] = 3;
    for bad in [frame(&[cut_record]), frame(&[of_another_partition]), info_frame, too_long, other_version] {
        let peer = Peer::start("A", vec![Act::Answer(vec![bad.clone()])]).await;
        let (result, _) = scan(&peer, &[1]).await;
        assert_eq!(result.unwrap_err().code(), "wire-malformed", "{bad:?}");
    }
}

#[tokio::test]
async fn the_error_of_a_sink_comes_back_untouched() {
    let frames = vec![frame(&[record(1, 1), record(1, 2)]), frame(&[last(0)])];
    let peer = Peer::start("A", vec![Act::Answer(frames)]).await;
    let sink = Collected { fail_after: Some(1), ..Collected::default() };
    let error = scan_into(&sink, &peer.cluster().await, &request(), &[1]).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("sink-full", "the sink is full"));
}

#[tokio::test]
async fn a_silent_peer_does_not_hold_up_a_cancel() {
    let peer = Peer::start("A", vec![Act::Hang]).await;
    let cluster = peer.cluster().await;
    let token = CancellationToken::new();
    let sinks: Vec<Box<dyn ScanSink>> = vec![Box::new(Collected::default())];
    let patient = ScanRequest { idle_timeout_ms: 3_600_000, ..request() };
    let set = partitions(&[1]);
    let canceling = async {
        while peer.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        token.cancel();
    };
    let (result, ()) = tokio::join!(scan_partitions(&cluster, &patient, &set, sinks, &token), canceling);
    assert_eq!(result.unwrap_err().code(), "canceled");
}

#[tokio::test]
async fn a_silent_peer_that_does_not_run_the_query_is_left() {
    let acts = vec![Act::Hang, Act::Answer(vec![frame(&[record(1, 1), last(0)])])];
    let peer = Peer::start("A", acts).await;
    let impatient = ScanRequest { idle_timeout_ms: 10, ..request() };
    let sink = Collected::default();
    let report = scan_into(&sink, &peer.cluster().await, &impatient, &[1]).await.unwrap();
    assert_eq!(report.retries, 1);
    assert_eq!(sink.taken().len(), 1);
}

#[tokio::test]
async fn a_silent_peer_that_runs_the_query_is_waited_for_until_the_total_timeout() {
    let peer = Peer::start("A", vec![Act::Hang]).await;
    peer.info("query-show", "status=active(ok):recs-succeeded=0:recs-failed=0");
    let limited = ScanRequest { idle_timeout_ms: 5, total_timeout_ms: 200, ..request() };
    let error = scan_into(&Collected::default(), &peer.cluster().await, &limited, &[1]).await.unwrap_err();
    assert_eq!(error.code(), "scan-timeout");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn records_that_the_node_could_not_read_are_an_error() {
    let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[record(1, 1), last(0)])])]).await;
    peer.info("query-show", "status=active(ok):recs-succeeded=1:recs-failed=2");
    let (result, _) = scan(&peer, &[1]).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), "records-unreadable");
    assert!(error.to_string().contains("could not read 2 records"), "{error}");
}

#[tokio::test]
async fn records_that_the_node_counts_and_that_did_not_arrive_are_an_error() {
    let peer = Peer::start("A", vec![Act::Answer(vec![frame(&[record(1, 1), last(0)])])]).await;
    peer.info("query-show", "status=done(ok):recs-succeeded=2:recs-failed=0");
    let (result, _) = scan(&peer, &[1]).await;
    assert_eq!(result.unwrap_err().code(), "scan-incomplete");
}

#[tokio::test]
async fn ranges_are_contiguous_and_each_feeds_its_own_sink() {
    let answer = |pid| Act::Answer(vec![frame(&[record(pid, 1), last(0)])]);
    // the two ranges may arrive in either order: each peer of a pair owns one half
    let low = Peer::start("A", vec![answer(1)]).await;
    let high = Peer::start("B", vec![answer(9)]).await;
    low.info("replicas", &replicas(|pid| pid < 4));
    high.info("replicas", &replicas(|pid| pid >= 4));
    low.info("peers-clear-std", &format!("1,{},[[B,,[127.0.0.1]]]", high.address.port()));
    let cluster = low.cluster().await;
    let sinks = [Collected::default(), Collected::default(), Collected::default()];
    let boxed = sinks.iter().map(|sink| Box::new(sink.clone()) as Box<dyn ScanSink>).collect();
    let set = partitions(&[1, 9]);
    let report = scan_partitions(&cluster, &request(), &set, boxed, &CancellationToken::new()).await.unwrap();
    assert_eq!(report.records, 2);
    let taken: Vec<_> = sinks.iter().map(Collected::taken).collect();
    assert_eq!(taken.concat(), [digest(1, 1), digest(9, 1)]);
    assert!(taken.iter().all(|digests| digests.len() <= 1), "{taken:?}");
}

#[tokio::test]
async fn a_namespace_that_is_missing_is_said_so_at_once() {
    let peer = Peer::start("A", vec![]).await;
    let nowhere = ScanRequest { namespace: "nowhere".into(), ..request() };
    let error = scan_into(&Collected::default(), &peer.cluster().await, &nowhere, &[1]).await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("namespace-missing", false));
}
