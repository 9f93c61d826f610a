//! Scan → file → restore, compared record for record.

use std::sync::Arc;

use holdfast::aerospike::RetryPolicy;
use holdfast::asb::cipher::Unlock;
use holdfast::asb::{DataType, IndexDef, IndexType};
use holdfast::engine::aerospike::snapshot::Snapshot;
use holdfast::engine::pace::Pace;
use holdfast::engine::{
    Destination, FileToRead, MemberReport, MemberWrite, NamespaceRead, ReadLimits, ReadReport,
    SharedCounters, Source, Watch,
};
use holdfast::error::Result;
use holdfast::memory::InFlight;
use holdfast::model::partitions::PartitionSet;
use holdfast::model::restore_order::Exists;
use holdfast::sample::{self, SampleRecord, every_kind, mixed};
use holdfast::storage::{LocalStorage, Storage};
use tokio_util::sync::CancellationToken;

use crate::node::{Node, SOURCE, TARGET};

struct NoWatch;

impl Watch for NoWatch {
    fn read(&self, _records: u64) {}
    fn done(&self, _records: u64, _bytes: u64) {}
}

fn read_all() -> NamespaceRead {
    NamespaceRead {
        namespace: SOURCE.to_owned(),
        sets: Vec::new(),
        bins: Vec::new(),
        filter: None,
        no_ttl_only: false,
        partitions: PartitionSet::all(),
        modified_from: None,
        modified_until: None,
        no_records: false,
        indexes: true,
        udfs: true,
        skip_unsupported: false,
        parallel: 4,
        parallel_write: 2,
        file_limit_bytes: 1 << 20,
        zstd_level: None,
        cipher: None,
        compact: false,
        scan_compression: false,
        socket_timeout_ms: 10_000,
        total_timeout_ms: 0,
        limits: ReadLimits::default(),
        checkpoint: None,
    }
}

fn write_all(files: Vec<FileToRead>) -> MemberWrite {
    MemberWrite {
        files,
        position: 0,
        source_namespace: SOURCE.to_owned(),
        namespace: TARGET.to_owned(),
        sets: Vec::new(),
        bins: Vec::new(),
        exists: Exists::CreateOnly,
        generation_check: false,
        each_digest_once: false,
        first_applied: true,
        no_records: false,
        no_indexes: false,
        no_udfs: false,
        extra_ttl_s: 0,
        ignore_record_error: false,
        singly: false,
        validate: false,
        records_pace: None,
        parallel: 3,
        batch_size: 128,
        max_async_batches: 8,
        in_flight: InFlight::new(16 << 20),
        retry: RetryPolicy::WRITE,
        socket_timeout_ms: 10_000,
        total_timeout_ms: 0,
    }
}

struct Bench {
    node: Node,
    _dir: tempfile::TempDir,
    storage: Arc<dyn Storage>,
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(dir.path()).await.unwrap());
        Self { node: Node::start().await, _dir: dir, storage }
    }

    async fn write(&self, records: &[SampleRecord]) {
        sample::write(&self.node.cluster, SOURCE, records).await.unwrap();
    }

    async fn back_up(&self, read: &NamespaceRead) -> Result<ReadReport> {
        let (storage, cancel) = (Arc::clone(&self.storage), CancellationToken::new());
        self.node.engine().read(read, storage, "b", Arc::new(NoWatch), &cancel).await
    }

    async fn restore(
        &self,
        report: &ReadReport,
        change: impl FnOnce(&mut MemberWrite),
    ) -> Result<MemberReport> {
        let files = report
            .files
            .iter()
            .map(|file| FileToRead {
                key: format!("b/{}", file.name),
                size: file.hashes.size,
                root: Some(file.hashes.root),
                blocks: Arc::new(file.hashes.blocks.clone()),
                unlock: Unlock::default(),
                copies: None,
            })
            .collect();
        let mut write = write_all(files);
        change(&mut write);
        let (storage, cancel) = (Arc::clone(&self.storage), CancellationToken::new());
        let counters = SharedCounters::default();
        self.node.engine().write(&write, storage, None, Arc::new(NoWatch), &counters, &cancel).await
    }

    async fn snapshot(&self, namespace: &str) -> Snapshot {
        Snapshot::take(&self.node.cluster, namespace, &CancellationToken::new()).await.unwrap()
    }
}

