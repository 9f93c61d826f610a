//! The way of a restore: files → decode → what is hidden is passed over → batches → cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::decode::FileSource;
use super::rows::{Collected, Rows};
use crate::aerospike::{BatchWriter, Cluster, ResultCode, RowOutcome, RowResult};
use crate::asb::{IndexDef, Item, UdfDef};
use crate::clock::SharedClock;
use crate::engine::{FileToRead, MemberReport, MemberWrite, RestoreCounters, Watch};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::store::DigestTable;
use crate::tasks::Scope;

/// What all tasks of one member share.
struct Member {
    write: MemberWrite,
    digests: Option<Arc<DigestTable>>,
    watch: Arc<dyn Watch>,
    next_file: AtomicUsize,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    counters: RestoreCounters,
    indexes: Vec<IndexDef>,
    udfs: Vec<UdfDef>,
    /// Refused rows by result code, each with a digest as a sample.
    refused: BTreeMap<String, (u64, String)>,
}

/// Writes the files of one member and waits until every write is settled.
pub async fn write_member(
    cluster: &Cluster,
    clock: &SharedClock,
    write: &MemberWrite,
    storage: Arc<dyn Storage>,
    digests: Option<Arc<DigestTable>>,
    watch: Arc<dyn Watch>,
    cancel: &CancellationToken,
) -> Result<MemberReport> {
    let readers = write.parallel.clamp(1, write.files.len().max(1));
    let writers = write.max_async_batches.clamp(1, 2 * readers.max(4));
    let member = Arc::new(Member {
        write: write.clone(),
        digests,
        watch,
        next_file: AtomicUsize::new(0),
        tally: Mutex::default(),
    });
    let time = destination_time(cluster, &write.namespace, clock).await?;
    let (rows, incoming) = mpsc::channel::<Rows>(writers);
    let incoming = Arc::new(tokio::sync::Mutex::new(incoming));
    let mut scope = Scope::new(cancel);
    for _ in 0..readers {
        let (member, rows, time) = (Arc::clone(&member), rows.clone(), time.clone());
        let source = FileSource {
            storage: Arc::clone(&storage),
            runtime: Handle::current(),
            cancel: scope.token().clone(),
        };
        scope.spawn_blocking("file-reader", move || member.read_files(&source, &time, &rows));
    }
    drop(rows);
    for _ in 0..writers {
        let (member, incoming, token) = (Arc::clone(&member), Arc::clone(&incoming), scope.token().clone());
        let timeout_ms = u32::try_from(write.socket_timeout_ms).unwrap_or(u32::MAX);
        let mut writer = BatchWriter::new(cluster.clone(), write.retry, timeout_ms);
        scope.spawn("batch-writer", async move {
            loop {
                let next = incoming.lock().await.recv().await;
                let Some(rows) = next else { return Ok(()) };
                member.write_rows(&mut writer, rows, &token).await?;
            }
        });
    }
    // Only the writers hold it now: when they have ended, a reader that waits for room is told so.
    drop(incoming);
    let ended = scope.join().await;
    if cancel.is_cancelled() {
        return Err(Error::temporary("canceled", "the restore was canceled"));
    }
    ended?;
    let tally = std::mem::take(&mut *member.tally.lock().unwrap_or_else(PoisonError::into_inner));
    finish(cluster, write, tally, cancel).await
}

/// The clock of the destination in seconds since 2010, by which remaining lives are computed (rules.md 4.7).
async fn destination_time(
    cluster: &Cluster,
    namespace: &str,
    clock: &SharedClock,
) -> Result<DestinationTime> {
    let asked_at = clock.now();
    let stats = cluster.namespace_stats(namespace).await?;
    let node_s = stats.iter().map(|stat| stat.current_time_s).max().unwrap_or_default();
    Ok(DestinationTime { node_s, asked_at, clock: Arc::clone(clock) })
}

/// Tells the destination's time while the restore goes on.
#[derive(Clone)]
pub(super) struct DestinationTime {
    node_s: u64,
    asked_at: crate::model::UnixMillis,
    clock: SharedClock,
}

