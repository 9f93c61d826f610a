//! An in-memory node on loopback that speaks the Aerospike client protocol: for `holdfast demo` and for tests.
//!
//! **It is not a database.** Nothing is durable, nothing is replicated, and users are there for tests only: what it plays
//! of the enterprise edition (logins, TLS, certificates) is a reading of the protocol, no server was seen to do it. It is an
//! independent reading of the protocol: it shares no code with the room that talks to clusters, so that the two
//! can catch each other out. What a real node (CE 8.1.2.0) was seen to answer decides, also against the specs.
//!
//! # What it knows
//!
//! - **Records**: read (all bins, named bins, header only), write, touch, delete; create-only, update-only,
//!   replace, replace-only; generation equal and greater; ttl `0`, `-1`, `-2`, `n`; stored user keys; filters.
//!   Bin ops: READ 1, WRITE 2, INCR 5, APPEND 9, PREPEND 10, TOUCH 11, DELETE_ALL 14.
//! - **Batches** of reads, writes and deletes (field 41), with repeated rows and the error flags 4 and 8.
//! - **Scans**: partitions, resume digests, bins, no bins, sets, record limits, records per second, socket
//!   timeout, filters. Within a partition records come in falling digest order and a resume digest continues below
//!   it, as on the server. A PARTITION_DONE row comes only for a partition that the node does not own (result 11);
//!   the end of the stream with result 0 stands for all others. The server does the same.
//! - **Filter expressions**: 0 unknown, 1 to 6 comparisons, 16 and, 17 or, 18 not, 19 exclusive, 64 digest modulo,
//!   65 device size (0 in memory), 66 last update, 67 since update, 68 void time, 69 ttl, 70 set name, 71 key
//!   exists, 72 is tombstone, 74 record size (ours, not the server's), 80 key, 81 bin (bool, int, string, blob,
//!   float), 82 bin type; literals nil, bool, int, float, string, blob.
//! - **Info**: `info.rs` lists the commands.
//!
//! - **Clusters** of up to three nodes over the same records ([`SandboxCluster`]): peers, partition maps, partitions that
//!   move, nodes that go and come back, clocks of their own. Each node tells the counts of sets for the whole cluster.
//! - **Faults on demand** ([`Fault`]): at the nth event of a kind a connection drops, falls silent, is slow or speaks
//!   nonsense, a request or row is refused, partitions move, the node goes.
//!
//! Everything else is refused: parameter error (4) for what is malformed or unknown to us in a filter, unsupported
//! feature (16) for what a server knows and this node does not (secondary index queries, UDF calls, background
//! queries, transactions, bin ops beyond those above). Nothing is guessed.
//!
//! # What differs from a server
//!
//! Lists and maps are checked to be well-formed and kept as they come (a server puts ordered ones in order); the
//! cells of a GeoJSON value are not computed; HLL values and Lua code are not checked; indexes and UDFs are
//! registered, never used; `hash` in `udf-list` is RIPEMD-160, not the server's digest.

mod account;
mod batch;
mod cluster;
mod connection;
mod digest;
mod expression;
mod fault;
mod harm;
mod info;
mod msgpack;
mod node;
mod proto;
mod registry;
mod scan;
mod security;
mod single;
mod store;
#[cfg(test)]
mod tests;
mod topology;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};
use crate::tasks::Scope;

pub use cluster::SandboxCluster;
pub use digest::{digest_of, partition_of};
pub use fault::{Fault, Garble, Harm, Moment, Planted};
pub use security::{SandboxSecurity, SandboxTls, SandboxUser};
pub use store::{Bin, PARTITIONS, SandboxRecord};