fn many() -> Vec<SampleRecord> {
    let mut records = every_kind("kinds");
    records.extend((0..5000).map(|key| mixed("customers", key, 1)));
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn every_particle_key_and_name_comes_back_as_it_was() {
    let bench = Bench::start().await;
    let records = many();
    bench.write(&records).await;
    let source = bench.snapshot(SOURCE).await;
    assert_eq!(source.0.len(), records.len());
    for record in &records {
        let seen = &source.0[&record.digest];
        assert_eq!((&seen.set, &seen.key), (&record.set, &record.key));
        assert_eq!(seen.void_time == 0, record.ttl == u32::MAX);
        assert_eq!(seen.bins.len(), record.bins.len());
    }
    for zstd_level in [None, Some(3)] {
        let read = NamespaceRead { zstd_level, ..read_all() };
        let report = bench.back_up(&read).await.unwrap();
        assert_eq!(report.records, records.len() as u64);
        assert!(report.files.len() > 1, "two writers make at least two files");
        let restored = bench.restore(&report, |_| {}).await.unwrap();
        assert!(restored.counters.balanced());
        assert_eq!(restored.counters.inserted_records, records.len() as u64);
        let target = bench.snapshot(TARGET).await;
        assert_eq!(source.differences(&target, 1), Vec::<String>::new());
        // Once more into the full namespace: nothing is touched.
        let again = bench.restore(&report, |_| {}).await.unwrap();
        assert_eq!(again.counters.existed_records, records.len() as u64);
        bench.node.cluster.truncate(TARGET, None).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        bench.storage.delete_prefix("b").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_holds_what_changed_since_and_nothing_else() {
    let bench = Bench::start().await;
    bench.write(&(0..1000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let since = holdfast::clock::Clock::now(&holdfast::clock::SystemClock);
    let changed: Vec<_> = (0..100).map(|key| mixed("customers", key * 10, 2)).collect();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    bench.write(&changed).await;
    let read = NamespaceRead { modified_from: Some(since), ..read_all() };
    let report = bench.back_up(&read).await.unwrap();
    assert_eq!(report.records, 100);
    bench.storage.delete_prefix("b").await.unwrap();
    let read = NamespaceRead { modified_until: Some(since), ..read_all() };
    assert_eq!(bench.back_up(&read).await.unwrap().records, 900);
    bench.storage.delete_prefix("b").await.unwrap();
    let later = since.plus_ms(60_000);
    let read = NamespaceRead { modified_from: Some(later), ..read_all() };
    let report = bench.back_up(&read).await.unwrap();
    assert_eq!((report.records, report.files.iter().filter(|file| !file.metadata).count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_sets_and_partitions_asked_for_are_read() {
    let bench = Bench::start().await;
    let mut records: Vec<_> = (0..300).map(|key| mixed("a", key, 1)).collect();
    records.extend((0..200).map(|key| mixed("b", key, 1)));
    records.extend((0..100).map(|key| mixed("c", key, 1)));
    bench.write(&records).await;
    for (sets, expected) in [(vec!["a"], 300), (vec!["a", "c"], 400), (vec!["none"], 0)] {
        let sets = sets.into_iter().map(str::to_owned).collect();
        let report = bench.back_up(&NamespaceRead { sets, ..read_all() }).await.unwrap();
        assert_eq!(report.records, expected);
        bench.storage.delete_prefix("b").await.unwrap();
    }
    let partitions = holdfast::model::partitions::parse_partition_list("0-1024,4095").unwrap();
    let in_range = |record: &&SampleRecord| {
        let partition = holdfast::model::partitions::partition_of(&record.digest);
        partition < 1024 || partition == 4095
    };
    let expected = records.iter().filter(in_range).count() as u64;
    let report = bench.back_up(&NamespaceRead { partitions, ..read_all() }).await.unwrap();
    assert_eq!(report.records, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_meanwhile_are_counted_and_left_out() {
    let bench = Bench::start().await;
    let soon: Vec<_> = (0..20).map(|key| mixed("soon", key, 1).living_s(2)).collect();
    let later: Vec<_> = (0..30).map(|key| mixed("later", key, 1).living_s(1000)).collect();
    bench.write(&soon).await;
    bench.write(&later).await;
    let report = bench.back_up(&read_all()).await.unwrap();
    assert_eq!(report.records, 50);
    let source = bench.snapshot(SOURCE).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let restored = bench.restore(&report, |_| {}).await.unwrap();
    assert_eq!((restored.counters.expired_records, restored.counters.inserted_records), (20, 30));
    assert!(restored.counters.balanced());
    let target = bench.snapshot(TARGET).await;
    for record in &later {
        let (before, after) = (&source.0[&record.digest], &target.0[&record.digest]);
        assert!(before.void_time.abs_diff(after.void_time) <= 1, "{before:?} {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_stops_the_restore_and_is_named() {
    let bench = Bench::start().await;
    bench.write(&(0..3000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let report = bench.back_up(&read_all()).await.unwrap();
    let name = &report.files.iter().find(|file| file.records > 0).unwrap().name;
    let key = format!("b/{name}");
    let whole = bench.storage.get(&key, 64 << 20).await.unwrap().unwrap();
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = whole.slice(..whole.len() - 1);
    for damaged in [flipped.into(), cut] {
        bench.storage.put(&key, damaged).await.unwrap();
        let error = bench.restore(&report, |_| {}).await.unwrap_err();
        assert_eq!(error.code(), "file-damaged");
        assert!(error.report().contains(name.as_str()), "{}", error.report());
    }
    bench.storage.delete(&key).await.unwrap();
    assert!(bench.restore(&report, |_| {}).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_restore_had_written_is_counted() {
    let bench = Bench::start().await;
    bench.write(&(0..3000).map(|key| mixed("customers", key, 1)).collect::<Vec<_>>()).await;
    let report = bench.back_up(&NamespaceRead { parallel_write: 1, file_limit_bytes: 0, ..read_all() }).await;
    let report = report.unwrap();
    let file = report.files.iter().find(|file| file.records == 3000).unwrap();
    let key = format!("b/{}", file.name);
    let mut bytes = bench.storage.get(&key, 64 << 20).await.unwrap().unwrap().to_vec();
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    bench.storage.put(&key, bytes.into()).await.unwrap();
    let counters = SharedCounters::default();
    // Without the hashes of its blocks nothing is held back, and the damage shows when much has been written.
    let (root, blocks) = (Some(file.hashes.root), Arc::default());
    let files = vec![FileToRead {
        key,
        size: file.hashes.size,
        root,
        blocks,
        unlock: Unlock::default(),
        copies: None,
    }];
    // One batch in hand and one waiting: the reader meets the damage long after the first was written.
    let write = MemberWrite { max_async_batches: 1, ..write_all(files) };
    let (storage, cancel) = (Arc::clone(&bench.storage), CancellationToken::new());
    let engine = bench.node.engine();
    let ended = engine.write(&write, storage, None, Arc::new(NoWatch), &counters, &cancel).await;
    assert_eq!(ended.unwrap_err().code(), "file-damaged");
    let counted = counters.get();
    assert!(counted.inserted_records > 1000, "{counted:?}");
    let in_target = bench.snapshot(TARGET).await.0.len() as u64;
    assert!(counted.inserted_records <= in_target, "{counted:?} of {in_target}");
    assert!(in_target <= counted.inserted_records + counted.errors_in_doubt, "{counted:?} of {in_target}");
}

/// rules.md 8.1
#[tokio::test(flavor = "multi_thread")]
async fn large_records_on_their_way_stay_within_their_room() {
    let bench = Bench::start().await;
    let payload = vec![7_u8; 1 << 20];
    let records: Vec<_> =
        (0..24).map(|key| SampleRecord::new("blobs", key).bin("payload", 4, &payload)).collect();
    bench.write(&records).await;
    let report = bench.back_up(&read_all()).await.unwrap();
    // A batch is one record, and the request that is made of it: two have room, and many more were allowed by number.
    let room = InFlight::new(5 << 20);
    let in_flight = Arc::clone(&room);
    let restored = bench.restore(&report, move |write| {
        (write.max_async_batches, write.in_flight) = (64, in_flight);
    });
    assert_eq!(restored.await.unwrap().counters.inserted_records, 24);
    assert!((4 << 20..=5 << 20).contains(&room.peak()), "{}", room.peak());
    let (source, target) = (bench.snapshot(SOURCE).await, bench.snapshot(TARGET).await);
    assert_eq!(source.differences(&target, 1), Vec::<String>::new());
    // What is larger than all the room goes alone.
    let room = InFlight::new(1 << 20);
    let in_flight = Arc::clone(&room);
    let restored = bench.restore(&report, move |write| {
        (write.exists, write.in_flight) = (Exists::Replace, in_flight);
    });
    assert_eq!(restored.await.unwrap().counters.inserted_records, 24);
    assert!((2 << 20..3 << 20).contains(&room.peak()), "{}", room.peak());
}

/// The number of readers does not bound the batches on their way: what is asked for does.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_batches_are_on_their_way_as_were_asked_for() {
    let bench = Bench::start().await;
    let payload = vec![7_u8; 10_000];
    let records: Vec<_> =
        (0..300).map(|key| SampleRecord::new("blobs", key).bin("payload", 4, &payload)).collect();
    bench.write(&records).await;
    let report = bench.back_up(&NamespaceRead { parallel_write: 1, file_limit_bytes: 0, ..read_all() }).await;
    let report = report.unwrap();
    for (most, batches) in [(1, 1..=3), (20, 12..=22)] {
        let room = InFlight::new(64 << 20);
        let in_flight = Arc::clone(&room);
        bench.node.empty(TARGET).await;
        let restored = bench.restore(&report, move |write| {
            // The batches wait for their turn on their way: the reader is far ahead of them.
            write.records_pace = Some(Arc::new(Pace::new(300)));
            (write.parallel, write.batch_size) = (1, 5);
            (write.max_async_batches, write.in_flight) = (most, in_flight);
        });
        assert_eq!(restored.await.unwrap().counters.inserted_records, 300);
        let batch = 2 * 5 * 10_000;
        assert!(batches.contains(&(room.peak() / batch)), "{most}: {}", room.peak());
    }
}

/// rules.md 4.9
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_created_once_and_replaced_only_when_asked() {
    let bench = Bench::start().await;
    let engine = bench.node.engine();
    let cancel = CancellationToken::new();
    let index = IndexDef {
        namespace: TARGET.into(),
        set: b"customers".to_vec(),
        name: b"by-age".to_vec(),
        index_type: IndexType::Bin,
        bin: b"age".to_vec(),
        data_type: DataType::Numeric,
        context: None,
        expression: None,
    };
    let other = IndexDef { data_type: DataType::String, ..index.clone() };
    let (first, second) = (std::slice::from_ref(&index), std::slice::from_ref(&other));
    assert_eq!(engine.create_indexes(first, false, &cancel).await.unwrap(), 1);
    assert_eq!(engine.create_indexes(first, true, &cancel).await.unwrap(), 0);
    assert_eq!(engine.create_indexes(second, false, &cancel).await.unwrap_err().code(), "index-differs");
    assert_eq!(engine.create_indexes(second, true, &cancel).await.unwrap(), 1);
    assert_eq!(bench.node.cluster.list_indexes(TARGET).await.unwrap().indexes, [other]);
    cancel.cancel();
    assert_eq!(engine.create_indexes(first, true, &cancel).await.unwrap_err().code(), "canceled");
}
