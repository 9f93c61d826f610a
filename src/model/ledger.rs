//! The slot ledger: what each wake-up of the scheduler fires, skips and writes off (rules.md 1.1 to 1.8).
//!
//! Pure. The caller takes the plan over in one transaction, under the key (routine, type, slot) that is unique among
//! rows which are not void, and remembers `now` as the last wake-up.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::schedule::{COUNT_MAX, Schedule, SlotCount};
use super::status::SlotType;
use super::time::UnixMillis;

/// More wall time than this between two wake-ups is downtime (rules.md 1.3).
pub const DOWNTIME_MS: i64 = 60_000;

/// What lies further ahead than this was written under a clock that has since been set back (rules.md 1.4, 3.1).
pub const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;

/// The longest sleep between two wake-ups: well below [`DOWNTIME_MS`], so that a late timer is no downtime.
pub const SLEEP_MAX_MS: i64 = 30_000;

/// What happens to the newest slot that was missed in a downtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// It fires if it is still inside its window.
    #[default]
    Once,
    /// It is missed like the others.
    Skip,
}

/// The slots of one routine and type.
#[derive(Debug, Clone)]
pub struct Timetable<'a> {
    /// The schedule version in force.
    pub schedule: &'a Schedule,
    /// When that version was loaded; it has no slots before. Enabling a routine loads a version.
    pub effective_from: UnixMillis,
    /// The high-water mark, at or below which nothing fires.
    pub mark: Option<UnixMillis>,
    /// Slots above the mark that have a row which is not void. There are some only after the clock was set back.
    pub taken: Vec<UnixMillis>,
}

/// One routine as the ledger sees it.
#[derive(Debug, Clone)]
pub struct RoutineSlots<'a> {
    /// The routine's name.
    pub routine: &'a str,
    /// Fulls.
    pub full: Option<Timetable<'a>>,
    /// Incrementals.
    pub incremental: Option<Timetable<'a>>,
    /// Verifications, which have nothing to do with when backups are due.
    pub verify: Option<Timetable<'a>>,
    /// `catch-up`.
    pub catch_up: CatchUp,
    /// `catch-up-window`; by default half the distance to the following slot.
    pub catch_up_window_ms: Option<i64>,
    /// `jitter`: the longest start delay.
    pub jitter_ms: i64,
    /// `concurrent-incremental`: an incremental runs although a full is due at the same instant.
    pub concurrent_incremental: bool,
    /// A disabled routine fires, misses and catches up nothing.
    pub disabled: bool,
}

/// One wake-up.
#[derive(Debug, Clone)]
pub struct Wake<'a> {
    /// The wall clock.
    pub now: UnixMillis,
    /// The last wake-up of this process whose plan was taken over; none at its start.
    pub last_wake: Option<UnixMillis>,
    /// A wake-up since the last one could not be written to the store.
    pub store_failed: bool,
    /// Every routine.
    pub routines: &'a [RoutineSlots<'a>],
}

/// The unique key of a slot (rules.md 1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// The routine's name.
    pub routine: String,
    /// What it makes.
    pub slot_type: SlotType,
    /// The fire time, in whole seconds.
    pub slot: UnixMillis,
}

/// A slot to fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fire {
    /// Which slot.
    pub key: SlotKey,
    /// When its job starts: the slot and its jitter, but not before now.
    pub start_at: UnixMillis,
    /// It was missed in a downtime and is caught up.
    pub catch_up: bool,
}

/// Slots of one routine and type that a downtime swallowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The routine's name.
    pub routine: String,
    /// What it makes.
    pub slot_type: SlotType,
    /// How many, the first and the last.
    pub slots: SlotCount,
}

/// Rows that a clock set back has made void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voided {
    /// The routine's name.
    pub routine: String,
    /// What it makes.
    pub slot_type: SlotType,
    /// Every row with a later slot is void, and its key free again.
    pub later_than: UnixMillis,
}

/// A moved high-water mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMark {
    /// The routine's name.
    pub routine: String,
    /// What it makes.
    pub slot_type: SlotType,
    /// The new mark; none leaves it.
    pub mark: Option<UnixMillis>,
    /// The version's new beginning, when it was loaded under a clock that has since been set back.
    pub effective_from: Option<UnixMillis>,
}

