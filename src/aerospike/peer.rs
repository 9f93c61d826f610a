//! Scripted peers for tests: a listener on port 0 that answers info requests as a one-node cluster and messages from
//! a script.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::tasks::Scope;

use super::wire::{self, FrameKind, MessageHeader, field, info_bits, write_field};
use super::{Cluster, ClusterOptions, RetryPolicy, Seed};

/// What the peer does with one request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Answers with these frames and keeps the connection.
    Answer(Vec<Vec<u8>>),
    /// Answers with these bytes and closes.
    AnswerThenClose(Vec<u8>),
    /// Says nothing, for ever.
    Hang,
}

/// A peer; it lives as long as this value.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _scope: Scope,
}

#[derive(Debug, Default)]
struct Script {
    acts: VecDeque<Act>,
    /// Bodies of the message requests that arrived.
    requests: Vec<Vec<u8>>,
    /// Answers to info commands, by prefix; the last match counts.
    info: Vec<(String, String)>,
}

impl Peer {
    /// A peer that calls itself `name` and owns all partitions of `test`.
    pub(super) async fn start(name: &str, acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let info = [
            ("node", name),
            ("build", "8.1.2.0"),
            ("peers-clear-std", "0,3000,[]"),
            ("replicas", &replicas(|_| true)),
            ("namespaces", "test"),
            ("query-show", "ERROR:2:job not found"),
        ];
        let info = info.iter().map(|(command, answer)| ((*command).into(), (*answer).into())).collect();
        let script = Arc::new(Mutex::new(Script { acts: acts.into(), requests: Vec::new(), info }));
        let mut scope = Scope::new(&CancellationToken::new());
        let shared = script.clone();
        scope.spawn("peer", async move {
            let mut connections = Scope::new(&CancellationToken::new());
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let script = shared.clone();
                connections.spawn("peer connection", async move {
                    let _ = serve(stream, script).await;
                    Ok(())
                });
            }
        });
        Self { address, script, _scope: scope }
    }

    /// From now on `command` is answered with `answer`.
    pub(super) fn info(&self, command: &str, answer: &str) {
        self.script.lock().unwrap().info.push((command.into(), answer.into()));
    }

    /// The bodies of the message requests so far.
    pub(super) fn requests(&self) -> Vec<Vec<u8>> {
        self.script.lock().unwrap().requests.clone()
    }

    /// Connects to this peer.
    pub(super) async fn cluster(&self) -> Cluster {
        Cluster::connect(&self.options()).await.unwrap()
    }

    pub(super) fn options(&self) -> ClusterOptions {
        let seeds = vec![Seed { host: "127.0.0.1".into(), port: self.address.port() }];
        ClusterOptions { seeds, connect_timeout_ms: 5000, label: "peers".into() }
    }
}

/// Retries at once, `max_retries` times.
pub(super) fn at_once(max_retries: u32) -> RetryPolicy {
    RetryPolicy { base_timeout_ms: 0, multiplier: 1.0, max_retries }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) -> std::io::Result<()> {
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await?;
        let length = u64::from_be_bytes(header) & 0xFFFF_FFFF_FFFF;
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await?;
        if header[1] == FrameKind::Info as u8 {
            let answer = info_answer(&body, &script.lock().unwrap().info);
            stream.write_all(&answer).await?;
            continue;
        }
        let act = {
            let mut script = script.lock().unwrap();
            script.requests.push(body);
            script.acts.pop_front().expect("the script has an act for each request")
        };
        match act {
            Act::Answer(frames) => stream.write_all(&frames.concat()).await?,
            Act::AnswerThenClose(bytes) => return stream.write_all(&bytes).await,
            Act::Hang => std::future::pending().await,
        }
    }
}

fn info_answer(body: &[u8], info: &[(String, String)]) -> Vec<u8> {
    let mut frame = Vec::new();
    wire::start_frame(&mut frame, FrameKind::Info);
    for command in std::str::from_utf8(body).unwrap().lines() {
        let answer = info.iter().rev().find(|(prefix, _)| command.starts_with(prefix));
        let answer = answer.map_or("ERROR:4:unrecognized command", |(_, answer)| answer);
        frame.extend_from_slice(format!("{command}\t{answer}\n").as_bytes());
    }
    wire::finish_frame(&mut frame);
    frame
}

/// The answer to `replicas` of a node that owns the partitions of `test` that `owns` says.
pub(super) fn replicas(owns: impl Fn(u16) -> bool) -> String {
    let mut bitmap = vec![0_u8; 512];
    for pid in (0..4096).filter(|pid| owns(*pid)) {
        bitmap[usize::from(pid / 8)] |= 0x80 >> (pid % 8);
    }
    format!("other:0,1,AAAA;test:0,1,{}", base64_simd::STANDARD.encode_to_string(&bitmap))
}

/// A frame of messages.
pub(super) fn frame(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = Vec::new();
    wire::start_frame(&mut frame, FrameKind::Message);
    frame.extend(messages.concat());
    wire::finish_frame(&mut frame);
    frame
}

/// The digest of record `number` in partition `pid`.
pub(super) fn digest(pid: u16, number: u8) -> [u8; 20] {
    let mut digest = [number; 20];
    digest[..2].copy_from_slice(&pid.to_le_bytes());
    digest
}

/// A record of `test` with one integer bin.
pub(super) fn record(pid: u16, number: u8) -> Vec<u8> {
    let mut message = Vec::new();
    MessageHeader { generation: 3, ttl: 77, fields: 3, ops: 1, ..MessageHeader::default() }
        .write(&mut message);
    write_field(&mut message, field::NAMESPACE, &[b"test"]);
    write_field(&mut message, field::DIGEST, &[&digest(pid, number)]);
    write_field(&mut message, field::SET, &[b"demo"]);
    message.extend([0, 0, 0, 13, 1, 1, 0, 1, b'n', 0, 0, 0, 0, 0, 0, 0, number]);
    message
}

/// "The partition is not served here", or with 0 "it is done".
pub(super) fn partition_done(pid: u16, result: u8) -> Vec<u8> {
    let info3 = info_bits::PARTITION_DONE;
    header(&MessageHeader { info3, generation: pid.into(), result, ..MessageHeader::default() })
}

/// The end of an answer.
pub(super) fn last(result: u8) -> Vec<u8> {
    header(&MessageHeader { info3: info_bits::LAST, result, ..MessageHeader::default() })
}

/// How a row of a batch ended; also, for a scan, a refusal without the bit for "last".
pub(super) fn row(index: u32, result: u8) -> Vec<u8> {
    header(&MessageHeader { transaction_ttl: index, result, ..MessageHeader::default() })
}

fn header(header: &MessageHeader) -> Vec<u8> {
    let mut message = Vec::new();
    header.write(&mut message);
    message
}

/// The data of the fields of a message request, by type.
pub(super) fn fields(request: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let count = u16::from_be_bytes([request[18], request[19]]);
    let mut cursor = wire::Cursor::new(&request[22..]);
    (0..count)
        .map(|_| {
            let length = u32::from_be_bytes(*cursor.array("length").unwrap());
            let data = cursor.take(length as usize, "data").unwrap();
            (data[0], data[1..].to_vec())
        })
        .collect()
}
