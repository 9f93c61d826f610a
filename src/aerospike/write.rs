//! The batch writer: rows to their owners, row by row again where that helps, one outcome per row.
//!
//! Which counter a row belongs to is the caller's matter (rules.md 4.4, 4.6); here each row ends exactly once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

use super::batch::{REQUEST_BYTES, WriteBatch, read_answer};
use super::cluster::{Cluster, PartitionMap};
use super::conn::{Arrival, CONNECTION_LOST, lost, malformed};
use super::info;
use super::node::{Build, Node};
use super::result_code::ResultCode;
use super::retry::RetryPolicy;
use super::scan::canceled;
use super::wire::{FRAME_BYTES_MAX, FrameKind};

/// How much longer than the server's own deadline we wait for its answer.
const ANSWER_GRACE_MS: u64 = 5000;

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowResult {
    /// Written.
    Inserted,
    /// Not written: the record is there (result 5).
    Existed,
    /// Not written: the record there has this generation or a later one (result 3).
    Fresher,
    /// Refused with this code, after retries where they could help. Whether the seven codes of
    /// [`ResultCode::is_ignorable`] are ignored is the caller's matter.
    Failed(ResultCode),
    /// No answer in any try: it may have been written or not.
    Unanswered,
}

/// The end of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowOutcome {
    /// How the last try ended.
    pub result: RowResult,
    /// An earlier try, or the last, may have written the row although it did not say so: `Existed` and `Fresher`
    /// may then be our own write (rules.md 4.4).
    pub in_doubt: bool,
}

/// Writes batches to a cluster, one after another. Several writers share the cluster's connections.
#[derive(Debug)]
pub struct BatchWriter {
    cluster: Cluster,
    retry: RetryPolicy,
    timeout_ms: u32,
    /// Each row by a request of its own.
    singly: bool,
    /// For the namespace it was asked for.
    map: Option<(Vec<u8>, PartitionMap)>,
}

impl BatchWriter {
    /// `timeout_ms`: the server's deadline for one request; 0: its own default of 30 s.
    pub fn new(cluster: Cluster, retry: RetryPolicy, timeout_ms: u32) -> Self {
        Self { cluster, retry, timeout_ms, singly: false, map: None }
    }

    /// Writes each row by a request of its own: what servers before 6.0, and those without threads for batches, need.
    #[must_use]
    pub fn singly(self, singly: bool) -> Self {
        Self { singly, ..self }
    }

