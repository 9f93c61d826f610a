//! Following a reference, at the moment when the secret is needed.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};

use super::agent::{self, AgentOptions};
use super::{Keeper, SecretRef};
use crate::error::{Error, Result};
use crate::tasks::blocking;

/// The largest secret: a key in PEM has a few KiB.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Where a job finds a secret when it needs it: what its row may hold (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// At a secret agent.
    Agent {
        /// The resource.
        resource: String,
        /// The key in it.
        key: String,
        /// Who is asked.
        agent: Box<AgentOptions>,
    },
    /// In the environment.
    Env(String),
    /// In a file.
    File(PathBuf),
    /// In the memory of this process, under a name of the [`Keeper`]'s.
    Kept(String),
}

impl SecretSource {
    /// Of a reference, with the agent that it is to be asked of.
    ///
    /// Errors: `secret-missing` for a reference to an agent without an agent.
    pub fn of(reference: &SecretRef, agent: Option<&AgentOptions>) -> Result<Self> {
        Ok(match reference {
            SecretRef::Agent { resource, key } => {
                let agent = agent.cloned().ok_or_else(|| {
                    Error::permanent("secret-missing", format!("no secret agent to ask for {reference}"))
                        .hint("Name one with secret-agent or secret-agent-name.")
                })?;
                Self::Agent { resource: resource.clone(), key: key.clone(), agent: Box::new(agent) }
            }
            SecretRef::Env(name) => Self::Env(name.clone()),
            SecretRef::File(path) => Self::File(path.clone()),
            SecretRef::Kept(name) => Self::Kept(name.clone()),
        })
    }
}

/// As the reference is written; nothing of what is kept in memory.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { resource, key, .. } => write!(f, "secrets:{resource}:{key}"),
            Self::Env(name) => write!(f, "${{{name}}}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kept(_) => f.write_str(super::REDACTED),
        }
    }
}

/// A secret that is not here yet; `Debug` shows where it is.
#[derive(Clone)]
pub struct StoredSecret {
    source: SecretSource,
    keeper: Keeper,
}

impl StoredSecret {
    /// The secret at `source`; `keeper` has what is kept in memory.
    pub fn new(source: SecretSource, keeper: Keeper) -> Self {
        Self { source, keeper }
    }

    /// Its bytes, asked for now. One line end after the last byte of a file is not part of it.
    ///
    /// Errors: `secret-agent-unreachable`, `secret-agent-refused` (temporary both), `secret-missing`,
    /// `secret-malformed`.
    pub async fn fetch(&self) -> Result<SecretSlice<u8>> {
        match &self.source {
            SecretSource::Agent { resource, key, agent } => agent::ask(agent, resource, key).await,
            SecretSource::Env(name) => match std::env::var(name) {
                Ok(text) => Ok(text.into_bytes().into()),
                Err(_) => Err(missing(&self.source, "the variable is not set, or is not UTF-8")
                    .hint("Set it where the service is started.")),
            },
            SecretSource::File(path) => {
                let path = path.clone();
                blocking(move || read_file(&path)).await
            }
            SecretSource::Kept(name) => match self.keeper.get(name) {
                Some(secret) => Ok(secret.expose_secret().as_bytes().to_vec().into()),
                None => Err(missing(
                    &self.source,
                    "it was kept in memory only, and is gone with the process or the configuration that had it",
                )
                .hint("Send the request again, or use a reference: secrets:, env:, file:.")),
            },
        }
    }

