//! What is on its way to a cluster, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in this many bytes: a semaphore gives no more than 2^32 at once.
const UNIT_BYTES: u64 = 1024;

/// Bytes that may be on their way at once; shared by all who send.
#[derive(Debug)]
pub struct InFlight {
    limit_units: u32,
    free: Arc<Semaphore>,
    now: AtomicU64,
    peak: AtomicU64,
    /// What is on its way of all jobs.
    of_all: Arc<AtomicU64>,
}

impl InFlight {
    /// With room for so many bytes.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Self::counted(limit_bytes, Arc::default())
    }

    /// With room for so many bytes, which count in `of_all` too.
    pub(super) fn counted(limit_bytes: u64, of_all: Arc<AtomicU64>) -> Arc<Self> {
        let limit_units = u32::try_from(limit_bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        let free = Arc::new(Semaphore::new(limit_units as usize));
        Arc::new(Self { limit_units, free, now: AtomicU64::new(0), peak: AtomicU64::new(0), of_all })
    }

    /// Waits until there is room, first come first served; the room is taken until the answer is dropped. What is larger
    /// than all the room goes alone.
    pub async fn enter(self: &Arc<Self>, bytes: u64) -> Held {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.limit_units);
        // None only of a semaphore that was closed, which nobody does.
        let room = Arc::clone(&self.free).acquire_many_owned(units).await.ok();
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
        self.of_all.fetch_add(bytes, Ordering::Relaxed);
        Held { bytes, of: Arc::clone(self), _room: room }
    }

    /// The most bytes that were on their way at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Room that is taken until it is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: u64,
    of: Arc<InFlight>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.now.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::InFlight;

    #[tokio::test]
    async fn who_finds_no_room_waits_and_what_is_too_large_goes_alone() {
        let room = InFlight::new(10_240);
        let (first, second) = (room.enter(4096).await, room.enter(6144).await);
        let third = room.enter(1);
        tokio::pin!(third);
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        let third = third.await;
        let alone = room.enter(1 << 30);
        tokio::pin!(alone);
        assert!(futures_util::poll!(&mut alone).is_pending());
        drop((second, third));
        let _alone = alone.await;
        assert_eq!(room.peak(), 1 << 30);
        assert_eq!(room.free.available_permits(), 0);
    }
}
