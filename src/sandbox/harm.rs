//! How a connection suffers what a fault does to it.

#![allow(clippy::indexing_slicing)] // a finished frame has its whole header

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::AsyncReadExt;

use super::fault::{Garble, Harm, Moment};
use super::node::Node;
use super::proto::{FRAME_HEADER, Frame, Head, INFO, MESSAGE, VERSION, rc};
use crate::tls::Wire;

/// Notes an event, and lets `stream` suffer if a fault strikes; `frame` is what is on the way to the client. The
/// result code if the request is to end with it; an error ends the connection.
pub(super) async fn meet(
    stream: &mut Wire,
    node: &Arc<Node>,
    moment: Moment,
    frame: &mut Frame,
) -> std::io::Result<Option<u8>> {
    match node.faults.meet(moment) {
        None => Ok(None),
        Some(harm) => {
            // Of an answer that is lost nothing arrives; of a scan what was read before.
            if moment != Moment::Record && matches!(harm, Harm::Close | Harm::Silence | Harm::Leave) {
                frame.clear();
            }
            suffer(stream, node, harm, frame, kind_of(moment)).await
        }
    }
}

/// Lets `stream` suffer. What is in `frame` is sent first, except where the frame itself is to be spoilt.
pub(super) async fn suffer(
    stream: &mut Wire,
    node: &Arc<Node>,
    harm: Harm,
    frame: &mut Frame,
    kind: u8,
) -> std::io::Result<Option<u8>> {
    tracing::debug!(node = node.name, ?harm, "a fault of the sandbox strikes");
    if !matches!(harm, Harm::Cut | Harm::Garble(_)) && !frame.is_empty() {
        stream.send(&frame.finish(kind)).await?;
    }
    match harm {
        Harm::Close => Err(ErrorKind::ConnectionAborted.into()),
        Harm::Silence => {
            // Until the client has enough of it.
            let mut taken = [0; 4096];
            while stream.read(&mut taken).await? > 0 {}
            Err(ErrorKind::ConnectionAborted.into())
        }
        Harm::Delay(delay) => {
            tokio::time::sleep(delay).await;
            Ok(None)
        }
        Harm::Refuse(code) => Ok(Some(code)),
        Harm::Cut => {
            let bytes = bytes_of(frame, kind);
            stream.send(&bytes[..bytes.len() / 2]).await?;
            Err(ErrorKind::ConnectionAborted.into())
        }
        Harm::Garble(how) => {
            let bytes = garbled(bytes_of(frame, kind), how, kind);
            stream.send(&bytes).await?;
            Err(ErrorKind::ConnectionAborted.into())
        }
        quiet => {
            happen(node, quiet);
            Ok(None)
        }
    }
}

/// What a fault does besides what it does to a connection.
pub(super) fn happen(node: &Arc<Node>, harm: Harm) {
    match harm {
        Harm::Move(partitions, to) => partitions.for_each(|pid| node.topology.give(pid, to)),
        Harm::Leave => node.leave(),
        _ => {}
    }
}

fn kind_of(moment: Moment) -> u8 {
    if moment == Moment::Info { INFO } else { MESSAGE }
}

/// The frame; where nothing is on the way yet, one that would be a good answer.
fn bytes_of(frame: &mut Frame, kind: u8) -> Vec<u8> {
    if frame.is_empty() {
        if kind == INFO {
            frame.raw(b"node\tnobody\n");
        } else {
            frame.head(Head::last(rc::OK), 0, 0);
        }
    }
    frame.finish(kind)
}

fn garbled(mut bytes: Vec<u8>, how: Garble, kind: u8) -> Vec<u8> {
    match how {
        Garble::Version => bytes[0] = VERSION + 1,
        Garble::Type => bytes[1] = if kind == INFO { MESSAGE } else { INFO },
        Garble::Size => bytes[2..FRAME_HEADER].fill(0xFF),
        // Neither the size of a message header nor a line of text.
        Garble::Body => bytes[FRAME_HEADER..].fill(0xEE),
    }
    bytes
}
