use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn need(wish: u64, least: u64) -> Need {
    Need { wish: wish * MIB, least: least * MIB }
}

fn restore() -> Need {
    RestoreMemory { parallel: 8 }.need()
}

#[test]
fn a_restore_starts_while_others_hold_all_they_may() {
    let budget = Budget::default();
    let mut held = Vec::new();
    while let Some(share) = budget.take(Class::Other, need(10, 1)).unwrap() {
        held.push(share);
    }
    assert_eq!(budget.held(), budget.total() - budget.kept());
    let share = budget.take(Class::Restore, restore()).unwrap().unwrap();
    assert_eq!((share.bytes(), budget.held()), (RestoreMemory::LEAST, budget.total()));
    assert!(budget.take(Class::Restore, restore()).unwrap().is_none());
    // The restore holds what was kept: the rest is for others, and all that was kept is back when it ends.
    held.clear();
    let most = budget.most(Class::Other) / MIB;
    let other = budget.take(Class::Other, need(most, 1)).unwrap().unwrap();
    drop(share);
    let share = budget.take(Class::Restore, restore()).unwrap().unwrap();
    drop((share, other));
    assert_eq!(budget.held(), 0);
    // A restore that took more leaves less to others, and a backup beside it in the default.
    let share = budget.take(Class::Restore, restore()).unwrap().unwrap();
    assert_eq!(share.bytes(), restore().wish);
    let backup = crate::memory::BackupMemory { parallel: 8, parallel_write: 8, part_bytes: Some(8 * MIB) };
    let beside = budget.take(Class::Other, backup.need()).unwrap().unwrap();
    assert_eq!((beside.bytes(), budget.held()), (48 * MIB, budget.total()));
}

#[test]
fn what_never_fits_is_an_error_and_what_does_not_fit_now_is_none() {
    let budget = Budget::new(100 * MIB);
    let most = budget.most(Class::Other) / MIB;
    let too_much = budget.take(Class::Other, need(most + 1, most + 1)).unwrap_err();
    assert_eq!((too_much.code(), too_much.is_temporary()), ("memory-budget", false));
    let all = budget.take(Class::Other, need(most, most)).unwrap().unwrap();
    assert!(budget.take(Class::Other, need(1, 1)).unwrap().is_none());
    let now = budget.take_now(Class::Other, need(1, 1)).unwrap_err();
    assert_eq!((now.code(), now.is_temporary()), ("memory-budget", true));
    drop(all);
    assert_eq!(budget.take_now(Class::Other, need(1, 1)).unwrap().bytes(), MIB);
}

#[test]
fn a_share_grows_by_what_is_free_and_gives_all_of_it_back() {
    let budget = Budget::new(RestoreMemory::LEAST + 50 * MIB);
    let first = budget.take_now(Class::Other, need(20, 5)).unwrap();
    assert_eq!(first.grow(need(10, 5)), 20 * MIB, "never less than before");
    assert_eq!(first.grow(need(30, 5)), 30 * MIB);
    let second = budget.take_now(Class::Other, need(10, 5)).unwrap();
    // 10 are free, of which another job like it needs 5.
    assert_eq!((second.grow(need(100, 5)), second.bytes()), (15 * MIB, 15 * MIB));
    assert_eq!((second.grow(need(100, 5)), budget.held()), (15 * MIB, 45 * MIB));
    drop((first, second));
    assert_eq!(budget.held(), 0);
    assert_eq!(Share::unbounded().grow(need(1, 1)), u64::MAX);
}

#[derive(Debug, Clone)]
struct Job {
    class: Class,
    need: Need,
    turns: usize,
}

fn job() -> impl Strategy<Value = Job> {
    let other = (0_u64..200, 1_u64..120).prop_map(|(more, least)| (Class::Other, need(least + more, least)));
    let restore = (1_u32..64).prop_map(|parallel| (Class::Restore, RestoreMemory { parallel }.need()));
    (prop_oneof![3 => other, 1 => restore], 1_usize..5).prop_map(|((class, need), turns)| Job {
        class,
        need,
        turns,
    })
}

proptest! {
    /// Jobs come, take, work and give back as the runner has them do: restores first, nobody overtaken.
    #[test]
    fn every_job_that_fits_ends_and_nothing_goes_beyond_the_budget(
        total in RestoreMemory::LEAST / MIB..300,
        jobs in prop::collection::vec(job(), 1..40),
    ) {
        let budget = Budget::new(total * MIB);
        let (mut restores, mut others) = (VecDeque::new(), VecDeque::new());
        for job in jobs {
            if budget.take(job.class, job.need).is_err() {
                prop_assert!(job.need.least > budget.most(job.class));
                continue;
            }
            match job.class {
                Class::Restore => restores.push_back(job),
                Class::Other => others.push_back(job),
            }
        }
        let mut running: Vec<(Share, Job)> = Vec::new();
        while !(restores.is_empty() && others.is_empty() && running.is_empty()) {
            let restore_runs = running.iter().any(|(_, job)| job.class == Class::Restore);
            let mut moved = false;
            for queue in [&mut restores, &mut others] {
                let mut waits = false;
                while let Some(job) = queue.front() {
                    let Some(share) = budget.take(job.class, job.need).unwrap() else {
                        waits = true;
                        break;
                    };
                    prop_assert!(share.bytes() >= job.need.least && share.bytes() <= job.need.wish);
                    running.push((share, queue.pop_front().unwrap()));
                    moved = true;
                }
                prop_assert!(restore_runs || restores_may_start(&budget, &running));
                if waits {
                    break;
                }
            }
            let held: u64 = running.iter().map(|(share, _)| share.bytes()).sum();
            prop_assert!(held == budget.held() && held <= budget.total());
            for (_, job) in &mut running {
                job.turns -= 1;
                moved = true;
            }
            running.retain(|(_, job)| job.turns > 0);
            prop_assert!(moved, "nobody can go on");
        }
        prop_assert_eq!(budget.held(), 0);
    }
}

/// Unless a restore holds it, there is room for one.
fn restores_may_start(budget: &Budget, running: &[(Share, Job)]) -> bool {
    running.iter().any(|(_, job)| job.class == Class::Restore)
        || budget.take(Class::Restore, restore()).unwrap().is_some()
}
