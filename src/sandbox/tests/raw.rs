//! Raw bytes: refusals, the shape of scans and batches, and what is malformed. As CE 8.1.2.0 answered.

use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::{Ask, NAMESPACE, Told, Wire, record, start};
use crate::sandbox::{Bin, Sandbox, SandboxOptions, SandboxRecord};

const NS: (u8, &[u8]) = (0, b"test");
const SET: (u8, &[u8]) = (1, b"demo");
/// A digest in partition 5.
const DIGEST: [u8; 20] = [5, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
const PARTITION_5: (u8, &[u8]) = (11, &[5, 0]);

fn get(fields: &[(u8, &[u8])]) -> Ask {
    Ask::new([3, 0, 0], &[&[NS, (4, &DIGEST)], fields].concat())
}

fn put() -> Ask {
    Ask::new([0, 1, 0], &[NS, SET, (4, &DIGEST)])
}

fn scan(fields: &[(u8, &[u8])]) -> Ask {
    Ask::new([1, 0, 4], &[&[NS], fields].concat())
}

fn one(bytes: u8) -> Vec<u8> {
    i64::from(bytes).to_be_bytes().to_vec()
}

/// The digests and partitions of a scan, without its end.
fn digests(frames: &[Vec<Told>]) -> Vec<Vec<u8>> {
    let fields = frames.iter().flatten().flat_map(|told| &told.fields);
    fields.filter(|(kind, _)| *kind == 4).map(|(_, digest)| digest.clone()).collect()
}

#[tokio::test]
async fn only_loopback_and_names_that_can_be() {
    let refused = async |options: SandboxOptions| {
        Sandbox::start(options, &CancellationToken::new()).await.unwrap_err().code()
    };
    let open = SandboxOptions { address: "0.0.0.0:0".parse().unwrap(), ..SandboxOptions::default() };
    assert_eq!(refused(open).await, "sandbox-address");
    for name in ["", "a;b", "a/b", "a-name-of-more-than-31-characters"] {
        let options = SandboxOptions { namespaces: vec![name.to_owned()], ..SandboxOptions::default() };
        assert_eq!(refused(options).await, "sandbox-options", "{name}");
    }
    let none = SandboxOptions { namespaces: Vec::new(), ..SandboxOptions::default() };
    assert_eq!(refused(none).await, "sandbox-options");
}

#[tokio::test]
async fn it_stops_with_its_token_and_when_dropped() {
    let token = CancellationToken::new();
    let sandbox = Sandbox::start(SandboxOptions::default(), &token).await.unwrap();
    let mut wire = Wire::to(sandbox.address()).await;
    assert_eq!(wire.info("status").await, "ok");
    token.cancel();
    assert!(wire.frame().await.is_none());
    sandbox.stop().await.unwrap();

    let sandbox = Sandbox::start(SandboxOptions::default(), &CancellationToken::new()).await.unwrap();
    let mut wire = Wire::to(sandbox.address()).await;
    assert_eq!(wire.info("status").await, "ok");
    drop(sandbox);
    assert!(wire.frame().await.is_none());
}

#[tokio::test]
async fn frames_that_cannot_be_framed_close_the_connection() {
    let (sandbox, _) = start().await;
    let word = |version: u64, kind: u64, len: u64| (version << 56 | kind << 48 | len).to_be_bytes();
    for header in [word(3, 1, 0), word(2, 9, 0), word(2, 3, (128 << 20) + 1), word(2, 1, 128 << 20)] {
        let mut wire = Wire::to(sandbox.address()).await;
        wire.0.write_all(&header).await.unwrap();
        assert!(wire.frame().await.is_none(), "{header:02x?}");
    }
    let mut wire = Wire::to(sandbox.address()).await;
    wire.send(2, &[0; 16]).await;
    let (kind, body) = wire.frame().await.unwrap();
    assert_eq!((kind, body[1]), (2, 51), "security is not supported");
    wire.send(4, &[0; 16]).await;
    let (_, body) = wire.frame().await.unwrap();
    assert_eq!(super::tell(&body), [Told::result(25)], "compression is an enterprise feature");
}

#[tokio::test]
async fn malformed_messages_are_a_parameter_error_and_the_connection_lives() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    let whole = put().op(2, 1, b"a", &one(1)).body();
    // Cut anywhere, the message is refused; nothing panics and nothing is written.
    for len in 0..whole.len() {
        wire.send(3, &whole[..len]).await;
        let (_, body) = wire.frame().await.unwrap();
        assert_eq!(super::tell(&body), [Told::result(4)], "{len} bytes");
    }
    let mut left_over = whole.clone();
    left_over.push(0);
    let mut huge_field = whole.clone();
    huge_field[22..26].copy_from_slice(&[0xff; 4]);
    let mut empty_field = whole.clone();
    empty_field[22..26].copy_from_slice(&[0; 4]);
    let name_len = whole.len() - 1 - 8 - 1;
    let mut long_name = whole.clone();
    long_name[name_len] = 0xf0;
    for body in [left_over, huge_field, empty_field, long_name] {
        wire.send(3, &body).await;
        let (_, body) = wire.frame().await.unwrap();
        assert_eq!(super::tell(&body), [Told::result(4)]);
    }
    assert!(sandbox.is_empty(NAMESPACE));
    assert_eq!(wire.ask(&put().op(2, 1, b"a", &one(1))).await[0].generation, 1);
}

