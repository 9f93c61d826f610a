//! `secret-agents.<name>` and inline `secret-agent` (abs.md 2.4).

use std::path::PathBuf;

use serde::Serialize;

use super::MS_MAX;
use super::kind::Kind;
use super::reader::{Read, Section};
use crate::secrets::{AGENT_TIMEOUT_MS, AgentOptions, AgentPlace, AgentTls};
use crate::tls::TlsFiles;

/// A secret agent, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretAgent {
    /// How it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_type: Option<ConnectionType>,
    /// The host, or the path of the socket.
    pub address: String,
    /// The port, for `tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How long an answer may take, in ms; default 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Whether the values come in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_base64: Option<bool>,
    /// The authority that signed the agent's certificate: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Our certificate: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// Our key: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The name in the agent's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a secret agent is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionType {
    /// By TCP.
    Tcp,
    /// By a socket of this machine.
    Unix,
}

impl SecretAgent {
    /// How it is asked. It is with TLS if the document says anything of it.
    pub fn resolve(&self) -> AgentOptions {
        let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
        let files = TlsFiles {
            ca_file: path(&self.ca_file),
            cert_file: path(&self.cert_file),
            key_file: path(&self.key_file),
            ..TlsFiles::default()
        };
        let tls = (files != TlsFiles::default() || self.name.is_some())
            .then(|| AgentTls { files, name: self.name.clone() });
        let place = if self.connection_type == Some(ConnectionType::Unix) {
            AgentPlace::Unix(PathBuf::from(&self.address))
        } else {
            let (host, port) = host_and_port(&self.address, self.port);
            AgentPlace::Tcp { host: host.to_owned(), port: port.unwrap_or(0), tls }
        };
        AgentOptions {
            place,
            timeout_ms: self.timeout.unwrap_or(AGENT_TIMEOUT_MS),
            is_base64: self.is_base64.unwrap_or(false),
        }
    }
}

/// The port may stand in the address, as in ABS.
fn host_and_port(address: &str, port: Option<u16>) -> (&str, Option<u16>) {
    let split = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match (port, split) {
        (None, Some((host, port))) if !host.contains(':') => (host, Some(port)),
        _ => (address, port),
    }
}

impl Read for SecretAgent {
    const KIND: Kind = Kind::SecretAgent;

    fn read(section: &mut Section<'_>) -> Self {
        let words = [("tcp", ConnectionType::Tcp), ("unix", ConnectionType::Unix)];
        if !section.has("connection-type") {
            section.missing("connection-type");
        }
        let connection_type = section.word("connection-type", &words);
        let address = section.filled("address");
        match connection_type {
            Some(ConnectionType::Tcp)
                if !section.has("port") && host_and_port(&address, None).1.is_none() =>
            {
                section.missing("port");
            }
            Some(ConnectionType::Unix) => {
                for key in ["port", "ca-file", "cert-file", "key-file", "name"] {
                    if section.has(key) {
                        section.reject(key, format!("\"{key}\" says nothing of a socket of this machine"));
                    }
                }
            }
            _ => {}
        }
        section.both_or_none("cert-file", "key-file");
        Self {
            connection_type,
            address,
            port: section.int("port", 1..=65_535),
            timeout: section.int("timeout", 1..=MS_MAX),
            is_base64: section.flag("is-base64"),
            ca_file: section.optional("ca-file"),
            cert_file: section.optional("cert-file"),
            key_file: section.optional("key-file"),
            name: section.optional("name"),
        }
    }
}
