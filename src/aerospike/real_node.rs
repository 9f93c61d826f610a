//! Against a real node: set `HOLDFAST_TEST_AEROSPIKE=host:port`; without it these tests pass without doing anything.
//! They write into sets of their own in namespace `source-ns1` and truncate them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::index::Created;
use super::{
    Access, AuthMode, BatchWriter, Cluster, ClusterOptions, Exists, Login, RecordView, ResultCode,
    RetryPolicy, RowResult, ScanRequest, ScanSink, Seed, WriteBatch, WritePolicy, filter, scan_partitions,
};
use crate::asb::{Bin, DataType, IndexDef, IndexType, Particle, RecordHead, UdfDef};
use crate::error::Result;
use crate::model::partitions::PartitionSet;
use crate::tasks::Scope;

const NAMESPACE: &str = "source-ns1";

async fn cluster() -> Option<Cluster> {
    let place = std::env::var("HOLDFAST_TEST_AEROSPIKE").ok()?;
    let (host, port) = place.rsplit_once(':').expect("HOLDFAST_TEST_AEROSPIKE=host:port");
    let seeds = vec![Seed { host: host.into(), port: port.parse().unwrap() }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "real".into() };
    Some(Cluster::connect(&options).await.unwrap())
}

type Bins = Vec<(Vec<u8>, u8, Vec<u8>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    set: Vec<u8>,
    key: Option<(u8, Vec<u8>)>,
    generation: u16,
    void_time: u32,
    bins: Bins,
}

#[derive(Debug, Clone, Default)]
struct Records(Arc<Mutex<BTreeMap<[u8; 20], Owned>>>);

#[async_trait]
impl ScanSink for Records {
    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        let head = record.head();
        assert_eq!(head.namespace, NAMESPACE.as_bytes());
        let owned = Owned {
            set: head.set.to_vec(),
            key: head.key.map(|key| (key.kind, key.bytes.to_vec())),
            generation: head.generation,
            void_time: head.void_time,
            bins: record
                .bins()
                .map(|bin| (bin.name.to_vec(), bin.particle.kind, bin.particle.bytes.to_vec()))
                .collect(),
        };
        let before = self.0.lock().unwrap().insert(*head.digest, owned);
        assert_eq!(before, None, "a record came twice");
        Ok(())
    }

    async fn end_of_frame(&mut self) -> Result<()> {
        tokio::task::yield_now().await;
        Ok(())
    }
}

async fn scan(cluster: &Cluster, request: &ScanRequest, parallel: usize) -> BTreeMap<[u8; 20], Owned> {
    let records = Records::default();
    let sinks = (0..parallel).map(|_| Box::new(records.clone()) as Box<dyn ScanSink>).collect();
    let all = PartitionSet::all();
    let report = scan_partitions(cluster, request, &all, sinks, &CancellationToken::new()).await.unwrap();
    let records = records.0.lock().unwrap().clone();
    assert_eq!(report.records, records.len() as u64);
    assert_eq!((report.partitions_done, report.retries, report.unvouched_streams), (4096, 0, 0));
    records
}

fn of_set(set: &str) -> ScanRequest {
    ScanRequest { set: Some(set.into()), ..ScanRequest::new(NAMESPACE) }
}

