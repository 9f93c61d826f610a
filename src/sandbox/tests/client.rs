//! With the official client: an independent reader and writer of the same protocol.

use std::collections::BTreeSet;

use aerospike::expressions as exp;
use aerospike::operations::scalar;
use aerospike::{
    AdminPolicy, BatchDeletePolicy, BatchOperation, BatchPolicy, BatchReadPolicy, BatchWritePolicy, Bins,
    Client, ClientPolicy, CollectionIndexType, ErrorKind, Expiration, GenerationPolicy, IndexType, Key,
    PartitionFilter, QueryPolicy, ReadPolicy, RecordExistsAction, ResultCode, Statement, Task, UdfLang,
    Value, WritePolicy,
};
use futures_util::StreamExt;

use super::{NAMESPACE, START, record, start};
use crate::sandbox::{Sandbox, digest_of, partition_of};

async fn connect(sandbox: &Sandbox) -> Client {
    Client::new(&ClientPolicy::default(), &sandbox.address().to_string()).await.unwrap()
}

fn key(number: i64) -> Key {
    Key::new(NAMESPACE, "demo", Value::from(number)).unwrap()
}

fn bin(name: &str, value: impl Into<Value>) -> aerospike::Bin {
    aerospike::Bin::new(name, value.into())
}

fn code(error: &aerospike::Error) -> ResultCode {
    match error.kind() {
        ErrorKind::Server { rc, .. } => *rc,
        other => panic!("not an answer of the node: {other:?}"),
    }
}

/// All records of a query: their keys' digests, in order of arrival.
async fn query(client: &Client, policy: &QueryPolicy, filter: PartitionFilter, bins: Bins) -> Vec<[u8; 20]> {
    let statement = Statement::new(NAMESPACE, "demo", bins);
    let mut stream = client.query(policy, filter, statement).await.unwrap().into_stream();
    let mut digests = Vec::new();
    while let Some(record) = stream.next().await {
        digests.push(record.unwrap().key.unwrap().digest());
    }
    digests
}

#[tokio::test]
async fn put_get_exists_touch_delete() {
    let (sandbox, clock) = start().await;
    let client = connect(&sandbox).await;
    let (write, read) = (WritePolicy::default(), ReadPolicy::default());
    let bins =
        [bin("a", 1), bin("s", "text"), bin("f", 1.5), bin("y", true), bin("b", Value::Blob(vec![0, 255]))];
    client.put(&write, &key(1), &bins).await.unwrap();
    client.put(&write, &key(1), &[bin("a", 2)]).await.unwrap();

    let found = client.get(&read, &key(1), Bins::All).await.unwrap();
    assert_eq!(found.generation, 2);
    assert_eq!(found.bins.len(), 5);
    assert_eq!(found.bins["a"], Value::from(2));
    assert_eq!(found.bins["s"], Value::from("text"));
    assert_eq!(found.bins["y"], Value::from(true));
    assert_eq!(found.bins["b"], Value::Blob(vec![0, 255]));
    let some = client.get(&read, &key(1), Bins::from(["f", "none"])).await.unwrap();
    assert_eq!(some.bins.len(), 1);
    assert!(client.get(&read, &key(1), Bins::None).await.unwrap().bins.is_empty());

    clock.advance_ms(1500);
    client.touch(&write, &key(1)).await.unwrap();
    let digest = digest_of(b"demo", 1, &1_i64.to_be_bytes());
    let stored = sandbox.get(NAMESPACE, &digest).unwrap();
    assert_eq!((stored.generation, stored.last_update), (3, START.plus_ms(1500)));
    assert_eq!((stored.key, stored.set), (None, b"demo".to_vec()));

    assert!(client.exists(&read, &key(1)).await.unwrap());
    assert!(client.delete(&write, &key(1)).await.unwrap());
    assert!(!client.delete(&write, &key(1)).await.unwrap());
    assert!(!client.exists(&read, &key(1)).await.unwrap());
    assert_eq!(code(&client.get(&read, &key(1), Bins::All).await.unwrap_err()), ResultCode::KeyNotFoundError);
    assert!(sandbox.is_empty(NAMESPACE));
}

