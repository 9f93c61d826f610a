//! Sample records of every particle type: for the demo, the tests that need a node, and the benchmarks.

use crate::aerospike::{BatchWriter, Cluster, Exists, RetryPolicy, RowResult, WriteBatch, WritePolicy};
use crate::asb::{Bin, Particle, RecordHead};
use crate::error::{Error, Result};
use crate::sandbox::digest_of;
use tokio_util::sync::CancellationToken;

/// A record in memory, in wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRecord {
    /// Its set; empty: none.
    pub set: Vec<u8>,
    /// The user key to store with it: particle type and value.
    pub key: Option<(u8, Vec<u8>)>,
    /// Its digest.
    pub digest: [u8; 20],
    /// Remaining life in seconds; `u32::MAX`: never expires.
    pub ttl: u32,
    /// Name, particle type and value of each bin.
    pub bins: Vec<(Vec<u8>, u8, Vec<u8>)>,
}

impl SampleRecord {
    /// A record with an integer key that is stored with it.
    pub fn new(set: &str, key: i64) -> Self {
        let bytes = key.to_be_bytes().to_vec();
        Self {
            digest: digest_of(set.as_bytes(), 1, &bytes),
            set: set.as_bytes().to_vec(),
            key: Some((1, bytes)),
            ttl: u32::MAX,
            bins: Vec::new(),
        }
    }

    /// A record with a key of any type.
    pub fn keyed(set: &[u8], key_type: u8, key: &[u8]) -> Self {
        Self {
            digest: digest_of(set, key_type, key),
            set: set.to_vec(),
            key: Some((key_type, key.to_vec())),
            ttl: u32::MAX,
            bins: Vec::new(),
        }
    }

    /// Adds a bin.
    #[must_use]
    pub fn bin(mut self, name: impl AsRef<[u8]>, particle: u8, value: impl AsRef<[u8]>) -> Self {
        self.bins.push((name.as_ref().to_vec(), particle, value.as_ref().to_vec()));
        self
    }

    /// Does not store the user key.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// Lets it live this many seconds.
    #[must_use]
    pub fn living_s(mut self, ttl: u32) -> Self {
        self.ttl = ttl;
        self
    }

    /// The head, as a batch row wants it.
    pub fn head<'a>(&'a self, namespace: &'a str) -> RecordHead<'a> {
        RecordHead {
            namespace: namespace.as_bytes(),
            set: &self.set,
            digest: &self.digest,
            key: self.key.as_ref().map(|(kind, bytes)| Particle { kind: *kind, bytes }),
            generation: 0,
            void_time: 0,
            bin_count: self.bins.len() as u16,
        }
    }

    /// The bins, as a batch row wants them.
    pub fn bins(&self) -> impl Iterator<Item = Bin<'_>> + Clone {
        self.bins
            .iter()
            .map(|(name, kind, value)| Bin { name, particle: Particle { kind: *kind, bytes: value } })
    }
}

/// A record of a shop: six bins of mixed types, about 200 bytes on the wire.
pub fn mixed(set: &str, key: i64, version: i64) -> SampleRecord {
    let score = (key as f64) * 0.25 + version as f64;
    let mut list = vec![0x93];
    list.extend([(key & 0x7f) as u8, (version & 0x7f) as u8, 3]);
    SampleRecord::new(set, key)
        .bin("id", 1, key.to_be_bytes())
        .bin("version", 1, version.to_be_bytes())
        .bin("name", 3, format!("customer {key} in its version {version}"))
        .bin("score", 2, score.to_be_bytes())
        .bin("active", 17, [u8::from(key % 2 == 0)])
        .bin("tags", 20, list)
}

