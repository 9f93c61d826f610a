//! `secret-agents.<name>` and inline `secret-agent` (abs.md 2.4).

use serde::Serialize;

use super::MS_MAX;
use super::reader::{Kind, Read, Section};

/// A secret agent, as written. Nothing asks it yet: no option that may hold a secret is built.
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

impl Read for SecretAgent {
    const KIND: Kind = Kind::SecretAgent;

    fn read(section: &mut Section<'_>) -> Self {
        let words = [("tcp", ConnectionType::Tcp), ("unix", ConnectionType::Unix)];
        let given = section.text("connection-type");
        if given.is_none_or(|word| word.is_empty()) {
            section.missing("connection-type");
        }
        Self {
            connection_type: section.word("connection-type", &words),
            address: section.filled("address"),
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