#[tokio::test]
async fn raw_particles_come_back_as_they_were() {
    let (sandbox, _) = start().await;
    let client = connect(&sandbox).await;
    let ordered_list = vec![0x94, 0xc7, 0x00, 0x01, 0x01, 0x02, 0x03];
    let values = [
        ("list", 20, ordered_list),
        ("map", 19, vec![0x82, 0xc7, 0x00, 0x03, 0xc0, 0xa2, 0x03, 0x61, 0x01]),
        ("not-utf8", 3, vec![0xff, 0xfe]),
        ("java", 7, vec![1, 2, 3]),
        ("vector", 16, vec![9]),
    ];
    let bins: Vec<_> =
        values.iter().map(|(name, kind, raw)| bin(name, Value::Unknown(*kind, raw.clone()))).collect();
    let policy = WritePolicy { send_key: true, ..WritePolicy::default() };
    client.put(&policy, &key(7), &bins).await.unwrap();
    let stored = sandbox.get(NAMESPACE, &key(7).digest()).unwrap();
    let seen: Vec<_> =
        stored.bins.iter().map(|bin| (bin.name.as_slice(), bin.kind, bin.value.clone())).collect();
    let sent: Vec<_> = values.iter().map(|(name, kind, raw)| (name.as_bytes(), *kind, raw.clone())).collect();
    assert_eq!(seen, sent);
    assert_eq!(stored.key, Some([&[1][..], &7_i64.to_be_bytes()].concat()));
}

#[tokio::test]
async fn exists_actions_and_generations() {
    let (sandbox, _) = start().await;
    let client = connect(&sandbox).await;
    let put = async |policy: WritePolicy, number: i64, name: &str| {
        client.put(&policy, &key(number), &[bin(name, 1)]).await.map_err(|error| code(&error))
    };
    let action = |record_exists_action| WritePolicy { record_exists_action, ..WritePolicy::default() };
    let generation = |generation_policy, generation| WritePolicy {
        generation_policy,
        generation,
        ..WritePolicy::default()
    };
    assert_eq!(put(action(RecordExistsAction::UpdateOnly), 1, "a").await, Err(ResultCode::KeyNotFoundError));
    assert_eq!(put(action(RecordExistsAction::ReplaceOnly), 1, "a").await, Err(ResultCode::KeyNotFoundError));
    assert_eq!(put(action(RecordExistsAction::CreateOnly), 1, "a").await, Ok(()));
    assert_eq!(put(action(RecordExistsAction::CreateOnly), 1, "a").await, Err(ResultCode::KeyExistsError));
    assert_eq!(put(action(RecordExistsAction::Update), 1, "b").await, Ok(()));
    let bins = |number| sandbox.get(NAMESPACE, &key(number).digest()).unwrap().bins.len();
    assert_eq!(bins(1), 2);
    assert_eq!(put(action(RecordExistsAction::Replace), 1, "c").await, Ok(()));
    assert_eq!(bins(1), 1);

    // The generation is 3 now.
    let wrong = generation(GenerationPolicy::ExpectGenEqual, 2);
    assert_eq!(put(wrong, 1, "d").await, Err(ResultCode::GenerationError));
    assert_eq!(put(generation(GenerationPolicy::ExpectGenEqual, 3), 1, "d").await, Ok(()));
    let equal = generation(GenerationPolicy::ExpectGenGreater, 4);
    assert_eq!(put(equal, 1, "d").await, Err(ResultCode::GenerationError));
    assert_eq!(put(generation(GenerationPolicy::ExpectGenGreater, 5), 1, "d").await, Ok(()));
    // wire.md 9: onto an absent record it inserts, with generation 1.
    assert_eq!(put(generation(GenerationPolicy::ExpectGenGreater, 5), 2, "d").await, Ok(()));
    assert_eq!(sandbox.get(NAMESPACE, &key(2).digest()).unwrap().generation, 1);
}