    /// As [`StoredSecret::fetch`], for what must be a text: `secret-malformed` if it is not UTF-8.
    pub async fn fetch_text(&self) -> Result<SecretString> {
        let bytes = self.fetch().await?;
        std::str::from_utf8(bytes.expose_secret())
            .map(SecretString::from)
            .map_err(|_| malformed(&self.source, "not UTF-8"))
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

/// The bytes of the secret that `reference` names, asked for now; `agent` is asked if it is one of an agent's.
///
/// Errors: as [`StoredSecret::fetch`].
pub async fn fetch(reference: &SecretRef, agent: Option<&AgentOptions>) -> Result<SecretSlice<u8>> {
    StoredSecret::new(SecretSource::of(reference, agent)?, Keeper::default()).fetch().await
}

fn missing(source: &SecretSource, why: &str) -> Error {
    Error::permanent("secret-missing", format!("secret {source}: {why}"))
}

pub(super) fn malformed(what: impl fmt::Display, why: &str) -> Error {
    Error::permanent("secret-malformed", format!("secret {what}: {why}"))
}

fn read_file(path: &Path) -> Result<SecretSlice<u8>> {
    let source = SecretSource::File(path.to_owned());
    let unread = |error| missing(&source, "read the file").source(error);
    let file = std::fs::File::open(path).map_err(unread)?;
    let mut bytes = Vec::with_capacity(4096);
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        bytes.zeroize();
        return Err(malformed(&source, "longer than 1 MiB"));
    }
    let kept = bytes.strip_suffix(b"\n").map_or(&bytes[..], |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    let kept = kept.len();
    bytes.truncate(kept);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{SecretSource, StoredSecret, fetch};
    use crate::secrets::{Keeper, Secret, SecretRef};

    async fn text(source: SecretSource, keeper: &Keeper) -> Result<String, &'static str> {
        let fetched = StoredSecret::new(source, keeper.clone()).fetch_text().await;
        fetched.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.code())
    }

    #[tokio::test]
    async fn a_file_is_read_each_time_and_its_last_line_end_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let reference = SecretRef::File(path.clone());
        assert_eq!(fetch(&reference, None).await.unwrap_err().code(), "secret-missing");
        for (content, secret) in [("one", "one"), ("two\n", "two"), ("three\r\n", "three"), ("4\n\n", "4\n")]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(fetch(&reference, None).await.unwrap().expose_secret(), secret.as_bytes());
        }
        std::fs::write(&path, [0xFF]).unwrap();
        assert_eq!(text(SecretSource::File(path), &Keeper::default()).await, Err("secret-malformed"));
    }

    #[tokio::test]
    async fn the_environment_is_asked_and_an_agent_is_needed_for_what_is_at_one() {
        let keeper = Keeper::default();
        let env = |name: &str| SecretSource::Env(name.into());
        assert_eq!(text(env("PATH"), &keeper).await, Ok(std::env::var("PATH").unwrap()));
        assert_eq!(text(env("HOLDFAST_NOT_SET_ANYWHERE"), &keeper).await, Err("secret-missing"));
        let agents = SecretRef::Agent { resource: "r".into(), key: "k".into() };
        assert_eq!(fetch(&agents, None).await.unwrap_err().code(), "secret-missing");
    }

    #[tokio::test]
    async fn a_literal_is_kept_in_memory_under_a_name_that_says_nothing() {
        let keeper = Keeper::default();
        let mut secret = Secret::parse("hunter2").unwrap();
        keeper.take(&mut secret);
        let source = SecretSource::of(secret.reference().unwrap(), None).unwrap();
        assert!(!serde_json::to_string(&source).unwrap().contains("hunter2"));
        assert_eq!(serde_json::to_value(&secret).unwrap(), "[secret]");
        assert_eq!(text(source.clone(), &keeper).await.as_deref(), Ok("hunter2"));
        assert_eq!(text(source.clone(), &Keeper::default()).await, Err("secret-missing"));

        let mut again = Secret::parse("hunter2").unwrap();
        keeper.take(&mut again);
        assert!(again == secret, "the same secret is kept once");

        let place = SecretSource::Kept("aerospike-clusters/a/credentials/password".into());
        assert_eq!(text(place.clone(), &keeper).await, Err("secret-missing"));
        let name = "aerospike-clusters/a/credentials/password".to_owned();
        keeper.set_configured([(name, "new".into())].into());
        assert_eq!(text(place, &keeper).await.as_deref(), Ok("new"));
    }
}
