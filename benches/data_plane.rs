//! What a record costs on the way of the data, stage by stage, in this process: against "the limit", the same sockets
//! read and dropped. README.md says how to run it and what is aimed at.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a program that measures: any surprise ends it

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use holdfast::aerospike::wire::{self, FrameKind, MessageHeader, field, info_bits};
use holdfast::aerospike::{
    Cluster, ClusterOptions, Exists, RecordView, ScanRequest, ScanSink, Seed, WriteBatch, WritePolicy,
    scan_partitions,
};
use holdfast::asb::{Decoder, Encoder, Item, Version};
use holdfast::clock::SystemClock;
use holdfast::engine::aerospike::AerospikeEngine;
use holdfast::engine::{NamespaceRead, ReadLimits, Source, Watch};
use holdfast::error::Result;
use holdfast::model::partitions::PartitionSet;
use holdfast::sample::{self, SampleRecord, mixed};
use holdfast::storage::{LocalStorage, Storage};
use holdfast::tasks::blocking;
use tokio_util::sync::CancellationToken;

/// Connections of a scan.
const PARALLEL: usize = 8;

/// One namespace for each kind of record: a test node of the Community Edition has two.
const KINDS: [(&str, &str, Make); 2] = [
    ("mixed, 200 B", "source-ns1", |key| mixed("customers", key, 1)),
    ("map of 50", "target-ns1", map_of_50),
];

/// Makes the record of a key.
type Make = fn(i64) -> SampleRecord;

/// The record whose size is in one map: 50 entries, a text key and an integer each.
fn map_of_50(key: i64) -> SampleRecord {
    let mut map = vec![0xde, 0, 50];
    for entry in 0..50_u8 {
        // A text in a list or map begins with its particle type.
        map.extend([0xa9, 3]);
        map.extend(format!("entry-{entry:02}").as_bytes());
        map.extend([0xcd, 1 + entry, (key & 0xff) as u8]);
    }
    SampleRecord::new("maps", key).bin("id", 1, key.to_be_bytes()).bin("map", 19, map)
}

/// User and system time of this process so far, in microseconds: /proc counts in units of 10 ms.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

/// Repeats `work` for at least two seconds of CPU, prints its cost per record and gives its records per second.
async fn measure(name: &str, limit: Option<Cost>, work: impl AsyncFn() -> u64) -> Cost {
    work().await; // buffers grow, the node warms up
    let (cpu, started, mut records) = (cpu_us(), Instant::now(), 0);
    while cpu_us() - cpu < 2_000_000 {
        records += work().await;
    }
    let cost = Cost {
        cpu_us: (cpu_us() - cpu) as f64 / records as f64,
        per_second: records as f64 / started.elapsed().as_secs_f64(),
    };
    let beside = limit.map_or(String::new(), |limit| {
        format!("{:+.2} | {:.0} %", cost.cpu_us - limit.cpu_us, 100.0 * cost.per_second / limit.per_second)
    });
    println!(
        "| {name} | {:.0} | {:.2} | {} |",
        cost.per_second,
        cost.cpu_us,
        if beside.is_empty() { "| " } else { &beside }
    );
    cost
}

/// What a record costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu_us: f64,
    per_second: f64,
}

fn main() {
    // `cargo test --all-targets` runs it too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        codec().await;
        match std::env::var("HOLDFAST_BENCH_AEROSPIKE") {
            Ok(node) => scans(&node).await,
            Err(_) => println!(
                "\nHOLDFAST_BENCH_AEROSPIKE=host:port names a real node, whose scans are not measured without"
            ),
        }
    });
}

// Scans of a real node.

