//! The scheduler: the ledger decides, one timer wakes it (rules.md 1.2).
//!
//! Each wake-up asks [`plan_wake`] for every slot that is due and takes the plan over in one transaction: slots, marks
//! and job rows. A wake-up that cannot be written did not happen.

mod table;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

pub use table::RoutineSchedule;
use table::{Table, Versions};

use crate::error::{Error, Result};
use crate::jobs::admit::admit;
use crate::jobs::{Admitted, Jobs, NewJob, Refusal};
use crate::model::ledger::{CatchUp, Missed, SLEEP_MAX_MS, SlotKey, Wake, WakePlan, plan_wake};
use crate::model::{JobKind, JobStatus, SlotType, UnixMillis};
use crate::store::{SlotInsert, SlotRow, SlotState, Trigger};

/// Fires the slots of every routine; cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

struct Shared {
    jobs: Jobs,
    table: ArcSwap<Table>,
    state: Mutex<State>,
    reloaded: Notify,
}

/// What one wake-up leaves to the next.
struct State {
    /// The last wake-up whose plan was taken over; none before the first of this process.
    last_wake: Option<UnixMillis>,
    /// A wake-up since then could not be written.
    store_failed: bool,
    /// Marks and taken slots as the store has them; none = read them again.
    versions: Option<Versions>,
}

/// What one wake-up did.
#[derive(Debug, Clone)]
pub struct WakeReport {
    /// The rows it left: fired, refused and missed.
    pub admitted: Vec<Admitted>,
    /// Slots that a clock set back made void.
    pub voided: u64,
    /// When the next wake-up is due, at the latest.
    pub next_wake: UnixMillis,
}

impl Scheduler {
    /// A scheduler of `routines`. A schedule whose text and zone the store has is the same version as before; any
    /// other is in force from now on (rules.md 1.1).
    pub async fn new(jobs: Jobs, routines: Vec<RoutineSchedule>) -> Result<Self> {
        let scheduler = Self(Arc::new(Shared {
            jobs,
            table: ArcSwap::default(),
            state: Mutex::new(State { last_wake: None, store_failed: false, versions: None }),
            reloaded: Notify::new(),
        }));
        scheduler.reload(routines).await?;
        Ok(scheduler)
    }

    /// Puts other routines in place of those before; on an error those before stay.
    ///
    /// What was due until then fires first, by the schedules of before, and the new ones begin at that instant: the timer may
    /// be late for a slot whose schedule is just being replaced.
    pub async fn reload(&self, routines: Vec<RoutineSchedule>) -> Result<()> {
        let table = Table::new(routines);
        let mut state = self.0.state.lock().await;
        // Before the first wake-up nothing is late: what has passed is the downtime's (rules.md 1.3).
        if state.last_wake.is_some() {
            self.wake_holding(&mut state).await?;
        }
        let now = state.last_wake.unwrap_or_else(|| self.0.jobs.now());
        let mut tx = self.0.jobs.store().write().await?;
        table.put_in_force(&mut tx, now).await?;
        tx.commit().await?;
        state.versions = None;
        self.0.table.store(Arc::new(table));
        drop(state);
        self.0.reloaded.notify_one();
        Ok(())
    }

