//! Random sequences of backups, readers, policies and crashes, against what the dry run said and what must never happen.

use super::*;
use crate::model::chain::{Member, chain_at};

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
}

#[tokio::test]
async fn twenty_sequences_keep_what_is_needed_and_do_what_the_dry_run_said() {
    let mut counts = Counts::default();
    for seed in 1..=20 {
        Box::pin(sequence(seed, &mut counts)).await;
    }
    println!("{counts:?}");
    assert!(counts.deleted > 100 && counts.cut_off > 10 && counts.left_marked > 0 && counts.held_back > 0);
    assert!(counts.deletions > 20 && counts.refused > 5 && counts.with_others > 5);
}

async fn sequence(seed: u64, counts: &mut Counts) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut bench = Bench::new(keeps(1, None)).await;
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
            bench = delete(bench, &mut random, counts, &format!("seed {seed}, step {step}")).await;
        }
        if random.one_in(3) {
            let full = 1 + random.below(3) as u32;
            let incremental = random.one_in(2).then(|| random.below(u64::from(full) + 1) as u32);
            bench.config.policy.retention = Some(rules(keeps(full, incremental), &mut random));
            bench = retain(bench, &mut random, counts, &format!("seed {seed}, step {step}")).await;
        }
    }
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

/// Somebody reads the chain of a namespace at some instant.
async fn read(bench: &Bench, random: &mut Random) -> Option<JobId> {
    let history = bench.history().await;
    let (entries, members) = history.members(NAMESPACES[random.below(2) as usize]);
    let at = members.get(random.below(members.len().max(1) as u64) as usize)?.finished;
    let chain = chain_at(&members, at, true).ok()?;
    let pins: Vec<String> = chain.members.iter().map(|place| bench.at(&entries[*place].key)).collect();
    Some(bench.pin(&pins).await)
}

/// Runs retention, perhaps with an end of the process at some moment of it, and compares.
async fn retain(mut bench: Bench, random: &mut Random, counts: &mut Counts, what: &str) -> Bench {
    let said = bench.view().await;
    assert!(said.problems.is_empty(), "{what}: {:?}", said.problems);
    let before = bench.history().await;
    let all = said.namespaces.iter().flat_map(|one| &one.backups);
    let stays: BTreeSet<String> = all.filter(|one| one.stays).map(|one| one.key.clone()).collect();
    if random.one_in(2) {
        bench = cut_off(bench, random, counts).await;
    }
    let job = bench.run().await;
    assert_eq!(job.status, JobStatus::Succeeded, "{what}: {:?}", job.error);
    assert_eq!(bench.keys().await, stays, "{what}: the run is not what the dry run said");
    assert!(bench.store().deletions().await.unwrap().is_empty(), "{what}");
    counts.retentions += 1;
    counts.deleted += said.totals.goes as usize;
    counts.held_back += said.totals.held_back;
    check(&bench, &before, &stays, what).await;
    bench
}

/// What must never happen.
async fn check(bench: &Bench, before: &History, stays: &BTreeSet<String>, what: &str) {
    let pins = bench.store().write().await.unwrap().pins().await.unwrap();
    let after = bench.history().await;
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
            let pinned = pins.iter().any(|pin| pin.address == bench.at(&entry.key));
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
async fn cut_off(bench: Bench, random: &mut Random, counts: &mut Counts) -> Bench {
    let before = bench.storage.calls(Op::DeletePrefix);
    let moment = random.below(6);
    bench.admit(None).await;
    let mut scope = Scope::new(&CancellationToken::new());
    let runner = bench.runner();
    scope.spawn("runner", async move { runner.run().await });
    while bench.retention_open().await && bench.storage.calls(Op::DeletePrefix) < before + moment {
        tokio::task::yield_now().await;
    }
    counts.cut_off += usize::from(bench.retention_open().await);
    // Aborts the task where it is: nobody writes how the job ended.
    drop(scope);
    let bench = bench.restarted().await;
    counts.left_marked += bench.store().deletions().await.unwrap().len();
    resume(&bench.jobs).await.unwrap();
    bench.settle().await;
    assert!(bench.store().deletions().await.unwrap().is_empty(), "resumed");
    bench
}
