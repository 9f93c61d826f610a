//! What the demo runs on: folder, sandbox node, service, application.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::writer::Writer;
use crate::aerospike::{Cluster, ClusterOptions, Seed};
use crate::cli::rest::Rest;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::service::{Service, ServiceOptions};

/// The configuration used where there is none: the one of the repository.
const CONFIG: &str = include_str!("../../../config.yaml");

/// Marks a folder as one that the demo may empty.
const MARK: &str = "made-by-holdfast-demo";

/// Records that the application owns at the start.
const RECORDS: u64 = 5000;

/// Everything that the demo has started.
pub(super) struct Setup {
    pub clock: SharedClock,
    pub sandbox: Sandbox,
    pub cluster: Cluster,
    pub writer: Writer,
    pub rest: Rest,
    pub routine: String,
    /// The namespace that is backed up.
    pub source: String,
    /// The namespace that is restored into.
    pub target: String,
    service: Service,
}

impl Setup {
    /// Starts the node and the service that the configuration describes, on free ports where its own are taken.
    pub(super) async fn start(config: Option<&Path>, dir: &Path, stop: &CancellationToken) -> Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        empty_folder(dir)?;
        let mut config = load(config, &clock)?;
        let (routine, cluster_name) = config
            .backup_routines
            .iter()
            .next()
            .map(|(name, routine)| (name.clone(), routine.source_cluster.clone()))
            .ok_or_else(|| unusable("it has no backup-routines"))?;
        let source = config
            .backup_routines
            .get(&routine)
            .and_then(|routine| routine.namespaces.first().cloned())
            .ok_or_else(|| unusable("its first routine names no namespace"))?;
        let target = if source == "target-ns1" { "restored-ns1" } else { "target-ns1" }.to_owned();
        // What is shown runs and nothing else: other routines of a real site's file must not touch its clusters.
        config.backup_routines.retain(|name, _| *name == routine);
        let wanted = config.cluster(&cluster_name)?.seeds.first().map_or(0, |seed| seed.port);
        let options = SandboxOptions {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, free_or_any(wanted))),
            namespaces: vec![source.clone(), target.clone()],
            clock: Arc::clone(&clock),
            // The sample has values of 1 MiB; a server's own limit can be raised likewise.
            max_record_bytes: 8 << 20,
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options, stop).await?;
        let address = sandbox.address();
        move_in(&mut config, &cluster_name, address, dir);
        let http_port = free_or_any(config.service().http.port);
        let service = Service::start(ServiceOptions {
            state_dir: Some(dir.join("state")),
            http_port: Some(http_port),
            ..ServiceOptions::new(config, Arc::clone(&clock))
        })
        .await?;
        let cluster = Cluster::connect(&ClusterOptions {
            seeds: vec![Seed { host: address.ip().to_string(), port: address.port() }],
            connect_timeout_ms: 5000,
            label: "demo".to_owned(),
        })
        .await?;
        Ok(Self {
            writer: Writer::new(cluster.clone(), &source, RECORDS),
            rest: Rest::new(&format!("http://{}", service.http_address())),
            clock,
            sandbox,
            cluster,
            routine,
            source,
            target,
            service,
        })
    }

    /// Ends the service in order.
    pub(super) async fn stop(self) -> Result<()> {
        self.service.stop().await
    }
}

fn load(path: Option<&Path>, clock: &SharedClock) -> Result<Config> {
    let here = Path::new("config.yaml");
    let now = clock.now();
    let loaded = match path {
        Some(path) => Config::load(path, now),
        None if here.exists() => Config::load(here, now),
        None => Config::parse(CONFIG, "config.yaml", now),
    };
    Ok(loaded?)
}

/// Points the cluster at the sandbox and every storage below the demo's folder.
fn move_in(config: &mut Config, cluster: &str, address: SocketAddr, dir: &Path) {
    if let Some(cluster) = config.aerospike_clusters.get_mut(cluster) {
        for seed in &mut cluster.seed_nodes {
            seed.host_name = address.ip().to_string();
            seed.port = address.port();
        }
    }
    for (name, storage) in &mut config.storage {
        if let Some(local) = &mut storage.local_storage {
            local.path = dir.join("backups").join(name).display().to_string();
        }
    }
}

/// The port if it is free on loopback, else 0: any.
fn free_or_any(port: u16) -> u16 {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() { port } else { 0 }
}

/// Makes the folder, or empties it if the demo made it.
fn empty_folder(dir: &Path) -> Result<()> {
    let failed = |error| Error::permanent("demo-folder", format!("prepare {}", dir.display())).source(error);
    let mark = dir.join(MARK);
    if dir.exists() {
        let is_empty = std::fs::read_dir(dir).map_err(failed)?.next().is_none();
        if !is_empty && !mark.exists() {
            let text = format!("{} exists and was not made by the demo", dir.display());
            return Err(Error::permanent("demo-folder", text).hint("Choose another one with --dir."));
        }
        std::fs::remove_dir_all(dir).map_err(failed)?;
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(&mark, "holdfast demo empties this folder at its start\n").map_err(failed)
}

fn unusable(why: &str) -> Error {
    Error::permanent("demo-configuration", format!("the configuration cannot be shown: {why}"))
        .hint("Try the config.yaml of the repository.")
}