#[tokio::test]
async fn records_expire_by_the_clock_of_the_node() {
    let (sandbox, clock) = start().await;
    let client = connect(&sandbox).await;
    let put = async |number: i64, expiration| {
        let policy = WritePolicy { expiration, ..WritePolicy::default() };
        client.put(&policy, &key(number), &[bin("a", 1)]).await.unwrap();
    };
    put(1, Expiration::Seconds(60)).await;
    put(2, Expiration::Never).await;
    put(3, Expiration::NamespaceDefault).await;
    put(4, Expiration::Seconds(60)).await;
    put(4, Expiration::DontUpdate).await;
    let void_time = |number| sandbox.get(NAMESPACE, &key(number).digest()).map(|record| record.void_time);
    let at = (START.secs() - 1_262_304_000 + 60) as u32;
    assert_eq!([1, 2, 3, 4].map(void_time), [Some(at), Some(0), Some(0), Some(at)]);
    clock.advance_ms(60_999);
    assert_eq!(sandbox.len(NAMESPACE), 4, "the last second is still life");
    clock.advance_ms(1);
    assert_eq!(sandbox.len(NAMESPACE), 2);
    assert!(!client.exists(&ReadPolicy::default(), &key(1)).await.unwrap());
    let left = query(&client, &QueryPolicy::default(), PartitionFilter::all(), Bins::All).await;
    assert_eq!(left.len(), 2);
    let node = client.nodes().pop().unwrap();
    let stats = node.info(&AdminPolicy::default(), &["namespace/test"]).await.unwrap();
    assert!(stats["namespace/test"].contains("objects=2;"), "the scan has swept them away");
    // What has expired is as good as absent: a write creates.
    let policy =
        WritePolicy { record_exists_action: RecordExistsAction::CreateOnly, ..WritePolicy::default() };
    client.put(&policy, &key(1), &[bin("a", 1)]).await.unwrap();
    assert_eq!(sandbox.get(NAMESPACE, &key(1).digest()).unwrap().generation, 1);
}

#[tokio::test]
async fn batches_write_read_and_delete() {
    let (sandbox, _) = start().await;
    let client = connect(&sandbox).await;
    let policy = BatchPolicy::default();
    let write = BatchWritePolicy {
        record_exists_action: RecordExistsAction::CreateOnly,
        send_key: true,
        expiration: Expiration::Never,
        ..BatchWritePolicy::default()
    };
    let put = |number: i64| {
        BatchOperation::write(
            &write,
            key(number),
            vec![scalar::put(&bin("a", number)), scalar::put(&bin("b", 1))],
        )
    };
    let mut rows: Vec<_> = (0..500).map(put).collect();
    client.batch(&policy, &mut rows).await.unwrap();
    assert!(rows.iter().all(|row| row.batch_record().result_code() == Some(ResultCode::Ok)));
    assert_eq!(sandbox.len(NAMESPACE), 500);
    let mut again = [put(3), put(1000)];
    client.batch(&policy, &mut again).await.unwrap();
    let codes = again.each_ref().map(|row| row.batch_record().result_code());
    assert_eq!(codes, [Some(ResultCode::KeyExistsError), Some(ResultCode::Ok)]);

    let read = BatchReadPolicy::default();
    let mut rows = [
        BatchOperation::read(&read, key(3), Bins::All),
        BatchOperation::read(&read, key(4), Bins::from(["a"])),
        BatchOperation::read(&read, key(4000), Bins::All),
        BatchOperation::delete(&BatchDeletePolicy::default(), key(5)),
    ];
    client.batch(&policy, &mut rows).await.unwrap();
    let bins = |row: &BatchOperation| row.batch_record().record.as_ref().map(|record| record.bins.len());
    assert_eq!(rows[..3].iter().map(bins).collect::<Vec<_>>(), [Some(2), Some(1), None]);
    assert_eq!(rows[2].batch_record().result_code(), Some(ResultCode::KeyNotFoundError));
    assert_eq!(sandbox.len(NAMESPACE), 500);
}

