//! `holdfast sandbox`.

use std::net::{Ipv4Addr, SocketAddr};

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::tasks::Scope;

/// Runs a sandbox node until it is told to stop.
pub async fn run(port: u16, namespaces: Vec<String>) -> Result<()> {
    let mut signals = Scope::new(&CancellationToken::new());
    let stop = super::stop_on_signal(&mut signals)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let options = SandboxOptions { address, namespaces, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options, &stop).await?;
    println!(
        "sandbox node on {}: in memory, gone when it stops, NOT a database; for trying Holdfast and for tests",
        sandbox.address()
    );
    stop.cancelled().await;
    sandbox.stop().await
}
