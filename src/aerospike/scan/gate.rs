//! Who may scan now: few nodes at a time, and few scans of a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore};

/// What a stream passes before it begins; by default nothing stands in the way.
#[derive(Debug, Clone, Default)]
pub struct ScanGates {
    /// The nodes that may be read at once.
    pub nodes: Option<Arc<NodeGate>>,
    /// One permit for each stream that may run at once; shared by all who read the cluster.
    pub scans: Option<Arc<Semaphore>>,
}

/// Lets streams to so many nodes through at once; any number to each of them.
#[derive(Debug)]
pub struct NodeGate {
    nodes_max: usize,
    /// Streams by the name of their node.
    inside: Mutex<BTreeMap<String, usize>>,
    pub(super) left: Notify,
}

impl NodeGate {
    /// At most `nodes_max` nodes at once; 0 counts as 1.
    pub fn new(nodes_max: usize) -> Self {
        Self { nodes_max: nodes_max.max(1), inside: Mutex::default(), left: Notify::new() }
    }

    /// Enters unless too many other nodes are being read.
    pub(super) fn enter(self: &Arc<Self>, node: &str) -> Option<NodePass> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if !inside.contains_key(node) && inside.len() >= self.nodes_max {
            return None;
        }
        *inside.entry(node.to_owned()).or_default() += 1;
        Some(NodePass { gate: Arc::clone(self), node: node.to_owned() })
    }
}

/// The right to read a node until it is dropped.
#[derive(Debug)]
pub(super) struct NodePass {
    gate: Arc<NodeGate>,
    node: String,
}

impl Drop for NodePass {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = inside.get_mut(&self.node) {
            *streams -= 1;
            if *streams == 0 {
                inside.remove(&self.node);
            }
        }
        drop(inside);
        self.gate.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::NodeGate;

    #[test]
    fn a_node_that_is_being_read_may_be_read_more_and_another_waits() {
        let gate = Arc::new(NodeGate::new(2));
        let passes = [gate.enter("a").unwrap(), gate.enter("a").unwrap(), gate.enter("b").unwrap()];
        assert!(gate.enter("c").is_none());
        let [first, second, _b] = passes;
        drop(first);
        assert!(gate.enter("c").is_none(), "one stream still reads a");
        drop(second);
        let _c = gate.enter("c").unwrap();
        assert!(gate.enter("a").is_none());
        assert!(gate.enter("b").is_some());
    }
}