    /// Fires slots until `token` is cancelled.
    pub async fn run(&self, token: &CancellationToken) -> Result<()> {
        while !token.is_cancelled() {
            let next = match self.wake().await {
                Ok(report) => report.next_wake,
                Err(error) => {
                    tracing::error!(
                        code = error.code(),
                        "a wake-up could not be written: {}",
                        error.report()
                    );
                    self.0.jobs.now().plus_ms(1000)
                }
            };
            // The wall clock may be set while we sleep, so no sleep is long.
            let sleep_ms = next.since(self.0.jobs.now()).clamp(0, SLEEP_MAX_MS);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(sleep_ms as u64)) => {}
                () = self.0.reloaded.notified() => {}
                () = token.cancelled() => {}
            }
        }
        Ok(())
    }

    /// One wake-up: fires what is due.
    pub async fn wake(&self) -> Result<WakeReport> {
        let mut state = self.0.state.lock().await;
        self.wake_holding(&mut state).await
    }

    async fn wake_holding(&self, state: &mut State) -> Result<WakeReport> {
        let result = self.take_over(state).await;
        if result.is_err() {
            state.store_failed = true;
            state.versions = None;
        }
        result
    }

    /// When the routine fires next; none for an unknown or disabled one, or a type without a schedule.
    pub fn next_fire(&self, routine: &str, slot_type: impl Into<SlotType>) -> Option<UnixMillis> {
        let table = self.0.table.load();
        let routine = table.get(routine).filter(|routine| !routine.disabled)?;
        routine.schedule(slot_type.into())?.next_after(self.0.jobs.now())
    }

    /// Whether a slot may still be caught up (rules.md 1.3); also asked for another attempt after a crash (2.5).
    pub fn may_catch_up(&self, slot: &SlotRow) -> bool {
        let table = self.0.table.load();
        let Some(routine) = table.get(&slot.routine).filter(|routine| !routine.disabled) else {
            return false;
        };
        let Some(schedule) = routine.schedule(slot.slot_type) else { return false };
        let fire = UnixMillis::from_secs(slot.fire_s);
        let window_ms = routine
            .catch_up_window_ms
            .or_else(|| schedule.next_after(fire).map(|following| following.since(fire) / 2));
        routine.catch_up == CatchUp::Once
            && window_ms.is_none_or(|window_ms| self.0.jobs.now().since(fire) <= window_ms)
    }

    async fn take_over(&self, state: &mut State) -> Result<WakeReport> {
        let table = self.0.table.load_full();
        let mut tx = self.0.jobs.store().write().await?;
        let mut versions = match state.versions.take() {
            Some(versions) => versions,
            None => Versions::read(&mut tx).await?,
        };
        // Read with the writer in hand: every row of before is older.
        let now = self.0.jobs.now();
        let routines = table.ledger_view(&versions);
        let wake =
            Wake { now, last_wake: state.last_wake, store_failed: state.store_failed, routines: &routines };
        let plan = plan_wake(&wake);
        drop(routines);
        let mut report = WakeReport { admitted: Vec::new(), voided: 0, next_wake: plan.next_wake };
        if !plan.marks.is_empty() || !plan.voided.is_empty() {
            if let Some(after) = plan.voided.iter().map(|voided| voided.later_than).min() {
                report.voided = tx.void_slots_after(after.secs()).await?;
                tracing::warn!(slots = report.voided, "the clock was set back: slots ahead of it are void");
            }
            tx.move_marks(&plan.marks).await?;
            if plan.voided.is_empty() {
                versions.moved(&plan.marks);
            } else {
                versions = Versions::read(&mut tx).await?;
            }
            let (slots, mut triggers) = rows_of(&table, plan, now)?;
            for (trigger, id) in triggers.iter_mut().zip(tx.insert_slots(&slots).await?) {
                trigger.slot = id;
            }
            // A slot whose key is taken has its job already.
            triggers.retain(|trigger| trigger.slot.is_some());
            let admission = admit(&mut tx, &triggers, now).await?;
            self.0.jobs.commit(tx, &admission.transitions).await?;
            report.admitted = admission.admitted;
        }
        *state = State { last_wake: Some(now), store_failed: false, versions: Some(versions) };
        Ok(report)
    }
}

/// The rows of a plan: slots, and for each the trigger of its job.
fn rows_of(table: &Table, plan: WakePlan, now: UnixMillis) -> Result<(Vec<SlotInsert>, Vec<NewJob>)> {
    let mut slots = Vec::new();
    let mut triggers = Vec::new();
    for fire in plan.fires {
        let trigger = if fire.catch_up { Trigger::CatchUp } else { Trigger::Schedule };
        let mut job = job(table, &fire.key.routine, fire.key.slot_type, trigger)?;
        job.due = Some(fire.start_at).filter(|start_at| *start_at > now);
        triggers.push(job);
        slots.push(one_slot(fire.key));
    }
    for key in plan.full_due {
        let mut job = job(table, &key.routine, key.slot_type, Trigger::Schedule)?;
        let reason = "A full backup of the routine is due at the same instant.".to_owned();
        job.decided = Some((JobStatus::Skipped, Refusal { code: "full-due", reason }));
        triggers.push(job);
        slots.push(one_slot(key));
    }
    for missed in plan.missed {
        let mut job = job(table, &missed.routine, missed.slot_type, Trigger::Schedule)?;
        job.decided = Some((JobStatus::Missed, Refusal { code: "downtime", reason: sentence(&missed) }));
        triggers.push(job);
        slots.push(SlotInsert {
            routine: missed.routine,
            slot_type: missed.slot_type,
            state: SlotState::Missed,
            count: u64::from(missed.slots.count),
            first_s: missed.slots.first.secs(),
            last_s: missed.slots.last.secs(),
        });
    }
    Ok((slots, triggers))
}

fn job(table: &Table, routine: &str, slot_type: SlotType, trigger: Trigger) -> Result<NewJob> {
    let routine = table.get(routine).ok_or_else(|| {
        Error::permanent(
            "routine-not-found",
            format!("the plan of a wake-up names routine {routine}, which is gone"),
        )
    })?;
    Ok(match slot_type.backup_type() {
        Some(backup_type) => routine.job.job(backup_type, trigger),
        None => routine.job.on_backups(JobKind::Verify, trigger, None),
    })
}

fn one_slot(key: SlotKey) -> SlotInsert {
    let fire_s = key.slot.secs();
    SlotInsert {
        routine: key.routine,
        slot_type: key.slot_type,
        state: SlotState::Fired,
        count: 1,
        first_s: fire_s,
        last_s: fire_s,
    }
}

fn sentence(missed: &Missed) -> String {
    let slots = &missed.slots;
    if slots.count == 1 {
        return format!("The slot of {} passed while the service did not run.", slots.first);
    }
    format!(
        "{} slots from {} to {} passed while the service did not run.",
        slots.count, slots.first, slots.last
    )
}
