//! What a service is started with.

use std::path::{Path, PathBuf};

use crate::app::{ConfigPlace, WatchTimes};
use crate::catalog::OwnerTimes;
use crate::clock::SharedClock;
use crate::config::{Config, ServiceConfig};
use crate::error::Result;
use crate::tasks::blocking;

/// What a service is started with.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The configuration.
    pub config: Config,
    /// Where it is read from again; none: it cannot be.
    pub config_place: Option<ConfigPlace>,
    /// Where the job store lies; none: as the configuration says.
    pub state_dir: Option<PathBuf>,
    /// The clock.
    pub clock: SharedClock,
    /// The port; none: as the configuration says. 0 takes a free one.
    pub http_port: Option<u16>,
    /// How long an owner of routine folders lives without showing it.
    pub owner_times: OwnerTimes,
    /// How often the configuration's place is looked at; what was edited is taken at the second look.
    pub watch_times: WatchTimes,
}

/// Where the job store lies when nothing says where.
const STATE_DIR: &str = "holdfast-state";

impl ServiceOptions {
    /// A service with this configuration, which cannot be read again.
    pub fn new(config: Config, clock: SharedClock) -> Self {
        let owner_times = OwnerTimes::default();
        Self {
            config,
            config_place: None,
            state_dir: None,
            clock,
            http_port: None,
            owner_times,
            watch_times: WatchTimes::default(),
        }
    }

    /// A service with the configuration in a file; `config-invalid` names every problem. Blocks.
    pub fn from_file(path: &Path, clock: SharedClock) -> Result<Self> {
        let config = Config::load(path, clock.now())?;
        Ok(Self { config_place: Some(ConfigPlace::File(path.to_owned())), ..Self::new(config, clock) })
    }

    /// A service with the configuration at a place; `config-invalid` names every problem.
    ///
    /// Errors: those of [`ConfigPlace::read`].
    pub async fn from_place(place: ConfigPlace, clock: SharedClock) -> Result<Self> {
        if let ConfigPlace::File(path) = place {
            return blocking(move || Self::from_file(&path, clock)).await;
        }
        let held = place.read().await??;
        let config = Config::parse(&held.text, &place.to_string(), clock.now())?;
        Ok(Self { config_place: Some(place), ..Self::new(config, clock) })
    }

    /// `service` of the configuration, with its defaults.
    pub fn service_config(&self) -> ServiceConfig {
        self.config.service()
    }

    /// Ours, else the configuration's, else systemd's `$STATE_DIRECTORY`, else [`STATE_DIR`] where we started.
    pub fn state_dir(&self) -> PathBuf {
        let configured = self.config.service.as_ref().and_then(|service| service.state_dir.as_ref());
        self.state_dir
            .clone()
            .or_else(|| configured.map(PathBuf::from))
            .or_else(|| {
                // systemd gives a colon list where a unit has several (systemd.exec(5)).
                let given = std::env::var("STATE_DIRECTORY").ok()?;
                given.split(':').next().filter(|dir| !dir.is_empty()).map(PathBuf::from)
            })
            .unwrap_or_else(|| PathBuf::from(STATE_DIR))
    }
}

/// What the log and `holdfast check` say of a service without an address (rules.md 7.2).
pub fn loopback_note(port: u16) -> String {
    format!(
        "listens on 127.0.0.1:{port} only: there is no authentication; set service.http.address (0.0.0.0 for every \
         interface) to open it"
    )
}
