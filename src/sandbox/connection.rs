//! The listener and its connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::fault::Moment;
use super::node::Node;
use super::proto::{
    BODY_MAX, COMPRESSED, FRAME_HEADER, Frame, Head, INFO, MESSAGE, Request, SECURITY, VERSION, bit, field,
    frame_header, rc,
};
use super::security::Guest;
use super::{batch, harm, info, scan, single};
use crate::error::Result;
use crate::tasks::Scope;
use crate::tls::Wire;

/// Connections at once; one more is closed. A server's own default is 15,000.
const CONNECTIONS_MAX: usize = 1024;
/// Largest info request: a UDF of 1 MiB in base64, with room.
const INFO_MAX: u64 = 4 * 1024 * 1024;
/// Bytes set aside for a body before it is there.
const BODY_FIRST: u64 = 64 * 1024;
/// Pause after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until cancelled.
pub(super) async fn accept(listener: TcpListener, node: Arc<Node>, token: CancellationToken) -> Result<()> {
    let mut connections = Scope::new(&token);
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                let (node, token) = (Arc::clone(&node), connections.token().clone());
                connections.spawn("sandbox-connection", async move {
                    tokio::select! {
                        () = token.cancelled() => {}
                        ended = serve(stream, &node) => {
                            if let Err(error) = ended {
                                tracing::debug!(%error, "sandbox connection ended");
                            }
                        }
                    }
                    Ok(())
                });
            }
            Ok(_) => tracing::warn!("the sandbox has {CONNECTIONS_MAX} connections and refuses another"),
            Err(error) => {
                tracing::warn!(%error, "the sandbox cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.join().await
}

/// Serves one connection until its end; like a server it closes on a frame that it cannot frame.
async fn serve(stream: TcpStream, node: &Arc<Node>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = match node.security.tls() {
        None => Wire::Plain(stream),
        Some(config) => Wire::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?.into())),
    };
    let mut guest = Guest::default();
    harm::meet(&mut stream, node, Moment::Connection, &mut Frame::new()).await?;
    loop {
        let mut header = [0; FRAME_HEADER];
        if stream.read_exact(&mut header).await.is_err() {
            return Ok(());
        }
        let (version, kind, len) = frame_header(header);
        let max = if kind == INFO { INFO_MAX } else { BODY_MAX };
        if version != VERSION || len > max {
            return Ok(());
        }
        let body = read_body(&mut stream, len).await?;
        match kind {
            INFO => {
                let mut frame = Frame::new();
                match node.security.refuses(&guest) {
                    None => info::answer(node, &body, &mut frame),
                    Some(code) => info::refuse(&body, code, &mut frame),
                }
                if harm::meet(&mut stream, node, Moment::Info, &mut frame).await?.is_some() {
                    continue;
                }
                // A fault that only delayed has sent it.
                if !frame.is_empty() {
                    stream.send(&frame.finish(INFO)).await?;
                }
            }
            MESSAGE => match node.security.refuses(&guest) {
                None => message(&mut stream, node, &body).await?,
                Some(code) => send(&mut stream, Head::last(code)).await?,
            },
            // Neither is part of the community edition.
            COMPRESSED => send(&mut stream, Head::result(rc::ENTERPRISE_ONLY)).await?,
            SECURITY => {
                let mut frame = Frame::new();
                let shown = has_certificate(&stream);
                frame.raw(&node.security.answer(&body, shown, &mut guest, node.now_s()));
                stream.send(&frame.finish(SECURITY)).await?;
            }
            _ => return Ok(()),
        }
    }
}

/// Whether the client has shown a certificate, which the listener then has checked.
fn has_certificate(stream: &Wire) -> bool {
    matches!(stream, Wire::Tls(stream) if stream.get_ref().1.peer_certificates().is_some())
}

/// Reads a body of known length without setting aside what is not there yet.
async fn read_body(stream: &mut Wire, len: u64) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(len.min(BODY_FIRST) as usize);
    if stream.take(len).read_to_end(&mut body).await? as u64 == len {
        Ok(body)
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

async fn message(stream: &mut Wire, node: &Arc<Node>, body: &[u8]) -> std::io::Result<()> {
    let Some(request) = Request::parse(body) else {
        return send(stream, Head::result(rc::PARAMETER)).await;
    };
    if request.info1 & bit::BATCH != 0 {
        return batch::run(stream, node, &request).await;
    }
    let Some(namespace) = request.field(field::NAMESPACE).and_then(|name| node.store.namespace(name)) else {
        return send(stream, Head::result(rc::NAMESPACE)).await;
    };
    let unsupported = [field::UDF_FILE, field::UDF_OP, field::TRANSACTION];
    if unsupported.iter().any(|kind| request.field(*kind).is_some()) {
        return send(stream, Head::result(rc::UNSUPPORTED)).await;
    }
    let Some(digest) = request.field(field::DIGEST) else {
        // What names no record is a query.
        return scan::run(stream, node, namespace, &request).await;
    };
    let Ok(digest) = digest.try_into() else {
        return send(stream, Head::result(rc::PARAMETER)).await;
    };
    let mut frame = Frame::new();
    let answer = single::run(node, namespace, &digest, &request, None);
    answer.write(&mut frame, 0);
    stream.send(&frame.finish(MESSAGE)).await
}

/// Sends an answer that is only a header.
pub(super) async fn send(stream: &mut Wire, head: Head) -> std::io::Result<()> {
    stream.send(&Frame::of(head).finish(MESSAGE)).await
}