#[tokio::test]
async fn hostile_bytes_are_answered_or_closed() {
    let (sandbox, _) = start().await;
    let valid = [
        put().op(2, 20, b"l", &[0x91, 0x01]).body(),
        scan(&[PARTITION_5, (43, b"\x93\x04\x91\x42\xcf\0\0\0\0\0\0\0\x01")]).body(),
        batch(&[row(0, [3, 0, 0], 0, &[NS, SET], &[])], 4).body(),
    ];
    // A fixed seed: the same bytes each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for turn in 0..1000 {
        let mut body = valid[turn % valid.len()].clone();
        for _ in 0..=random() % 3 {
            let at = (random() % body.len() as u64) as usize;
            body[at] = random() as u8;
        }
        let mut wire = Wire::to(sandbox.address()).await;
        wire.send(3, &body).await;
        assert!(wire.frame().await.is_some(), "{body:02x?}");
    }
    let mut wire = Wire::to(sandbox.address()).await;
    assert_eq!(wire.info("status").await, "ok");
}

#[tokio::test]
async fn refusals_of_single_records() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    let write = || put().op(2, 1, b"a", &one(1));
    assert_eq!(wire.ask(&get(&[SET])).await, [Told::result(2)]);
    wire.ask(&write()).await;
    let about = |result| vec![Told { result, generation: 1, ..Told::default() }];
    let filter: &[u8] = b"\x93\x01\x93\x51\x02\xa1a\x05";
    let long_set = [b's'; 64];
    let asked = [
        (get(&[(1, b"other")]), about(4)),
        (get(&[(43, filter)]), about(27)),
        (Ask { info: [1, 0, 0], ..get(&[]) }, about(4)),
        (Ask { info: [1, 0, 0], ..get(&[]).op(1, 0, &[b'a'; 16], b"") }, about(21)),
        (Ask { info: [1, 0, 0], ..get(&[]).op(2, 1, b"a", &one(1)) }, about(4)),
        (Ask { info: [1, 0, 0], ..get(&[]).op(3, 0, b"a", b"") }, about(16)),
        (Ask::new([0, 1, 0], &[NS, (4, &DIGEST)]).op(2, 1, b"a", &one(1)), about(4)),
        (put().op(2, 1, b"a", &[0; 3]), about(4)),
        (put().op(2, 2, b"a", &[0; 4]), about(4)),
        (put().op(2, 17, b"a", &[2]), about(4)),
        (put().op(2, 99, b"a", &[2]), about(4)),
        (put().op(2, 20, b"a", &[0x92, 1]), about(1)),
        (put().op(2, 19, b"a", &[0x90]), about(1)),
        (put().op(2, 23, b"a", b"\0\0\0nothing"), about(160)),
        (put().op(2, 4, b"a", &vec![0; 1024 * 1024]), about(13)),
        (Ask { ttl: 315_360_001, ..write() }, about(4)),
        (Ask { info: [0, 0x21, 0], ..write() }, about(5)),
        (Ask { info: [0, 5, 0], generation: 9, ..write() }, about(3)),
        // From here without the record's generation.
        (put(), vec![Told::result(4)]),
        (put().op(2, 1, &[b'a'; 16], &one(1)), vec![Told::result(21)]),
        (put().op(4, 4, b"a", &one(1)), vec![Told::result(16)]),
        (put().op(99, 1, b"a", &one(1)), vec![Told::result(4)]),
        (put().op(1, 0, b"a", b""), vec![Told::result(4)]),
        (Ask { info: [0, 1, 0x10], ..put().op(2, 0, b"a", b"") }, vec![Told::result(4)]),
        (get(&[(43, b"\xc1")]), vec![Told::result(4)]),
        (Ask { info: [0, 0, 0], ..get(&[]) }, vec![Told::result(4)]),
        (Ask { info: [0, 0x13, 0], ..put() }, vec![Told::result(25)]),
        (Ask::new([3, 0, 0], &[(0, b"none"), (4, &DIGEST)]), vec![Told::result(20)]),
        (Ask::new([3, 0, 0], &[(4, &DIGEST)]), vec![Told::result(20)]),
        (Ask::new([3, 0, 0], &[NS, (4, b"short")]), vec![Told::result(4)]),
        (Ask::new([0, 1, 0], &[NS, (4, &DIGEST), (30, b"module")]), vec![Told::result(16)]),
        (
            Ask::new([0, 1, 0], &[NS, (1, &long_set), (4, &[9; 20])]).op(2, 1, b"a", &one(1)),
            vec![Told::result(4)],
        ),
    ];
    for (number, (ask, expected)) in asked.iter().enumerate() {
        assert_eq!(wire.ask(ask).await, *expected, "case {number}");
    }
    let kept = sandbox.get(NAMESPACE, &DIGEST).unwrap();
    assert_eq!((kept.generation, kept.bins.len()), (1, 1), "no refusal changed anything");
}

