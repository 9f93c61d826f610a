//! The sandbox, driven by the official client and by raw bytes.

mod client;
mod filters;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::proto::{FRAME_HEADER, Frame, MESSAGE, Reader, frame_header};
use super::{Bin, Sandbox, SandboxOptions, SandboxRecord};
use crate::clock::ManualClock;
use crate::model::UnixMillis;

/// 2026-01-01 UTC.
const START: UnixMillis = UnixMillis(1_767_225_600_000);
const NAMESPACE: &str = "test";

async fn start() -> (Sandbox, ManualClock) {
    let clock = ManualClock::at(START);
    let options = SandboxOptions {
        namespaces: vec![NAMESPACE.to_owned(), "other".to_owned()],
        clock: Arc::new(clock.clone()),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options, &CancellationToken::new()).await.unwrap();
    (sandbox, clock)
}

/// A record in a partition of our choice.
fn record(partition: u16, number: u8) -> SandboxRecord {
    let mut digest = [number; 20];
    digest[..2].copy_from_slice(&partition.to_le_bytes());
    SandboxRecord {
        digest,
        set: b"demo".to_vec(),
        key: None,
        bins: vec![Bin { name: b"n".to_vec(), kind: 1, value: i64::from(number).to_be_bytes().to_vec() }],
        generation: 1,
        void_time: 0,
        last_update: START,
    }
}

/// A message of a request; the fields and ops are those of `Frame`.
#[derive(Default)]
struct Ask {
    info: [u8; 3],
    generation: u32,
    ttl: u32,
    fields: Vec<(u8, Vec<u8>)>,
    ops: Vec<(u8, u8, Vec<u8>, Vec<u8>)>,
}

impl Ask {
    fn new(info: [u8; 3], fields: &[(u8, &[u8])]) -> Self {
        let fields = fields.iter().map(|(kind, data)| (*kind, data.to_vec())).collect();
        Self { info, fields, ..Self::default() }
    }

    fn op(mut self, op: u8, kind: u8, name: &[u8], value: &[u8]) -> Self {
        self.ops.push((op, kind, name.to_vec(), value.to_vec()));
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut frame = Frame::new();
        frame.raw(&[22, self.info[0], self.info[1], self.info[2], 0, 0]);
        frame.raw(&self.generation.to_be_bytes());
        frame.raw(&self.ttl.to_be_bytes());
        frame.raw(&[0; 4]);
        frame.raw(&(self.fields.len() as u16).to_be_bytes());
        frame.raw(&(self.ops.len() as u16).to_be_bytes());
        self.fields.iter().for_each(|(kind, data)| frame.field(*kind, data));
        self.ops.iter().for_each(|(op, kind, name, value)| frame.op(*op, *kind, name, value));
        frame.finish(MESSAGE).split_off(FRAME_HEADER)
    }
}

/// A message of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    info1: u8,
    info3: u8,
    result: u8,
    generation: u32,
    void_time: u32,
    index: u32,
    fields: Vec<(u8, Vec<u8>)>,
    ops: Vec<(u8, u8, Vec<u8>, Vec<u8>)>,
}

impl Told {
    fn last(result: u8) -> Self {
        Self { info3: 1, result, ..Self::default() }
    }

    fn result(result: u8) -> Self {
        Self { result, ..Self::default() }
    }
}

fn tell(body: &[u8]) -> Vec<Told> {
    let mut reader = Reader(body);
    let mut all = Vec::new();
    while !reader.0.is_empty() {
        let [size, info1, _info2, info3, _info4, result] = reader.array().unwrap();
        assert_eq!(size, 22);
        let [generation, void_time, index] = [(); 3].map(|()| reader.u32().unwrap());
        let (fields, ops) = (reader.u16().unwrap(), reader.u16().unwrap());
        let fields = reader.fields(fields).unwrap();
        let ops = reader.ops(ops).unwrap();
        all.push(Told {
            info1,
            info3,
            result,
            generation,
            void_time,
            index,
            fields: fields.iter().map(|(kind, data)| (*kind, data.to_vec())).collect(),
            ops: ops.iter().map(|op| (op.code, op.kind, op.name.to_vec(), op.value.to_vec())).collect(),
        });
    }
    all
}

/// A connection that speaks bytes.
struct Wire(TcpStream);

impl Wire {
    async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        let mut frame = Frame::new();
        frame.raw(body);
        self.0.write_all(&frame.finish(kind)).await.unwrap();
    }

    /// The next frame; nothing when the node has closed.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; FRAME_HEADER];
        self.0.read_exact(&mut header).await.ok()?;
        let (version, kind, len) = frame_header(header);
        assert_eq!(version, 2);
        let mut body = vec![0; len as usize];
        self.0.read_exact(&mut body).await.unwrap();
        Some((kind, body))
    }

    /// Sends a message and reads the one frame of the answer.
    async fn ask(&mut self, ask: &Ask) -> Vec<Told> {
        self.send(MESSAGE, &ask.body()).await;
        let (kind, body) = self.frame().await.unwrap();
        assert_eq!(kind, MESSAGE);
        tell(&body)
    }

    /// Sends a scan or a batch and reads frames up to LAST, or to a refusal; the messages of each frame.
    async fn stream(&mut self, ask: &Ask) -> Vec<Vec<Told>> {
        self.send(MESSAGE, &ask.body()).await;
        let mut frames = Vec::new();
        loop {
            let (_, body) = self.frame().await.unwrap();
            let told = tell(&body);
            let end = told.last().unwrap();
            let refused = ask.info[0] & 8 == 0 && end.result != 0 && end.info3 == 0;
            let over = end.info3 & 1 != 0 || refused;
            frames.push(told);
            if over {
                return frames;
            }
        }
    }

    async fn info(&mut self, command: &str) -> String {
        self.send(1, format!("{command}\n").as_bytes()).await;
        let (kind, body) = self.frame().await.unwrap();
        assert_eq!(kind, 1);
        let text = String::from_utf8(body).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        line.strip_prefix(command).unwrap().strip_prefix('\t').unwrap().to_owned()
    }
}
