//! Random sequences of backups, copies, readers, policies and crashes, against what the dry run said and what must never
//! happen, in either storage.

use super::copies::place;
use super::*;
use crate::catalog::State;
use crate::catalog::wholeness::{Wholeness, wholeness};
use crate::config::{CopyConfig, CopyOn};
use crate::copy::{CopyRequest, Wanted, copy_job};
use crate::model::chain::{Member, chain_at};
use futures_util::stream::{self, StreamExt as _};

/// xorshift64*: the same sequences in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

const NAMESPACES: [&str; 2] = ["a", "b"];

/// What the sequences did, so that one that does nothing is seen.
#[derive(Debug, Default)]
struct Counts {
    retentions: usize,
    deleted: usize,
    cut_off: usize,
    left_marked: usize,
    held_back: u64,
    deletions: usize,
    refused: usize,
    with_others: usize,
    copies: usize,
    copied: usize,
    copies_cut_off: usize,
    of_copies: usize,
    deleted_copies: usize,
}

impl Counts {
    fn and(self, other: &Self) -> Self {
        Self {
            retentions: self.retentions + other.retentions,
            deleted: self.deleted + other.deleted,
            cut_off: self.cut_off + other.cut_off,
            left_marked: self.left_marked + other.left_marked,
            held_back: self.held_back + other.held_back,
            deletions: self.deletions + other.deletions,
            refused: self.refused + other.refused,
            with_others: self.with_others + other.with_others,
            copies: self.copies + other.copies,
            copied: self.copied + other.copied,
            copies_cut_off: self.copies_cut_off + other.copies_cut_off,
            of_copies: self.of_copies + other.of_copies,
            deleted_copies: self.deleted_copies + other.deleted_copies,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sequences_keep_what_is_needed_and_do_what_the_dry_run_said() {
    // Some at once: each has its own store and storages, and waits for them most of the time.
    let all = stream::iter(1..=20).map(|seed| Box::pin(sequence(seed)));
    let counts = all.buffer_unordered(4).fold(Counts::default(), async |sum, one| sum.and(&one)).await;
    println!("{counts:?}");
    assert!(counts.deleted > 100 && counts.cut_off > 10 && counts.left_marked > 0 && counts.held_back > 0);
    assert!(counts.deletions > 20 && counts.refused > 5 && counts.with_others > 5);
    assert!(counts.copied > 100 && counts.copies_cut_off > 10, "{counts:?}");
    assert!(counts.of_copies > 20 && counts.deleted_copies > 50, "{counts:?}");
}

async fn sequence(seed: u64) -> Counts {
    let mut counts = Counts::default();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut bench = Bench::new(keeps(1, None)).await;
    bench.config.copies = vec![CopyConfig {
        storage: place(&bench, "vault"),
        retention: Some(keeps(1, None)),
        on: CopyOn::All,
        verify: true,
    }];
    let mut readers: Vec<JobId> = Vec::new();
    for step in 1..=24_i64 {
        backups(&bench, step, &mut random).await;
        if random.one_in(4) {
            readers.extend(read(&bench, &mut random).await);
        }
        if random.one_in(3)
            && let Some(reader) = readers.pop()
        {
            bench.jobs.cancel(reader).await.unwrap();
        }
        if random.one_in(4) {
            bench = delete(bench, &mut random, &mut counts, &format!("seed {seed}, step {step}")).await;
        }
        if random.one_in(3) {
            bench = copy(bench, &mut random, &mut counts, &format!("seed {seed}, step {step}")).await;
        }
        for of_copies in [false, true] {
            if !random.one_in(if of_copies { 5 } else { 3 }) {
                continue;
            }
            let full = 1 + random.below(3) as u32;
            let incremental = random.one_in(2).then(|| random.below(u64::from(full) + 1) as u32);
            let rules = Some(rules(keeps(full, incremental), &mut random));
            if of_copies {
                bench.config.copies[0].retention = rules;
            } else {
                bench.config.policy.retention = rules;
            }
            let what = format!("seed {seed}, step {step}, of copies: {of_copies}");
            bench = Box::pin(retain(bench, of_copies, &mut random, &mut counts, &what)).await;
        }
    }
    counts
}

/// With age and periods, some of the time. The fulls of a sequence are seconds apart, a month before the clock's time.
fn rules(counts: RetentionConfig, random: &mut Random) -> RetentionConfig {
    let keep = KeepTiers { daily: Some(1 + random.below(2) as u32), ..KeepTiers::default() };
    match random.below(4) {
        0 => RetentionConfig { max_age_hours: Some(1 + random.below(5) as u32), ..counts },
        1 => {
            RetentionConfig { full: None, keep: Some(keep), min_fulls: 1 + random.below(3) as u32, ..counts }
        }
        _ => counts,
    }
}

/// Somebody deletes a backup, perhaps with what needs it; what goes is what was said, and nothing else loses anything.
async fn delete(mut bench: Bench, random: &mut Random, counts: &mut Counts, what: &str) -> Bench {
    let before = bench.history().await;
    let (entries, _) = before.members(NAMESPACES[random.below(2) as usize]);
    let Some(entry) = entries.get(random.below(entries.len().max(1) as u64) as usize) else { return bench };
    let request = DeletionRequest {
        backup_type: entry.backup_type,
        timestamp: entry.created,
        cascade: random.one_in(2),
    };
    let now = bench.clock.now_ms();
    let plan = plan_deletion(bench.store(), &bench.storage, "r", &request, now).await.unwrap();
    let said: BTreeSet<String> = plan.backups.iter().map(|one| one.key.clone()).collect();
    let all = bench.keys().await;
    let job = bench.admit_deletion(&request).await;
    bench.settle().await;
    let job = bench.store().job(job).await.unwrap().unwrap();
    let left = bench.keys().await;
    if let Err(refusal) = plan.refusal() {
        let code = job.error_code.as_deref();
        assert_eq!((code, &left), (Some(refusal.code()), &all), "{what}: {request:?}");
        counts.refused += 1;
        return bench;
    }
    assert_eq!(job.status, JobStatus::Succeeded, "{what}: {request:?}: {:?}", job.error);
    let gone: BTreeSet<String> = all.difference(&left).cloned().collect();
    assert_eq!(gone, said, "{what}: {request:?}");
    counts.deletions += 1;
    counts.with_others += usize::from(plan.backups.iter().any(|one| one.why == "dependent"));
    let after = bench.history().await;
    for namespace in before.namespaces() {
        let ((_, members), (_, kept)) = (before.members(&namespace), after.members(&namespace));
        for member in &kept {
            let lost = is_whole_at(&members, member) && !is_whole_at(&kept, member);
            assert!(!lost, "{what}: {} lost what it needs", member.created);
        }
    }
    if random.one_in(4) {
        bench = bench.restarted().await;
    }
    bench
}

/// A run of both namespaces, of which one may fail; each incremental builds on what the chain says.
async fn backups(bench: &Bench, step: i64, random: &mut Random) {
    let created = T + step * 10_000;
    let kind = random.below(10);
    let history = bench.history().await;
    for namespace in NAMESPACES {
        if random.one_in(8) {
            continue;
        }
        let (_, members) = history.members(namespace);
        let chain = chain_at(&members, UnixMillis(i64::MAX), false).ok();
        let last = chain.and_then(|chain| chain.members.last().map(|place| members[*place].created.0));
        let backup = match last {
            Some(from) if kind >= 3 => Backup::incremental(created, from, namespace),
            // The schedule's full, or one in the place of an incremental.
            _ => Backup { promoted: kind >= 2, ..Backup::full(created, namespace) },
        };
        let backup = backup.files(random.below(2) as usize);
        if random.one_in(10) {
            backup.write_files(&bench.storage).await.finish().await.unwrap();
        } else {
            backup.write(&bench.storage).await;
        }
    }
}

/// Copies what the newest run has, or everything, perhaps with an end of the process at some moment of it: what is listed
/// then is whole and the original, with all that it builds on.
async fn copy(mut bench: Bench, random: &mut Random, counts: &mut Counts, what: &str) -> Bench {
    let own = bench.history().await;
    let newest: Vec<String> = NAMESPACES
        .iter()
        .filter_map(|name| {
            let (entries, _) = own.members(name);
            let whole = entries.into_iter().filter(|entry| entry.state == State::Whole);
            whole.max_by_key(|entry| entry.created).map(|entry| entry.key.clone())
        })
        .collect();
    let wanted = if random.one_in(2) { Wanted::Everything } else { Wanted::Folders(newest) };
    let request = CopyRequest { wanted, tries: None };
    let before = bench.in_vault().await;
    if random.one_in(3) {
        let (calls, moment) = (bench.vault.calls(Op::Finish), random.below(4));
        admit_copy(&bench, &request).await;
        bench = crash_when(
            bench,
            |bench| bench.vault.calls(Op::Finish) >= calls + moment,
            |cut| {
                counts.copies_cut_off += usize::from(cut);
            },
        )
        .await;
        check_copies(&bench, what).await;
    }
    let id = admit_copy(&bench, &request).await;
    bench.settle().await;
    let job = bench.store().job(id).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Succeeded, "{what}: {request:?}: {:?}", job.error);
    assert_eq!(bench.keys().await, own_keys(&own), "{what}: a copy changes nothing of the original");
    check_copies(&bench, what).await;
    let after = bench.in_vault().await;
    counts.copies += 1;
    for namespace in NAMESPACES {
        let ((_, originals), (_, were), (_, are)) =
            (own.members(namespace), before.members(namespace), after.members(namespace));
        counts.copied += are.len() - were.len();
        for one in were.iter().filter(|one| is_whole_at(&were, one)) {
            assert!(is_whole_at(&are, one), "{what}: the copy {} is not whole any more", one.created);
        }
        let wanted = originals.iter().filter(|one| is_whole_at(&originals, one));
        let newest = wanted.clone().max_by_key(|one| one.created);
        let asked: Vec<&Member> = if request.wanted == Wanted::Everything {
            wanted.collect()
        } else {
            newest.into_iter().collect()
        };
        for one in asked {
            assert!(
                is_whole_at(&are, one),
                "{what}: {} was copied, and is no whole point there",
                one.created
            );
        }
    }
    bench
}

async fn admit_copy(bench: &Bench, request: &CopyRequest) -> JobId {
    let job = copy_job(&bench.config, &bench.config.copies[0], request, Trigger::Api).unwrap();
    bench.jobs.admit(job).await.unwrap().id
}

fn own_keys(history: &History) -> BTreeSet<String> {
    let all = history.full.all().iter().chain(history.incremental.all());
    all.map(|entry| entry.key.clone()).collect()
}

/// What a copy lists is whole, whenever somebody looks.
async fn check_copies(bench: &Bench, what: &str) {
    let history = bench.in_vault().await;
    for entry in history.full.all().iter().chain(history.incremental.all()) {
        let found = wholeness(&bench.vault, entry).await.unwrap();
        assert!(matches!(found, Wholeness::Whole { .. }), "{what}: {} is listed: {found:?}", entry.key);
    }
}

impl Bench {
    async fn in_vault(&self) -> History {
        let marked = self.store().marked(&self.vault.describe()).await.unwrap();
        History::read(&self.vault, "r", &marked).await.unwrap()
    }

    /// The storage of one side, and the routine as it is there.
    fn side(&self, of_copies: bool) -> (Faulty, JobConfig) {
        if of_copies {
            (self.vault.clone(), self.config.in_copy(&self.config.copies[0]))
        } else {
            (self.storage.clone(), self.config.clone())
        }
    }

    async fn history_of(&self, of_copies: bool) -> History {
        if of_copies { self.in_vault().await } else { self.history().await }
    }
}

/// Somebody reads the chain of a namespace at some instant.
async fn read(bench: &Bench, random: &mut Random) -> Option<JobId> {
    let history = bench.history().await;
    let (entries, members) = history.members(NAMESPACES[random.below(2) as usize]);
    let at = members.get(random.below(members.len().max(1) as u64) as usize)?.finished;
    let chain = chain_at(&members, at, true).ok()?;
    let pins: Vec<String> = chain.members.iter().map(|place| bench.at(&entries[*place].key)).collect();
    Some(bench.pin(&pins).await)
}

/// Runs retention of one storage, perhaps with an end of the process at some moment of it, and compares.
async fn retain(
    mut bench: Bench,
    of_copies: bool,
    random: &mut Random,
    counts: &mut Counts,
    what: &str,
) -> Bench {
    let (storage, config) = bench.side(of_copies);
    let said = view(bench.store(), &storage, &config, bench.clock.now_ms()).await.unwrap();
    assert!(said.problems.is_empty(), "{what}: {:?}", said.problems);
    let before = bench.history_of(of_copies).await;
    let elsewhere = keys_in(&bench.side(!of_copies).0).await;
    let all = said.namespaces.iter().flat_map(|one| &one.backups);
    let stays: BTreeSet<String> = all.filter(|one| one.stays).map(|one| one.key.clone()).collect();
    if random.one_in(2) {
        bench = Box::pin(cut_off(bench, of_copies, random, counts)).await;
    }
    let id = bench.admit_with(&config, None).await;
    bench.settle().await;
    let job = bench.store().job(id).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Succeeded, "{what}: {:?}", job.error);
    assert_eq!(keys_in(&storage).await, stays, "{what}: the run is not what the dry run said");
    assert_eq!(keys_in(&bench.side(!of_copies).0).await, elsewhere, "{what}: the other storage");
    assert!(bench.store().deletions().await.unwrap().is_empty(), "{what}");
    counts.retentions += 1;
    counts.of_copies += usize::from(of_copies);
    counts.deleted += said.totals.goes as usize;
    counts.deleted_copies += if of_copies { said.totals.goes as usize } else { 0 };
    counts.held_back += said.totals.held_back;
    check(&bench, of_copies, &before, &stays, what).await;
    bench
}

/// What must never happen.
async fn check(bench: &Bench, of_copies: bool, before: &History, stays: &BTreeSet<String>, what: &str) {
    let place = bench.side(of_copies).0.describe();
    let pins = bench.store().write().await.unwrap().pins().await.unwrap();
    let after = bench.history_of(of_copies).await;
    for namespace in before.namespaces() {
        let (entries, members) = before.members(&namespace);
        let fulls = || members.iter().zip(&entries).filter(|(one, _)| one.backup_type == BackupType::Full);
        let last = fulls().max_by_key(|(one, _)| one.created);
        let last_with_records =
            fulls().filter(|(one, _)| one.record_count > 0).max_by_key(|(one, _)| one.created);
        for (_, entry) in last.into_iter().chain(last_with_records) {
            assert!(stays.contains(&entry.key), "{what}: the last full {} is gone", entry.key);
        }
        for entry in &entries {
            let pinned = pins.iter().any(|pin| pin.address == address(&place, &entry.key));
            assert!(!pinned || stays.contains(&entry.key), "{what}: {} was read, and is gone", entry.key);
        }
        let (_, kept) = after.members(&namespace);
        for member in &kept {
            assert!(
                is_whole_at(&kept, member) || !is_whole_at(&members, member),
                "{what}: {} lost what it needs",
                member.created
            );
        }
    }
}

/// Whether a chain without a hole ends in `last`.
fn is_whole_at(members: &[Member], last: &Member) -> bool {
    let up_to: Vec<Member> = members.iter().filter(|one| one.created <= last.created).cloned().collect();
    chain_at(&up_to, UnixMillis(i64::MAX), false)
        .is_ok_and(|chain| up_to[*chain.members.last().unwrap()].created == last.created)
}

/// Starts retention and ends the process when some deletions have begun; then a new process goes on.
async fn cut_off(bench: Bench, of_copies: bool, random: &mut Random, counts: &mut Counts) -> Bench {
    let (storage, config) = bench.side(of_copies);
    let (before, moment) = (storage.calls(Op::DeletePrefix), random.below(6));
    bench.admit_with(&config, None).await;
    let reached = |_: &Bench| storage.calls(Op::DeletePrefix) >= before + moment;
    let bench = crash_when(bench, reached, |cut| counts.cut_off += usize::from(cut)).await;
    counts.left_marked += bench.store().deletions().await.unwrap().len();
    resume(&bench.jobs).await.unwrap();
    bench.settle().await;
    assert!(bench.store().deletions().await.unwrap().is_empty(), "resumed");
    bench
}

/// Runs what waits until a moment is reached, and ends the process there, if something is still open; then another starts.
async fn crash_when(bench: Bench, reached: impl Fn(&Bench) -> bool, cut: impl FnOnce(bool)) -> Bench {
    let mut scope = Scope::new(&CancellationToken::new());
    let runner = bench.runner();
    scope.spawn("runner", async move { runner.run().await });
    while bench.retention_open().await && !reached(&bench) {
        tokio::task::yield_now().await;
    }
    cut(bench.retention_open().await);
    // Aborts the task where it is: nobody writes how the job ended.
    drop(scope);
    bench.restarted().await
}