#[tokio::test]
async fn a_null_deletes_its_bin_and_the_last_bin_its_record() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    assert_eq!(wire.ask(&put().op(2, 0, b"a", b"")).await, [Told::result(2)], "nothing to delete");
    wire.ask(&put().op(2, 1, b"a", &one(1)).op(2, 1, b"b", &one(2))).await;
    assert_eq!(wire.ask(&put().op(2, 0, b"a", b"")).await[0].generation, 2);
    assert_eq!(wire.ask(&put().op(2, 0, b"b", b"")).await, [Told::default()]);
    assert!(sandbox.is_empty(NAMESPACE));
    // Short integers are widened.
    wire.ask(&put().op(2, 1, b"a", &[0xff, 0xfe])).await;
    assert_eq!(sandbox.get(NAMESPACE, &DIGEST).unwrap().bins[0].value, (-2_i64).to_be_bytes());
}

#[tokio::test]
async fn a_stored_key_stays_and_must_agree() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    let keyed = |key: &'static [u8]| {
        Ask::new([0, 1, 0x10], &[NS, SET, (4, &DIGEST), (2, key)]).op(2, 1, b"a", &one(1))
    };
    assert_eq!(wire.ask(&keyed(b"")).await, [Told::result(16)]);
    assert_eq!(wire.ask(&keyed(b"\x01abc")).await, [Told::result(16)]);
    assert_eq!(wire.ask(&keyed(b"\x03mine")).await[0].result, 0);
    assert_eq!(wire.ask(&keyed(b"\x03other")).await[0].result, 19);
    assert_eq!(wire.ask(&get(&[(2, b"\x03other")])).await[0].result, 19);
    wire.ask(&Ask { info: [0, 1, 0x10], ..put().op(2, 1, b"b", &one(1)) }).await;
    assert_eq!(sandbox.get(NAMESPACE, &DIGEST).unwrap().key.unwrap(), b"\x03mine");
}

