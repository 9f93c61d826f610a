//! The application of the demo: writes sample records, then goes on changing them until it is paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use crate::aerospike::Cluster;
use crate::error::Result;
use crate::sample::{self, every_kind, mixed};

/// Between two changes of the running application.
const PAUSE: Duration = Duration::from_millis(25);

/// Records changed or added at a time.
const CHANGES: usize = 5;

/// The application; cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    cluster: Cluster,
    namespace: String,
    records: u64,
    /// Whoever holds it writes; the demo holds it while the application is paused.
    turn: Arc<Mutex<()>>,
    changes: Arc<AtomicU64>,
}

impl Writer {
    /// An application that owns `records` records of a namespace.
    pub fn new(cluster: Cluster, namespace: &str, records: u64) -> Self {
        Self {
            cluster,
            namespace: namespace.to_owned(),
            records,
            turn: Arc::default(),
            changes: Arc::default(),
        }
    }

    /// Writes the records for the first time, and one of every kind the format must carry.
    pub async fn fill(&self) -> Result<u64> {
        let mut records = every_kind("kinds");
        records.extend((0..self.records).map(|key| mixed("customers", key as i64, 0)));
        sample::write(&self.cluster, &self.namespace, &records).await?;
        Ok(records.len() as u64)
    }

    /// Changes old records and adds new ones until `stop`.
    pub async fn run(&self, stop: &CancellationToken) -> Result<()> {
        let mut added = self.records;
        while !stop.is_cancelled() {
            {
                let _turn = self.turn.lock().await;
                let version = self.changes.load(Ordering::SeqCst) as i64 + 1;
                let mut batch = Vec::with_capacity(CHANGES + 1);
                for _ in 0..CHANGES {
                    let key = rand::rng().random_range(0..self.records) as i64;
                    batch.push(mixed("customers", key, version));
                }
                batch.push(mixed("customers", added as i64, version));
                added += 1;
                sample::write(&self.cluster, &self.namespace, &batch).await?;
                self.changes.fetch_add(batch.len() as u64, Ordering::SeqCst);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Waits until nothing is being written, and holds the application until the guard is dropped.
    pub async fn pause(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Records changed or added so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}
