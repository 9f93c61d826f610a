//! One connection to a node: whole frames in, whole frames out, and a deadline on everything.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::tls::{self, Wire};

use super::wire::{self, FRAME_HEADER_BYTES, FrameKind, Malformed};

/// Code of the errors that mean "this connection is gone; another one may do".
pub(super) const CONNECTION_LOST: &str = "connection-lost";
/// Code of the errors that mean "these are not the bytes of the protocol".
pub(super) const WIRE_MALFORMED: &str = "wire-malformed";

/// How much room a read makes at a time: what the server puts into one frame of a scan (`QUERY_CHUNK_LIMIT`). The
/// length that a header claims is never allocated before its bytes arrive.
const READ_BYTES: usize = 1 << 20;

/// What came within the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A whole frame, now in the buffer.
    Frame,
    /// A whole compressed frame, where messages were waited for.
    Compressed,
    /// Not one byte; waiting may go on.
    Silence,
}

/// One connection to a node.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Wire,
    peer: SocketAddr,
    tls_name: String,
}

impl Connection {
    /// A connection over an open stream; see [`super::door::Door::open`].
    pub(super) fn new(stream: Wire, peer: SocketAddr, tls_name: &str) -> Self {
        Self { stream, peer, tls_name: tls_name.to_owned() }
    }

    /// Whether the peer has neither closed the connection nor sent what nobody asked for.
    pub(super) fn is_reusable(&mut self) -> bool {
        match &mut self.stream {
            Wire::Plain(stream) => {
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            }
            // What TLS says for itself, as a new ticket, is no answer.
            Wire::Tls(stream) => stream.read(&mut [0]).now_or_never().is_none(),
        }
    }

    /// Sends `frame` within `limit`.
    pub(super) async fn send(&mut self, frame: &[u8], limit: Duration) -> Result<()> {
        timeout(limit, self.stream.send(frame))
            .await
            .map_err(|_| lost(self.peer, format!("request not taken within {} ms", limit.as_millis())))?
            .map_err(|error| self.broken("send", error))
    }

    /// Reads the body of the next frame into `body`, which it clears first. Nothing within `idle` is
    /// [`Arrival::Silence`]; a frame that begins and then stops for `idle` is a lost connection.
    pub(super) async fn receive(
        &mut self,
        kind: FrameKind,
        body: &mut Vec<u8>,
        bytes_max: usize,
        idle: Duration,
    ) -> Result<Arrival> {
        body.clear();
        let mut header = [0; FRAME_HEADER_BYTES];
        let Ok(first) = timeout(idle, self.stream.read(&mut header)).await else {
            return Ok(Arrival::Silence);
        };
        let first = self.count(first)?;
        let (_, missing) =
            header.split_at_mut_checked(first).expect("invariant: a read fills no more than its buffer");
        if !missing.is_empty() {
            let rest = timeout(idle, self.stream.read_exact(missing)).await;
            self.count(rest.map_err(|_| self.stalled(idle))?)?;
        }
        let compressed = kind == FrameKind::Message && header.get(1) == Some(&(FrameKind::Compressed as u8));
        let kind = if compressed { FrameKind::Compressed } else { kind };
        let length = wire::frame_length(header, kind, bytes_max).map_err(|error| self.malformed(error))?;
        while body.len() < length {
            let missing = length - body.len();
            body.reserve(missing.min(READ_BYTES));
            let read = timeout(idle, (&mut self.stream).take(missing as u64).read_buf(body)).await;
            self.count(read.map_err(|_| self.stalled(idle))?)?;
        }
        Ok(if compressed { Arrival::Compressed } else { Arrival::Frame })
    }

    /// The other end.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The error for a frame that this peer sent.
    pub(super) fn malformed(&self, error: Malformed) -> Error {
        malformed(self.peer, error)
    }

    fn count(&self, read: std::io::Result<usize>) -> Result<usize> {
        match read {
            Ok(0) => Err(lost(self.peer, "closed by the node")),
            Ok(count) => Ok(count),
            Err(error) => Err(self.broken("receive", error)),
        }
    }

    /// A node that does not take our certificate may say so with its first answer only.
    fn broken(&self, what: &str, error: std::io::Error) -> Error {
        tls::refused(&error, Some(self.peer), &self.tls_name)
            .unwrap_or_else(|| lost(self.peer, what).source(error))
    }

    fn stalled(&self, idle: Duration) -> Error {
        lost(self.peer, format!("silent for {} ms inside a frame", idle.as_millis()))
    }
}

/// The error for a lost connection.
pub(super) fn lost(peer: SocketAddr, what: impl std::fmt::Display) -> Error {
    Error::temporary(CONNECTION_LOST, format!("connection to {peer}: {what}"))
}

/// The error for bytes from `peer` that are not the protocol's.
pub(super) fn malformed(peer: SocketAddr, error: Malformed) -> Error {
    Error::permanent(WIRE_MALFORMED, format!("answer of {peer}"))
        .source(error)
        .hint("Check that this address is the service port of an Aerospike node, and with TLS exactly if tls is set.")
}