#[tokio::test]
async fn a_scan_goes_down_the_digests_and_ends_with_last() {
    let (sandbox, _) = start().await;
    for number in [3, 1, 2] {
        sandbox.put(NAMESPACE, record(5, number)).unwrap();
    }
    sandbox
        .put(NAMESPACE, SandboxRecord { set: Vec::new(), key: Some(b"\x03k".to_vec()), ..record(6, 9) })
        .unwrap();
    let mut wire = Wire::to(sandbox.address()).await;
    let frames = wire.stream(&scan(&[PARTITION_5])).await;
    assert_eq!(frames.len(), 2, "the end comes in a frame of its own");
    assert_eq!(frames[1], [Told::last(0)]);
    let d = |number| record(5, number).digest.to_vec();
    assert_eq!(digests(&frames), [d(3), d(2), d(1)]);
    let first = &frames[0][0];
    assert_eq!(first.fields, [(0, b"test".to_vec()), (4, d(3)), (1, b"demo".to_vec())]);
    assert_eq!(first.ops, [(1, 1, b"n".to_vec(), one(3))]);

    // Below a digest, also of one that is not there.
    let resumed = wire.stream(&scan(&[(12, &d(3))])).await;
    assert_eq!(digests(&resumed), [d(2), d(1)]);
    sandbox.put(NAMESPACE, record(7, 1)).unwrap();
    let both = wire.stream(&scan(&[(12, &d(200)), (11, &[7, 0])])).await;
    assert_eq!(digests(&both).len(), 4);
    let most = wire.stream(&scan(&[PARTITION_5, (13, &2_u64.to_be_bytes())])).await;
    assert_eq!(digests(&most), [d(3), d(2)]);
    assert_eq!(most.last().unwrap(), &[Told::last(0)]);

    let head = wire.stream(&Ask { info: [0x21, 0, 4], ..scan(&[(11, &[6, 0])]) }).await;
    assert_eq!((head[0][0].info1, head[0][0].ops.len()), (0x20, 0));
    assert_eq!(head[0][0].fields.last().unwrap(), &(2, b"\x03k".to_vec()), "no set, but a key");
    let other_bins = wire.stream(&scan(&[PARTITION_5]).op(1, 0, b"none", b"")).await;
    assert_eq!(other_bins, [[Told::last(0)]], "a record without the bin is not returned");
    let other_set = wire.stream(&scan(&[(1, b"none"), PARTITION_5])).await;
    assert_eq!(other_set, [[Told::last(0)]], "a set that is not there has no records");
}

#[tokio::test]
async fn a_scan_is_cut_into_chunks_of_a_mebibyte() {
    let (sandbox, _) = start().await;
    for number in 0..100 {
        let value = vec![number; 50_000];
        let bins = vec![Bin { name: b"b".to_vec(), kind: 4, value }];
        sandbox.put(NAMESPACE, SandboxRecord { bins, ..record(u16::from(number / 50), number) }).unwrap();
    }
    let mut wire = Wire::to(sandbox.address()).await;
    let frames = wire.stream(&scan(&[(11, &[0, 0, 1, 0])])).await;
    assert_eq!(digests(&frames).len(), 100);
    assert!(frames.len() > 4, "{} frames", frames.len());
    assert!(frames.iter().all(|frame| frame.len() <= 22), "1 MiB and a record");
}

