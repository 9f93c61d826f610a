//! Reading what others wrote: asbackup, absctl and ABS of every version (asb.md 1 to 4), made here by hand from the
//! description of the format.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast::engine::aerospike::snapshot::{Seen, Snapshot};
use holdfast::sandbox::digest_of;
use serde_json::json;

use crate::node::TARGET;
use crate::service::{Bench, Restored};

/// The namespace that the backups were made of.
const NAMESPACE: &str = "their ns";
const ESCAPED_NAMESPACE: &str = "their\\ ns";

const STRING: u8 = 3;

/// A bin: the line behind `- `, and what it means: name, particle type, value.
type Line<'a> = (&'a [u8], &'a [u8], u8, &'a [u8]);

/// A user key: particle type and value.
type Key<'a> = Option<(u8, &'a [u8])>;

/// Names and bytes.
type Files = Vec<(&'static str, Vec<u8>)>;

/// A record as text, and what must come back of it.
struct Sample {
    text: Vec<u8>,
    digest: [u8; 20],
    seen: Seen,
}

impl Sample {
    /// A record of set `set` (`escaped` in the file) with the bins `bins`.
    fn new(number: u32, (set, escaped): (&[u8], &[u8]), bins: &[Line<'_>]) -> Self {
        let key = number.to_string();
        Self::keyed(
            format!("S {} {key}", key.len()).as_bytes(),
            Some((STRING, key.as_bytes())),
            number,
            (set, escaped),
            bins,
        )
    }

    fn keyed(
        key_line: &[u8],
        key: Key<'_>,
        number: u32,
        (set, escaped): (&[u8], &[u8]),
        bins: &[Line<'_>],
    ) -> Self {
        let digest = digest_of(set, STRING, number.to_string().as_bytes());
        let mut text = Vec::new();
        if !key_line.is_empty() {
            text.extend_from_slice(&[b"+ k ", key_line, b"\n"].concat());
        }
        text.extend_from_slice(format!("+ n {ESCAPED_NAMESPACE}\n").as_bytes());
        text.extend_from_slice(
            format!("+ d {}\n", base64_simd::STANDARD.encode_to_string(digest)).as_bytes(),
        );
        if !set.is_empty() {
            text.extend_from_slice(&[b"+ s ", escaped, b"\n"].concat());
        }
        text.extend_from_slice(format!("+ g 1\n+ t 0\n+ b {}\n", bins.len()).as_bytes());
        for (line, ..) in bins {
            text.extend_from_slice(&[b"- ", *line, b"\n"].concat());
        }
        let written = bins.iter().filter(|(_, _, kind, _)| *kind != 0);
        let bins: BTreeMap<_, _> =
            written.map(|(_, name, kind, value)| (name.to_vec(), (*kind, value.to_vec()))).collect();
        let key = key.map(|(kind, value)| (kind, value.to_vec()));
        Self { text, digest, seen: Seen { set: set.to_vec(), key, void_time: 0, bins } }
    }

    /// One integer bin.
    fn plain(number: u32) -> Self {
        let value = i64::from(number).to_be_bytes();
        Self::new(number, (b"demo", b"demo"), &[(format!("I a {number}").as_bytes(), b"a", 1, &value)])
    }
}

/// The header of a file, with the lines behind its version.
fn header(version: &str, first: bool) -> Vec<u8> {
    let first = if first { "# first-file\n" } else { "" };
    format!("Version {version}\n# namespace {ESCAPED_NAMESPACE}\n{first}").into_bytes()
}

fn file(head: Vec<u8>, samples: &[Sample]) -> Vec<u8> {
    samples.iter().fold(head, |mut text, sample| {
        text.extend_from_slice(&sample.text);
        text
    })
}

/// One frame for all, or as asbackup: several, empty ones among them (asb.md 3.2).
fn zstd(text: &[u8], frames: usize) -> Vec<u8> {
    let part = text.len().div_ceil(frames).max(1);
    let mut out = zstd::bulk::compress(b"", 3).unwrap();
    for part in text.chunks(part) {
        out.extend(zstd::bulk::compress(part, 3).unwrap());
    }
    out
}

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Restores `path` from a storage of its own into the target, which must then hold `samples`.
async fn restored(bench: &Bench, path: &str, samples: &[Sample]) -> Restored {
    bench.node.empty(TARGET).await;
    let request = json!({"policy": {"namespace": {"source": NAMESPACE, "destination": TARGET}}});
    let restored = bench.restore_of(path, request).await.ok();
    let expected = Snapshot(samples.iter().map(|sample| (sample.digest, sample.seen.clone())).collect());
    assert_eq!(bench.differences(&expected).await, Vec::<String>::new(), "{path}");
    assert_eq!(restored.records("inserted"), samples.len() as u64, "{path}");
    restored
}

fn plain(numbers: std::ops::Range<u32>) -> Vec<Sample> {
    numbers.map(Sample::plain).collect()
}

/// Each a folder (or a file) of a program, with files of records in the order of the samples.
#[tokio::test(flavor = "multi_thread")]
async fn every_arrangement_of_files_is_read() {
    const METADATA: &str = "* u L any.lua 11 -- \u{fffd}\0\\\n--\n";
    let bench = Bench::start().await;
    let root = bench.path("");
    let index = format!("* i {ESCAPED_NAMESPACE} demo by-a N 1 a N\n");
    let of = |version: &str, first, range| file(header(version, first), &plain(range));
    let head = |version: &str| header(version, true);
    let with = |version: &str, lines: &str| [head(version), lines.as_bytes().to_vec()].concat();
    let cases: Vec<(&str, &str, Files, u32)> = vec![
        (
            "asbackup -d: counted names, one without records",
            "c-dir",
            vec![
                ("their ns_00000.asb", of("3.1", true, 0..3)),
                ("their ns_00001.asb", header("3.1", false)),
                ("their ns_00002.asb", of("3.1", false, 3..5)),
                ("their ns.asb.state", b"state".to_vec()),
            ],
            5,
        ),
        (
            "asbackup -d with a prefix and global lines",
            "c prefix",
            vec![(
                "nightly dump_00007.asb",
                [with("3.1", &index), of("3.1", false, 0..2).split_off(header("3.1", false).len())].concat(),
            )],
            2,
        ),
        ("asbackup -o: one file", "c-file/whole.asb", vec![("", of("3.1", true, 0..4))], 4),
        ("asbackup -o: one file of any name", "c-other/whole", vec![("", of("3.1", true, 0..4))], 4),
        ("asbackup of old: 3.0", "c-legacy", vec![("their ns_00000.asb", of("3.0", true, 0..0))], 0),
        (
            "absctl: metadata apart, 3.2, several writers, one resumed",
            "go-dir",
            vec![
                ("metadata_their ns_1.asb", with("3.2", &format!("{METADATA}{index}"))),
                ("0_their ns_2.asb", of("3.1", false, 0..3)),
                ("1_their ns_3(1).asb", of("3.1", false, 3..6)),
                ("0_their ns_4.asb", Vec::new()),
            ],
            6,
        ),
        (
            "absctl of old: no writer in the name, metadata in the first file",
            "go-old",
            vec![
                (
                    "their ns_1.asb",
                    [with("3.1", METADATA), of("3.1", false, 0..2).split_off(header("3.1", false).len())]
                        .concat(),
                ),
                ("their ns_2.asb", of("3.1", false, 2..3)),
            ],
            3,
        ),
        (
            "absctl -o: an expression index under 3.1",
            "go-file",
            vec![
                (
                    "x.asb",
                    with("3.1", &format!("* e {ESCAPED_NAMESPACE} demo by-e N 1 null N k1ECo2FnZQ==\n")),
                ),
                ("y.asb", of("3.1", false, 0..1)),
            ],
            1,
        ),
        (
            "unreleased: 3.3 with a set index",
            "go-new",
            vec![
                ("metadata_x_1.asb", with("3.3", &format!("* i {ESCAPED_NAMESPACE} demo all S 1  E\n"))),
                ("y.asb", of("3.1", false, 0..1)),
            ],
            1,
        ),
        (
            "nested folders of any names",
            "deep",
            vec![
                ("a b/\u{fc}/x.asb", of("3.1", true, 0..2)),
                ("c/x.asb", of("3.1", false, 2..4)),
                ("c/aerospike_1.conf", b"service {}".to_vec()),
            ],
            4,
        ),
        (
            "compressed by asbackup: several frames, empty ones too",
            "c-zstd",
            vec![
                ("their ns_00000.asb", zstd(&of("3.1", true, 0..3), 5)),
                ("their ns_00001.asb", zstd(b"", 1)),
                ("their ns_00002.asb", zstd(&of("3.1", false, 3..5), 1)),
            ],
            5,
        ),
        (
            "compressed in part",
            "mixed",
            vec![("a.asb", zstd(&of("3.1", true, 0..3), 1)), ("b.asb", of("3.1", false, 3..5))],
            5,
        ),
    ];
    for (what, path, files, count) in cases {
        for (name, bytes) in &files {
            if name.is_empty() {
                put(&root, path, bytes)
            } else {
                put(&root, &format!("{path}/{name}"), bytes)
            }
        }
        bench.node.drop_indexes(TARGET).await;
        let restored = restored(&bench, path, &plain(0..count)).await;
        assert!(restored.warnings().contains("whether it is complete is unknown"), "{what}");
        let lines = |mark: &str| {
            let has = |(_, bytes): &&(&str, Vec<u8>)| String::from_utf8_lossy(bytes).contains(mark);
            files.iter().filter(has).count() as u64
        };
        let indexes = lines("* i their\\ ns demo by-a") + lines("* e ");
        assert_eq!(restored.status["index-count"], indexes, "{what}");
        assert_eq!(
            bench.node.cluster.list_indexes(TARGET).await.unwrap().indexes.len() as u64,
            indexes,
            "{what}"
        );
        if lines("* u ") > 0 {
            let udf = bench.node.cluster.get_udf(b"any.lua").await.unwrap();
            assert_eq!(udf.content, "-- \u{fffd}\0\\\n--".as_bytes(), "{what}");
        }
        assert_eq!(restored.warnings().contains("set index all"), path == "go-new", "{what}");
    }
}

/// asb.md 1.6: 3.0 has no escapes; from 3.1 on a backslash escapes what follows.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_escaped_by_the_rules_of_the_version() {
    let bench = Bench::start().await;
    let int = 7_i64.to_be_bytes();
    let legacy = Sample::new(1, (b"a\\b", b"a\\b"), &[(b"I c\\ 7", b"c\\", 1, &int)]);
    // Of a namespace without a space: 3.0 cannot hold one.
    let text = String::from_utf8(file(header("3.0", true), std::slice::from_ref(&legacy))).unwrap();
    put(&bench.path("legacy"), "x.asb", text.replace(ESCAPED_NAMESPACE, NAMESPACE).as_bytes());
    restored(&bench, "legacy", &[legacy]).await;
    let escaped = [
        Sample::new(2, (b"a b", b"a\\ b"), &[(b"I c\\\\\\\n\\  7", b"c\\\n ", 1, &int)]),
        // Spaces need no escape in a set, as one of the readers has it.
        Sample::new(3, (b"a b", b"a b"), &[(b"I \\c 7", b"c", 1, &int)]),
        Sample::new(4, (b"", b""), &[(b"I a 7", b"a", 1, &int)]),
    ];
    put(&bench.path("escaped"), "x.asb", &file(header("3.1", true), &escaped));
    restored(&bench, "escaped", &escaped).await;
}

/// asb.md 1.7, 1.10
#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_value_is_read() {
    let bench = Bench::start().await;
    let set: (&[u8], &[u8]) = (b"demo", b"demo");
    let mut samples = Vec::new();
    let floats: &[(&str, f64)] = &[
        ("1.1000000000000001", 1.1),
        ("1.1", 1.1),
        ("-0", -0.0),
        ("0", 0.0),
        ("1e+06", 1e6),
        ("1E6", 1e6),
        ("1000000", 1e6),
        ("100000000000000000000", 1e20),
        ("1.0000000000000001e-05", 1e-5),
        ("1e-05", 1e-5),
        ("0.00001", 1e-5),
        ("4.9406564584124654e-324", 5e-324),
        ("5e-324", 5e-324),
        ("1.7976931348623157e+308", f64::MAX),
        ("+Inf", f64::INFINITY),
        ("inf", f64::INFINITY),
        ("Infinity", f64::INFINITY),
        ("-Inf", f64::NEG_INFINITY),
        ("-infinity", f64::NEG_INFINITY),
        ("nan", f64::NAN),
        ("NaN", f64::NAN),
        ("-nan", -f64::NAN),
        ("0x1.8p+1", 3.0),
        (".5", 0.5),
    ];
    for (number, (text, value)) in (100..).zip(floats) {
        let line = format!("D a {text}");
        samples.push(Sample::new(number, set, &[(line.as_bytes(), b"a", 2, &value.to_be_bytes())]));
    }
    let int = |value: i64| value.to_be_bytes();
    samples.push(Sample::new(
        1,
        set,
        &[
            (b"I min -9223372036854775808", b"min", 1, &int(i64::MIN)),
            (b"I max 9223372036854775807", b"max", 1, &int(i64::MAX)),
            (b"Z yes T", b"yes", 17, &[1]),
            (b"Z no F", b"no", 17, &[0]),
            (b"S s 7 str\ning", b"s", STRING, b"str\ning"),
            (b"S empty 0 ", b"empty", STRING, b""),
            (b"S raw 3 \xff\0\\", b"raw", STRING, b"\xff\0\\"),
            (b"X b64 12 c3RyCmluZw==", b"b64", STRING, b"str\ning"),
            (b"N gone", b"gone", 0, b""),
        ],
    ));
    samples.push(Sample::new(
        2,
        set,
        &[
            (b"B b 8 AAECCg==", b"b", 4, &[0, 1, 2, 10]),
            (b"B! braw 5 123\n4", b"braw", 4, b"123\n4"),
            (b"B bempty 0 ", b"bempty", 4, b""),
            (b"J j 4 AAEC", b"j", 7, &[0, 1, 2]),
            (b"C c 4 AAEC", b"c", 8, &[0, 1, 2]),
            (b"P p 4 AAEC", b"p", 9, &[0, 1, 2]),
            (b"R r 4 AAEC", b"r", 10, &[0, 1, 2]),
            (b"H! h 3 \0\x01\x02", b"h", 11, &[0, 1, 2]),
            (b"E e 4 AAEC", b"e", 12, &[0, 1, 2]),
        ],
    ));
    samples.push(Sample::new(
        3,
        set,
        &[
            (b"L l 8 kwECAw==", b"l", 20, &[0x93, 1, 2, 3]),
            (b"L! lraw 4 \x93\x01\x02\x03", b"lraw", 20, &[0x93, 1, 2, 3]),
            (b"M m 8 gaIDYQE=", b"m", 19, &[0x81, 0xA2, 3, 0x61, 1]),
        ],
    ));
    let bin: &[Line<'_>] = &[(b"I a 1", b"a", 1, &[0, 0, 0, 0, 0, 0, 0, 1])];
    let float_key = 123.456_789_f64.to_be_bytes();
    let keys: &[(&[u8], Key<'_>)] = &[
        (b"", None),
        (b"I -10", Some((1, &[255, 255, 255, 255, 255, 255, 255, 246]))),
        (b"D 123.456789", Some((2, &float_key))),
        (b"S 4 12 4", Some((STRING, b"12 4"))),
        (b"X 8 c3RyaW5n", Some((STRING, b"string"))),
        (b"B 4 AAEC", Some((4, &[0, 1, 2]))),
        (b"B! 3 1\n3", Some((4, b"1\n3"))),
    ];
    for (number, (line, key)) in (200..).zip(keys) {
        samples.push(Sample::keyed(line, *key, number, set, bin));
    }
    put(&bench.path("values"), "x.asb", &file(header("3.1", true), &samples));
    restored(&bench, "values", &samples).await;
}

/// abs.md 3, 7.8: fields that older versions did not write, another attempt, and a compression that is not said.
#[tokio::test(flavor = "multi_thread")]
async fn folders_of_abs_are_read_whatever_their_metadata_leaves_out() {
    let bench = Bench::start().await;
    let text = file(header("3.1", true), &plain(0..3));
    let head =
        format!("created: 2023-11-14T22:13:20Z\nnamespace: {NAMESPACE}\nrecord-count: 3\nfile-count: 2\n");
    let meta = file(header("3.1", true), &[]);
    for (number, (more, folder, data)) in [
        ("", NAMESPACE.to_owned(), text.clone()),
        ("finished: 2023-11-14T22:13:21Z\n", format!("{NAMESPACE}.2"), text.clone()),
        ("compression: \"\"\nencryption: \"\"\n", NAMESPACE.to_owned(), zstd(&text, 1)),
        ("compression: ZSTD\nencryption: NONE\n", NAMESPACE.to_owned(), zstd(&text, 2)),
        ("compression: NONE\n", NAMESPACE.to_owned(), zstd(&text, 1)),
        ("compression: ZSTD\n", NAMESPACE.to_owned(), text.clone()),
        ("from: 0001-01-01T00:00:00Z\nbyte-count: 0\nunknown-key: 1\n", NAMESPACE.to_owned(), text.clone()),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("abs-{number}/backup/1700000000000/data/{folder}");
        put(&bench.path(&key), "metadata.yaml", format!("{head}{more}").as_bytes());
        put(&bench.path(&key), "0_their ns_2.asb", &data);
        put(&bench.path(&key), "metadata_their ns_1.asb", &meta);
        restored(&bench, &key, &plain(0..3)).await;
        // By time too: the routine need not be configured.
        bench.node.empty(TARGET).await;
        let by_time = json!({"routine": format!("abs-{number}"), "source-name": "disk", "destination-name": "node",
            "policy": {"namespace": {"source": NAMESPACE, "destination": TARGET}}});
        let restored = bench.restore_to(1_800_000_000_000, by_time).await.ok();
        assert_eq!(restored.records("inserted"), 3, "{more}");
    }
}