async fn scans(address: &str) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let seeds = vec![Seed { host: host.to_owned(), port: port.parse().unwrap() }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "bench".to_owned() };
    let cluster = Cluster::connect(&options).await.unwrap();
    let count = std::env::var("HOLDFAST_BENCH_RECORDS").map_or(400_000, |text| text.parse().unwrap());
    for (name, namespace, make) in KINDS {
        fill(&cluster, namespace, count, make).await;
        println!(
            "\n| {name}: a scan | records/s | CPU µs/record | above the limit | of its records/s |\n|---|---|---|---|---|"
        );
        let limit = measure("the limit: read and dropped", None, async || {
            let (address, namespace) = (address.to_owned(), namespace.to_owned());
            blocking(move || {
                read_and_drop(&address, &namespace);
                Ok(())
            })
            .await
            .unwrap();
            count
        })
        .await;
        for (what, compact, keep) in [
            ("parsed", false, false),
            ("to ASB in memory", false, true),
            ("to ASB in memory, compact", true, true),
        ] {
            measure(what, Some(limit), async || scan(&cluster, namespace, compact, keep).await).await;
        }
        for (what, zstd_level) in [("to local files, with hashes", None), ("to local files, zstd 1", Some(1))]
        {
            measure(what, Some(limit), async || to_files(&cluster, namespace, zstd_level).await).await;
        }
    }
}

async fn fill(cluster: &Cluster, namespace: &str, count: u64, make: Make) {
    cluster.truncate(namespace, None).await.unwrap();
    loop {
        let nodes = cluster.namespace_stats(namespace).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if nodes.iter().all(|node| node.objects == 0) {
            break; // and writes are stamped later than the truncation
        }
    }
    let keys: Vec<i64> = (0..count as i64).collect();
    for chunk in keys.chunks(10_000) {
        let chunk: Vec<_> = chunk.iter().map(|key| make(*key)).collect();
        sample::write(cluster, namespace, &chunk).await.unwrap();
    }
}

/// Scans everything over as many connections as the others, looks at nothing but where frames end.
fn read_and_drop(address: &str, namespace: &str) {
    std::thread::scope(|scope| {
        for range in PartitionSet::all().split(PARALLEL) {
            scope.spawn(move || {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.set_nodelay(true).unwrap();
                socket.write_all(&whole_scan(namespace, &range)).unwrap();
                let mut body = vec![0; 1 << 20];
                loop {
                    let mut header = [0; 8];
                    socket.read_exact(&mut header).unwrap();
                    header[..2].fill(0);
                    let length = u64::from_be_bytes(header) as usize;
                    if body.len() < length {
                        body.resize(length, 0);
                    }
                    socket.read_exact(&mut body[..length]).unwrap();
                    let last = &body[length - wire::MESSAGE_HEADER_BYTES..length];
                    if last[0] == wire::MESSAGE_HEADER_BYTES as u8 && last[3] & info_bits::LAST != 0 {
                        assert_eq!(last[5], 0, "result code");
                        break;
                    }
                }
            });
        }
    });
}

fn whole_scan(namespace: &str, range: &PartitionSet) -> Vec<u8> {
    let query = rand::random::<u64>().max(1);
    let pids: Vec<u8> = range.iter().flat_map(u16::to_le_bytes).collect();
    let header = MessageHeader {
        info1: info_bits::READ,
        info3: info_bits::PARTITION_DONE,
        fields: 4,
        ..MessageHeader::default()
    };
    let mut frame = Vec::new();
    wire::start_frame(&mut frame, FrameKind::Message);
    header.write(&mut frame);
    wire::write_field(&mut frame, field::NAMESPACE, &[namespace.as_bytes()]);
    wire::write_field(&mut frame, field::QUERY_ID, &[&query.to_be_bytes()]);
    wire::write_field(&mut frame, field::SOCKET_TIMEOUT, &[&0_u32.to_be_bytes()]);
    wire::write_field(&mut frame, field::PARTITIONS, &[&pids]);
    wire::finish_frame(&mut frame);
    frame
}

/// Encodes what it is given, or just counts it.
struct Sink {
    encoder: Option<Encoder>,
    text: Vec<u8>,
    records: u64,
    total: Arc<AtomicU64>,
}

#[async_trait]
impl ScanSink for Sink {
    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        if let Some(encoder) = &mut self.encoder {
            encoder.record(&mut self.text, &record.head(), record.bins()).unwrap();
        }
        self.records += 1;
        Ok(())
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        if self.text.len() > 256 << 10 {
            self.text.clear();
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        self.total.fetch_add(self.records, Ordering::Relaxed);
        Ok(())
    }
}

