//! The cluster: from seeds to nodes, and who owns which partition.
//!
//! Nothing runs in the background: nodes are found at connect and at [`Cluster::refresh`], and the partition map is
//! asked by whoever is about to use it (docs/decisions/0002-own-control-plane.md).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{join_all, try_join_all};

mod claims;
mod probe;

use crate::error::{Error, Result};

use claims::Claims;
pub(super) use claims::masters;
pub(super) use probe::parse_peers;
use probe::{Peer, Place, Probe, concerns_us};

use super::conn::{CONNECTION_LOST, malformed};
use super::door::{Access, Door};
use super::info;
use super::login::LOGIN_REFUSED;
use super::namespace::missing;
use super::node::{Build, Node};

/// Where to look for a cluster first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Host name or address.
    pub host: String,
    /// Service port.
    pub port: u16,
}

/// How to reach a cluster (abs.md 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Tried in order until one answers.
    pub seeds: Vec<Seed>,
    /// For each connection; ABS's `conn-timeout`.
    pub connect_timeout_ms: u64,
    /// What errors and logs call the cluster.
    pub label: String,
}

/// A cluster: its nodes and their idle connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ClusterOptions,
    door: Arc<Door>,
    nodes: ArcSwap<Vec<Arc<Node>>>,
    /// Held while nodes are looked for, so that workers that lose a node together look once.
    looking: tokio::sync::Mutex<()>,
}

/// Which node is the master of which partition of one namespace.
#[derive(Debug, Clone)]
pub struct PartitionMap {
    owners: Vec<Option<Arc<Node>>>,
}

impl PartitionMap {
    /// The master of `pid`; `None` while no reachable node claims it.
    pub fn owner(&self, pid: u16) -> Option<&Arc<Node>> {
        self.owners.get(usize::from(pid)).and_then(Option::as_ref)
    }

    /// Reads `pid` from this node.
    pub(super) fn give(&mut self, pid: u16, node: &Arc<Node>) {
        if let Some(owner) = self.owners.get_mut(usize::from(pid)) {
            *owner = Some(Arc::clone(node));
        }
    }
}

impl Cluster {
    /// Finds the cluster by its seeds, in clear and as nobody.
    ///
    /// Errors: `cluster-unreachable` (temporary) names each seed and why it failed.
    pub async fn connect(options: &ClusterOptions) -> Result<Self> {
        Self::enter(options, Access::default()).await
    }

    /// Finds the cluster by its seeds.
    ///
    /// Errors: `cluster-unreachable` (temporary) names each seed and why it failed; `login-refused`, `tls-refused`,
    /// `tls-files`, `cluster-name-differs`, those of [`crate::secrets::StoredSecret::fetch`].
    pub async fn enter(options: &ClusterOptions, access: Access) -> Result<Self> {
        let nodes = ArcSwap::from_pointee(Vec::new());
        let limit = Duration::from_millis(options.connect_timeout_ms);
        let door = Arc::new(Door::new(limit, &options.label, access));
        let inner = Inner { options: options.clone(), door, nodes, looking: tokio::sync::Mutex::new(()) };
        let cluster = Self(Arc::new(inner));
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// What errors and logs call the cluster.
    pub fn label(&self) -> &str {
        &self.0.options.label
    }

    /// The nodes as of the last look, sorted by name; never empty.
    #[allow(clippy::unused_async)] // the contract of the room: a look may be needed one day
    pub async fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.nodes.load().to_vec()
    }

    /// The lowest version among the nodes: what may be asked of all of them.
    pub fn lowest_build(&self) -> Build {
        self.0.nodes.load().iter().map(|node| node.build).min().unwrap_or_default()
    }

    /// Looks for the nodes again: by those that are known, then by the seeds. Nodes that stay keep their idle
    /// connections; those that cannot be reached are left out, with a warning.
    pub async fn refresh(&self) -> Result<()> {
        let before = self.0.nodes.load_full();
        let _looking = self.0.looking.lock().await;
        let known = self.0.nodes.load_full();
        if !Arc::ptr_eq(&before, &known) {
            return Ok(()); // another task has just looked
        }
        let found = self.look(&known).await?;
        self.0.nodes.store(Arc::new(found));
        Ok(())
    }

    /// Asks `node` each of `commands`; the answers are bytes, refusals included as they came.
    pub async fn info(&self, node: &Node, commands: &[&str]) -> Result<BTreeMap<String, Vec<u8>>> {
        let bytes: Vec<&[u8]> = commands.iter().map(|command| command.as_bytes()).collect();
        let answers = node.ask(&bytes).await?;
        Ok(commands.iter().map(|command| (*command).to_owned()).zip(answers).collect())
    }

    /// Asks `node` one command; a refusal is the error `info-refused`.
    pub(super) async fn ask(&self, node: &Node, command: &[u8]) -> Result<Vec<u8>> {
        let answer = node.ask(&[command]).await?.pop().unwrap_or_default();
        info::accepted(answer, command)
    }

    /// Asks one node after another until one answers; for what every node knows. A refusal is the error
    /// `info-refused`.
    pub(super) async fn ask_any(&self, command: &[u8]) -> Result<Vec<u8>> {
        let answer = self.ask_any_raw(command).await?;
        info::accepted(answer, command)
    }