/// Each particle type, as the wire has it and as the server gives it back byte for byte (asb.md 2.1, wire.md 2).
fn particles() -> Vec<(&'static str, u8, Vec<u8>)> {
    // flags, 4 index bits, no minhash, cache, 16 registers of 6 bits
    let mut hll = vec![0, 4, 0];
    hll.extend([0; 8 + 12]);
    let geo = [&[0, 0, 0][..], br#"{"type":"Point","coordinates":[8.5,47.4]}"#].concat();
    vec![
        ("integer", 1, i64::MIN.to_be_bytes().to_vec()),
        ("float", 2, 0x7FF8_0000_DEAD_BEEF_u64.to_be_bytes().to_vec()),
        ("minus-zero", 2, (-0.0_f64).to_be_bytes().to_vec()),
        ("string", 3, b"\xff\xfe not utf-8\n\0".to_vec()),
        ("empty", 3, Vec::new()),
        ("blob", 4, vec![0; 3]),
        ("java", 7, b"\xac\xed".to_vec()),
        ("csharp", 8, vec![8]),
        ("python", 9, vec![9]),
        ("ruby", 10, vec![10]),
        ("php", 11, vec![11]),
        ("erlang", 12, vec![12]),
        ("bool", 17, vec![1]),
        ("hll", 18, hll),
        ("ordered-map", 19, b"\x82\xc7\x00\x01\xc0\xa2\x03a\x01".to_vec()),
        ("ordered-list", 20, b"\x94\xc7\x00\x01\x01\x02\x03".to_vec()),
        ("huge-in-list", 20, [&b"\x91\xcf"[..], &[0xFF; 8]].concat()),
        ("geojson", 23, geo),
    ]
}

/// A digest is unique in a namespace, whatever the set: the tests, which run side by side, have each their own.
fn digest(set: &str, number: u32) -> [u8; 20] {
    let mut digest = [0xA5; 20];
    let salt = set.as_bytes().split_at(5.min(set.len())).1;
    digest[8..8 + salt.len()].copy_from_slice(salt);
    let mixed = number.wrapping_mul(2_654_435_761);
    digest[..4].copy_from_slice(&mixed.to_be_bytes());
    digest[4..8].copy_from_slice(&number.to_be_bytes());
    digest
}

fn head<'a>(
    set: &'a str,
    digest: &'a [u8; 20],
    key: Option<Particle<'a>>,
    generation: u16,
) -> RecordHead<'a> {
    RecordHead {
        namespace: b"ignored",
        set: set.as_bytes(),
        digest,
        key,
        generation,
        void_time: 0,
        bin_count: 1,
    }
}

fn update() -> WritePolicy {
    WritePolicy { exists: Exists::Update, generation_greater: false }
}

fn bin<'a>(name: &'a str, kind: u8, bytes: &'a [u8]) -> Bin<'a> {
    Bin { name: name.as_bytes(), particle: Particle { kind, bytes } }
}

async fn write(cluster: &Cluster, batch: &WriteBatch) -> Vec<RowResult> {
    let mut writer = BatchWriter::new(cluster.clone(), RetryPolicy::WRITE, 5000);
    let outcomes = writer.write(batch, &CancellationToken::new()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| !outcome.in_doubt));
    outcomes.into_iter().map(|outcome| outcome.result).collect()
}