impl DestinationTime {
    /// Seconds since 2010 by the destination's clock.
    pub(super) fn now_s(&self) -> u64 {
        let elapsed_ms = self.clock.now().since(self.asked_at).max(0);
        self.node_s + (elapsed_ms / 1000) as u64
    }
}

impl Member {
    /// Reads files until none is left; runs on a blocking thread.
    fn read_files(
        &self,
        source: &FileSource,
        time: &DestinationTime,
        out: &mpsc::Sender<Rows>,
    ) -> Result<()> {
        while let Some(file) = self.next_file() {
            let mut rows = Rows::new(&self.write, time.clone());
            let bytes = source.read(file, &mut |item| {
                match item {
                    Item::Record(record) if !self.write.no_records => {
                        rows.push(&self.write, &record)?;
                        if rows.is_full() {
                            let full = std::mem::replace(&mut rows, Rows::new(&self.write, time.clone()));
                            send(out, full)?;
                        }
                    }
                    Item::Record(_) => rows.skip_record(),
                    other => self.collect(other),
                }
                Ok(())
            })?;
            send(out, rows)?;
            self.add(&RestoreCounters { total_bytes: bytes, ..RestoreCounters::default() });
        }
        Ok(())
    }

    fn next_file(&self) -> Option<&FileToRead> {
        self.write.files.get(self.next_file.fetch_add(1, Ordering::SeqCst))
    }

    fn collect(&self, item: Item<'_>) {
        let mut tally = self.tally();
        match item {
            Item::Index(mut index) if !self.write.no_indexes => {
                if index.namespace == self.write.source_namespace.as_bytes() {
                    index.namespace = self.write.namespace.clone().into_bytes();
                }
                tally.indexes.push(index);
            }
            Item::Udf(udf) if !self.write.no_udfs => tally.udfs.push(udf),
            _ => {}
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, counters: &RestoreCounters) {
        self.tally().counters.add(counters);
    }

    /// Passes over what newer versions hide, writes the rest, counts each row once.
    async fn write_rows(
        &self,
        writer: &mut BatchWriter,
        rows: Rows,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let Collected { batch, digests, hiding, mut counters } = rows.finish();
        self.watch.read(counters.read_records);
        let open = self.not_hidden(&digests, &hiding).await?;
        counters.existed_records += (digests.len() - open.len()) as u64;
        if !open.is_empty() {
            let outcomes = writer.write_some(&batch, &open, cancel).await?;
            self.count(&mut counters, &digests, &open, &outcomes);
        }
        self.add(&counters);
        self.watch.done(counters.read_records, batch.byte_len() as u64);
        self.fail_on_refused()
    }

    /// The rows that nothing newer hides; notes what this member hides in turn (rules.md 4.3, 4.5).
    async fn not_hidden(&self, digests: &[[u8; 20]], hiding: &[[u8; 20]]) -> Result<Vec<usize>> {
        let Some(table) = &self.digests else { return Ok((0..digests.len()).collect()) };
        let met = table.find(digests).await?;
        let visible = |position: &Option<u32>| match position {
            None => true,
            // Chronological: what was collected of older members hides nothing here.
            Some(position) => *position < self.write.position,
        };
        let mut open: Vec<usize> =
            met.iter().enumerate().filter(|(_, at)| visible(at)).map(|(row, _)| row).collect();
        if self.write.each_digest_once {
            // Twice in one member (migrations can do that): the first one counts.
            let mut seen = std::collections::HashSet::new();
            open.retain(|row| digests.get(*row).is_some_and(|digest| seen.insert(*digest)));
            let noted: Vec<_> = open.iter().filter_map(|row| digests.get(*row).copied()).collect();
            table.note(&noted, self.write.position).await?;
        }
        table.note(hiding, self.write.position).await?;
        Ok(open)
    }

    fn count(
        &self,
        counters: &mut RestoreCounters,
        digests: &[[u8; 20]],
        open: &[usize],
        outcomes: &[RowOutcome],
    ) {
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
                RowResult::Failed(code) => self.refuse(&code_text(code), digests.get(*row)),
                RowResult::Unanswered => self.refuse("no answer", digests.get(*row)),
            }
        }
    }

    fn refuse(&self, why: &str, digest: Option<&[u8; 20]>) {
        let mut tally = self.tally();
        let entry = tally.refused.entry(why.to_owned()).or_insert_with(|| (0, hex(digest)));
        entry.0 += 1;
    }

    /// Without `ignore-record-error` a refused record fails the job, with the commonest codes (rules.md 4.6).
    fn fail_on_refused(&self) -> Result<()> {
        let tally = self.tally();
        if tally.refused.is_empty() {
            return Ok(());
        }
        let mut codes: Vec<_> = tally.refused.iter().collect();
        codes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let list: Vec<String> = codes
            .iter()
            .take(3)
            .map(|(code, (count, digest))| format!("{count} × {code} (such as record {digest})"))
            .collect();
        Err(Error::permanent(
            "records-refused",
            format!("namespace {} refused records: {}", self.write.namespace, list.join(", ")),
        )
        .hint("See the server's log for the records named; restore again once the cause is removed."))
    }
}

