//! What was kept of runs that were cut off: until when it may be gone on with, and its end if nobody does (rules.md 6.3).

use super::Jobs;
use crate::error::Result;
use crate::model::{Schedule, SlotType, UnixMillis};
use crate::store::{CheckpointRow, Document, JobRow, ScheduleRow};

/// Whether a run is older than one full interval of its routine: the next slot of a full has passed. A routine without
/// a schedule in force has no interval.
pub fn is_too_old(schedules: &[ScheduleRow], routine: &str, created: UnixMillis, now: UnixMillis) -> bool {
    let full = schedules.iter().find(|row| row.routine == routine && row.slot_type == SlotType::Full);
    full.and_then(|row| Schedule::parse(&row.cron, &row.zone, now).ok())
        .and_then(|schedule| schedule.next_after(created))
        .is_some_and(|next| next <= now)
}

/// What decides whether a kept folder may still be of use; nobody goes on with its run now.
#[derive(Debug, Clone, Copy)]
struct Kept {
    canceled: bool,
    too_old: bool,
    /// A later run of the routine has begun: another attempt would be a new run (rules.md 2.5).
    passed: bool,
    /// The routine is configured and would make the same backup.
    same_backup: bool,
}

impl Kept {
    /// A retry that somebody asks for would go on with it.
    const fn is_of_use(self) -> bool {
        !self.canceled && !self.too_old && !self.passed && self.same_backup
    }
}

impl Jobs {
    /// Gives up the kept folders that nothing can go on from any more; how many. Their tries are then settled, which
    /// removes them. `same_backup` says whether a routine is configured and would make the backup that the document, of
    /// a job, asks for.
    pub async fn give_up_kept(
        &self,
        same_backup: &(dyn Fn(&str, &Document) -> bool + Sync),
    ) -> Result<usize> {
        let mut given_up = 0;
        for kept in self.store().kept_checkpoints().await? {
            let Some(job) = self.store().job(kept.job_id).await? else { continue };
            if self.is_of_use(&kept, &job, same_backup).await? {
                continue;
            }
            let mut tx = self.store().write().await?;
            if tx.give_up_checkpoint(&kept).await? {
                tx.commit().await?;
                given_up += 1;
                let (job, folder) = (kept.job_id.0, kept.folder);
                tracing::info!(
                    job,
                    folder,
                    "nothing goes on from what was kept of a backup that was cut off"
                );
            }
        }
        Ok(given_up)
    }

    async fn is_of_use(
        &self,
        kept: &CheckpointRow,
        job: &JobRow,
        same_backup: &(dyn Fn(&str, &Document) -> bool + Sync),
    ) -> Result<bool> {
        let now = self.now();
        let routine = job.routine.as_deref().unwrap_or_default();
        let latest = {
            let mut tx = self.store().write().await?;
            tx.latest_created(routine, now).await?
        };
        let schedules = self.store().schedules().await?;
        Ok(Kept {
            canceled: job.cancel_requested.is_some(),
            too_old: is_too_old(&schedules, routine, kept.created, now),
            passed: latest.is_some_and(|latest| latest > kept.created),
            same_backup: job.config.as_ref().is_some_and(|document| same_backup(routine, document)),
        }
        .is_of_use())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, is_too_old};
    use crate::model::{SlotType, UnixMillis};
    use crate::store::ScheduleRow;

    #[test]
    fn a_run_is_too_old_once_the_next_full_is_due() {
        let row = ScheduleRow {
            routine: "r".to_owned(),
            slot_type: SlotType::Full,
            cron: "0 0 * * * ?".to_owned(),
            zone: "UTC".to_owned(),
            effective_from: UnixMillis(0),
            mark: None,
        };
        let incremental =
            ScheduleRow { slot_type: SlotType::Incremental, cron: "* * * * * ?".to_owned(), ..row.clone() };
        let rows = [incremental, row];
        let (hour, at) = (3_600_000, |ms: i64| UnixMillis(1_700_000_000_000 / 3_600_000 * 3_600_000 + ms));
        // It began a second after its slot.
        for (now, too_old) in [(2_000, false), (hour - 1, false), (hour, true), (5 * hour, true)] {
            assert_eq!(is_too_old(&rows, "r", at(1_000), at(now)), too_old, "{now}");
        }
        assert!(!is_too_old(&rows, "another", at(1_000), at(5 * hour)));
    }

    #[test]
    fn each_reason_is_enough_to_give_a_folder_up() {
        let kept = Kept { canceled: false, too_old: false, passed: false, same_backup: true };
        assert!(kept.is_of_use());
        for useless in [
            Kept { canceled: true, ..kept },
            Kept { too_old: true, ..kept },
            Kept { passed: true, ..kept },
            Kept { same_backup: false, ..kept },
        ] {
            assert!(!useless.is_of_use(), "{useless:?}");
        }
    }
}
