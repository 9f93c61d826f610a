//! The way of a restore: files → decode → what is hidden is passed over → batches → cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::decode::FileSource;
use super::rows::{Collected, NotWritten, Rows};
use super::threads;
use super::time::DestinationTime;
use crate::aerospike::{BatchWriter, Cluster, ResultCode, RowOutcome, RowResult, WriteBatch};
use crate::asb::{IndexDef, Item, UdfDef};
use crate::engine::{FileToRead, MemberReport, MemberWrite, RestoreCounters, SharedCounters, Watch};
use crate::error::{Error, Result};
use crate::memory::Held;
use crate::model::hex;
use crate::storage::Storage;
use crate::store::DigestTable;
use crate::tasks::{Scope, unless_canceled};

/// A filled batch on its way to the cluster, and the room that it takes there.
struct Sent {
    rows: Rows,
    held: Held,
}

/// What all tasks of one member share.
struct Member {
    write: MemberWrite,
    digests: Option<Arc<DigestTable>>,
    watch: Arc<dyn Watch>,
    next_file: AtomicUsize,
    counters: SharedCounters,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    indexes: Vec<IndexDef>,
    udfs: Vec<UdfDef>,
    warnings: Vec<String>,
    /// Refused rows by result code, each with a digest as a sample.
    refused: Refusals,
    /// Those of them that were passed over.
    ignored: Refusals,
}

/// Rows by result code: how many, and the digest of one of them.
type Refusals = BTreeMap<String, (u64, String)>;

/// Writes the files of one member and waits until every write is settled.
pub async fn write_member(
    cluster: &Cluster,
    write: &MemberWrite,
    storage: Arc<dyn Storage>,
    digests: Option<Arc<DigestTable>>,
    watch: Arc<dyn Watch>,
    counters: &SharedCounters,
    cancel: &CancellationToken,
) -> Result<MemberReport> {
    let time = DestinationTime::ask(cluster, &write.namespace, cancel).await?;
    let takes_batches = async { Ok(cluster.takes_batch_writes().await) };
    let singly = write.singly || !unless_canceled(cancel, takes_batches).await?;
    let seats =
        threads::seats(write.parallel.clamp(1, write.files.len().max(1)), watch.as_ref(), cancel).await?;
    let member = Arc::new(Member {
        write: write.clone(),
        digests,
        watch: Arc::clone(&watch),
        next_file: AtomicUsize::new(0),
        counters: counters.clone(),
        tally: Mutex::default(),
    });
    let (rows, incoming) = mpsc::channel::<Sent>(1);
    let mut scope = Scope::new(cancel);
    for seat in seats {
        let (member, rows) = (Arc::clone(&member), rows.clone());
        let source = FileSource {
            storage: Arc::clone(&storage),
            runtime: Handle::current(),
            cancel: scope.token().clone(),
            watch: Some(Arc::clone(&watch)),
        };
        scope.spawn_blocking("file-reader", move || {
            let _seat = seat;
            member.read_files(&source, time, &rows)
        });
    }
    drop(rows);
    scope.spawn("batch-writers", {
        let (member, cluster, token) = (Arc::clone(&member), cluster.clone(), scope.token().clone());
        // It holds the receiver: when it has ended, a reader that waits is told so.
        async move { write_batches(&member, &cluster, singly, incoming, &token).await }
    });
    let ended = scope.join().await;
    if cancel.is_cancelled() {
        return Err(Error::temporary("canceled", "the restore was canceled"));
    }
    ended?;
    let tally = std::mem::take(&mut *member.tally.lock().unwrap_or_else(PoisonError::into_inner));
    finish(write, tally, counters)
}