    /// Writes all rows of `batch`; the outcomes are in their order.
    ///
    /// Errors end the batch without outcomes, and rows may then have been written: `canceled`, `batch-refused`,
    /// `wire-malformed`, `namespace-missing`, `server-too-old`.
    pub async fn write(&mut self, batch: &WriteBatch, cancel: &CancellationToken) -> Result<Vec<RowOutcome>> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(canceled("batch write")),
            outcomes = self.write_rows(batch, (0..batch.len()).collect()) => outcomes,
        }
    }

    /// Writes only `rows` of `batch`; the outcomes are in the order of `rows`. Errors as [`Self::write`].
    pub async fn write_some(
        &mut self,
        batch: &WriteBatch,
        rows: &[usize],
        cancel: &CancellationToken,
    ) -> Result<Vec<RowOutcome>> {
        let all = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(canceled("batch write")),
            outcomes = self.write_rows(batch, rows.to_vec()) => outcomes,
        }?;
        Ok(rows.iter().filter_map(|row| all.get(*row).copied()).collect())
    }

    async fn write_rows(&mut self, batch: &WriteBatch, mut open: Vec<usize>) -> Result<Vec<RowOutcome>> {
        let lowest = self.cluster.lowest_build();
        if !self.singly && lowest < Build::BATCH_WRITE {
            return Err(Error::permanent(
                "server-too-old",
                format!("batch writes need server 6.0; the lowest here is {lowest}"),
            ));
        }
        let start = RowOutcome { result: RowResult::Unanswered, in_doubt: false };
        let mut outcomes = vec![start; batch.len()];
        let mut retry = 0;
        loop {
            let trouble = self.attempt(batch, &mut open, &mut outcomes).await?;
            if open.is_empty() || retry >= self.retry.max_retries {
                return Ok(outcomes);
            }
            let (rows, label) = (open.len(), self.cluster.label());
            tracing::warn!(cluster = label, rows, retry, trouble, "rows are written again");
            tokio::time::sleep(self.retry.delay(retry)).await;
            retry += 1;
            self.map = None;
            if let Err(error) = self.cluster.refresh().await {
                if !error.is_temporary() {
                    return Err(error); // as refused credentials
                }
                tracing::warn!(cluster = label, error = %error.report(), "cluster not found again yet");
            }
        }
    }

    /// Sends the open rows once. What is settled leaves `open`; returns a word about what is not.
    async fn attempt(
        &mut self,
        batch: &WriteBatch,
        open: &mut Vec<usize>,
        outcomes: &mut [RowOutcome],
    ) -> Result<String> {
        let mut trouble = String::new();
        let groups = match self.by_owner(batch, open).await {
            Ok(groups) => groups,
            Err(error) if error.is_temporary() => return Ok(error.report()),
            Err(error) => return Err(error),
        };
        let (timeout_ms, singly) = (self.timeout_ms, self.singly);
        let sent = groups.iter().map(|(node, rows)| async move {
            if singly {
                single::send_to(node, batch, rows, timeout_ms).await
            } else {
                send_to(node, batch, rows, timeout_ms).await
            }
        });
        for requests in join_all(sent).await {
            for request in requests? {
                if let Some(error) = &request.trouble {
                    trouble = error.report();
                }
                for (row, answer) in request.rows.iter().zip(&request.answers) {
                    let outcome = outcomes.get_mut(*row).expect("invariant: rows are indexes of the batch");
                    outcome.settle(*answer, request.in_doubt);
                }
            }
        }
        open.retain(|row| outcomes.get(*row).is_some_and(|outcome| outcome.is_open()));
        Ok(trouble)
    }

    /// The rows by owner. Those without one stay open: unavailable until somebody owns their partition.
    async fn by_owner(&mut self, batch: &WriteBatch, open: &[usize]) -> Result<Vec<(Arc<Node>, Vec<usize>)>> {
        let map = match &self.map {
            Some((namespace, map)) if namespace == batch.namespace() => map,
            _ => {
                let namespace = String::from_utf8_lossy(batch.namespace());
                let map = self.cluster.partition_owners(&namespace).await?;
                &self.map.insert((batch.namespace().to_vec(), map)).1
            }
        };
        let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for row in open {
            let Some(owner) = batch.partition(*row).and_then(|pid| map.owner(pid)) else { continue };
            if let Some((_, rows)) = groups.iter_mut().find(|(node, _)| Arc::ptr_eq(node, owner)) {
                rows.push(*row);
            } else {
                let mut rows = Vec::with_capacity(open.len());
                rows.push(*row);
                groups.push((owner.clone(), rows));
            }
        }
        Ok(groups)
    }
}

impl Cluster {
    /// Whether every node takes batch writes: old ones know none, and one may have no threads for them (asb.md 6.1). A
    /// node that does not say, or cannot be asked, is taken to do: a write will tell.
    pub async fn takes_batch_writes(&self) -> bool {
        if self.lowest_build() < Build::BATCH_WRITE {
            return false;
        }
        for node in self.nodes().await {
            let answers = node.ask(&[b"get-config:context=service"]).await.unwrap_or_default();
            let threads = |answer: &Vec<u8>| info::number_of(answer, b';', "batch-index-threads");
            if answers.first().and_then(threads) == Some(0) {
                return false;
            }
        }
        true
    }
}

impl RowOutcome {
    /// Takes the answer of one try; `doubt`: no answer means that it may have been written.
    fn settle(&mut self, answer: Option<ResultCode>, doubt: bool) {
        self.result = match answer {
            Some(ResultCode::OK) => RowResult::Inserted,
            Some(ResultCode::RECORD_EXISTS) => RowResult::Existed,
            Some(ResultCode::GENERATION) => RowResult::Fresher,
            Some(code) => RowResult::Failed(code),
            None => RowResult::Unanswered,
        };
        self.in_doubt |= match answer {
            Some(code) => code == ResultCode::TIMEOUT,
            None => doubt,
        };
    }

    /// Whether another try may settle it.
    fn is_open(self) -> bool {
        match self.result {
            RowResult::Unanswered => true,
            RowResult::Failed(code) => code.is_row_retryable(),
            RowResult::Inserted | RowResult::Existed | RowResult::Fresher => false,
        }
    }
}

