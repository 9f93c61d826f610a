//! Batches (wire.md 5, asb.md 7.5): rows are done one after the other, answered in blocks.

use std::sync::Arc;

use super::connection::send;
use super::digest::Digest;
use super::expression::Filter;
use super::fault::Moment;
use super::harm;
use super::node::Node;
use super::proto::{Frame, Head, MESSAGE, Reader, Request, bit, field, rc};
use super::single::{self, Answer};
use super::store::Namespace;
use crate::tls::Wire;

/// A frame of answers is sent when it has this size, as on the server.
const CHUNK: usize = 128 * 1024;
/// Rows between two chances for other tasks.
const ROWS_PER_TURN: usize = 256;

/// Flags of the batch: report every error in its row; or stop reporting with the block of the first one.
const ALL_ERRORS: u8 = 4;
const FIRST_ERROR: u8 = 8;

/// Flags of a row.
const REPEAT: u8 = 1;
const HAS_INFO: u8 = 2;
const HAS_GENERATION: u8 = 4;
const HAS_TTL: u8 = 8;
const HAS_INFO4: u8 = 16;

/// Does a batch and answers it; a refusal of the whole is one frame with the LAST bit.
pub(super) async fn run(stream: &mut Wire, node: &Arc<Node>, request: &Request<'_>) -> std::io::Result<()> {
    let Some((mut reader, rows, flags)) = request.field(field::BATCH).and_then(open) else {
        return send(stream, Head::last(rc::PARAMETER)).await;
    };
    let filter = match request.field(field::FILTER).map(Filter::parse) {
        Some(None) => return send(stream, Head::last(rc::PARAMETER)).await,
        Some(filter) => filter,
        None => None,
    };
    let mut frame = Frame::new();
    if let Some(code) = harm::meet(stream, node, Moment::Batch, &mut frame).await? {
        return send(stream, Head::last(code)).await;
    }
    let mut result = rc::OK;
    // Whether answers are no longer reported.
    let mut closed = false;
    let mut before: Option<(Arc<Namespace>, Request<'_>)> = None;
    for done in 0..rows {
        let Some((index, digest)) = next_row(&mut reader, node, &mut before) else {
            // What was done stays done, and is not reported, as on the server.
            return send(stream, Head::last(rc::PARAMETER)).await;
        };
        let Some((namespace, row)) = &before else {
            return send(stream, Head::last(rc::PARAMETER)).await;
        };
        let refused = harm::meet(stream, node, Moment::Row, &mut frame).await?;
        let mut answer = match refused {
            Some(code) => Answer::of(code),
            None => single::run(node, namespace, &digest, row, filter.as_ref()),
        };
        if let Some(code) = harm::meet(stream, node, Moment::RowDone, &mut frame).await? {
            answer = Answer::of(code);
        }
        let fine = matches!(answer.result, rc::OK | rc::NOT_FOUND | rc::FILTERED_OUT);
        if !closed {
            answer.write(&mut frame, index);
        }
        if !fine && flags & ALL_ERRORS == 0 && result == rc::OK {
            result = answer.result;
            if flags & FIRST_ERROR == 0 {
                closed = true;
                frame = Frame::new();
            }
        }
        if frame.body_len() > CHUNK {
            closed = closed || result != rc::OK;
            stream.send(&frame.finish(MESSAGE)).await?;
        } else if done as usize % ROWS_PER_TURN == ROWS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    if let Some(code) = harm::meet(stream, node, Moment::Answer, &mut frame).await? {
        result = code;
    }
    if !frame.is_empty() {
        stream.send(&frame.finish(MESSAGE)).await?;
    }
    send(stream, Head::last(result)).await
}

/// The rows, their number and the flags.
fn open(data: &[u8]) -> Option<(Reader<'_>, u32, u8)> {
    let mut reader = Reader(data);
    let (rows, flags) = (reader.u32()?, reader.u8()?);
    (rows > 0).then_some((reader, rows, flags))
}

/// Reads a row: its index and digest. `current` is what it asks for, kept from the row before when repeated.
fn next_row<'a>(
    reader: &mut Reader<'a>,
    node: &Node,
    current: &mut Option<(Arc<Namespace>, Request<'a>)>,
) -> Option<(u32, Digest)> {
    let (index, digest, flags) = (reader.u32()?, reader.array()?, reader.u8()?);
    if flags & REPEAT != 0 {
        // A key belongs to one digest.
        let (_, row) = current.as_ref()?;
        return row.field(field::KEY).is_none().then_some((index, digest));
    }
    let info1 = reader.u8()? & !bit::BATCH;
    let [info2, info3] = if flags & HAS_INFO != 0 { reader.array()? } else { [0, 0] };
    if flags & HAS_INFO4 != 0 && reader.u8()? != 0 {
        return None;
    }
    let generation = if flags & HAS_GENERATION != 0 { reader.u16()? } else { 0 };
    let ttl = if flags & HAS_TTL != 0 { reader.u32()? } else { 0 };
    let (field_count, op_count) = (reader.u16()?, reader.u16()?);
    let fields = reader.fields(field_count)?;
    let ops = reader.ops(op_count)?;
    let (kind, name) = fields.first()?;
    let namespace = node.store.namespace(name).filter(|_| *kind == field::NAMESPACE)?;
    let row = Request::row([info1, info2, info3], generation, ttl, fields, ops);
    *current = Some((Arc::clone(namespace), row));
    Some((index, digest))
}
