//! The one budget, and the shares that jobs hold of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::{Need, RestoreMemory};
use super::{BUDGET_BYTES, InFlight, mib};
use crate::error::{Error, Result};

/// Who takes: a restore may take what is kept free of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A restore.
    Restore,
    /// A backup, a verification, an estimate.
    Other,
}

/// The bytes that all jobs together may hold; cheap to clone. One restore's least is for restores alone, so that one can
/// start whatever else runs.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: u64,
    kept: u64,
    held: Mutex<Taken>,
    in_flight: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    by_restores: u64,
    by_others: u64,
}

impl Taken {
    const fn sum(self) -> u64 {
        self.by_restores + self.by_others
    }

    const fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Restore => &mut self.by_restores,
            Class::Other => &mut self.by_others,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BUDGET_BYTES)
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(total: u64) -> Self {
        let (held, in_flight) = (Mutex::default(), Arc::default());
        Self(Arc::new(Inner { total, kept: RestoreMemory::LEAST, held, in_flight }))
    }

    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// What is kept for a restore, in bytes.
    pub fn kept(&self) -> u64 {
        self.0.kept.min(self.0.total)
    }

    /// What jobs hold now, in bytes.
    pub fn held(&self) -> u64 {
        self.taken().sum()
    }

    /// What of it is on its way to clusters now, in bytes.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// The most that jobs of a class could have if nothing were taken, in bytes.
    pub fn most(&self, class: Class) -> u64 {
        match class {
            Class::Restore => self.0.total,
            Class::Other => self.0.total.saturating_sub(self.0.kept),
        }
    }

    /// Takes a share, all at once; none while not even the least is free, which a later end of another job will change.
    ///
    /// Errors: `memory-budget` for what would not fit if nothing were taken.
    pub fn take(&self, class: Class, need: Need) -> Result<Option<Share>> {
        need.check(self.most(class))?;
        let mut taken = self.taken();
        let Some(bytes) = need.of(self.free(class, *taken)) else { return Ok(None) };
        *taken.of(class) += bytes;
        Ok(Some(Share { bytes: AtomicU64::new(bytes), of: Some((self.clone(), class)) }))
    }

    /// As [`Budget::take`], for those who cannot wait.
    ///
    /// Errors: `memory-budget` if it does not fit, or not now.
    pub fn take_now(&self, class: Class, need: Need) -> Result<Share> {
        self.take(class, need)?.ok_or_else(|| {
            let text = format!(
                "{} of memory are needed and not free: jobs hold {}",
                mib(need.least),
                mib(self.held())
            );
            Error::temporary("memory-budget", text).hint("Try again when a job has ended.")
        })
    }

    /// What a class may still take. What restores hold is taken of what is kept for them first.
    fn free(&self, class: Class, taken: Taken) -> u64 {
        let beside = match class {
            Class::Restore => taken.by_restores,
            Class::Other => taken.by_restores.max(self.0.kept),
        };
        self.0.total.saturating_sub(beside).saturating_sub(taken.by_others)
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one job may hold, until it is dropped.
#[derive(Debug)]
pub struct Share {
    bytes: AtomicU64,
    of: Option<(Budget, Class)>,
}

impl Share {
    /// For work that no budget bounds: it holds no data, or runs by itself.
    pub const fn unbounded() -> Self {
        Self { bytes: AtomicU64::new(u64::MAX), of: None }
    }

    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes more, if that is free, once the plan knows what the job is about; waits for nothing. Gives what it has then:
    /// `need.wish`, or all that is free but what one more job like it needs.
    pub fn grow(&self, need: Need) -> u64 {
        let Some((budget, class)) = &self.of else { return self.bytes() };
        let mut taken = budget.taken();
        let free = budget.free(*class, *taken);
        let more = need.wish.saturating_sub(self.bytes());
        let more = if more <= free { more } else { free.saturating_sub(need.least) };
        *taken.of(*class) += more;
        self.bytes.fetch_add(more, Ordering::Relaxed) + more
    }

    /// Room for so many of its bytes on their way to a cluster.
    pub fn room_in_flight(&self, bytes: u64) -> Arc<InFlight> {
        match &self.of {
            Some((budget, _)) => InFlight::counted(bytes, Arc::clone(&budget.0.in_flight)),
            None => InFlight::new(bytes),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some((budget, class)) = &self.of {
            *budget.taken().of(*class) -= self.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
