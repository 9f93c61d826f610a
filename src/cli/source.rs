//! Which configuration a command goes by.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::ConfigPlace;
use crate::clock::{SharedClock, SystemClock};
use crate::error::Result;
use crate::service::ServiceOptions;

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub struct Source {
    /// The configuration: a file, or an address that begins with http:// or https://, which is never written to.
    #[arg(short, long, value_name = "FILE|URL")]
    config: PathBuf,
    /// --config names a document that says in which storage the configuration is, and as which object.
    #[arg(short, long, requires = "config")]
    remote: bool,
}

/// Where the configuration is, if the command needs one.
#[derive(Debug, Clone, clap::Args)]
pub struct MaybeSource {
    /// The configuration: a file, or an address that begins with http:// or https://.
    #[arg(short, long, value_name = "FILE|URL")]
    config: Option<PathBuf>,
    /// --config names a document that says in which storage the configuration is, and as which object.
    #[arg(short, long, requires = "config")]
    remote: bool,
}

impl MaybeSource {
    /// The place that was given.
    pub fn given(&self) -> Option<Source> {
        Some(Source { config: self.config.clone()?, remote: self.remote })
    }
}

impl Source {
    /// Finds the place. Errors: those of [`ConfigPlace::find`].
    pub async fn place(&self) -> Result<ConfigPlace> {
        let clock: SharedClock = Arc::new(SystemClock);
        ConfigPlace::find(&self.config, self.remote, clock.now()).await
    }

    /// Reads it. Errors: those of [`Source::place`] and [`ServiceOptions::from_place`].
    pub async fn options(&self) -> Result<ServiceOptions> {
        ServiceOptions::from_place(self.place().await?, Arc::new(SystemClock)).await
    }
}
