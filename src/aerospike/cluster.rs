//! The cluster: from seeds to nodes, and who owns which partition.
//!
//! Nothing runs in the background: nodes are found at connect and at [`Cluster::refresh`], and the partition map is
//! asked by whoever is about to use it (docs/decisions/0002-own-control-plane.md).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{join_all, try_join_all};

use crate::error::{Error, Result};
use crate::model::partitions::PARTITION_COUNT;

use super::conn::{CONNECTION_LOST, lost, malformed};
use super::door::{Access, Door};
use super::info;
use super::login::LOGIN_REFUSED;
use super::namespace::missing;
use super::node::{Build, Node};
use super::wire::Malformed;

/// Bytes of a bitmap with one bit per partition.
const BITMAP_BYTES: usize = PARTITION_COUNT as usize / 8;

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

/// Whether a failure has to do with us and not with the seed that was asked.
fn concerns_us(error: &Error) -> bool {
    error.code() == LOGIN_REFUSED || error.code() == "tls-files" || error.code().starts_with("secret-")
}

/// Where a node may be.
#[derive(Debug, Clone)]
enum Place {
    Address(SocketAddr),
    Host(Seed),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(seed) => write!(f, "{}:{}", seed.host, seed.port),
        }
    }
}

/// What a node says of itself and of the others.
struct Probe {
    name: String,
    address: SocketAddr,
    tls_name: String,
    build: Build,
    peers: Vec<Peer>,
}

impl Probe {
    async fn at(place: &Place, tls_name: &str, door: &Door, label: &str) -> Result<Self> {
        let limit = door.limit;
        let addresses: Vec<SocketAddr> = match place {
            Place::Address(address) => vec![*address],
            Place::Host(seed) => {
                tokio::time::timeout(limit, tokio::net::lookup_host((seed.host.as_str(), seed.port)))
                    .await
                    .map_err(|_| Error::temporary("cluster-unreachable", "host name not resolved in time"))?
                    .map_err(|error| {
                        Error::temporary("cluster-unreachable", "host name not resolved").source(error)
                    })?
                    .collect()
            }
        };
        let mut last = Error::temporary("cluster-unreachable", "the host name has no address");
        for address in addresses {
            match Self::of(address, tls_name, door, label).await {
                Ok(probe) => return Ok(probe),
                Err(error) if concerns_us(&error) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn of(address: SocketAddr, tls_name: &str, door: &Door, label: &str) -> Result<Self> {
        let mut connection = door.open(address, tls_name).await?;
        let peers: &[u8] = match (&door.access.tls, door.access.services_alternate) {
            (None, false) => b"peers-clear-std",
            (None, true) => b"peers-clear-alt",
            (Some(_), false) => b"peers-tls-std",
            (Some(_), true) => b"peers-tls-alt",
        };
        let mut commands: Vec<&[u8]> = vec![b"node", b"build", peers];
        commands.extend(door.access.cluster_name.as_ref().map(|_| &b"cluster-name"[..]));
        let mut answers = info::exchange(&mut connection, &commands).await?;
        if info::is_session_lost(&answers) {
            return Err(door.session_lost(address).await);
        }
        let found = answers.get(3).map(|name| String::from_utf8_lossy(name).into_owned());
        answers.truncate(3);
        let [name, build, peers] = <[Vec<u8>; 3]>::try_from(answers).unwrap_or_default();
        if let (Some(expected), Some(found)) = (&door.access.cluster_name, found)
            && *expected != found
        {
            return Err(name_differs(address, label, expected, &found));
        }
        let say = |what| malformed(address, Malformed { what });
        let build = std::str::from_utf8(&build).ok().and_then(Build::parse).ok_or_else(|| say("build"))?;
        let name =
            String::from_utf8(name).ok().filter(|name| !name.is_empty()).ok_or_else(|| say("node name"))?;
        let peers = std::str::from_utf8(&peers).ok().and_then(parse_peers).ok_or_else(|| say("peers"))?;
        Ok(Self { name, address, tls_name: tls_name.to_owned(), build, peers })
    }
}

fn name_differs(address: SocketAddr, label: &str, expected: &str, found: &str) -> Error {
    let found: String = found.chars().take(100).collect();
    let message =
        format!("cluster \"{label}\" must call itself \"{expected}\", but node {address} says \"{found}\"");
    Error::permanent("cluster-name-differs", message)
        .hint("Check the seed nodes, or correct cluster-name; a cluster without a name says null.")
}

/// Another node, as a node names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    name: String,
    tls_name: String,
    places: Vec<Seed>,
}

impl Peer {
    /// Tries its addresses in order; somebody else at one of them does not count.
    async fn probe(&self, door: &Door, label: &str) -> Result<Probe> {
        let mut last = Error::temporary("cluster-unreachable", "the node has no address");
        for place in &self.places {
            let tls = door.access.tls.as_ref();
            let tls_name = tls.map(|tls| tls.name_of_peer(&self.tls_name, &place.host)).unwrap_or_default();
            match Probe::at(&Place::Host(place.clone()), &tls_name, door, label).await {
                Ok(probe) if probe.name == self.name => return Ok(probe),
                Ok(probe) => last = lost(probe.address, format!("node {} is there instead", probe.name)),
                Err(error) if concerns_us(&error) => return Err(error),
                Err(error) => last = error.context(format!("{}:{}", place.host, place.port)),
            }
        }
        Err(last)
    }
}

/// Reads `generation,port,[[name,tls-name,[address,…]],…]` (wire.md 7). An address is `host`, `host:port`, `[v6]`
/// or `[v6]:port`; the port is left out where it is the one at the front.
pub(super) fn parse_peers(text: &str) -> Option<Vec<Peer>> {
    let (_generation, text) = text.trim_end().split_once(',')?;
    let (default_port, text) = text.split_once(',')?;
    let default_port = if default_port.is_empty() { 3000 } else { default_port.parse().ok()? };
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut peers = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.strip_prefix('[')?.split_once(',')?;
        let (tls_name, after) = after.split_once(',')?;
        let (addresses, after) = after.strip_prefix('[')?.split_once("]]")?;
        // "[[::1]]" closes with three brackets: the first belongs to the address
        let (addresses, after) = match after.strip_prefix(']') {
            Some(after) => (format!("{addresses}]"), after),
            None => (addresses.to_owned(), after),
        };
        let places = addresses
            .split(',')
            .filter(|address| !address.is_empty())
            .map(|address| parse_address(address, default_port))
            .collect::<Option<_>>()?;
        peers.push(Peer { name: name.to_owned(), tls_name: tls_name.to_owned(), places });
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(peers)
}

fn parse_address(text: &str, default_port: u16) -> Option<Seed> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => default_port,
    };
    Some(Seed { host: host.to_owned(), port })
}