/// What one wake-up does; taken over in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WakePlan {
    /// Slots to fire, oldest first, a full before the incremental of its instant, a verification last.
    pub fires: Vec<Fire>,
    /// Incrementals that are `skipped: full-due`.
    pub full_due: Vec<SlotKey>,
    /// Rows `missed`, one per routine and type.
    pub missed: Vec<Missed>,
    /// Rows that become void, before anything else is written.
    pub voided: Vec<Voided>,
    /// Marks that moved.
    pub marks: Vec<NewMark>,
    /// When to wake again, at the latest.
    pub next_wake: UnixMillis,
}

/// Decides what a wake-up does with every slot that is due.
pub fn plan_wake(wake: &Wake<'_>) -> WakePlan {
    let mut plan = WakePlan { next_wake: wake.now.plus_ms(SLEEP_MAX_MS), ..WakePlan::default() };
    let downtime = wake.store_failed || wake.last_wake.is_none_or(|last| wake.now.since(last) > DOWNTIME_MS);
    for routine in wake.routines {
        let tables = [
            (SlotType::Full, &routine.full),
            (SlotType::Incremental, &routine.incremental),
            (SlotType::Verify, &routine.verify),
        ];
        let mut dues: Vec<Due<'_>> = tables
            .into_iter()
            .filter_map(|(slot_type, table)| Some(Due::of(routine, slot_type, table.as_ref()?, wake.now)))
            .collect();
        if !routine.disabled {
            if downtime {
                catch_up(routine, &dues, wake.now, &mut plan);
            } else {
                fire_all(routine, &mut dues, wake.now, &mut plan);
            }
        }
        for due in dues {
            due.finish(routine, wake.now, &mut plan);
        }
    }
    plan.fires.sort_by(|a, b| {
        (a.key.slot, a.key.slot_type, &a.key.routine).cmp(&(b.key.slot, b.key.slot_type, &b.key.routine))
    });
    plan
}

/// The due slots of one routine and type.
struct Due<'a> {
    slot_type: SlotType,
    table: &'a Timetable<'a>,
    /// Rows with a later slot are void.
    void_after: Option<UnixMillis>,
    effective_from: UnixMillis,
    /// Slots in (`after`, `newest`] are due, unless taken.
    after: UnixMillis,
    /// None: nothing is due.
    newest: Option<UnixMillis>,
}

impl<'a> Due<'a> {
    fn of(
        routine: &RoutineSlots<'_>,
        slot_type: SlotType,
        table: &'a Timetable<'a>,
        now: UnixMillis,
    ) -> Self {
        debug_assert!(routine.jitter_ms >= 0 && routine.catch_up_window_ms.is_none_or(|window| window >= 0));
        let horizon = now.plus_ms(CLOCK_TOLERANCE_MS);
        let ahead = |at: UnixMillis| at > horizon;
        let set_back = table.mark.is_some_and(ahead) || table.taken.iter().copied().any(ahead);
        let mark = if set_back { Some(now) } else { table.mark };
        let effective_from = if ahead(table.effective_from) { now } else { table.effective_from };
        let before_version = effective_from.plus_ms(-1);
        let after = mark.map_or(before_version, |mark| mark.max(before_version));
        let newest = table.schedule.prev_at_or_before(now).filter(|slot| *slot > after);
        Self { slot_type, table, void_after: set_back.then_some(horizon), effective_from, after, newest }
    }

    fn is_free(&self, slot: UnixMillis) -> bool {
        !self.table.taken.contains(&slot)
    }

    /// The newest due slot that has no row yet.
    fn newest_free(&self) -> Option<UnixMillis> {
        std::iter::successors(self.newest, |slot| self.table.schedule.prev_at_or_before(slot.plus_ms(-1)))
            .take_while(|slot| *slot > self.after)
            .find(|slot| self.is_free(*slot))
    }

    /// The newest due slot, if the policy lets it be caught up.
    fn to_catch_up(&self, routine: &RoutineSlots<'_>, now: UnixMillis) -> Option<UnixMillis> {
        let slot = self.newest_free().filter(|_| routine.catch_up == CatchUp::Once)?;
        let following = || self.table.schedule.next_after(slot);
        let window_ms = routine.catch_up_window_ms.or_else(|| following().map(|next| next.since(slot) / 2));
        window_ms.is_none_or(|window| now.since(slot) <= window).then_some(slot)
    }