/// Writes batches side by side as they come: at most so many as the policy says, and as there is room for in flight.
async fn write_batches(
    member: &Arc<Member>,
    cluster: &Cluster,
    singly: bool,
    mut incoming: mpsc::Receiver<Sent>,
    cancel: &CancellationToken,
) -> Result<()> {
    let write = &member.write;
    let new = || BatchWriter::new(cluster.clone(), write.retry, request_timeout_ms(write)).singly(singly);
    // The last one that was used comes first: no more are made than write at once.
    let idle: Arc<Mutex<Vec<BatchWriter>>> = Arc::default();
    let mut batches = Scope::new(cancel);
    loop {
        let next = tokio::select! {
            biased;
            Some(ended) = batches.join_next(), if !batches.is_empty() => {
                let Err(error) = ended else { continue };
                // The others are told to end, not dropped: so what they may have written is counted as in doubt.
                batches.token().cancel();
                let others = batches.join().await;
                let is_echo = error.code() == "canceled";
                return Err(if is_echo { others.err().unwrap_or(error) } else { error });
            }
            next = incoming.recv(), if batches.len() < write.max_async_batches.max(1) => next,
        };
        let Some(Sent { rows, held }) = next else { return batches.join().await };
        let writer = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut writer = writer.unwrap_or_else(new);
        let (member, idle, token) = (Arc::clone(member), Arc::clone(&idle), batches.token().clone());
        batches.spawn("batch-writer", async move {
            let _held = held;
            member.write_rows(&mut writer, rows, &token).await?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
            Ok(())
        });
    }
}

/// The server's deadline for one request; 0: its own.
fn request_timeout_ms(write: &MemberWrite) -> u32 {
    let given = [write.socket_timeout_ms, write.total_timeout_ms].into_iter().filter(|ms| *ms > 0).min();
    u32::try_from(given.unwrap_or(0)).unwrap_or(u32::MAX)
}

impl Member {
    /// Reads files until none is left; runs on a blocking thread.
    fn read_files(&self, source: &FileSource, time: DestinationTime, out: &mpsc::Sender<Sent>) -> Result<()> {
        while let Some(file) = self.next_file() {
            let mut rows = Rows::new(&self.write, time);
            let bytes = source.read(file, &mut |item| {
                match item {
                    Item::Record(record) if !self.write.no_records => {
                        rows.push(&self.write, &record)?;
                        if rows.is_full() {
                            let next = rows.next(&self.write);
                            let full = std::mem::replace(&mut rows, next);
                            self.send(source, out, full)?;
                        }
                    }
                    Item::Record(_) => rows.skip_record(),
                    other => self.collect(other),
                }
                Ok(())
            })?;
            self.send(source, out, rows)?;
            self.counters.add(&RestoreCounters { total_bytes: bytes, ..RestoreCounters::default() });
        }
        Ok(())
    }

    /// Waits for room, on a blocking thread. What is on its way settles without us, so the wait ends.
    fn send(&self, source: &FileSource, out: &mpsc::Sender<Sent>, rows: Rows) -> Result<()> {
        let entered = async { Ok(self.write.in_flight.enter(rows.in_flight_bytes()).await) };
        let held = source.runtime.block_on(unless_canceled(&source.cancel, entered))?;
        out.blocking_send(Sent { rows, held })
            .map_err(|_| Error::temporary("canceled", "the writers have ended"))
    }

    fn next_file(&self) -> Option<&FileToRead> {
        self.write.files.get(self.next_file.fetch_add(1, Ordering::SeqCst))
    }

