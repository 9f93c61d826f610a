//! What a node really says: requests to a sandbox, byte by byte.

use std::sync::Arc;

use holdfast::aerospike::wire::{self, FrameKind, MessageHeader, field, info_bits};
use holdfast::aerospike::{Cluster, ClusterOptions, Exists, Seed, WriteBatch, WritePolicy};
use holdfast::asb::{DataType, IndexDef, IndexType, UdfDef};
use holdfast::clock::SystemClock;
use holdfast::sample::{self, SampleRecord};
use holdfast::sandbox::{SandboxCluster, SandboxOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub const NAMESPACE: &str = "test";

/// Bodies of frames, as nodes sent them.
pub fn ask<T>(records: &[SampleRecord], compresses: bool, talk: impl AsyncFnOnce(&mut Talk) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let options = |name: &str| SandboxOptions {
            namespaces: vec![NAMESPACE.to_owned(), "other".to_owned()],
            clock: Arc::new(SystemClock),
            node_name: name.to_owned(),
            rack: Some(7),
            compresses,
            ..SandboxOptions::default()
        };
        let options = vec![options("HFA1"), options("HFB2")];
        let nodes = SandboxCluster::start(options, true, &CancellationToken::new()).await.unwrap();
        let address = nodes.node(0).address();
        let cluster = Cluster::connect(&ClusterOptions {
            seeds: vec![Seed { host: "127.0.0.1".to_owned(), port: address.port() }],
            connect_timeout_ms: 5000,
            label: "fuzz".to_owned(),
        })
        .await
        .unwrap();
        sample::write(&cluster, NAMESPACE, records).await.unwrap();
        prepare(&cluster).await;
        talk(&mut Talk(TcpStream::connect(address).await.unwrap())).await
    })
}

/// An index, a function and a truncation, so that there is something to say of them.
async fn prepare(cluster: &Cluster) {
    for (name, context) in [("by-age", None), ("by-tag", Some("lhABIg=="))] {
        let index = IndexDef {
            namespace: NAMESPACE.into(),
            set: b"demo".to_vec(),
            name: name.into(),
            index_type: IndexType::List,
            bin: b"age".to_vec(),
            data_type: DataType::Numeric,
            context: context.map(str::to_owned),
            expression: None,
        };
        cluster.create_index(&index).await.unwrap();
    }
    let udf = UdfDef { name: b"sum.lua".to_vec(), content: b"function f() return 1 end".to_vec() };
    cluster.put_udf(&udf).await.unwrap();
    cluster.truncate(NAMESPACE, Some(b"no-such-set")).await.unwrap();
}

/// A connection on which bytes are asked for.
pub struct Talk(TcpStream);

impl Talk {
    async fn send(&mut self, kind: FrameKind, body: &[u8]) {
        let mut frame = Vec::new();
        wire::start_frame(&mut frame, kind);
        frame.extend_from_slice(body);
        wire::finish_frame(&mut frame);
        self.0.write_all(&frame).await.unwrap();
    }

    /// The kind and the body of the next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let header = self.0.read_u64().await.unwrap();
        let mut body = vec![0; (header & 0xffff_ffff_ffff) as usize];
        self.0.read_exact(&mut body).await.unwrap();
        ((header >> 48) as u8, body)
    }

    /// The answer to info commands.
    pub async fn info(&mut self, commands: &[&str]) -> Vec<u8> {
        let body: String = commands.iter().flat_map(|command| [command, "\n"]).collect();
        self.send(FrameKind::Info, body.as_bytes()).await;
        self.frame().await.1
    }

    /// The frames of the answer to a scan of every partition; whether each is compressed.
    pub async fn scan(&mut self) -> Vec<(bool, Vec<u8>)> {
        let partitions: Vec<u8> = (0..4096_u16).flat_map(u16::to_le_bytes).collect();
        let fields: [(u8, &[u8]); 4] = [
            (field::NAMESPACE, NAMESPACE.as_bytes()),
            (field::QUERY_ID, &7_u64.to_be_bytes()),
            (field::SOCKET_TIMEOUT, &10_000_u32.to_be_bytes()),
            (field::PARTITIONS, &partitions),
        ];
        let mut body = Vec::new();
        let info3 = info_bits::PARTITION_DONE;
        let info1 = info_bits::READ | info_bits::COMPRESS;
        MessageHeader { info1, info3, fields: 4, ..MessageHeader::default() }.write(&mut body);
        for (kind, data) in fields {
            wire::write_field(&mut body, kind, &[data]);
        }
        self.send(FrameKind::Message, &body).await;
        let mut frames = Vec::new();
        loop {
            let (kind, body) = self.frame().await;
            let compressed = kind == FrameKind::Compressed as u8;
            let is_last = |body: &[u8]| {
                wire::Entries::new(body).any(|entry| matches!(entry, Ok(wire::Entry::Last { .. })))
            };
            let mut unpacked = Vec::new();
            let last = if compressed {
                is_last(holdfast::aerospike::untrusted::compressed_frame(&body, &mut unpacked).unwrap())
            } else {
                is_last(&body)
            };
            frames.push((compressed, body));
            if last {
                return frames;
            }
        }
    }

    /// The answer to a batch of writes.
    pub async fn batch(&mut self, records: &[SampleRecord]) -> Vec<u8> {
        let policy = WritePolicy { exists: Exists::Replace, generation_greater: false };
        let mut batch = WriteBatch::new(NAMESPACE, policy);
        for record in records {
            batch.push(&record.head(NAMESPACE), record.bins(), record.ttl).unwrap();
        }
        let frame = holdfast::aerospike::untrusted::batch_request(&batch);
        self.0.write_all(&frame).await.unwrap();
        self.frame().await.1
    }
}
