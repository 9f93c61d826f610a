//! The blocking threads that files are read and written on, counted over all jobs.
//!
//! Such a thread lives as long as its files and waits for storage, which needs blocking threads of its own for local
//! disks. Were all of the runtime's threads (512 by default) held by files, each would wait for ever for one more.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::engine::Watch;
use crate::error::Result;
use crate::tasks::unless_canceled;

/// Threads for files in the whole process: a quarter of tokio's 512 blocking threads, the rest is for storage.
const THREADS_MAX: usize = 128;

/// Kept free for jobs that have none yet: a job takes more than one thread only while more than this are left.
const THREADS_KEPT: usize = 32;

/// Far below any sensible `stall-timeout`.
const WAIT_TOLD_EVERY: Duration = Duration::from_secs(1);

static THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS_MAX)));

/// The right to one blocking thread until it is dropped; goes with the task.
pub type Seat = OwnedSemaphorePermit;

/// Waits for one thread, then takes more, up to `wanted`, as far as they are free.
///
/// Who holds a thread never waits for another, so the wait ends. It is no standstill (rules.md 2.9): `watch` hears of it.
pub async fn seats(wanted: usize, watch: &dyn Watch, cancel: &CancellationToken) -> Result<Vec<Seat>> {
    let taken = take(&THREADS, wanted, THREADS_KEPT, cancel);
    tokio::pin!(taken);
    loop {
        tokio::select! {
            seats = &mut taken => return seats,
            () = tokio::time::sleep(WAIT_TOLD_EVERY) => watch.alive(),
        }
    }
}

/// Waits for one thread.
pub async fn seat(cancel: &CancellationToken) -> Result<Seat> {
    unless_canceled(cancel, one(&THREADS)).await
}

async fn one(threads: &Arc<Semaphore>) -> Result<Seat> {
    Ok(Arc::clone(threads).acquire_owned().await.expect("invariant: the semaphore is never closed"))
}

async fn take(
    threads: &Arc<Semaphore>,
    wanted: usize,
    kept: usize,
    cancel: &CancellationToken,
) -> Result<Vec<Seat>> {
    let mut seats = vec![unless_canceled(cancel, one(threads)).await?];
    while seats.len() < wanted && threads.available_permits() > kept {
        let Ok(seat) = Arc::clone(threads).try_acquire_owned() else { break };
        seats.push(seat);
    }
    Ok(seats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_is_left_for_every_job_and_a_wait_ends_with_the_job() {
        let (threads, cancel) = (Arc::new(Semaphore::new(5)), CancellationToken::new());
        let greedy = take(&threads, 100, 2, &cancel).await.unwrap();
        assert_eq!(greedy.len(), 3);
        let second = take(&threads, 100, 2, &cancel).await.unwrap();
        let third = take(&threads, 100, 2, &cancel).await.unwrap();
        assert_eq!((second.len(), third.len()), (1, 1));
        cancel.cancel();
        assert_eq!(take(&threads, 1, 2, &cancel).await.unwrap_err().code(), "canceled");
        drop(second);
        assert_eq!(take(&threads, 100, 2, &CancellationToken::new()).await.unwrap().len(), 1);
    }
}