/// One record for every particle type, key type and odd name that the format must carry (wire.md 2, asb.md 2).
///
/// All but the integers are values that a decoding client changes or refuses.
pub fn every_kind(set: &str) -> Vec<SampleRecord> {
    let mut key = 1_000_000;
    let mut next = || {
        key += 1;
        SampleRecord::new(set, key)
    };
    let geo = br#"{"type":"Point","coordinates":[13.4,52.5]}"#;
    let mut geo_value = vec![0, 0, 0];
    geo_value.extend_from_slice(geo);
    vec![
        next().bin("min", 1, i64::MIN.to_be_bytes()).bin("max", 1, i64::MAX.to_be_bytes()),
        next().bin("zero", 2, 0_f64.to_be_bytes()).bin("minus", 2, (-0_f64).to_be_bytes()),
        next().bin("tiny", 2, 5e-324_f64.to_be_bytes()).bin("inf", 2, f64::INFINITY.to_be_bytes()),
        next().bin("ninf", 2, f64::NEG_INFINITY.to_be_bytes()).bin("big", 2, 1.797e308_f64.to_be_bytes()),
        next().bin("empty", 3, "").bin("lines", 3, "str\ning\0 \\ end"),
        next().bin("not utf-8", 3, [0xff, 0xfe, b' ', 0x80]),
        next().bin("blob", 4, [0, 1, 2, 10, 255]).bin("no blob", 4, []),
        next().bin("java", 7, [1, 2]).bin("csharp", 8, [3]).bin("python", 9, [4]),
        next().bin("ruby", 10, [5]).bin("php", 11, *b"b:1;").bin("erlang", 12, [6]),
        next().bin("true", 17, [1]).bin("false", 17, [0]),
        next().bin("geo", 23, geo_value),
        next().bin("list", 20, [0x93, 1, 2, 3]).bin("sorted", 20, [0x94, 0xc7, 0, 1, 1, 2, 3]),
        next().bin("nested", 20, [0x91, 0x93, 0xc7, 0, 1, 1, 2]).bin("u64", 20, max_u64_list()),
        next().bin("map", 19, [0x81, 0xa2, 3, b'a', 1]).bin("no map", 19, [0x80]),
        next().bin("k-sorted", 19, [0x82, 0xc7, 0, 1, 0xc0, 0xa2, 3, b'a', 1]),
        next().bin("kv-sorted", 19, [0x82, 0xc7, 0, 3, 0xc0, 0xa2, 3, b'a', 1]),
        next().bin("15 bytes\n\\ name", 1, 1_i64.to_be_bytes()),
        next().bin("a b", 3, "space").bin("a\nb", 3, "newline").bin("a\\b", 3, "backslash"),
        next().bin([0xfe, 0xff, b'n'], 3, "a name that is not utf-8"),
        next().bin("large", 4, vec![0xa5; 1 << 20]),
        next().bin("text", 3, "x\n".repeat(1 << 19)),
        next().without_key().bin("no key", 1, 1_i64.to_be_bytes()),
        next().living_s(86_400).bin("a day", 1, 1_i64.to_be_bytes()),
        SampleRecord::keyed(set.as_bytes(), 3, b"string key \n \\ \xff").bin("k", 1, 1_i64.to_be_bytes()),
        SampleRecord::keyed(set.as_bytes(), 4, &[0, 1, 2, 255]).bin("k", 1, 2_i64.to_be_bytes()),
        SampleRecord::keyed(set.as_bytes(), 2, &1.5_f64.to_be_bytes()).bin("k", 1, 3_i64.to_be_bytes()),
        SampleRecord::keyed(b"", 1, &77_i64.to_be_bytes()).bin("no set", 1, 4_i64.to_be_bytes()),
        SampleRecord::keyed(b"set \\ name", 1, &78_i64.to_be_bytes()).bin("odd set", 1, 5_i64.to_be_bytes()),
    ]
}

fn max_u64_list() -> Vec<u8> {
    let mut list = vec![0x91, 0xcf];
    list.extend([0xff; 8]);
    list
}

/// Writes records, replacing those that exist; a row that is not written is an error.
pub async fn write(cluster: &Cluster, namespace: &str, records: &[SampleRecord]) -> Result<()> {
    let policy = WritePolicy { exists: Exists::Replace, generation_greater: false };
    let mut writer = BatchWriter::new(cluster.clone(), RetryPolicy::WRITE, 0);
    let mut rest = records;
    while !rest.is_empty() {
        let mut batch = WriteBatch::new(namespace, policy);
        while let Some((record, later)) = rest.split_first()
            && !batch.is_full()
        {
            batch.push(&record.head(namespace), record.bins(), record.ttl)?;
            rest = later;
        }
        let outcomes = writer.write(&batch, &CancellationToken::new()).await?;
        if let Some(outcome) = outcomes.iter().find(|outcome| outcome.result != RowResult::Inserted) {
            let text = format!("a sample record was not written to {namespace}: {:?}", outcome.result);
            return Err(Error::permanent("sample", text));
        }
    }
    Ok(())
}
