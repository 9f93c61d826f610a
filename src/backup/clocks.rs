//! What a run may believe of the clocks it meets (rules.md 3.2).

use crate::engine::NodeFacts;
use crate::error::{Error, Result};
use crate::model::UnixMillis;

/// Nodes tell their clock in whole seconds: below this a difference says nothing.
const CLOCK_RESOLUTION_MS: i64 = 1000;

/// Our clock may be this far from the median of the nodes'.
const SKEW_MAX_MS: i64 = 5 * 60 * 1000;

/// What the nodes' clocks mean for the bound that the next incremental must use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkewVerdict {
    /// The lower bound the next incremental must use.
    pub safe_from: UnixMillis,
    /// The largest lag behind our clock that was measured, in milliseconds.
    pub behind_ms: i64,
    /// The node of that lag.
    pub node: String,
    /// Said in the job and the manifest, if the bound had to be lowered.
    pub warning: Option<String>,
}

/// Refuses to work with a clock of our own that is far from the nodes' median; before anything is believed of times in
/// storage.
pub fn check_own_clock(nodes: &[NodeFacts]) -> Result<()> {
    let mut ahead: Vec<i64> = nodes.iter().map(|node| node.clock_ahead_ms).collect();
    ahead.sort_unstable();
    let median = ahead.get(ahead.len() / 2).copied().unwrap_or(0);
    if median.abs() > SKEW_MAX_MS {
        return Err(Error::permanent(
            "clock-skew",
            format!("this machine's clock differs from the median of the nodes' by {} s", median / 1000),
        )
        .hint("Set this machine's clock, or the nodes', right: a backup would promise the wrong moment."));
    }
    Ok(())
}

/// Judges the nodes' clocks for a run created at `created` with the policy's margin.
pub fn judge_skew(created: UnixMillis, margin_ms: i64, nodes: &[NodeFacts]) -> SkewVerdict {
    let worst = nodes.iter().max_by_key(|node| lag_ms(node));
    let behind_ms = worst.map_or(0, lag_ms);
    let excess = (behind_ms - margin_ms).max(0);
    let warning = worst.filter(|_| excess > 0).map(|node| {
        format!(
            "the clock of node {} is {behind_ms} ms behind, more than clock-skew-margin ({margin_ms} ms): the next \
             incremental starts {excess} ms earlier",
            node.name
        )
    });
    let node = worst.map(|node| node.name.clone()).unwrap_or_default();
    SkewVerdict { safe_from: created.plus_ms(-excess), behind_ms, node, warning }
}

/// By how much a node is behind us, in milliseconds, as far as its clock tells.
fn lag_ms(node: &NodeFacts) -> i64 {
    let measured = -node.clock_ahead_ms;
    let measured = if measured > CLOCK_RESOLUTION_MS { measured } else { 0 };
    // A node that sees a large skew in its cluster may itself be the one that is ahead: both ends count as behind.
    let seen = if node.cluster_skew_ms > CLOCK_RESOLUTION_MS { node.cluster_skew_ms } else { 0 };
    measured.max(seen)
}

#[cfg(test)]
mod tests {
    use super::{check_own_clock, judge_skew};
    use crate::engine::NodeFacts;
    use crate::model::UnixMillis;

    fn node(name: &str, clock_ahead_ms: i64) -> NodeFacts {
        NodeFacts { name: name.to_owned(), address: String::new(), clock_ahead_ms, cluster_skew_ms: 0 }
    }

    #[test]
    fn a_node_behind_by_more_than_the_margin_lowers_the_next_bound() {
        let created = UnixMillis(1_000_000);
        let fine = judge_skew(created, 1000, &[node("a", -900), node("b", 3000)]);
        assert_eq!((fine.safe_from, fine.warning), (created, None));
        let behind = judge_skew(created, 1000, &[node("a", 0), node("b", -4500)]);
        assert_eq!(behind.safe_from, UnixMillis(1_000_000 - 3500));
        assert!(behind.warning.unwrap().contains("node b"));
    }

    #[test]
    fn a_clock_five_minutes_off_the_median_stops_the_run() {
        let nodes = [node("a", -301_000), node("b", -302_000), node("c", 0)];
        assert_eq!(check_own_clock(&nodes).unwrap_err().code(), "clock-skew");
        let one_off = [node("a", 0), node("b", -302_000), node("c", 0)];
        assert!(check_own_clock(&one_off).is_ok());
    }
}