/// How a sandbox node is set up.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Where to listen: a loopback address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The namespaces, at least one.
    pub namespaces: Vec<String>,
    /// The clock that stamps and expires records.
    pub clock: SharedClock,
    /// The name of the node, unique in a cluster.
    pub node_name: String,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The version that the node claims, of the form `8.1.0.3`.
    pub build: String,
    /// Life of a record written with ttl 0, in seconds; 0 = never expires.
    pub default_ttl_s: u32,
    /// The rack of the node; none: it knows no racks, as one of the Community Edition.
    pub rack: Option<u32>,
    /// Whether every node of the cluster has a copy of every partition, says so and serves it; of the first node.
    pub copies: bool,
    /// Whether it compresses what it sends to scans that ask for it, as one of the Enterprise Edition.
    pub compresses: bool,
    /// The largest record, in bytes of bin names and values; a server takes 1 MiB unless configured, 8 MiB at most.
    pub max_record_bytes: usize,
    /// Who may come in; none: everybody, and a login is refused as the community edition refuses it.
    pub security: Option<SandboxSecurity>,
    /// TLS, instead of connections in clear.
    pub tls: Option<SandboxTls>,
    /// Whether others are told an address at which nobody listens, unless they ask for alternate addresses.
    pub behind_alternate: bool,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            namespaces: vec!["test".to_owned()],
            clock: Arc::new(SystemClock),
            node_name: "HF00000000000001".to_owned(),
            cluster_name: "sandbox".to_owned(),
            build: "8.1.0.3".to_owned(),
            default_ttl_s: 0,
            rack: None,
            copies: false,
            compresses: false,
            max_record_bytes: store::RECORD_BYTES_DEFAULT,
            security: None,
            tls: None,
            behind_alternate: false,
        }
    }
}

/// A running node; dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    node: Arc<node::Node>,
    token: CancellationToken,
    scope: Option<Scope>,
}

impl Sandbox {
    /// Binds and serves, as a cluster of one, until `token` is cancelled or the sandbox is dropped.
    ///
    /// Errors: `sandbox-address` (not loopback, or it cannot be bound), `sandbox-options`.
    pub async fn start(options: SandboxOptions, token: &CancellationToken) -> Result<Self> {
        let mut nodes = cluster::start(vec![options], false, token).await?;
        nodes.pop().ok_or_else(|| Error::permanent("sandbox-options", "a cluster has at least one node"))
    }

    /// Serves on `listener` until the token is cancelled, the node leaves or the sandbox is dropped.
    fn serve(&mut self, listener: TcpListener) {
        let mut scope = Scope::new(&self.node.join(&self.token));
        let token = scope.token().clone();
        scope.spawn("sandbox", connection::accept(listener, Arc::clone(&self.node), token));
        self.scope = Some(scope);
    }

    /// Closes the port and all connections, as if the node had died; its records stay. The others no longer name it.
    pub async fn take_down(&mut self) -> Result<()> {
        self.node.leave();
        match self.scope.take() {
            Some(scope) => scope.join().await,
            None => Ok(()),
        }
    }

