//! Rows by requests of their own, several at once.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Request, patience};
use crate::aerospike::batch::WriteBatch;
use crate::aerospike::conn::{Arrival, lost, malformed};
use crate::aerospike::node::Node;
use crate::aerospike::wire::{self, FRAME_BYTES_MAX, FrameKind};
use crate::error::Result;

/// Requests of one writer on the way to one node at once (asb.md 6.1: as many as the official tools).
const AT_ONCE: usize = 16;

/// Sends each of `rows` to `node` in a request of its own.
pub(super) async fn send_to<'a>(
    node: &Node,
    batch: &WriteBatch,
    rows: &'a [usize],
    timeout_ms: u32,
) -> Result<Vec<Request<'a>>> {
    let requests: Vec<_> = rows.chunks(1).map(|row| exchange(node, batch, row, timeout_ms)).collect();
    stream::iter(requests).buffer_unordered(AT_ONCE).try_collect().await
}

/// Writes the one row and reads how it ended.
async fn exchange<'a>(
    node: &Node,
    batch: &WriteBatch,
    row: &'a [usize],
    timeout_ms: u32,
) -> Result<Request<'a>> {
    let patience = patience(timeout_ms);
    let bad = |error| malformed(node.address, error);
    let mut frame = Vec::new();
    let place = row.first().copied().unwrap_or_default();
    batch.single_request(place, timeout_ms, &mut frame).map_err(bad)?;
    let mut request = Request { rows: row, answers: vec![None; row.len()], in_doubt: false, trouble: None };
    let mut connection = match node.connection().await {
        Ok(connection) => connection,
        Err(error) => return request.broken(error),
    };
    request.in_doubt = true; // from the first byte on
    if let Err(error) = connection.send(&frame, patience).await {
        return request.broken(error);
    }
    match connection.receive(FrameKind::Message, &mut frame, FRAME_BYTES_MAX, patience).await {
        Ok(Arrival::Frame) => {}
        Ok(Arrival::Compressed) => {
            let what = "answer to a write: compressed, which was not asked for";
            return Err(bad(wire::Malformed { what }));
        }
        Ok(Arrival::Silence) => {
            return request.broken(lost(node.address, "no answer to a write in time"));
        }
        Err(error) => return request.broken(error),
    }
    let result = wire::read_single_answer(&frame).map_err(bad)?;
    node.give_back(connection);
    request.answers = vec![Some(result)];
    Ok(request)
}