async fn clear(cluster: &Cluster, set: &str) {
    cluster.truncate(NAMESPACE, Some(set.as_bytes())).await.unwrap();
    while !scan(cluster, &of_set(set), 1).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_particle_type_comes_back_byte_for_byte() {
    let Some(cluster) = cluster().await else { return };
    let set = "wire-types";
    clear(&cluster, set).await;
    let particles = particles();
    let mut batch = WriteBatch::new(NAMESPACE, update());
    let keys: [Option<Particle<'_>>; 4] = [
        None,
        Some(Particle { kind: 1, bytes: &[0, 0, 0, 0, 0, 0, 0, 7] }),
        Some(Particle { kind: 3, bytes: b"k\xff" }),
        Some(Particle { kind: 4, bytes: b"\0\x01" }),
    ];
    let digests: Vec<_> = (0..4).map(|number| digest(set, number)).collect();
    for (digest, key) in digests.iter().zip(keys) {
        let bins = particles.iter().map(|(name, kind, bytes)| bin(name, *kind, bytes));
        batch.push(&head(set, digest, key, 1), bins, u32::MAX).unwrap();
    }
    assert_eq!(write(&cluster, &batch).await, [RowResult::Inserted; 4]);

    let records = scan(&cluster, &of_set(set), 3).await;
    assert_eq!(
        records.keys().copied().collect::<std::collections::BTreeSet<_>>(),
        digests.iter().copied().collect()
    );
    for (digest, key) in digests.iter().zip(keys) {
        let record = &records[digest];
        assert_eq!(record.set, set.as_bytes());
        assert_eq!(record.key, key.map(|key| (key.kind, key.bytes.to_vec())));
        assert_eq!((record.generation, record.void_time), (1, 0));
        let mut found = record.bins.clone();
        // the server computes the cells of a point: only the text is ours (asb.md 2.2)
        for (_, kind, bytes) in &mut found {
            if *kind == 23 {
                let cells = usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
                bytes.drain(3..3 + 8 * cells);
                bytes[..3].fill(0);
            }
        }
        found.sort();
        let mut written: Bins = particles
            .iter()
            .map(|(name, kind, bytes)| (name.as_bytes().to_vec(), *kind, bytes.clone()))
            .collect();
        written.sort();
        assert_eq!(found, written);
    }
    clear(&cluster, set).await;
}

#[tokio::test]
async fn many_records_come_once_each_by_each_kind_of_scan() {
    let Some(cluster) = cluster().await else { return };
    let set = "wire-many";
    clear(&cluster, set).await;
    let value = vec![7; 300];
    let mut batch = WriteBatch::new(NAMESPACE, update());
    let count = 20_000;
    for number in 0..count {
        let life = if number % 2 == 0 { u32::MAX } else { 100_000 };
        let bins = [bin("a", 1, &[0; 8]), bin("b", 4, &value)];
        let bins = bins.into_iter().take(if number % 4 == 0 { 2 } else { 1 });
        batch.push(&head(set, &digest(set, number), None, 1), bins, life).unwrap();
        if batch.is_full() || number + 1 == count {
            assert!(write(&cluster, &batch).await.iter().all(|result| *result == RowResult::Inserted));
            batch.clear();
        }
    }
    assert_eq!(scan(&cluster, &of_set(set), 4).await.len(), 20_000);
    let metadata = ScanRequest { no_bins: true, ..of_set(set) };
    let records = scan(&cluster, &metadata, 2).await;
    assert_eq!(records.len(), 20_000);
    assert!(records.values().all(|record| record.bins.is_empty()));
    let of_bin = ScanRequest { bins: vec![b"b".to_vec()], ..of_set(set) };
    let records = scan(&cluster, &of_bin, 2).await;
    assert_eq!(records.len(), 5000);
    assert!(records.values().all(|record| record.bins.len() == 1));
    let filtered = |terms: &[Vec<u8>]| ScanRequest { filter: Some(filter::and(terms)), ..of_set(set) };
    let lasting = filtered(&[filter::not_transaction_monitor(), filter::never_expires()]);
    assert_eq!(scan(&cluster, &lasting, 1).await.len(), 10_000);
    let year_2030_ns = 1_893_456_000_000_000_000;
    assert_eq!(scan(&cluster, &filtered(&[filter::modified_after(year_2030_ns)]), 1).await.len(), 0);
    assert_eq!(scan(&cluster, &filtered(&[filter::modified_before(year_2030_ns)]), 1).await.len(), 20_000);
    clear(&cluster, set).await;
}

#[tokio::test]
async fn policies_and_results_are_those_of_the_server() {
    let Some(cluster) = cluster().await else { return };
    let set = "wire-policies";
    clear(&cluster, set).await;
    let (exists, fresh) = (digest(set, 1), digest(set, 2));
    let write_one = async |policy, digest: &[u8; 20], generation, bins: &[Bin<'_>]| {
        let mut batch = WriteBatch::new(NAMESPACE, policy);
        batch.push(&head(set, digest, None, generation), bins.iter().copied(), u32::MAX).unwrap();
        write(&cluster, &batch).await[0]
    };
    let one = [0, 0, 0, 0, 0, 0, 0, 1];
    let plain = |exists| WritePolicy { exists, generation_greater: false };
    let fresher = WritePolicy { exists: Exists::Update, generation_greater: true };
    let a = [bin("a", 1, &one)];
    assert_eq!(write_one(plain(Exists::CreateOnly), &exists, 1, &a).await, RowResult::Inserted);
    assert_eq!(write_one(plain(Exists::CreateOnly), &exists, 1, &a).await, RowResult::Existed);
    assert_eq!(write_one(fresher, &exists, 1, &a).await, RowResult::Fresher);
    assert_eq!(write_one(fresher, &exists, 2, &[bin("b", 1, &one)]).await, RowResult::Inserted);
    let names = |records: &BTreeMap<[u8; 20], Owned>| -> Vec<Vec<u8>> {
        records[&exists].bins.iter().map(|(name, ..)| name.clone()).collect()
    };
    assert_eq!(names(&scan(&cluster, &of_set(set), 1).await), [b"a", b"b"]);
    assert_eq!(
        write_one(plain(Exists::Replace), &exists, 1, &[bin("c", 1, &one)]).await,
        RowResult::Inserted
    );
    assert_eq!(names(&scan(&cluster, &of_set(set), 1).await), [b"c"]);
    // what the server makes of rows that carry nothing: facts that a restore must know
    let nothing = RowResult::Failed(ResultCode::PARAMETER);
    assert_eq!(write_one(plain(Exists::Update), &fresh, 1, &[]).await, nothing);
    let null = RowResult::Failed(ResultCode::NOT_FOUND);
    assert_eq!(write_one(plain(Exists::Update), &fresh, 1, &[bin("a", 0, b"")]).await, null);
    let long = RowResult::Failed(ResultCode(21));
    assert_eq!(write_one(plain(Exists::Update), &fresh, 1, &[bin("sixteen-byte-nam", 1, &one)]).await, long);
    clear(&cluster, set).await;
}

#[tokio::test]
async fn indexes_and_modules_come_back_as_they_went() {
    let Some(cluster) = cluster().await else { return };
    let index = |name: &str, index_type, data_type| IndexDef {
        namespace: NAMESPACE.into(),
        set: b"wire-idx".to_vec(),
        name: name.into(),
        index_type,
        bin: b"bin".to_vec(),
        data_type,
        context: None,
        expression: None,
    };
    let mut indexes = vec![
        index("wire-idx-1", IndexType::Bin, DataType::Numeric),
        index("wire-idx-2", IndexType::List, DataType::String),
        index("wire-idx-3", IndexType::MapKeys, DataType::Blob),
        index("wire-idx-4", IndexType::MapValues, DataType::Geo),
    ];
    // list element 0; an expression: bin "age" as an integer (abs.md 7.9)
    indexes.push(IndexDef {
        set: Vec::new(),
        context: Some("khAA".into()),
        ..index("wire-idx-5", IndexType::Bin, DataType::Numeric)
    });
    indexes.push(IndexDef {
        expression: Some("k1ECo2FnZQ==".into()),
        bin: b"null".to_vec(),
        ..index("wire-idx-6", IndexType::Bin, DataType::Numeric)
    });
    for index in &indexes {
        cluster.drop_index(&index.namespace, &index.name).await.unwrap();
        assert_eq!(cluster.create_index(index).await.unwrap(), Created::Created, "{index:?}");
        cluster.wait_for_index(&index.namespace, &index.name, Duration::from_mins(1)).await.unwrap();
    }
    let same_name = IndexDef { bin: b"other".to_vec(), ..indexes[0].clone() };
    assert_eq!(cluster.create_index(&same_name).await.unwrap(), Created::Exists);
    assert_eq!(cluster.create_index(&indexes[0]).await.unwrap(), Created::Created);
    let mut listed = cluster.list_indexes(NAMESPACE).await.unwrap().indexes;
    listed.retain(|index| index.name.starts_with(b"wire-idx-"));
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(listed, indexes);
    for index in &indexes {
        cluster.drop_index(&index.namespace, &index.name).await.unwrap();
    }

    let udf =
        UdfDef { name: b"wire_test.lua".to_vec(), content: b"-- ;=:\nfunction f(r) return 1 end\n".to_vec() };
    cluster.put_udf(&udf).await.unwrap();
    assert!(cluster.list_udfs().await.unwrap().iter().any(|listed| listed.name == udf.name));
    assert_eq!(cluster.get_udf(&udf.name).await.unwrap(), udf);
    let bad = UdfDef { content: b"function (".to_vec(), ..udf.clone() };
    assert_eq!(cluster.put_udf(&bad).await.unwrap_err().code(), "info-refused");
    assert_eq!(cluster.get_udf(b"wire_none.lua").await.unwrap_err().code(), "info-refused");
    let removed =
        cluster.info(&cluster.nodes().await[0], &["udf-remove:filename=wire_test.lua"]).await.unwrap();
    assert!(removed.values().all(|answer| answer.eq_ignore_ascii_case(b"ok")), "{removed:?}");
}

#[tokio::test]
async fn counts_and_clocks_are_there() {
    let Some(cluster) = cluster().await else { return };
    assert!(cluster.namespaces().await.unwrap().iter().any(|name| name == NAMESPACE));
    let stats = cluster.namespace_stats(NAMESPACE).await.unwrap();
    assert!(stats.iter().all(|node| node.current_time_s > 500_000_000 && node.replication_factor >= 1));
    cluster.sets(NAMESPACE).await.unwrap();
    assert_eq!(cluster.namespace_stats("nowhere").await.unwrap_err().code(), "namespace-missing");
    assert_eq!(cluster.partition_owners("nowhere").await.unwrap_err().code(), "namespace-missing");
    let map = cluster.partition_owners(NAMESPACE).await.unwrap();
    assert!((0..4096).all(|pid| map.owner(pid).is_some()));
}

/// Stands before a node and cuts the first `cuts` connections that send more than `bytes` to the client.
async fn cutting_proxy(to: std::net::SocketAddr, cuts: usize, bytes: u64) -> (std::net::SocketAddr, Scope) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut scope = Scope::new(&CancellationToken::new());
    scope.spawn("proxy", async move {
        let mut connections = Scope::new(&CancellationToken::new());
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(cuts));
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let left = left.clone();
            connections.spawn("proxied", async move {
                let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let answers = async {
                    let mut first = (&mut from_server).take(bytes);
                    let _ = copy(&mut first, &mut to_client).await;
                    let cut = |left: usize| left.checked_sub(1);
                    let order = std::sync::atomic::Ordering::SeqCst;
                    if first.limit() > 0 || left.fetch_update(order, order, cut).is_err() {
                        let _ = copy(&mut from_server, &mut to_client).await;
                    }
                    let _ = to_client.shutdown().await;
                };
                tokio::select! {
                    () = answers => {}
                    _ = copy(&mut from_client, &mut to_server) => {}
                }
                Ok(())
            });
        }
    });
    (address, scope)
}