    /// Listens again at the same place, with the records it had.
    ///
    /// Errors: `sandbox-address` if somebody else took its port.
    pub async fn bring_up(&mut self) -> Result<()> {
        self.take_down().await?;
        let listener = bind(self.node.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// Plants a fault; it counts the events of this node from now on.
    pub fn plant(&self, fault: Fault) -> Arc<Planted> {
        self.node.faults.plant(fault)
    }

    /// Removes all faults of this node.
    pub fn heal(&self) {
        self.node.faults.clear();
    }

    /// Ends all sessions, also those of connections that are open: what comes on them is refused as expired (66).
    pub fn expire_sessions(&self) {
        self.node.security.expire_all();
    }

    /// How often somebody has logged in with credentials, and how often one was refused.
    pub fn logins(&self) -> (u64, u64) {
        self.node.security.logins()
    }

    /// From now on a user has this password.
    pub fn set_password(&self, user: &str, password: &str) {
        self.node.security.set_password(user, password);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.node.address
    }

    /// Stops serving and waits for the end.
    pub async fn stop(mut self) -> Result<()> {
        self.take_down().await
    }

    /// Puts a record exactly as given, with its own generation, void time and stamp.
    ///
    /// Errors: `sandbox-namespace`.
    pub fn put(&self, namespace: &str, record: SandboxRecord) -> Result<()> {
        self.namespace(namespace)?.put(record);
        Ok(())
    }

    /// Removes a record, if it is there, without a trace.
    ///
    /// Errors: `sandbox-namespace`.
    pub fn remove(&self, namespace: &str, digest: &[u8; 20]) -> Result<()> {
        self.namespace(namespace)?.partition_of(digest).remove(digest);
        Ok(())
    }

    /// How many records a namespace has that are not expired; 0 when it does not exist.
    pub fn len(&self, namespace: &str) -> usize {
        self.namespace(namespace).map_or(0, |space| space.live(self.node.now_s()))
    }

    /// Whether a namespace has no live record.
    pub fn is_empty(&self, namespace: &str) -> bool {
        self.len(namespace) == 0
    }

    /// The live record with this digest.
    pub fn get(&self, namespace: &str, digest: &[u8; 20]) -> Option<SandboxRecord> {
        self.namespace(namespace).ok()?.get(digest, self.node.now_s())
    }

    /// Calls `visit` with each live record, by partition and falling digest; one partition is locked at a time.
    ///
    /// Errors: `sandbox-namespace`.
    pub fn for_each(&self, namespace: &str, visit: impl FnMut(SandboxRecord)) -> Result<()> {
        self.namespace(namespace)?.for_each(self.node.now_s(), visit);
        Ok(())
    }

    /// Removes all records of a namespace, or of one set, and notes the instant as its truncation.
    ///
    /// Errors: `sandbox-namespace`.
    pub fn truncate(&self, namespace: &str, set: Option<&[u8]>) -> Result<()> {
        self.namespace(namespace)?.truncate(set, store::Cut::Through(self.node.now_ms()));
        Ok(())
    }

    /// Gives a partition to nobody, or takes it: what is not owned is missing in `replicas` and answers
    /// *unavailable* (11). Its records stay.
    pub fn set_owned(&self, partition: u16, owned: bool) {
        self.node.set_owned(partition, owned);
    }

    /// Sets what `statistics` says of the skew of the cluster's clocks.
    pub fn set_clock_skew_ms(&self, skew_ms: u64) {
        self.node.set_clock_skew_ms(skew_ms);
    }

    fn namespace(&self, name: &str) -> Result<&Arc<store::Namespace>> {
        self.node.store.namespace(name.as_bytes()).ok_or_else(|| {
            Error::permanent("sandbox-namespace", format!("the sandbox has no namespace {name}"))
                .hint("List it in the namespaces of the sandbox.")
        })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::permanent("sandbox-address", format!("cannot listen on {address}"))
            .source(error)
            .hint("Choose another port, or port 0.")
    })
}

/// Longest namespace name of a server.
const NAMESPACE_NAME_MAX: usize = 31;

fn check(options: &SandboxOptions) -> Result<()> {
    if !options.address.ip().is_loopback() {
        return Err(Error::permanent(
            "sandbox-address",
            format!("{} is not a loopback address", options.address),
        )
        .hint("The sandbox knows no authentication: use 127.0.0.1 or ::1."));
    }
    let bad = |text: String| Err(Error::permanent("sandbox-options", text));
    if options.namespaces.is_empty() {
        return bad("the sandbox has no namespace".to_owned());
    }
    for name in &options.namespaces {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b";:,=/".contains(&byte);
        if name.is_empty() || name.len() > NAMESPACE_NAME_MAX || !name.bytes().all(plain) {
            return bad(format!("{name:?} cannot name a namespace"));
        }
    }
    if options.max_record_bytes > store::RECORD_BYTES_MAX {
        return bad(format!("records have at most {} bytes", store::RECORD_BYTES_MAX));
    }
    Ok(())
}
