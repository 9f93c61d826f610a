//! The oracle end to end: the real work of backups and restores over the client protocol, a real store and a real disk,
//! against the sandbox; everything that happens to the records is known.
//!
//! A sequence is drawn from its seed, which a failure prints with all that was done; `HOLDFAST_ORACLE_SEED` repeats one.
//! What the application does while a scan goes on falls where it falls: the verdict allows every version of that time.

mod application;
mod bench;
mod compare;

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use self::application::NAMESPACES;
use self::bench::{Bench, ReadScript, When};
use super::judge::Limit;
use super::tally::Tally;
use crate::model::{BackupType, JobStatus, UnixMillis};
use crate::store::JobRow;

/// Sequences side by side: most of the time of each is spent waiting for the disk.
const SIDE_BY_SIDE: usize = 8;

/// A run of which not every namespace is done.
#[derive(Debug, Clone)]
struct Pending {
    created: UnixMillis,
    namespaces: Vec<String>,
    backup_type: BackupType,
    sealed: bool,
}

struct Sequence {
    bench: Bench,
    tally: Tally,
    /// What may go on, while no later run has begun (rules.md 2.5).
    pending: Option<Pending>,
}

impl Sequence {
    async fn play(&mut self) -> Result<(), String> {
        let application = self.bench.application.clone();
        application.change(40);
        self.back_up(BackupType::Full).await?;
        for _ in 0..7 + application.below(5) {
            match application.below(16) {
                0..5 => self.back_up(BackupType::Incremental).await?,
                5 => self.back_up(BackupType::Full).await?,
                6..8 => {
                    let forward_ms = 1_000 + application.below(60_000);
                    application.log(format!("clocks go forward by {forward_ms} ms"));
                    application.clock.set_forward(forward_ms as i64);
                }
                8 if application.once_in(3) => {
                    let namespace = NAMESPACES[application.below(2)];
                    application.log(format!("{namespace} is truncated"));
                    application.truncate(namespace);
                    application.change(10);
                }
                8..11 => self.retry_late().await?,
                _ => self.restore().await?,
            }
            let changes = application.below(8);
            application.change(changes);
        }
        self.back_up(BackupType::Incremental).await?;
        for _ in 0..3 {
            self.restore().await?;
        }
        self.tally.add("sequences", 1);
        let kept = &self.bench.kept;
        self.tally.add("sequences with a bin list", u64::from(kept.bins.is_some()));
        self.tally.add("sequences with a filter", u64::from(kept.with_bin.is_some()));
        let history = self.bench.history().await;
        let members = NAMESPACES.iter().flat_map(|name| history.members(name).1).collect::<Vec<_>>();
        // Two that build on one: only cumulative ones do.
        let on = |from| members.iter().filter(|one| one.from == Some(from)).count();
        let shared = members.iter().filter(|one| on(one.created) > NAMESPACES.len()).count();
        self.tally.add("backups that several incrementals build on", shared as u64);
        let inner = application.inner();
        self.tally.add("changes of records", inner.changes);
        self.tally.add("incrementals beside a full", inner.beside);
        Ok(())
    }

    /// What happens while the namespaces of a run are read.
    fn write_scripts(&self, backup_type: BackupType) -> bool {
        let application = &self.bench.application;
        let beside = backup_type == BackupType::Full && application.once_in(4);
        for (place, namespace) in NAMESPACES.into_iter().enumerate() {
            let reads = (0..2).map(|attempt| ReadScript {
                changes: [application.below(4), application.below(6), application.below(3)],
                incremental_beside: beside && place == 0 && attempt == 0,
                fails: application.once_in(5).then(|| [When::Before, When::After][application.below(2)]),
                may_pass: !application.once_in(3),
            });
            self.bench.script(namespace, reads.collect());
        }
        beside
    }

    async fn back_up(&mut self, backup_type: BackupType) -> Result<(), String> {
        let sealed = self.bench.application.once_in(4);
        let beside = self.write_scripts(backup_type);
        let row = self.run(backup_type, sealed, None).await?;
        let open = open_namespaces(&row);
        self.pending = match row.created {
            // A run beside it is a later run.
            Some(created) if !open.is_empty() && !beside => {
                Some(Pending { created, namespaces: open, backup_type, sealed })
            }
            _ => None,
        };
        Ok(())
    }

