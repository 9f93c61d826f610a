//! The client of a secret agent (abs.md 2.4): one connection and one question per secret.
//!
//! A frame is a magic number and a length, four bytes each and big-endian, and then JSON:
//! `{"Resource":…,"SecretKey":…}` out, `{"SecretValue":…}` or `{"Error":…}` back.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretSlice;
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::fetch::malformed;
use crate::error::{Error, Result};
use crate::tls::{self, TlsFiles};

/// The first four bytes of every frame.
pub(super) const MAGIC: u32 = 0x51de_c1cc;
/// Default of `timeout`.
pub const AGENT_TIMEOUT_MS: u64 = 1000;
/// The largest answer: a secret of 1 MiB in base64, with room.
const ANSWER_BYTES_MAX: u32 = 2 << 20;
/// How much of an agent's own words an error shows.
const WORDS_CHARS_MAX: usize = 200;

/// A secret agent; no part of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentOptions {
    /// Where it is.
    pub place: AgentPlace,
    /// How long one secret may take in all; default [`AGENT_TIMEOUT_MS`].
    pub timeout_ms: u64,
    /// Whether the values come in base64.
    pub is_base64: bool,
}

/// Where a secret agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentPlace {
    /// At a port.
    #[serde(rename_all = "kebab-case")]
    Tcp {
        /// Host name or address.
        host: String,
        /// The port.
        port: u16,
        /// With TLS; none: in clear.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<AgentTls>,
    },
    /// At a socket of this machine.
    Unix(PathBuf),
}

/// TLS to a secret agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentTls {
    /// Authorities to trust, our certificate and key.
    pub files: TlsFiles,
    /// The name in the agent's certificate; none: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl std::fmt::Display for AgentPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Question<'a> {
    resource: &'a str,
    secret_key: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    secret_value: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Asks for one secret.
///
/// Errors: `secret-agent-unreachable`, `secret-agent-refused` (both temporary: what the agent asks may be down for a
/// moment), `secret-malformed`, those of [`crate::tls`].
pub(super) async fn ask(agent: &AgentOptions, resource: &str, key: &str) -> Result<SecretSlice<u8>> {
    let limit = Duration::from_millis(agent.timeout_ms);
    let asked = tokio::time::timeout(limit, exchange(&agent.place, resource, key)).await;
    let answer = asked.unwrap_or_else(|_| {
        Err(unreachable(&agent.place, format!("no answer within {} ms", agent.timeout_ms)))
    })?;
    let reference = || format!("secrets:{resource}:{key}");
    let Answer { secret_value, error } = answer;
    // An agent that answers with both has said what went wrong.
    if let Some(words) = error.filter(|words| !words.is_empty()) {
        secret_value.zeroize_if_some();
        let words: String =
            words.chars().take(WORDS_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let message = format!("secret agent {} refuses {}: {words}", agent.place, reference());
        return Err(Error::temporary("secret-agent-refused", message)
            .hint("Check the reference, and the agent's own log and configuration."));
    }
    let Some(value) = secret_value.map(Zeroizing::new) else {
        return Err(malformed(reference(), "the agent's answer holds neither a value nor an error"));
    };
    if !agent.is_base64 {
        return Ok(value.as_bytes().to_vec().into());
    }
    base64_simd::STANDARD.decode_to_vec(value.trim_end().as_bytes()).map(Into::into).map_err(|_| {
        malformed(reference(), "the agent's value is not base64")
            .hint("Remove is-base64 from the secret agent.")
    })
}

trait ZeroizeIfSome {
    fn zeroize_if_some(self);
}

impl ZeroizeIfSome for Option<String> {
    fn zeroize_if_some(self) {
        if let Some(mut text) = self {
            text.zeroize();
        }
    }
}

async fn exchange(place: &AgentPlace, resource: &str, key: &str) -> Result<Answer> {
    let lost = |error| unreachable(place, "connect").source(error);
    match place {
        AgentPlace::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(lost)?;
            talk(place, stream, resource, key).await
        }
        AgentPlace::Tcp { host, port, tls } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(lost)?;
            match tls {
                None => talk(place, stream, resource, key).await,
                Some(AgentTls { files, name }) => {
                    let config = tls::client(files.clone(), None).await?;
                    let name = name.as_deref().unwrap_or(host);
                    let stream = tls::connect(&config, stream, name)
                        .await
                        .map_err(|error| error.context(format_args!("secret agent {place}")))?;
                    talk(place, stream, resource, key).await
                }
            }
        }
    }
}

async fn talk(
    place: &AgentPlace,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    resource: &str,
    key: &str,
) -> Result<Answer> {
    let broken = |error| unreachable(place, "ask").source(error);
    let question = serde_json::to_vec(&Question { resource, secret_key: key })
        .map_err(|error| malformed("request", "cannot be written").source(error))?;
    let mut frame = Vec::with_capacity(8 + question.len());
    frame.extend_from_slice(&MAGIC.to_be_bytes());
    frame.extend_from_slice(&(question.len() as u32).to_be_bytes());
    frame.extend_from_slice(&question);
    stream.write_all(&frame).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;

    let bad = |why| malformed(format_args!("agent {place}"), why);
    let magic = stream.read_u32().await.map_err(broken)?;
    if magic != MAGIC {
        return Err(bad("what answers is no secret agent").hint("Check the agent's address, port and TLS."));
    }
    let length = stream.read_u32().await.map_err(broken)?;
    if length > ANSWER_BYTES_MAX {
        return Err(bad("the answer is longer than 2 MiB"));
    }
    let mut body = Zeroizing::new(vec![0; length as usize]);
    stream.read_exact(&mut body).await.map_err(broken)?;
    // The cause would quote the answer.
    serde_json::from_slice(&body).map_err(|_| bad("the answer is not what an agent says"))
}

fn unreachable(place: &AgentPlace, what: impl std::fmt::Display) -> Error {
    Error::temporary("secret-agent-unreachable", format!("secret agent {place}: {what}"))
        .hint("Check the agent's address, and that it runs.")
}

#[cfg(test)]
mod tests;