#[tokio::test]
async fn a_scan_that_is_refused_has_no_last_bit() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    let too_many = vec![0; 2 * 4097];
    let cases = [
        (Ask { info: [1, 0, 0], ..scan(&[PARTITION_5]) }, 16), // no PARTITION_DONE flag
        (scan(&[]), 16),                                       // no partitions
        (Ask { info: [0, 1, 4], ..scan(&[PARTITION_5]) }, 16), // a background query
        (scan(&[PARTITION_5, (22, b"\x01")]), 16),             // a secondary index
        (Ask::new([1, 0, 4], &[(0, b"none"), PARTITION_5]), 20),
        (Ask::new([1, 0, 4], &[PARTITION_5]), 20),
        (scan(&[(11, &[])]), 4),
        (scan(&[(11, &[5, 0, 5, 0])]), 4),
        (scan(&[(11, &[0, 0x10])]), 4),
        (scan(&[(11, &too_many)]), 4),
        (scan(&[(12, &[])]), 4),
        (scan(&[PARTITION_5, (12, &DIGEST)]), 4),
        (scan(&[PARTITION_5, (1, &[b's'; 64])]), 4),
        (scan(&[PARTITION_5, (9, &[0; 3])]), 4),
        (scan(&[PARTITION_5, (10, &[0; 3])]), 4),
        (scan(&[PARTITION_5, (13, &[0; 3])]), 4),
        (scan(&[PARTITION_5, (43, &[0x91, 0x63])]), 4),
        (scan(&[PARTITION_5]).op(2, 1, b"a", &one(1)), 4),
        (scan(&[PARTITION_5]).op(1, 0, &[b'a'; 16], b""), 4),
    ];
    for (number, (ask, result)) in cases.iter().enumerate() {
        assert_eq!(wire.ask(ask).await, [Told::result(*result)], "case {number}");
    }
}

#[tokio::test]
async fn a_task_id_serves_one_scan() {
    let (sandbox, _) = start().await;
    for number in 0..200 {
        let bins = vec![Bin { name: b"b".to_vec(), kind: 4, value: vec![0; 500_000] }];
        sandbox.put(NAMESPACE, SandboxRecord { bins, ..record(5, number) }).unwrap();
    }
    let id: (u8, &[u8]) = (7, b"12345678");
    let mut running = Wire::to(sandbox.address()).await;
    let mut other = Wire::to(sandbox.address()).await;
    // 100 MB, of which we read one frame: the node waits for us.
    running.send(3, &scan(&[id, PARTITION_5, (9, &[0; 4])]).body()).await;
    running.frame().await.unwrap();
    assert_eq!(other.ask(&scan(&[id, PARTITION_5])).await, [Told::result(4)], "while it runs");
    // Writes go on while a scan waits.
    assert_eq!(other.ask(&put().op(2, 1, b"a", &one(1))).await[0].result, 0);
    loop {
        let (_, body) = running.frame().await.unwrap();
        if body.len() == 22 {
            break;
        }
    }
    assert_eq!(other.ask(&scan(&[id, (11, &[9, 0])])).await, [Told::result(4)], "and soon after");
    assert_eq!(other.ask(&scan(&[(7, b"87654321"), (11, &[9, 0])])).await, [Told::last(0)]);
    assert_eq!(
        other.ask(&Ask { info: [5, 0, 4], ..scan(&[id, (11, &[9, 0])]) }).await,
        [Told::last(0)],
        "short"
    );
}

#[tokio::test]
async fn a_partition_that_is_not_owned_is_unavailable() {
    let (sandbox, _) = start().await;
    sandbox.put(NAMESPACE, record(5, 1)).unwrap();
    sandbox.put(NAMESPACE, record(6, 1)).unwrap();
    let mut wire = Wire::to(sandbox.address()).await;
    let generation = wire.info("partition-generation").await;
    let before = wire.info("replicas").await;
    sandbox.set_owned(5, false);
    assert_ne!(wire.info("partition-generation").await, generation);
    assert_ne!(wire.info("replicas").await, before);
    let frames = wire.stream(&scan(&[(11, &[5, 0, 6, 0])])).await;
    let done = Told { info3: 4, result: 11, generation: 5, ..Told::default() };
    assert_eq!(frames[0][0], done, "the partition is in the place of the generation");
    assert_eq!(digests(&frames).len(), 1);
    assert_eq!(frames.last().unwrap(), &[Told::last(0)]);
    assert_eq!(wire.ask(&get(&[SET])).await, [Told::result(11)]);
    sandbox.set_owned(5, true);
    assert_eq!(wire.info("replicas").await, before);
    assert_eq!(digests(&wire.stream(&scan(&[PARTITION_5])).await).len(), 1);
}