#[tokio::test]
async fn connections_that_are_cut_lose_nothing_and_repeat_nothing() {
    let Some(direct) = cluster().await else { return };
    let set = "wire-cut";
    clear(&direct, set).await;
    let count = 20_000;
    let mut batch = WriteBatch::new(NAMESPACE, update());
    for number in 0..count {
        batch.push(&head(set, &digest(set, number), None, 1), [bin("b", 4, &[7; 400])], u32::MAX).unwrap();
        if batch.is_full() || number + 1 == count {
            assert!(write(&direct, &batch).await.iter().all(|result| *result == RowResult::Inserted));
            batch.clear();
        }
    }
    let (address, _scope) = cutting_proxy(direct.nodes().await[0].address, 5, 1_500_000).await;
    let seeds = vec![Seed { host: address.ip().to_string(), port: address.port() }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "cut".into() };
    let cluster = Cluster::connect(&options).await.unwrap();
    let records = Records::default(); // refuses a record that comes twice
    let sinks = (0..2).map(|_| Box::new(records.clone()) as Box<dyn ScanSink>).collect();
    let request = ScanRequest { retry: super::peer::at_once(3), ..of_set(set) };
    let all = PartitionSet::all();
    let report = scan_partitions(&cluster, &request, &all, sinks, &CancellationToken::new()).await.unwrap();
    assert_eq!((report.records, report.partitions_done), (u64::from(count), 4096));
    assert!(report.retries > 0, "{report:?}");
    assert_eq!(records.0.lock().unwrap().len(), count as usize);
    clear(&direct, set).await;
}

#[tokio::test]
async fn a_community_edition_refuses_a_login_and_says_why() {
    let Some(address) = std::env::var("HOLDFAST_TEST_AEROSPIKE").ok() else { return };
    let (host, port) = address.rsplit_once(':').unwrap();
    let seeds = vec![Seed { host: host.into(), port: port.parse().unwrap() }];
    let options = ClusterOptions { seeds, connect_timeout_ms: 5000, label: "real".into() };
    let password = crate::secrets::SecretSource::Env("PATH".into());
    let password = crate::secrets::StoredSecret::new(password, crate::secrets::Keeper::default());
    let login = Login { mode: AuthMode::Internal, user: "nobody".into(), password: Some(password) };
    let access = Access { login: Some(login), ..Access::default() };
    let error = Cluster::enter(&options, access).await.unwrap_err();
    assert_eq!((error.code(), error.is_temporary()), ("login-refused", false));
    assert!(error.report().contains("security not supported (51)"), "{}", error.report());

    let named = Access { cluster_name: Some("no such name".into()), ..Access::default() };
    let error = Cluster::enter(&options, named).await.unwrap_err();
    assert_eq!(error.code(), "cluster-name-differs");
}
