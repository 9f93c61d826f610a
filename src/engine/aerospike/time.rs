//! The destination's clock, by which remaining lives are computed (rules.md 4.7).

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aerospike::Cluster;
use crate::error::Result;
use crate::tasks::unless_canceled;

/// Tells the destination's time while the restore goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct DestinationTime {
    node_s: u64,
    asked_at: Instant,
}

impl DestinationTime {
    /// Asks every node; the latest clock counts.
    pub(super) async fn ask(cluster: &Cluster, namespace: &str, cancel: &CancellationToken) -> Result<Self> {
        let asked_at = Instant::now();
        let stats = unless_canceled(cancel, cluster.namespace_stats(namespace)).await?;
        let node_s = stats.iter().map(|stat| stat.current_time_s).max().unwrap_or_default();
        Ok(Self { node_s, asked_at })
    }

    /// Seconds since 2010 by the destination's clock: what passed since it was asked is measured by a clock that
    /// nobody sets.
    pub(super) fn now_s(&self) -> u64 {
        self.node_s.saturating_add(self.asked_at.elapsed().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{DestinationTime, Instant};

    #[test]
    fn the_time_of_the_destination_goes_on() {
        let asked_at = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let time = DestinationTime { node_s: 500, asked_at };
        assert!(time.now_s() >= 600);
    }
}