    /// Like [`Cluster::ask_any`], with refusals as they came.
    pub(super) async fn ask_any_raw(&self, command: &[u8]) -> Result<Vec<u8>> {
        let mut last = None;
        for node in self.nodes().await {
            match node.ask(&[command]).await {
                Ok(mut answers) => return Ok(answers.pop().unwrap_or_default()),
                Err(error) if error.code() == CONNECTION_LOST => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable(&["no node is known".to_owned()])))
    }

    /// Asks every node. One that is gone makes the nodes be looked for again, once: if it is still gone it is left out,
    /// with a warning (see [`Cluster::refresh`]). A refusal is the error `info-refused`.
    pub(super) async fn ask_all(&self, command: &[u8]) -> Result<Vec<(Arc<Node>, Vec<u8>)>> {
        let ask = async || {
            let nodes = self.nodes().await;
            let answers = try_join_all(nodes.iter().map(|node| self.ask(node, command))).await?;
            Ok(nodes.into_iter().zip(answers).collect())
        };
        match ask().await {
            Err(error) if Error::code(&error) == CONNECTION_LOST => {
                self.refresh().await?;
                ask().await
            }
            answered => answered,
        }
    }

    /// The owners of the partitions of `namespace`, asked of every node now. A node that does not answer is left
    /// out, with a warning: its partitions then have no owner.
    ///
    /// Errors: `namespace-missing` (permanent) if the nodes answer and none has the namespace.
    pub async fn partition_owners(&self, namespace: &str) -> Result<PartitionMap> {
        let nodes = self.nodes().await;
        let asked = nodes.iter().map(|node| self.ask(node, b"replicas"));
        let mut claims = Claims::new();
        let mut last_error = None;
        for (node, answer) in nodes.iter().zip(join_all(asked).await) {
            match answer {
                Ok(replicas) => claims
                    .claim(node, &replicas, namespace.as_bytes())
                    .map_err(|error| malformed(node.address, error))?,
                // Each further try could lock the account.
                Err(error) if error.code() == LOGIN_REFUSED => return Err(error),
                Err(error) => {
                    tracing::warn!(node = %node, error = %error.report(), "no partition map from node");
                    last_error = Some(error);
                }
            }
        }
        match (claims.namespace_seen, last_error) {
            (true, _) => Ok(PartitionMap { owners: claims.owners }),
            (false, Some(error)) => Err(error),
            (false, None) => Err(missing(self, namespace)),
        }
    }

    async fn look(&self, known: &[Arc<Node>]) -> Result<Vec<Arc<Node>>> {
        let door = &self.0.door;
        let (mut failures, mut refusal) = (Vec::new(), None);
        let known_places = known.iter().map(|node| (Place::Address(node.address), node.tls_name.clone()));
        let seeds = self.0.options.seeds.iter().map(|seed| {
            let tls = door.access.tls.as_ref();
            let tls_name = tls.map(|tls| tls.name_of_seed(&seed.host, seed.port)).unwrap_or_default();
            (Place::Host(seed.clone()), tls_name)
        });
        for (place, tls_name) in known_places.chain(seeds) {
            match Probe::at(&place, &tls_name, door, self.label()).await {
                Ok(first) => return Ok(self.follow_peers(first, known).await),
                // Of every seed the same, and an account may be locked.
                Err(error) if concerns_us(&error) => return Err(error.context(format_args!("{place}"))),
                Err(error) => {
                    failures.push(format!("{place}: {}", error.report()));
                    let says_why = matches!(error.code(), "tls-refused" | "cluster-name-differs");
                    refusal = refusal.or(says_why.then_some(error));
                }
            }
        }
        match refusal {
            Some(refusal) => {
                let seeds = format!("no seed of cluster \"{}\" will do", self.label());
                Err(refusal.context(seeds))
            }
            None => Err(self.unreachable(&failures)),
        }
    }

    async fn follow_peers(&self, first: Probe, known: &[Arc<Node>]) -> Vec<Arc<Node>> {
        let (door, label) = (&self.0.door, self.label());
        let mut names: BTreeSet<String> = BTreeSet::from([first.name.clone()]);
        let mut found = Vec::new();
        let mut fresh = vec![first];
        while !fresh.is_empty() {
            let peers: Vec<Peer> = fresh
                .iter_mut()
                .flat_map(|probe| std::mem::take(&mut probe.peers))
                .filter(|peer| names.insert(peer.name.clone()))
                .collect();
            found.append(&mut fresh);
            let probes = join_all(peers.iter().map(|peer| peer.probe(door, label))).await;
            for (peer, probe) in peers.iter().zip(probes) {
                match probe {
                    Ok(probe) => fresh.push(probe),
                    Err(error) => {
                        let (cluster, node) = (self.label(), &peer.name);
                        tracing::warn!(cluster, node, error = %error.report(), "node of the cluster not reached");
                    }
                }
            }
        }
        let mut nodes: Vec<_> = found
            .into_iter()
            .map(|probe| {
                let same = known.iter().find(|node| {
                    node.name == probe.name
                        && node.address == probe.address
                        && node.build == probe.build
                        && node.tls_name == probe.tls_name
                });
                same.cloned().unwrap_or_else(|| {
                    let place = (probe.address, probe.tls_name);
                    Arc::new(Node::new(probe.name, place, probe.build, Arc::clone(door)))
                })
            })
            .collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    fn unreachable(&self, failures: &[String]) -> Error {
        Error::temporary(
            "cluster-unreachable",
            format!("no seed of cluster \"{}\" answered: {}", self.label(), failures.join("; ")),
        )
        .hint("Check the seed nodes' host names, ports and firewalls.")
    }
}

#[cfg(test)]
mod tests;
