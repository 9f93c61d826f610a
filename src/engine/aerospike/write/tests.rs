use super::*;
use crate::aerospike::RetryPolicy;
use crate::asb::{DataType, IndexType, SetIndexDef};
use crate::memory::InFlight;
use crate::model::restore_order::Exists;

struct NoWatch;

impl Watch for NoWatch {
    fn read(&self, _records: u64) {}
    fn done(&self, _records: u64, _bytes: u64) {}
}

fn member(digests: Option<Arc<DigestTable>>, position: u32, each_digest_once: bool) -> Member {
    let write = MemberWrite {
        files: Vec::new(),
        position,
        source_namespace: "from".to_owned(),
        namespace: "to".to_owned(),
        sets: Vec::new(),
        bins: Vec::new(),
        exists: Exists::Update,
        generation_check: false,
        each_digest_once,
        first_applied: false,
        no_records: false,
        no_indexes: false,
        no_udfs: false,
        extra_ttl_s: 0,
        ignore_record_error: false,
        singly: false,
        validate: false,
        records_pace: None,
        parallel: 1,
        batch_size: 1,
        max_async_batches: 1,
        in_flight: InFlight::new(1 << 20),
        retry: RetryPolicy::WRITE,
        socket_timeout_ms: 0,
        total_timeout_ms: 0,
    };
    Member {
        write,
        digests,
        watch: Arc::new(NoWatch),
        next_file: AtomicUsize::new(0),
        counters: SharedCounters::default(),
        tally: Mutex::default(),
    }
}

const A: [u8; 20] = [1; 20];
const B: [u8; 20] = [2; 20];
const C: [u8; 20] = [3; 20];

/// (rows to write, existed, expired, skipped)
async fn passed(
    member: &Member,
    rows: &[[u8; 20]],
    hiding: &[([u8; 20], NotWritten)],
) -> (Vec<usize>, u64, u64, u64) {
    let mut counters = RestoreCounters::default();
    let open = member.pass_over(rows, hiding, &mut counters).await.unwrap();
    (open, counters.existed_records, counters.expired_records, counters.skipped_records)
}

/// rules.md 4.5: as `model::restore_order::reference` decides.
#[tokio::test]
async fn what_is_hidden_counts_as_existed_whatever_else_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for each_digest_once in [false, true] {
        let table = Arc::new(DigestTable::create(dir.path(), "1").await.unwrap());
        let newest = member(Some(Arc::clone(&table)), 1, each_digest_once);
        let hiding = [(B, NotWritten::Expired), (C, NotWritten::Empty)];
        assert_eq!(passed(&newest, &[A], &hiding).await, (vec![0], 0, 1, 1));
        let older = member(Some(table), 0, each_digest_once);
        assert_eq!(passed(&older, &[B, C], &[]).await, (vec![], 2, 0, 0));
        assert_eq!(passed(&older, &[], &[(C, NotWritten::Expired), (B, NotWritten::Empty)]).await.1, 2);
        // A was written: only the cluster knows it, unless each digest is written once.
        let written_twice = if each_digest_once { (vec![], 1, 0, 0) } else { (vec![0], 0, 0, 0) };
        assert_eq!(passed(&older, &[A], &[]).await, written_twice);
    }
}

/// rules.md 4.5: in the order of time, what was collected of newer members hides, and nothing else.
#[tokio::test]
async fn in_the_order_of_time_only_newer_versions_hide() {
    let dir = tempfile::tempdir().unwrap();
    let table = Arc::new(DigestTable::create(dir.path(), "1").await.unwrap());
    table.note(&[A], 1).await.unwrap();
    let [oldest, middle, newest] = [0, 1, 2].map(|place| member(Some(Arc::clone(&table)), place, false));
    assert_eq!(passed(&oldest, &[A, B], &[]).await, (vec![1], 1, 0, 0));
    assert_eq!(passed(&middle, &[], &[(A, NotWritten::Expired)]).await, (vec![], 0, 1, 0));
    assert_eq!(passed(&newest, &[A], &[]).await, (vec![0], 0, 0, 0));
    assert_eq!(passed(&member(None, 0, false), &[A], &[(B, NotWritten::Empty)]).await, (vec![0], 0, 0, 1));
}

#[test]
fn indexes_that_are_not_created_are_warned_of() {
    let member = member(None, 0, false);
    let index = |namespace: &str| IndexDef {
        namespace: namespace.into(),
        set: b"s".to_vec(),
        name: b"by-age".to_vec(),
        index_type: IndexType::Bin,
        bin: b"age".to_vec(),
        data_type: DataType::Numeric,
        context: None,
        expression: None,
    };
    member.collect(Item::Index(index("from")));
    member.collect(Item::Index(index("other")));
    let (namespace, set, name) = (b"from".to_vec(), b"s".to_vec(), b"all".to_vec());
    member.collect(Item::SetIndex(SetIndexDef { namespace, set, name }));
    let tally = member.tally();
    assert_eq!(tally.indexes, [index("to")]);
    let [other, set] = tally.warnings.as_slice() else { panic!("{:?}", tally.warnings) };
    assert!(other.contains("by-age") && other.contains("other"), "{other}");
    assert!(set.contains("set index all"), "{set}");
}

#[tokio::test]
async fn a_batch_that_takes_longer_than_total_timeout_is_an_error() {
    let mut member = member(None, 0, false);
    let never = || std::future::pending::<Result<()>>();
    member.write.total_timeout_ms = 1;
    assert_eq!(member.in_time(never()).await.unwrap_err().code(), "write-timeout");
    member.write.total_timeout_ms = 1000;
    member.write.socket_timeout_ms = 5000;
    assert_eq!(request_timeout_ms(&member.write), 1000);
    member.write.total_timeout_ms = 0;
    assert_eq!(request_timeout_ms(&member.write), 5000);
    assert!(member.in_time(async { Ok(()) }).await.is_ok());
}

/// rules.md 4.5, 4.6
#[tokio::test]
async fn an_ignored_record_is_counted_hides_older_ones_and_other_refusals_still_fail() {
    let dir = tempfile::tempdir().unwrap();
    let table = Arc::new(DigestTable::create(dir.path(), "1").await.unwrap());
    let outcomes = [13, 0, 8].map(|code| RowOutcome {
        result: if code == 0 { RowResult::Inserted } else { RowResult::Failed(ResultCode(code)) },
        in_doubt: false,
    });
    let mut newest = member(Some(Arc::clone(&table)), 1, false);
    for ignore in [false, true] {
        newest.write.ignore_record_error = ignore;
        newest.tally = Mutex::default();
        let mut counters = RestoreCounters::default();
        let ignored = newest.count(&mut counters, &[A, B, C], &[0, 1, 2], &outcomes);
        assert_eq!((counters.ignored_records, counters.inserted_records), (u64::from(ignore), 1));
        assert_eq!(ignored, if ignore { vec![A] } else { vec![] });
        newest.hide(&ignored).await.unwrap();
        let error = newest.fail_on_refused().unwrap_err();
        assert!(error.to_string().contains("out of space (8)"), "{error}");
        assert_eq!(error.to_string().contains("record too big"), !ignore, "{error}");
    }
    let older = member(Some(table), 0, false);
    assert_eq!(passed(&older, &[A, B], &[]).await, (vec![1], 1, 0, 0));
    let tally = Tally { ignored: newest.tally().ignored.clone(), ..Tally::default() };
    let report = finish(&newest.write, tally, &SharedCounters::default()).unwrap();
    assert!(report.warnings[0].contains("1 × record too big (13)"), "{:?}", report.warnings);
}
