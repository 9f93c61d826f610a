//! One place where a node may be, and what it says of itself and of the others.

use std::net::SocketAddr;

use crate::aerospike::conn::{lost, malformed};
use crate::aerospike::door::Door;
use crate::aerospike::info;
use crate::aerospike::login::LOGIN_REFUSED;
use crate::aerospike::node::Build;
use crate::aerospike::wire::Malformed;
use crate::error::{Error, Result};

use super::Seed;

/// Whether a failure has to do with us and not with the seed that was asked.
pub(super) fn concerns_us(error: &Error) -> bool {
    error.code() == LOGIN_REFUSED || error.code() == "tls-files" || error.code().starts_with("secret-")
}

/// Where a node may be.
#[derive(Debug, Clone)]
pub(super) enum Place {
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
pub(super) struct Probe {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) tls_name: String,
    pub(super) build: Build,
    pub(super) peers: Vec<Peer>,
}

impl Probe {
    pub(super) async fn at(place: &Place, tls_name: &str, door: &Door, label: &str) -> Result<Self> {
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
pub(in crate::aerospike) struct Peer {
    pub(super) name: String,
    pub(super) tls_name: String,
    pub(super) places: Vec<Seed>,
}

impl Peer {
    /// Tries its addresses in order; somebody else at one of them does not count.
    pub(super) async fn probe(&self, door: &Door, label: &str) -> Result<Probe> {
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
pub(in crate::aerospike) fn parse_peers(text: &str) -> Option<Vec<Peer>> {
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