    fn collect(&self, item: Item<'_>) {
        let mut tally = self.tally();
        match item {
            Item::Index(mut index) if !self.write.no_indexes => {
                if index.namespace == self.write.source_namespace.as_bytes() {
                    if index.bin == b"null" && index.expression.is_none() {
                        // What asbackup writes of an expression index, which it does not know (asb.md 1.5).
                        tally.warnings.push(format!(
                            "index {} is over a bin \"null\": if it was over an expression, that was not saved",
                            String::from_utf8_lossy(&index.name)
                        ));
                    }
                    index.namespace = self.write.namespace.clone().into_bytes();
                    tally.indexes.push(index);
                } else {
                    tally.warnings.push(format!(
                        "index {} belongs to namespace {}, not to {}: it is not created",
                        String::from_utf8_lossy(&index.name),
                        String::from_utf8_lossy(&index.namespace),
                        self.write.source_namespace
                    ));
                }
            }
            Item::SetIndex(index) if !self.write.no_indexes => tally.warnings.push(format!(
                "set index {} of set {} is not created: set indexes are part of a server's configuration",
                String::from_utf8_lossy(&index.name),
                String::from_utf8_lossy(&index.set)
            )),
            Item::Udf(udf) if !self.write.no_udfs => tally.udfs.push(udf),
            _ => {}
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes over what newer versions hide, writes the rest, counts each row once.
    async fn write_rows(
        &self,
        writer: &mut BatchWriter,
        rows: Rows,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let Collected { batch, digests, hiding, mut counters } = rows.finish();
        let read = counters.read_records;
        self.watch.read(read);
        let open = self.pass_over(&digests, &hiding, &mut counters).await?;
        let written = self.write_open(writer, &batch, &digests, &open, &mut counters, cancel).await;
        self.counters.add(&counters);
        self.watch.done(read, 0);
        written?;
        self.fail_on_refused()
    }

    /// Writes the rows that nothing hides, and counts how each ended.
    async fn write_open(
        &self,
        writer: &mut BatchWriter,
        batch: &WriteBatch,
        digests: &[[u8; 20]],
        open: &[usize],
        counters: &mut RestoreCounters,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if open.is_empty() {
            return Ok(());
        }
        if self.write.validate {
            counters.inserted_records += open.len() as u64;
            return Ok(());
        }
        if let Some(pace) = &self.write.records_pace {
            pace.wait(open.len() as u64, self.watch.as_ref(), cancel).await?;
        }
        match self.in_time(writer.write_some(batch, open, cancel)).await {
            Ok(outcomes) => {
                let ignored = self.count(counters, digests, open, &outcomes);
                self.hide(&ignored).await
            }
            Err(error) => {
                // They may have been written or not.
                counters.errors_in_doubt += open.len() as u64;
                Err(error)
            }
        }
    }

    /// One batch with its retries, within `total-timeout`.
    async fn in_time<T>(&self, written: impl Future<Output = Result<T>>) -> Result<T> {
        match self.write.total_timeout_ms {
            0 => written.await,
            ms => tokio::time::timeout(Duration::from_millis(ms), written).await.unwrap_or_else(|_| {
                Err(Error::temporary(
                    "write-timeout",
                    format!("namespace {} did not take a batch within {ms} ms", self.write.namespace),
                )
                .hint("Raise total-timeout in the policy; retries count in it."))
            }),
        }
    }

    /// The rows that nothing newer hides; notes what this member hides in turn, and counts what is not written
    /// (rules.md 4.3, 4.5).
    async fn pass_over(
        &self,
        digests: &[[u8; 20]],
        hiding: &[([u8; 20], NotWritten)],
        counters: &mut RestoreCounters,
    ) -> Result<Vec<usize>> {
        let mut all = digests.to_vec();
        all.extend(hiding.iter().map(|(digest, _)| *digest));
        let visible = self.visible(&all, digests.len()).await?;
        counters.existed_records += visible.iter().filter(|visible| !**visible).count() as u64;
        for ((_, why), _) in hiding.iter().zip(visible.iter().skip(digests.len())).filter(|(_, seen)| **seen)
        {
            match why {
                NotWritten::Expired => counters.expired_records += 1,
                NotWritten::Empty => counters.skipped_records += 1,
            }
        }
        Ok((0..digests.len()).filter(|row| visible.get(*row) == Some(&true)).collect())
    }

    /// Which versions nothing newer hides; those from `first_hiding` on hide older ones in any case.
    async fn visible(&self, all: &[[u8; 20]], first_hiding: usize) -> Result<Vec<bool>> {
        let Some(table) = &self.digests else { return Ok(vec![true; all.len()]) };
        if self.write.each_digest_once {
            // Twice in one member (migrations can do that): the first one counts.
            return table.claim(all, self.write.position).await;
        }
        let met = table.find(all).await?;
        table.note(all.get(first_hiding..).unwrap_or_default(), self.write.position).await?;
        // Chronological: what was collected of this member and of older ones hides nothing here.
        Ok(met.iter().map(|at| at.is_none_or(|at| at <= self.write.position)).collect())
    }

    /// A version that was passed over hides older ones all the same (rules.md 4.5).
    async fn hide(&self, ignored: &[[u8; 20]]) -> Result<()> {
        match &self.digests {
            // Where each digest is written once, it was noted before it was written.
            Some(table) if !ignored.is_empty() && !self.write.each_digest_once => {
                table.note(ignored, self.write.position).await
            }
            _ => Ok(()),
        }
    }

    /// Counts each row once; gives the digests of those that were passed over.
    fn count(
        &self,
        counters: &mut RestoreCounters,
        digests: &[[u8; 20]],
        open: &[usize],
        outcomes: &[RowOutcome],
    ) -> Vec<[u8; 20]> {
        let mut ignored = Vec::new();
        for (row, outcome) in open.iter().zip(outcomes) {
            if outcome.in_doubt {
                counters.errors_in_doubt += 1;
            }
            match outcome.result {
                RowResult::Inserted => counters.inserted_records += 1,
                // It may be our own write of which the answer was lost (rules.md 4.4).
                RowResult::Existed | RowResult::Fresher if outcome.in_doubt && self.write.first_applied => {
                    counters.inserted_records += 1;
                }
                RowResult::Existed => counters.existed_records += 1,
                RowResult::Fresher => counters.fresher_records += 1,
                RowResult::Failed(code) if self.write.ignore_record_error && code.is_ignorable() => {
                    counters.ignored_records += 1;
                    ignored.extend(digests.get(*row));
                    note(&mut self.tally().ignored, &code_text(code), digests.get(*row));
                }
                RowResult::Failed(code) => {
                    note(&mut self.tally().refused, &code_text(code), digests.get(*row));
                }
                RowResult::Unanswered => note(&mut self.tally().refused, "no answer", digests.get(*row)),
            }
        }
        ignored
    }

    /// Without `ignore-record-error` a refused record fails the job, with the commonest codes (rules.md 4.6).
    fn fail_on_refused(&self) -> Result<()> {
        let tally = self.tally();
        if tally.refused.is_empty() {
            return Ok(());
        }
        Err(Error::permanent(
            "records-refused",
            format!("namespace {} refused records: {}", self.write.namespace, commonest(&tally.refused)),
        )
        .hint("See the server's log for the records named; restore again once the cause is removed."))
    }
}

fn note(refusals: &mut Refusals, why: &str, digest: Option<&[u8; 20]>) {
    let sample = || (0, digest.map(|digest| hex(digest)).unwrap_or_default());
    refusals.entry(why.to_owned()).or_insert_with(sample).0 += 1;
}

/// The three commonest reasons, with numbers and samples.
fn commonest(refusals: &Refusals) -> String {
    let mut codes: Vec<_> = refusals.iter().collect();
    codes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let list: Vec<String> = codes
        .iter()
        .take(3)
        .map(|(code, (count, digest))| format!("{count} × {code} (such as record {digest})"))
        .collect();
    list.join(", ")
}

fn code_text(code: ResultCode) -> String {
    code.to_string()
}

/// What is left to do: indexes and UDFs, once the records are there.
fn finish(write: &MemberWrite, tally: Tally, counters: &SharedCounters) -> Result<MemberReport> {
    let Tally { indexes, udfs, mut warnings, ignored, .. } = tally;
    let counters = counters.get();
    if !counters.balanced() {
        return Err(Error::permanent(
            "counters-unbalanced",
            format!("namespace {}: a record read is in no counter or in two: {counters:?}", write.namespace),
        )
        .hint("This is a defect of Holdfast: please report it."));
    }
    if !ignored.is_empty() {
        warnings.push(format!(
            "namespace {} refused records, which were passed over (ignore-record-error): {}",
            write.namespace,
            commonest(&ignored)
        ));
    }
    Ok(MemberReport { counters, indexes, udfs, warnings })
}

/// Reads the files of one member and notes which of its versions hide older ones (rules.md 4.5).
pub async fn collect_hidden(
    cluster: &Cluster,
    write: &MemberWrite,
    storage: Arc<dyn Storage>,
    digests: Arc<DigestTable>,
    cancel: &CancellationToken,
) -> Result<()> {
    let time = DestinationTime::ask(cluster, &write.namespace, cancel).await?;
    for file in &write.files {
        let source = FileSource {
            storage: Arc::clone(&storage),
            runtime: Handle::current(),
            cancel: cancel.clone(),
            watch: None,
        };
        let (file, write, table) = (file.clone(), write.clone(), Arc::clone(&digests));
        let seat = threads::seat(cancel).await?;
        crate::tasks::blocking(move || {
            let _seat = seat;
            let mut rows = Rows::new(&write, time);
            source.read(&file, &mut |item| {
                if let Item::Record(record) = item {
                    rows.note_hidden(&write, &record);
                    if rows.hiding_len() >= 1000 {
                        source.runtime.block_on(table.note(&rows.take_hiding(), write.position))?;
                    }
                }
                Ok(())
            })?;
            source.runtime.block_on(table.note(&rows.take_hiding(), write.position))
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