/// The bytes of a batch row in full.
fn row(index: u32, info: [u8; 3], generation: u16, fields: &[(u8, &[u8])], value: &[u8]) -> Vec<u8> {
    let mut ask = Ask::new(info, fields);
    if !value.is_empty() {
        ask = ask.op(2, 1, b"a", value);
    }
    let mut digest = DIGEST;
    digest[19] = index as u8;
    let mut row = [&index.to_be_bytes()[..], &digest, &[0x0e], &info].concat();
    row.extend(generation.to_be_bytes());
    row.extend([0; 4]);
    row.extend((fields.len() as u16).to_be_bytes());
    row.extend((ask.ops.len() as u16).to_be_bytes());
    row.extend(&ask.body()[22..]);
    row
}

fn batch(rows: &[Vec<u8>], flags: u8) -> Ask {
    let data = [&(rows.len() as u32).to_be_bytes()[..], &[flags], &rows.concat()].concat();
    Ask::new([8, 0, 0], &[(41, &data)])
}

#[tokio::test]
async fn batch_rows_answer_with_their_index_and_the_batch_ends_with_last() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    let write = |index, info2| row(index, [0, info2, 0], 3, &[NS, SET], &one(1));
    let told = |index, result, generation| Told { result, generation, index, ..Told::default() };
    let frames = wire.stream(&batch(&[write(0, 1), write(1, 1), write(2, 9)], 4)).await;
    assert_eq!(frames, [vec![told(0, 0, 1), told(1, 0, 1), told(2, 0, 1)], vec![Told::last(0)]]);
    // Generation 3 is greater than 1, then no longer than 3.
    let rows = [write(0, 0x21), write(1, 9), write(2, 5), row(9, [3, 0, 0], 0, &[NS, SET], &[])];
    let frames = wire.stream(&batch(&rows, 4)).await;
    assert_eq!(frames[0], [told(0, 5, 1), told(1, 0, 2), told(2, 3, 1), told(9, 2, 0)]);
    assert_eq!(frames[1], [Told::last(0)]);

    // Without the flag for all errors the first one ends the reporting, not the doing.
    let frames = wire.stream(&batch(&[write(0, 0x21), write(3, 1)], 0)).await;
    assert_eq!(frames, [[Told::last(5)]]);
    assert_eq!(sandbox.len(NAMESPACE), 4);
    let frames = wire.stream(&batch(&[write(0, 0x21), write(3, 1)], 8)).await;
    assert_eq!(frames, [vec![told(0, 5, 1), told(3, 0, 2)], vec![Told::last(5)]]);

    // A repeated row asks for the same of another digest.
    let mut digest = DIGEST;
    digest[19] = 1;
    let repeat = [&7_u32.to_be_bytes()[..], &digest, &[1]].concat();
    let frames = wire.stream(&batch(&[row(0, [3, 0, 0], 0, &[NS, SET], &[]), repeat.clone()], 4)).await;
    assert_eq!((frames[0][1].index, frames[0][1].ops.len()), (7, 1));
    assert_eq!(wire.stream(&batch(&[repeat], 4)).await, [[Told::last(4)]], "nothing to repeat");
}

#[tokio::test]
async fn a_malformed_batch_is_refused_with_last() {
    let (sandbox, _) = start().await;
    let mut wire = Wire::to(sandbox.address()).await;
    let good = row(0, [0, 1, 0], 0, &[NS, SET], &one(1));
    let cut = good[..good.len() - 3].to_vec();
    let foreign = row(1, [0, 1, 0], 0, &[(0, b"none"), SET], &one(1));
    let no_namespace = row(1, [0, 1, 0], 0, &[SET], &one(1));
    let mut too_few = batch(std::slice::from_ref(&good), 4);
    too_few.fields[0].1[3] = 3;
    let mut bad_filter = batch(std::slice::from_ref(&good), 4);
    bad_filter.fields.push((43, b"\xc1".to_vec()));
    for ask in [
        batch(&[], 4),
        batch(&[cut], 4),
        batch(&[foreign], 4),
        batch(&[no_namespace], 4),
        too_few,
        bad_filter,
        Ask::new([8, 0, 0], &[]),
        Ask::new([8, 0, 0], &[(41, &[0, 0])]),
    ] {
        assert_eq!(wire.stream(&ask).await, [[Told::last(4)]]);
    }
}

