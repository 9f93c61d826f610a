//! One node: who it is, and its idle connections.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

use super::conn::Connection;
use super::door::Door;
use super::info;

/// Idle connections kept per node, as many as a restore has batches on their way by default; what comes back beyond that
/// is closed.
const IDLE_CONNECTIONS_MAX: usize = 128;

/// A server version, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Build([u32; 4]);

impl Build {
    /// Batch writes (asb.md 7.3).
    pub const BATCH_WRITE: Self = Self([6, 0, 0, 0]);
    /// Contexts of indexes, and the flag that asks for them in base64 (asb.md 7.3).
    pub const INDEX_CONTEXT: Self = Self([6, 1, 0, 0]);
    /// Parameters named `namespace`, `bin`, `type`; expression indexes; `sindex-stat` (asb.md 7.3).
    pub const NAMED_PARAMETERS: Self = Self([8, 1, 0, 0]);

    /// Reads `8.1.2.0`; what follows the numbers (`-rc1`) is passed over. `None` without a leading number.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = [0; 4];
        for (index, (slot, word)) in parts.iter_mut().zip(text.trim().split('.')).enumerate() {
            let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
            match word.get(..digits).and_then(|digits| digits.parse().ok()) {
                Some(number) => *slot = number,
                None if index == 0 => return None,
                None => break,
            }
            if digits < word.len() {
                break;
            }
        }
        Some(Self(parts))
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, fix] = self.0;
        write!(f, "{major}.{minor}.{patch}.{fix}")
    }
}

/// A node of a cluster.
#[derive(Debug)]
pub struct Node {
    /// Node id in hex, as the cluster calls it.
    pub name: String,
    /// Where it answered.
    pub address: SocketAddr,
    /// Its version.
    pub build: Build,
    /// What its certificate must be for.
    pub(super) tls_name: String,
    door: Arc<Door>,
    idle: Mutex<Vec<Connection>>,
}

impl Node {
    pub(super) fn new(
        name: String,
        (address, tls_name): (SocketAddr, String),
        build: Build,
        door: Arc<Door>,
    ) -> Self {
        Self { name, address, build, tls_name, door, idle: Mutex::new(Vec::new()) }
    }

    /// An idle connection, else a new one.
    pub(super) async fn connection(&self) -> Result<Connection> {
        match self.take_idle() {
            Some(connection) => Ok(connection),
            None => self.door.open(self.address, &self.tls_name).await,
        }
    }

    /// Keeps a connection on which nothing is outstanding.
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }

    /// Asks `commands`, in one request; the answers in the same order. Info requests change nothing twice, so a
    /// connection that was idle and turns out to be dead is replaced once.
    pub(super) async fn ask(&self, commands: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        if let Some(mut connection) = self.take_idle()
            && let Ok(answers) = info::exchange(&mut connection, commands).await
        {
            if !info::is_session_lost(&answers) {
                self.give_back(connection);
                return Ok(answers);
            }
            self.session_lost().await;
        }
        let mut connection = self.door.open(self.address, &self.tls_name).await?;
        let answers = info::exchange(&mut connection, commands).await?;
        if info::is_session_lost(&answers) {
            return Err(self.session_lost().await);
        }
        self.give_back(connection);
        Ok(answers)
    }

    /// The node no longer knows our session: the next connection logs in, and none of those that are idle is used. The
    /// error for what was asked: `connection-lost`, or `login-refused` if we have nothing to log in with.
    pub(super) async fn session_lost(&self) -> Error {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.door.session_lost(self.address).await
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut connection) = idle.pop() {
            if connection.is_reusable() {
                return Some(connection);
            }
        }
        None
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::Build;

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |text| Build::parse(text).unwrap();
        assert!(parse("8.1.0.3") >= Build::NAMED_PARAMETERS);
        assert!(parse("8.0.0.10") < Build::NAMED_PARAMETERS);
        assert!(parse("10.0.0.0") > parse("9.9.9.9"));
        assert_eq!(parse("8.1.2.0-rc1-4-gabc\n").to_string(), "8.1.2.0");
        assert_eq!(parse("7.2").to_string(), "7.2.0.0");
        assert_eq!(Build::parse("ERROR"), None);
    }
}