#[tokio::test]
async fn a_query_of_all_partitions_or_of_a_range_returns_each_record_once() {
    let (sandbox, _) = start().await;
    let client = connect(&sandbox).await;
    let mut all = BTreeSet::new();
    for number in 0..3000_i64 {
        let digest = digest_of(b"demo", 1, &number.to_be_bytes());
        sandbox.put(NAMESPACE, crate::sandbox::SandboxRecord { digest, ..record(0, 1) }).unwrap();
        all.insert(digest);
    }
    let policy = QueryPolicy::default();
    let whole = query(&client, &policy, PartitionFilter::all(), Bins::All).await;
    assert_eq!(whole.len(), 3000);
    assert_eq!(whole.into_iter().collect::<BTreeSet<_>>(), all);

    let range: BTreeSet<_> =
        query(&client, &policy, PartitionFilter::by_range(1000, 500), Bins::None).await.into_iter().collect();
    let expected: BTreeSet<_> =
        all.iter().copied().filter(|digest| (1000..1500).contains(&partition_of(digest))).collect();
    assert!(!expected.is_empty());
    assert_eq!(range, expected);
    assert!(query(&client, &policy, PartitionFilter::all(), Bins::from(["none"])).await.is_empty());
}

#[tokio::test]
async fn a_query_with_a_limit_goes_on_where_it_stopped() {
    let (sandbox, _) = start().await;
    let client = connect(&sandbox).await;
    for number in 0..100 {
        sandbox.put(NAMESPACE, record(u16::from(number % 3), number)).unwrap();
    }
    let policy = QueryPolicy { max_records: 30, ..QueryPolicy::default() };
    let mut filter = PartitionFilter::all();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let statement = Statement::new(NAMESPACE, "demo", Bins::All);
        let mut stream = client.query(&policy, filter, statement).await.unwrap().into_stream();
        while let Some(record) = stream.next().await {
            seen.push(record.unwrap().key.unwrap().digest());
        }
        filter = stream.partition_filter().unwrap();
    }
    assert_eq!(seen.len(), 100, "no record twice");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 100);
}

#[tokio::test]
async fn a_query_filters_by_last_update() {
    let (sandbox, clock) = start().await;
    let client = connect(&sandbox).await;
    let put = async |number: i64| {
        client.put(&WritePolicy::default(), &key(number), &[bin("a", number)]).await.unwrap();
    };
    put(1).await;
    clock.advance_ms(10);
    put(2).await;
    clock.advance_ms(10);
    put(3).await;
    let ns = |ms: i64| exp::int_val((START.0 + ms) * 1_000_000);
    let matching = async |filter| {
        let mut policy = QueryPolicy::default();
        policy.base_policy.filter_expression = Some(filter);
        let found = query(&client, &policy, PartitionFilter::all(), Bins::All).await;
        [1, 2, 3].map(|number| found.contains(&key(number).digest()))
    };
    assert_eq!(matching(exp::ge(exp::last_update(), ns(10))).await, [false, true, true]);
    assert_eq!(matching(exp::gt(exp::last_update(), ns(10))).await, [false, false, true]);
    assert_eq!(matching(exp::lt(exp::last_update(), ns(10))).await, [true, false, false]);
    let window = exp::and(vec![exp::ge(exp::last_update(), ns(5)), exp::lt(exp::last_update(), ns(20))]);
    assert_eq!(matching(window).await, [false, true, false]);
    let not_transactions = exp::ne(exp::set_name(), exp::string_val("<ERO~MRT"));
    assert_eq!(matching(not_transactions).await, [true, true, true]);
    assert_eq!(matching(exp::eq(exp::int_bin("a"), exp::int_val(3))).await, [false, false, true]);
    assert_eq!(matching(exp::eq(exp::ttl(), exp::int_val(-1))).await, [true, true, true]);
}

