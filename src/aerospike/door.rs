//! How connections to the nodes of one cluster are opened: the socket, TLS, and a login where the cluster asks for one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::secrets::StoredSecret;
use crate::tls::{self, Stamp, TlsFiles, Wire};

use super::conn::{Connection, lost};
use super::login::{Desk, Login, Session};

/// How a cluster is entered (abs.md 2.3); the default is in clear, as nobody.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What the cluster must call itself; none: anything.
    pub cluster_name: Option<String>,
    /// Whether nodes are looked for at their alternate addresses.
    pub services_alternate: bool,
    /// Who we are; none: nobody asks.
    pub login: Option<Login>,
    /// TLS; none: in clear.
    pub tls: Option<Tls>,
}

/// TLS to a cluster.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Authorities, our certificate and key. They are read again when a connection is opened after they changed.
    pub files: TlsFiles,
    /// Where the password of our key is.
    pub key_password: Option<StoredSecret>,
    /// The names in the certificates of seeds, by host and port.
    pub seed_names: Vec<(String, u16, String)>,
    /// The name in certificates where nothing else names one; none: the host.
    pub name: Option<String>,
}

impl Tls {
    /// The name that the certificate of a seed must have.
    pub(super) fn name_of_seed(&self, host: &str, port: u16) -> String {
        let own = self.seed_names.iter().find(|(h, p, _)| h == host && *p == port);
        own.map(|(_, _, name)| name).or(self.name.as_ref()).cloned().unwrap_or_else(|| host.to_owned())
    }

    /// The name that the certificate of a node must have, which the cluster says to be `said`.
    pub(super) fn name_of_peer(&self, said: &str, host: &str) -> String {
        let said = Some(said).filter(|said| !said.is_empty());
        said.or(self.name.as_deref()).unwrap_or(host).to_owned()
    }
}

/// Opens connections to the nodes of one cluster.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) limit: Duration,
    label: String,
    pub(super) access: Access,
    desk: Option<Desk>,
    sessions: Mutex<HashMap<SocketAddr, SessionSlot>>,
    /// The last configuration of TLS, and what its files looked like.
    tls: tokio::sync::Mutex<Option<(Stamp, Arc<ClientConfig>)>>,
}

/// The session on one node. It is locked while we log in, so that connections opened together log in once.
type SessionSlot = Arc<tokio::sync::Mutex<Option<Session>>>;

impl Door {
    /// `limit`: for each connection with its TLS.
    pub(super) fn new(limit: Duration, label: &str, access: Access) -> Self {
        let desk = access.login.clone().map(|login| Desk::new(login, label.to_owned()));
        Self {
            limit,
            label: label.to_owned(),
            access,
            desk,
            sessions: Mutex::default(),
            tls: tokio::sync::Mutex::default(),
        }
    }

    /// A connection on which requests may be made at once. `tls_name`: what the node's certificate must be for.
    ///
    /// Errors: `connection-lost`, `login-refused`, `tls-refused`, `tls-files`, those of [`StoredSecret::fetch`].
    pub(super) async fn open(&self, address: SocketAddr, tls_name: &str) -> Result<Connection> {
        let Some(desk) = &self.desk else { return self.connect(address, tls_name).await };
        if self.access.tls.is_none() {
            desk.check_in_clear()?;
        }
        let slot = self.session_slot(address);
        let mut refused: Option<Session> = None;
        loop {
            let mut connection = self.connect(address, tls_name).await?;
            let session = {
                let mut slot = slot.lock().await;
                let known = slot.as_ref().filter(|known| known.is_fresh());
                let taken = known.filter(|known| refused.as_ref().is_none_or(|refused| !refused.is(known)));
                let Some(known) = taken.cloned() else {
                    *slot = desk.login(&mut connection).await?;
                    return Ok(connection);
                };
                known
            };
            if desk.enter(&mut connection, &session).await? {
                return Ok(connection);
            }
            tracing::debug!(node = %address, "the session is not taken any more: logging in again");
            refused = Some(session);
        }
    }

    /// The node does not know (any more) who asks: the next connection logs in. The error for what was asked.
    pub(super) async fn session_lost(&self, address: SocketAddr) -> Error {
        if self.desk.is_none() {
            let message = format!("cluster \"{}\" (node {address}) asks who we are", self.label);
            return Error::permanent("login-refused", message).hint("Give the cluster credentials.");
        }
        *self.session_slot(address).lock().await = None;
        lost(address, "the session has ended")
    }

    /// A socket, with TLS where that is wanted.
    async fn connect(&self, address: SocketAddr, tls_name: &str) -> Result<Connection> {
        let tls = match &self.access.tls {
            Some(tls) => Some(self.tls_config(tls).await?),
            None => None,
        };
        let connected = timeout(self.limit, async {
            let stream =
                TcpStream::connect(address).await.map_err(|error| lost(address, "connect").source(error))?;
            stream.set_nodelay(true).map_err(|error| lost(address, "set options").source(error))?;
            match &tls {
                None => Ok(Wire::Plain(stream)),
                Some(config) => tls::connect(config, stream, tls_name).await,
            }
        });
        let stream = connected
            .await
            .map_err(|_| lost(address, format!("no connection within {} ms", self.limit.as_millis())))??;
        Ok(Connection::new(stream, address, tls_name))
    }

    /// Made of the files as they are now. While they are being replaced they may not fit each other: then what they were
    /// before goes on to be used.
    async fn tls_config(&self, tls: &Tls) -> Result<Arc<ClientConfig>> {
        let now = tls::stamp(tls.files.clone()).await?;
        let mut known = self.tls.lock().await;
        if let Some((stamp, config)) = &*known
            && *stamp == now
        {
            return Ok(Arc::clone(config));
        }
        match (self.read_tls(tls).await, &*known) {
            (Ok(config), _) => Ok(Arc::clone(&known.insert((now, config)).1)),
            (Err(error), Some((_, before))) => {
                tracing::warn!(error = %error.report(), "the new TLS files are not usable: the old ones are used");
                Ok(Arc::clone(before))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read_tls(&self, tls: &Tls) -> Result<Arc<ClientConfig>> {
        let password = match &tls.key_password {
            Some(stored) => {
                Some(stored.fetch_text().await.map_err(|error| error.context("key-file-password"))?)
            }
            None => None,
        };
        tls::client(tls.files.clone(), password).await
    }

    fn session_slot(&self, address: SocketAddr) -> SessionSlot {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(address).or_default())
    }
}

#[cfg(test)]
mod tests;