/// Collects who claims what.
struct Claims {
    owners: Vec<Option<Arc<Node>>>,
    regimes: Vec<u32>,
    namespace_seen: bool,
}

impl Claims {
    fn new() -> Self {
        let count = usize::from(PARTITION_COUNT);
        Self { owners: vec![None; count], regimes: vec![0; count], namespace_seen: false }
    }

    /// Takes the claims of `node`. If two nodes claim a partition while it moves, the later regime counts.
    fn claim(&mut self, node: &Arc<Node>, replicas: &[u8], namespace: &[u8]) -> Result<(), Malformed> {
        let Some((regime, bitmap)) = masters(replicas, namespace)? else { return Ok(()) };
        let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0));
        for ((owned, owner), known) in bits.zip(&mut self.owners).zip(&mut self.regimes) {
            if owned && (owner.is_none() || regime >= *known) {
                *owner = Some(node.clone());
                *known = regime;
            }
        }
        self.namespace_seen = true;
        Ok(())
    }
}

/// The regime and the bitmap of the partitions of which a node says that it is the master: `ns:regime,n,bitmap,…;…`, the
/// first bitmap being the master's. `None`: it says nothing of this namespace.
pub(super) fn masters(replicas: &[u8], namespace: &[u8]) -> Result<Option<(u32, Vec<u8>)>, Malformed> {
    const MALFORMED: Malformed = Malformed { what: "partition map" };
    let entry = replicas
        .split(|byte| *byte == b';')
        .find_map(|entry| entry.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(b":")));
    let Some(entry) = entry else { return Ok(None) };
    let mut words = entry.split(|byte| *byte == b',');
    let regime = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
    let regime = regime.ok_or(MALFORMED)?;
    let bitmap = words.nth(1).ok_or(MALFORMED)?;
    let bitmap = base64_simd::STANDARD.decode_to_vec(bitmap).map_err(|_| MALFORMED)?;
    if bitmap.len() == BITMAP_BYTES { Ok(Some((regime, bitmap))) } else { Err(MALFORMED) }
}

#[cfg(test)]
mod tests;