#[tokio::test]
async fn udfs_and_indexes_are_registered() {
    let (sandbox, _) = start().await;
    let client = connect(&sandbox).await;
    let admin = AdminPolicy::default();
    let task =
        client.register_udf(&admin, b"function f() return 1 end", "m.lua", UdfLang::Lua).await.unwrap();
    task.wait_till_complete(None).await.unwrap();
    let node = client.nodes().pop().unwrap();
    let ask = async |command: &str| node.info(&admin, &[command]).await.unwrap()[command].clone();
    assert!(ask("udf-list").await.starts_with("filename=m.lua,hash="));
    assert_eq!(ask("udf-get:filename=m.lua").await, "type=LUA;content=ZnVuY3Rpb24gZigpIHJldHVybiAxIGVuZA==;");

    let task = client
        .create_index_on_bin(
            &admin,
            NAMESPACE,
            "demo",
            "a",
            "ix",
            IndexType::Numeric,
            CollectionIndexType::Default,
            None,
        )
        .await
        .unwrap();
    task.wait_till_complete(None).await.unwrap();
    assert_eq!(
        ask("sindex-list:namespace=test;b64=true").await,
        "ns=test:indexname=ix:set=demo:bin=a:type=numeric:indextype=default:context=null:exp=null:state=RW"
    );
    client.drop_index(&admin, NAMESPACE, "demo", "ix").await.unwrap();
    assert_eq!(ask("sindex-list:namespace=test;b64=true").await, "");
    client.remove_udf(&admin, "m.lua").await.unwrap();
    assert_eq!(ask("udf-list").await, "");
}

#[tokio::test]
async fn a_truncation_removes_a_set_and_is_noted() {
    let (sandbox, clock) = start().await;
    let client = connect(&sandbox).await;
    for set in ["demo", "kept"] {
        let key = Key::new(NAMESPACE, set, Value::from(1)).unwrap();
        client.put(&WritePolicy::default(), &key, &[bin("a", 1)]).await.unwrap();
    }
    clock.advance_ms(5);
    client.truncate(&AdminPolicy::default(), NAMESPACE, "demo", 0).await.unwrap();
    assert_eq!(sandbox.len(NAMESPACE), 1);
    let node = client.nodes().pop().unwrap();
    let sets = node.info(&AdminPolicy::default(), &["sets/test"]).await.unwrap()["sets/test"].clone();
    let cut_ms = START.0 + 5 - 1_262_304_000_000;
    assert!(sets.contains(&format!(
        "ns=test:set=demo:objects=0:tombstones=0:data_used_bytes=0:truncate_lut={cut_ms}:"
    )));
    assert!(sets.contains("set=kept:objects=1:"));
    client.truncate(&AdminPolicy::default(), NAMESPACE, "", 0).await.unwrap();
    assert!(sandbox.is_empty(NAMESPACE));
}

#[tokio::test]
async fn it_logs_in_as_every_client_does() {
    let user =
        crate::sandbox::SandboxUser { name: "bob".into(), password: "hunter2".into(), external: false };
    let security =
        crate::sandbox::SandboxSecurity { users: vec![user], session_ttl_s: 3600, ..Default::default() };
    let options = crate::sandbox::SandboxOptions {
        namespaces: vec![NAMESPACE.to_owned()],
        security: Some(security),
        ..Default::default()
    };
    let sandbox = Sandbox::start(options, &tokio_util::sync::CancellationToken::new()).await.unwrap();
    let policy = |password: &str| ClientPolicy {
        auth_mode: aerospike::AuthMode::Internal("bob".into(), password.into()),
        ..ClientPolicy::default()
    };
    let address = sandbox.address().to_string();
    let client = Client::new(&policy("hunter2"), &address).await.unwrap();
    client.put(&WritePolicy::default(), &key(1), &[bin("a", 1)]).await.unwrap();
    assert!(client.get(&ReadPolicy::default(), &key(1), Bins::All).await.is_ok());
    let (logins, refused) = sandbox.logins();
    assert!(logins > 0 && refused == 0, "{logins} {refused}");
    assert!(Client::new(&policy("hunter3"), &address).await.is_err());
    assert!(sandbox.logins().1 > 0);
}