async fn scan(cluster: &Cluster, namespace: &str, compact: bool, keep: bool) -> u64 {
    let total = Arc::new(AtomicU64::new(0));
    let sink = || Sink {
        encoder: keep.then(|| Encoder::new(compact)),
        text: Vec::with_capacity(512 << 10),
        records: 0,
        total: Arc::clone(&total),
    };
    let sinks = (0..PARALLEL).map(|_| Box::new(sink()) as Box<dyn ScanSink>).collect();
    let request = ScanRequest::new(namespace);
    scan_partitions(cluster, &request, &PartitionSet::all(), sinks, &CancellationToken::new()).await.unwrap();
    total.load(Ordering::Relaxed)
}

/// Hears everything, keeps nothing.
struct Deaf;

impl Watch for Deaf {
    fn read(&self, _: u64) {}
    fn done(&self, _: u64, _: u64) {}
}

async fn to_files(cluster: &Cluster, namespace: &str, zstd_level: Option<i32>) -> u64 {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-data-plane");
    let _ = std::fs::remove_dir_all(&dir);
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&dir).await.unwrap());
    let read = NamespaceRead {
        namespace: namespace.to_owned(),
        sets: Vec::new(),
        bins: Vec::new(),
        filter: None,
        no_ttl_only: false,
        partitions: PartitionSet::all(),
        modified_from: None,
        modified_until: None,
        no_records: false,
        indexes: false,
        udfs: false,
        skip_unsupported: false,
        parallel: PARALLEL,
        parallel_write: PARALLEL,
        file_limit_bytes: 0,
        zstd_level,
        cipher: None,
        compact: false,
        scan_compression: false,
        socket_timeout_ms: 0,
        total_timeout_ms: 0,
        limits: ReadLimits::default(),
        checkpoint: None,
    };
    let engine = AerospikeEngine::new(cluster.clone(), Arc::new(SystemClock));
    let report =
        engine.read(&read, storage, "data", Arc::new(Deaf), &CancellationToken::new()).await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    report.records
}

// The format alone, on one core.

async fn codec() {
    const COUNT: i64 = 20_000;
    println!("| one core, in memory | per second | CPU µs/record | | |\n|---|---|---|---|---|");
    let blob = |key| SampleRecord::new("blobs", key).bin("blob", 4, noise(key, 4096));
    let kinds: [(&str, &dyn Fn(i64) -> SampleRecord); 3] = [
        ("mixed, 200 B", &|key| mixed("customers", key, 1)),
        ("map of 50", &map_of_50),
        ("blob of 4 KiB", &blob),
    ];
    for (name, make) in kinds {
        let records: Vec<_> = (0..COUNT).map(make).collect();
        for compact in [false, true] {
            let mode = if compact { ", compact" } else { "" };
            let mut text = Vec::new();
            encode(&records, compact, &mut text);
            let bytes = text.len() as f64 / COUNT as f64;
            let cost = measure(&format!("{name}{mode}: encode"), None, async || {
                let mut text = Vec::with_capacity(text.len());
                encode(&records, compact, &mut text);
                COUNT as u64
            })
            .await;
            speed(bytes, cost);
            let cost =
                measure(&format!("{name}{mode}: decode and build batches"), None, async || batches(&text))
                    .await;
            speed(bytes, cost);
        }
    }
}

fn speed(bytes: f64, cost: Cost) {
    println!("| | {:.0} MB/s of {bytes:.0} B | | | |", bytes / cost.cpu_us);
}

/// Bytes that do not repeat.
fn noise(seed: i64, length: usize) -> Vec<u8> {
    let mut state = seed as u64 | 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

fn encode(records: &[SampleRecord], compact: bool, text: &mut Vec<u8>) {
    text.clear();
    Encoder::file_header(text, b"test", false, Version::V3_1);
    let mut encoder = Encoder::new(compact);
    for record in records {
        encoder.record(text, &record.head("test"), record.bins()).unwrap();
    }
}

fn batches(text: &[u8]) -> u64 {
    let policy = WritePolicy { exists: Exists::Update, generation_greater: true };
    let (mut batch, mut records) = (WriteBatch::new("test", policy), 0);
    let mut decoder = Decoder::open(text).unwrap();
    while let Some(item) = decoder.next_item().unwrap() {
        let Item::Record(record) = item else { continue };
        if batch.is_full() {
            batch.clear();
        }
        batch.push(&record.head(), record.bins(), u32::MAX).unwrap();
        records += 1;
    }
    records
}