fn send(out: &mpsc::Sender<Rows>, rows: Rows) -> Result<()> {
    out.blocking_send(rows).map_err(|_| Error::temporary("canceled", "the writers have ended"))
}

fn code_text(code: ResultCode) -> String {
    code.to_string()
}

fn hex(digest: Option<&[u8; 20]>) -> String {
    use std::fmt::Write as _;
    digest.into_iter().flatten().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Registers the UDFs; indexes are left to the end of the whole restore, when building them is cheapest.
async fn finish(
    cluster: &Cluster,
    write: &MemberWrite,
    tally: Tally,
    cancel: &CancellationToken,
) -> Result<MemberReport> {
    let Tally { mut counters, indexes, udfs, .. } = tally;
    let mut warnings = Vec::new();
    if !counters.balanced() {
        return Err(Error::permanent(
            "counters-unbalanced",
            format!("namespace {}: a record read is in no counter or in two: {counters:?}", write.namespace),
        )
        .hint("This is a defect of Holdfast: please report it."));
    }
    for udf in &udfs {
        if cancel.is_cancelled() {
            return Err(Error::temporary("canceled", "the restore was canceled"));
        }
        if put_udf(cluster, udf, &mut warnings).await? {
            counters.udf_count += 1;
        }
    }
    Ok(MemberReport { counters, indexes, warnings })
}

/// Registers a module unless it is there with the same content (rules.md 4.9); whether it was registered.
async fn put_udf(cluster: &Cluster, udf: &UdfDef, warnings: &mut Vec<String>) -> Result<bool> {
    let registered = cluster.list_udfs().await?.into_iter().any(|known| known.name == udf.name);
    if registered {
        if cluster.get_udf(&udf.name).await?.content == udf.content {
            return Ok(false);
        }
        warnings.push(format!(
            "UDF module {} had another content and was replaced",
            String::from_utf8_lossy(&udf.name)
        ));
    }
    cluster.put_udf(udf).await?;
    Ok(true)
}

/// Reads the files of one member and notes which of its versions hide older ones (rules.md 4.5).
pub async fn collect_hidden(
    cluster: &Cluster,
    clock: &SharedClock,
    write: &MemberWrite,
    storage: Arc<dyn Storage>,
    digests: Arc<DigestTable>,
    cancel: &CancellationToken,
) -> Result<()> {
    let time = destination_time(cluster, &write.namespace, clock).await?;
    for file in &write.files {
        let source =
            FileSource { storage: Arc::clone(&storage), runtime: Handle::current(), cancel: cancel.clone() };
        let (file, write, time, table) = (file.clone(), write.clone(), time.clone(), Arc::clone(&digests));
        crate::tasks::blocking(move || {
            let mut rows = Rows::new(&write, time);
            source.read(&file, &mut |item| {
                if let Item::Record(record) = item {
                    rows.note_hidden(&record);
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