#[tokio::test]
async fn info_answers_as_a_node_does() {
    let (sandbox, clock) = start().await;
    sandbox.put(NAMESPACE, record(5, 1)).unwrap();
    sandbox.set_clock_skew_ms(1234);
    let mut wire = Wire::to(sandbox.address()).await;
    let port = sandbox.address().port();
    let full = format!("{}8=", "/".repeat(682));
    for (command, expected) in [
        ("node", "HF00000000000001".to_owned()),
        ("build", "8.1.0.3".to_owned()),
        ("cluster-name", "sandbox".to_owned()),
        ("namespaces", "test;other".to_owned()),
        ("peers-clear-std", format!("0,{port},[]")),
        ("service-clear-std", format!("127.0.0.1:{port}")),
        ("replicas:max=1", format!("test:0,1,{full};other:0,1,{full}")),
        ("user-agent-set:value=eA==", "ok".to_owned()),
        ("rack-ids", "ERROR:25:enterprise only".to_owned()),
        ("racks:", "ERROR:25:enterprise only".to_owned()),
        ("nonsense", "ERROR:4:unrecognized command".to_owned()),
        ("nonsense:a=b", "ERROR:4:unrecognized command".to_owned()),
        ("namespace/none", "type=unknown".to_owned()),
        ("sets/none", "ns_type=unknown".to_owned()),
        ("sets/other", String::new()),
        ("udf-list", String::new()),
        ("udf-get:filename=none", "error=not_found".to_owned()),
        ("sindex-list:ns=none", "ERROR:20:namespace not found on node".to_owned()),
        ("sindex-stat:ns=test;indexname=x", "ERROR:201:no index".to_owned()),
        ("sindex-create:ns=test;set=demo;indexname=i;indextype=MAPKEYS;indexdata=b,STRING", "ok".to_owned()),
        (
            "sindex-create:namespace=test;indexname=i;bin=z;type=NUMERIC",
            "ERROR:200:'indexname' already exists with different definition".to_owned(),
        ),
        ("sindex-create:namespace=test;indexname=e;exp=k1ECoWE=;type=NUMERIC", "ok".to_owned()),
        (
            "sindex-list:ns=test;b64=true",
            "ns=test:indexname=i:set=demo:bin=b:type=string:indextype=mapkeys:context=null:exp=null:state=RW;\
             ns=test:indexname=e:set=null:bin=null:type=numeric:indextype=default:context=null:exp=k1ECoWE=:state=RW"
                .to_owned(),
        ),
        ("udf-put:filename=x;content=eA==;content-len=4;udf-type=LUA", "error=invalid_filename".to_owned()),
        ("udf-put:filename=x.lua;content=eA==;content-len=3;udf-type=LUA", "error=invalid_content_len".to_owned()),
        ("truncate:namespace=test", "ERROR:4:missing 'set'".to_owned()),
        ("cluster-stable:size=2", "ERROR:7:cluster not specified size".to_owned()),
    ] {
        assert_eq!(wire.info(command).await, expected, "{command}");
    }
    clock.advance_ms(2000);
    let namespace = wire.info("namespace/test").await;
    let now_s = super::START.secs() - 1_262_304_000 + 2;
    for part in [
        "effective_replication_factor=1;",
        "objects=1;",
        &format!("current_time={now_s};"),
        "truncate_lut=0;",
    ] {
        assert!(namespace.contains(part), "{part} in {namespace}");
    }
    assert!(wire.info("statistics").await.contains("cluster_clock_skew_ms=1234;"));
    assert!(wire.info("sets/test/demo").await.starts_with("objects=1:"));
    sandbox.truncate(NAMESPACE, None).unwrap();
    assert!(wire.info("namespace/test").await.contains(&format!("truncate_lut={now_s}000;")));
    // A line without an end is no line.
    wire.send(1, b"build\nno").await;
    assert_eq!(wire.frame().await.unwrap().1, b"build\t8.1.0.3\n");
}
