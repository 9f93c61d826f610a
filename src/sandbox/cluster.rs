//! Several nodes over the same records.

use std::ops::Range;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::node::Node;
use super::store::Store;
use super::topology::{Member, Topology};
use super::{Sandbox, SandboxOptions, bind, check};
use crate::error::{Error, Result};

/// Most nodes of a cluster.
const NODES_MAX: usize = 3;

/// One to three nodes that share their records; each partition is served by one of them.
///
/// **No replication is played**: records belong to the cluster, so nothing is lost when a node goes.
#[derive(Debug)]
pub struct SandboxCluster {
    nodes: Vec<Sandbox>,
}

impl SandboxCluster {
    /// Starts a node for each of `options`, which differ in names, addresses and clocks; the first has the namespaces
    /// and the name of the cluster. `inherits`: when a node goes, the others serve its partitions, as with two copies
    /// of each record; else nobody does until it is back.
    ///
    /// Errors: as [`Sandbox::start`].
    pub async fn start(
        options: Vec<SandboxOptions>,
        inherits: bool,
        token: &CancellationToken,
    ) -> Result<Self> {
        Ok(Self { nodes: start(options, inherits, token).await? })
    }

    /// A node by its place in the options.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn node(&self, index: usize) -> &Sandbox {
        self.nodes.get(index).expect("invariant: a test names a node that it has started")
    }

    /// A node that is to be taken down or brought up.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn node_mut(&mut self, index: usize) -> &mut Sandbox {
        self.nodes.get_mut(index).expect("invariant: a test names a node that it has started")
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Sandbox] {
        &self.nodes
    }

    /// Gives partitions to a node, or to nobody.
    pub fn move_partitions(&self, partitions: Range<u16>, to: Option<usize>) {
        partitions.for_each(|pid| self.node(0).node.topology.give(pid, to));
    }
}

/// Starts the nodes of one cluster.
pub(super) async fn start(
    options: Vec<SandboxOptions>,
    inherits: bool,
    token: &CancellationToken,
) -> Result<Vec<Sandbox>> {
    let Some(first) = options.first().filter(|_| options.len() <= NODES_MAX) else {
        return Err(Error::permanent("sandbox-options", format!("a cluster has 1 to {NODES_MAX} nodes")));
    };
    let (store, copies) = (Arc::new(Store::new(&first.namespaces)), first.copies);
    let mut members: Vec<Member> = Vec::new();
    let mut listeners = Vec::new();
    for one in &options {
        check(one)?;
        if members.iter().any(|member| member.name == one.node_name) {
            return Err(Error::permanent("sandbox-options", format!("two nodes are {}", one.node_name)));
        }
        let listener = bind(one.address).await?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::permanent("sandbox-address", "no local address").source(error))?;
        members.push(Member { name: one.node_name.clone(), address, present: true });
        listeners.push((listener, address));
    }
    let topology = Arc::new(Topology::new(members, inherits, copies));
    let mut nodes = Vec::new();
    for (index, (one, (listener, address))) in options.into_iter().zip(listeners).enumerate() {
        let node = Node::new(one, address, Arc::clone(&store), (Arc::clone(&topology), index));
        tracing::warn!(
            %address,
            "sandbox node started: it keeps records in memory only and is not a database"
        );
        let mut sandbox = Sandbox { node: Arc::new(node), token: token.clone(), scope: None };
        sandbox.serve(listener);
        nodes.push(sandbox);
    }
    Ok(nodes)
}