    /// Another attempt of the last run, for the namespaces that failed.
    async fn retry_late(&mut self) -> Result<(), String> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        self.write_scripts(BackupType::Incremental);
        let again = Some((pending.created, pending.namespaces.clone()));
        let row = self.run(pending.backup_type, pending.sealed, again).await?;
        self.tally.add("late attempts of failed namespaces", 1);
        let open = open_namespaces(&row);
        if !open.is_empty() {
            self.pending = Some(Pending { namespaces: open, ..pending });
        }
        Ok(())
    }

    /// Runs a backup while the application goes on.
    async fn run(
        &mut self,
        backup_type: BackupType,
        sealed: bool,
        again: Option<(UnixMillis, Vec<String>)>,
    ) -> Result<JobRow, String> {
        let application = self.bench.application.clone();
        application.log(format!("{backup_type:?}, sealed: {sealed}, again: {again:?}"));
        let mut changes = application.below(12);
        let job = self.bench.desk.back_up(backup_type, sealed, false, again);
        tokio::pin!(job);
        let row = loop {
            let pause = Duration::from_millis(2 + application.below(12) as u64);
            tokio::select! {
                row = &mut job => break row,
                () = tokio::time::sleep(pause) => if changes > 0 {
                    application.change(1);
                    changes -= 1;
                }
            }
        };
        for namespace in NAMESPACES {
            self.bench.script(namespace, Vec::new());
        }
        application.log(format!("{:?} {:?} {:?}", row.status, row.error, row.result));
        self.tally.add("backup runs", 1);
        let warned = |code: &str| u64::from(row.warnings.iter().any(|warning| warning.code == code));
        self.tally.add("backup runs with a retry", warned("retry"));
        self.tally.add("backup runs promoted: closed by a truncation", warned("promoted-closed"));
        self.tally.add("backup runs promoted: no full", warned("promoted-no-full"));
        match row.status {
            JobStatus::Succeeded => {}
            JobStatus::Failed if row.error.as_deref().is_some_and(|text| text.contains("scripted")) => {
                self.tally.add("backup runs that failed", 1);
            }
            _ => return Err(format!("the backup ended {:?}: {:?}", row.status, row.error)),
        }
        Ok(row)
    }
}

/// The namespaces of a run that are not done.
fn open_namespaces(row: &JobRow) -> Vec<String> {
    let ends = row.result.as_ref().and_then(|result| result["namespaces"].as_array());
    let open = |end: &&Value| !["committed", "empty"].contains(&end["end"].as_str().unwrap_or_default());
    let open = ends.into_iter().flatten().filter(open);
    open.map(|end| end["namespace"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Plays one sequence; an error says everything that was done.
async fn play(seed: u64) -> Result<Tally, String> {
    let bench = Bench::start(seed).await;
    let mut sequence = Sequence { bench, tally: Tally::default(), pending: None };
    let played = sequence.play().await;
    let log = sequence.bench.application.inner().log.join("\n");
    sequence.bench.stop().await;
    played.map(|()| sequence.tally).map_err(|reason| format!("{log}\nseed {seed}: {reason}"))
}

async fn play_all(seeds: std::ops::Range<u64>) {
    let only = std::env::var("HOLDFAST_ORACLE_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(seeds, |seed: u64| seed..seed + 1);
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    let mut played = futures_util::stream::iter(seeds.map(play)).buffer_unordered(SIDE_BY_SIDE);
    while let Some(one) = played.next().await {
        match one {
            Ok(one) => tally.join(&one),
            Err(reason) => wrong.push(reason),
        }
    }
    tally.print("oracle, end to end on the sandbox");
    assert!(wrong.is_empty(), "{} sequences are wrong, the first:\n{}", wrong.len(), wrong[0]);
    if only.is_some() {
        return;
    }
    // A generator that stopped meeting what it is for would pass everything.
    assert_eq!(tally.rows(), 10, "rows of rules.md 4.3");
    for limit in [Limit::DeleteNotSeen, Limit::SealedHole, Limit::OldStamp, Limit::LeftScope] {
        assert!(tally.limit(limit) > 0, "{limit:?} was never met");
    }
    for what in [
        "records of the destination that had to stay",
        "expired versions that hid older ones",
        "late attempts of failed namespaces",
        "incrementals beside a full",
        "sequences with a bin list",
        "sequences with a filter",
        "backups that several incrementals build on",
        "restores with their counters compared exactly",
    ] {
        assert!(tally.count(what) > 0, "no {what}");
    }
}

/// rules.md 3.1 to 3.8, 4.1 to 4.8, 9
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_sequences_restore_what_the_cluster_held() {
    play_all(0..200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "long: run by the script with --all"]
async fn two_thousand_sequences_restore_what_the_cluster_held() {
    play_all(1_000..3_000).await;
}