/// What became of one request.
struct Request<'a> {
    rows: &'a [usize],
    answers: Vec<Option<ResultCode>>,
    /// Rows without an answer may have been written.
    in_doubt: bool,
    trouble: Option<Error>,
}

/// Sends `rows` to `node` in as many requests as their number and size need, one after another.
async fn send_to<'a>(
    node: &Node,
    batch: &WriteBatch,
    rows: &'a [usize],
    timeout_ms: u32,
) -> Result<Vec<Request<'a>>> {
    let mut requests = Vec::new();
    let mut frame = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(request_len(batch, rest));
        rest = later;
        batch.request(now, timeout_ms, &mut frame);
        requests.push(exchange(node, now, &mut frame, timeout_ms).await?);
    }
    Ok(requests)
}

/// How many of `rows` go into one request; at least one.
fn request_len(batch: &WriteBatch, rows: &[usize]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&usize| {
        bytes += batch.row_len(**row);
        bytes <= REQUEST_BYTES
    };
    rows.iter().take(batch.rows_max()).take_while(fits).count().max(1)
}

/// How long an answer is waited for.
fn patience(timeout_ms: u32) -> Duration {
    /// What the server takes for a deadline of 0 (`BATCH_ABANDON_LIMIT`).
    const SERVER_DEFAULT_MS: u64 = 30_000;
    let server_ms = if timeout_ms == 0 { SERVER_DEFAULT_MS } else { u64::from(timeout_ms) };
    Duration::from_millis(server_ms + ANSWER_GRACE_MS)
}

/// Sends one request and reads its answer into the same buffer.
async fn exchange<'a>(
    node: &Node,
    rows: &'a [usize],
    frame: &mut Vec<u8>,
    timeout_ms: u32,
) -> Result<Request<'a>> {
    let patience = patience(timeout_ms);
    let mut request = Request { rows, answers: vec![None; rows.len()], in_doubt: false, trouble: None };
    let mut connection = match node.connection().await {
        Ok(connection) => connection,
        Err(error) => return request.broken(error),
    };
    request.in_doubt = true; // from the first byte on
    if let Err(error) = connection.send(frame, patience).await {
        return request.broken(error);
    }
    loop {
        match connection.receive(FrameKind::Message, frame, FRAME_BYTES_MAX, patience).await {
            Ok(Arrival::Frame) => {}
            Ok(Arrival::Compressed) => {
                let what = "batch answer: compressed, which was not asked for";
                return Err(malformed(node.address, super::wire::Malformed { what }));
            }
            Ok(Arrival::Silence) => {
                return request.broken(lost(node.address, "no answer to a batch in time"));
            }
            Err(error) => return request.broken(error),
        }
        let bad = |error| malformed(node.address, error);
        if let Some(result) = request.read(frame).map_err(bad)? {
            if result.is_session_lost() {
                request.in_doubt = false; // nobody is let in who is not known
                return request.broken(node.session_lost().await);
            }
            node.give_back(connection);
            return request.ended(node, result);
        }
    }
}

impl Request<'_> {
    fn read(&mut self, frame: &[u8]) -> Result<Option<ResultCode>, super::wire::Malformed> {
        let mut stray = false;
        let last = read_answer(frame, |index, result| match self.answers.get_mut(index as usize) {
            Some(answer) => *answer = Some(result),
            None => stray = true,
        })?;
        if stray { Err(super::wire::Malformed { what: "batch answer: row index" }) } else { Ok(last) }
    }

    /// The connection went before the end of the answer.
    fn broken(mut self, error: Error) -> Result<Self> {
        if error.code() != CONNECTION_LOST {
            return Err(error);
        }
        self.trouble = Some(error);
        Ok(self)
    }

    /// The answer is whole. A batch that was refused as a whole has no rows in it.
    fn ended(mut self, node: &Node, result: ResultCode) -> Result<Self> {
        if self.answers.iter().all(Option::is_some) {
            return Ok(self);
        }
        let message = format!("node {node} ended a batch of {} rows: {result}", self.rows.len());
        if result.is_ok() || result.is_request_retryable() {
            // full queues refuse before any row is begun
            self.in_doubt = result != ResultCode::BATCH_QUEUES_FULL;
            self.trouble = Some(Error::temporary("batch-refused", message));
            return Ok(self);
        }
        Err(Error::permanent("batch-refused", message)
            .hint("If rows were too many, raise the server's batch-max-requests; else see the node's log."))
    }
}

mod single;
#[cfg(test)]
mod tests;