    /// The due slots without a row, except `caught`.
    fn count_missed(&self, caught: Option<UnixMillis>) -> Option<SlotCount> {
        let newest = self.newest?;
        let is_missed = |slot: &UnixMillis| Some(*slot) != caught && self.is_free(*slot);
        let mut slots = self
            .table
            .schedule
            .slots_after(self.after)
            .take_while(|slot| *slot <= newest)
            .filter(is_missed)
            .take(COUNT_MAX as usize);
        let first = slots.next()?;
        let count = 1 + slots.count() as u32;
        let last = std::iter::successors(self.newest, |slot| {
            self.table.schedule.prev_at_or_before(slot.plus_ms(-1))
        })
        .find(is_missed)?;
        Some(SlotCount { count, first, last })
    }

    /// Writes down the moved mark and when the next slot is due.
    fn finish(self, routine: &RoutineSlots<'_>, now: UnixMillis, plan: &mut WakePlan) {
        let name = || routine.routine.to_owned();
        if let Some(later_than) = self.void_after {
            plan.voided.push(Voided { routine: name(), slot_type: self.slot_type, later_than });
        }
        let mark = self.newest.or(self.void_after.is_some().then_some(now));
        let effective_from =
            (self.effective_from != self.table.effective_from).then_some(self.effective_from);
        if mark.is_some() || effective_from.is_some() {
            plan.marks.push(NewMark { routine: name(), slot_type: self.slot_type, mark, effective_from });
        }
        if !routine.disabled
            && let Some(next) = self.table.schedule.next_after(self.newest.unwrap_or(self.after))
        {
            plan.next_wake = plan.next_wake.min(next.max(now));
        }
    }
}

/// After a downtime (rules.md 1.3): at most one backup of the routine and one verification fire, the others are missed.
fn catch_up(routine: &RoutineSlots<'_>, dues: &[Due<'_>], now: UnixMillis, plan: &mut WakePlan) {
    let mut fired = false;
    for due in dues {
        // The full comes first: if both could be caught up, only the full is.
        let is_backup = due.slot_type.backup_type().is_some();
        let caught = if fired && is_backup { None } else { due.to_catch_up(routine, now) };
        if let Some(slot) = caught {
            fired |= is_backup;
            plan.fires.push(fire(routine, due.slot_type, slot, now, true));
        }
        if let Some(slots) = due.count_missed(caught) {
            let (routine, slot_type) = (routine.routine.to_owned(), due.slot_type);
            plan.missed.push(Missed { routine, slot_type, slots });
        }
    }
}

/// While the process runs, every due slot fires, however late (rules.md 1.2).
fn fire_all(routine: &RoutineSlots<'_>, dues: &mut [Due<'_>], now: UnixMillis, plan: &mut WakePlan) {
    let full = dues.iter().find(|due| due.slot_type == SlotType::Full);
    let full = full.map(|full| (full.table.schedule, full.effective_from));
    let full_fires_at =
        |slot: UnixMillis| full.is_some_and(|(schedule, from)| slot >= from && schedule.fires_at(slot));
    for due in dues {
        let Some(newest) = due.newest else { continue };
        let slot_type = due.slot_type;
        let slots = due.table.schedule.slots_after(due.after).take_while(|slot| *slot <= newest);
        for slot in slots.take(COUNT_MAX as usize) {
            // What the cap leaves over stays due for the next wake-up.
            due.newest = Some(slot);
            if !due.is_free(slot) {
                continue;
            }
            // rules.md 1.7
            if slot_type == SlotType::Incremental && !routine.concurrent_incremental && full_fires_at(slot) {
                plan.full_due.push(SlotKey { routine: routine.routine.to_owned(), slot_type, slot });
            } else {
                plan.fires.push(fire(routine, slot_type, slot, now, false));
            }
        }
    }
}

fn fire(
    routine: &RoutineSlots<'_>,
    slot_type: SlotType,
    slot: UnixMillis,
    now: UnixMillis,
    catch_up: bool,
) -> Fire {
    let key = SlotKey { routine: routine.routine.to_owned(), slot_type, slot };
    let start_at = slot.plus_ms(jitter_of(&key, routine.jitter_ms)).max(now);
    Fire { key, start_at, catch_up }
}

/// A delay from 0 to `jitter_ms`, drawn from the slot's key alone (rules.md 1.8).
pub fn jitter_of(key: &SlotKey, jitter_ms: i64) -> i64 {
    // FNV-1a over the key, then the finalizer of splitmix64 so that neighbouring seconds spread.
    let seconds = key.slot.secs().to_le_bytes();
    let bytes = key.routine.bytes().chain([0]).chain(key.slot_type.as_str().bytes()).chain(seconds);
    let mut hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    hash = (hash ^ hash >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^= hash >> 31;
    (hash % (jitter_ms.max(0) as u64).saturating_add(1)) as i64
}
