//! A fault: what goes wrong at which event on a node, and how often.
//!
//! Faults are for tests only and count events, not time: the same requests meet the same fault.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// An event on one node, at which a fault may strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A connection was accepted.
    Connection,
    /// An info request came.
    Info,
    /// A scan was asked for.
    Scan,
    /// A record of a scan was put on the wire.
    Record,
    /// A batch came; no row of it is done.
    Batch,
    /// A row of a batch is about to be done.
    Row,
    /// A row of a batch was done.
    RowDone,
    /// All rows of a batch are done, and the last of the answers is about to be sent.
    Answer,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Harm {
    /// The connection is closed.
    Close,
    /// The connection stays open and nothing is said on it any more.
    Silence,
    /// Everything on this connection waits so long.
    Delay(Duration),
    /// Half of the frame, then the connection is closed.
    Cut,
    /// A frame that is not the protocol's, then the connection is closed.
    Garble(Garble),
    /// The request, or the row, ends with this result code.
    Refuse(u8),
    /// Partitions go to the node with this index, or to nobody: unavailable, as while they migrate.
    Move(Range<u16>, Option<usize>),
    /// The node is gone: its port is closed and so are its connections.
    Leave,
}

/// How a frame is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garble {
    /// Another version of the protocol.
    Version,
    /// Another type than was asked for.
    Type,
    /// A size that no frame has.
    Size,
    /// A body that is no message.
    Body,
}

/// What goes wrong, when and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    moment: Moment,
    harm: Harm,
    first: u64,
    every: u64,
    times: u64,
}

impl Fault {
    /// Strikes once, at the first such event.
    pub fn new(moment: Moment, harm: Harm) -> Self {
        Self { moment, harm, first: 1, every: 1, times: 1 }
    }

    /// Strikes from the `n`-th event on, counted from 1 and from when the fault was planted.
    #[must_use]
    pub fn at(self, n: u64) -> Self {
        Self { first: n, ..self }
    }

    /// Strikes at each `n`-th event from the first one on.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { every: n.max(1), ..self }
    }

    /// Strikes so often, and then never again.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Never stops striking.
    #[must_use]
    pub fn for_ever(self) -> Self {
        self.times(u64::MAX)
    }
}

/// A fault that was planted on a node.
#[derive(Debug)]
pub struct Planted {
    fault: Fault,
    seen: AtomicU64,
    struck: AtomicU64,
    strike: Notify,
}

impl Planted {
    /// How often it has struck.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }

    /// Waits until it has struck at least once.
    pub async fn wait(&self) {
        while self.struck() == 0 {
            let strike = self.strike.notified();
            if self.struck() == 0 {
                strike.await;
            }
        }
    }

    /// Notes an event of its moment; whether it strikes.
    fn meet(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let due = seen >= self.fault.first && (seen - self.fault.first).is_multiple_of(self.fault.every);
        let strikes = due
            && self
                .struck
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |struck| {
                    (struck < self.fault.times).then_some(struck + 1)
                })
                .is_ok();
        if strikes {
            self.strike.notify_one();
        }
        strikes
    }
}

/// The faults of one node.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planted: Mutex<Vec<Arc<Planted>>>,
    /// So that a node without faults takes no lock.
    count: AtomicUsize,
}

impl Faults {
    pub fn plant(&self, fault: Fault) -> Arc<Planted> {
        let planted =
            Planted { fault, seen: AtomicU64::new(0), struck: AtomicU64::new(0), strike: Notify::new() };
        let planted = Arc::new(planted);
        let mut all = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&planted));
        self.count.store(all.len(), Ordering::SeqCst);
        planted
    }

    pub fn clear(&self) {
        self.planted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.count.store(0, Ordering::SeqCst);
    }

    /// Notes an event on each fault that waits for it: the harm of the first that strikes.
    pub fn meet(&self, moment: Moment) -> Option<Harm> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let all = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut harm = None;
        for planted in all.iter().filter(|planted| planted.fault.moment == moment) {
            if planted.meet() && harm.is_none() {
                harm = Some(planted.fault.harm.clone());
            }
        }
        harm
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults, Harm, Moment};

    #[test]
    fn it_strikes_at_its_events_and_no_other() {
        let faults = Faults::default();
        assert_eq!(faults.meet(Moment::Row), None);
        let planted = faults.plant(Fault::new(Moment::Row, Harm::Refuse(14)).at(3).every(2).times(2));
        let struck: Vec<bool> = (0..9).map(|_| faults.meet(Moment::Row).is_some()).collect();
        assert_eq!(struck, [false, false, true, false, true, false, false, false, false]);
        assert_eq!((planted.struck(), faults.meet(Moment::Scan)), (2, None));
        faults.plant(Fault::new(Moment::Scan, Harm::Close).for_ever());
        assert!((0..5).all(|_| faults.meet(Moment::Scan) == Some(Harm::Close)));
        faults.clear();
        assert_eq!(faults.meet(Moment::Scan), None);
    }
}
