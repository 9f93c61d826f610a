//! What the object stores have in common: their secrets, from what is written to what a job's row may hold (rules.md 7.4),
//! their addresses and their folders.

use std::collections::BTreeMap;

use crate::config::SecretAgent;
use crate::config::reader::Section;
use crate::error::{Error, Result};
use crate::secrets::{AgentOptions, Secret, SecretRef, SecretSource};

/// Turns the secrets of one kind of storage into where they are.
pub(super) struct Resolver<'a> {
    /// The storage's name; none for one that stands in a request.
    name: Option<&'a str>,
    /// The kind, as `s3-storage`.
    kind: &'static str,
    agents: &'a BTreeMap<String, SecretAgent>,
    agent: Option<&'a SecretAgent>,
    agent_name: Option<&'a str>,
}

impl<'a> Resolver<'a> {
    /// Of a storage under its configured name, of a kind, with the agents of the configuration, and its own: the agent itself or
    /// its name.
    pub fn new(
        name: Option<&'a str>,
        kind: &'static str,
        agents: &'a BTreeMap<String, SecretAgent>,
        own: (&'a Option<SecretAgent>, &'a Option<String>),
    ) -> Self {
        Self { name, kind, agents, agent: own.0.as_ref(), agent_name: own.1.as_deref() }
    }
}

impl Resolver<'_> {
    /// Where the secret of the field `key` is. Errors: `secret-missing`.
    pub fn source(&self, secret: Option<&Secret>, key: &str) -> Result<Option<SecretSource>> {
        match (secret, self.name) {
            (None, _) => Ok(None),
            // It is sent where the request says: what this machine holds must not be read out that way.
            (Some(Secret::Reference(SecretRef::Env(_) | SecretRef::File(_))), None) => Err(Error::permanent(
                "secret-missing",
                format!("\"{key}\" of a request may not be a variable or a file of the service"),
            )
            .hint("Give the key itself, ask a secret agent for it, or name a configured storage.")),
            (Some(Secret::Reference(reference)), _) => {
                SecretSource::of(reference, self.agent()?.as_ref()).map(Some)
            }
            (Some(Secret::Literal(_)), Some(name)) => {
                Ok(Some(SecretSource::Kept(place(name, self.kind, key))))
            }
            (Some(Secret::Literal(_)), None) => {
                Err(Error::permanent("secret-missing", "a secret of a request was not kept"))
            }
        }
    }

    fn agent(&self) -> Result<Option<AgentOptions>> {
        match (self.agent, self.agent_name) {
            (Some(agent), _) => Ok(Some(agent.resolve())),
            (None, Some(name)) => match self.agents.get(name) {
                Some(agent) => Ok(Some(agent.resolve())),
                None => Err(Error::permanent("secret-missing", format!("secret agent \"{name}\" not found"))),
            },
            (None, None) => Ok(None),
        }
    }
}

/// Under which name the [`Keeper`](crate::secrets::Keeper) has a literal of the configuration.
pub(super) fn place(storage: &str, kind: &str, key: &str) -> String {
    format!("storage/{storage}/{kind}/{key}")
}

/// Refuses references to an agent where none is named.
pub(super) fn check_agent(section: &mut Section<'_>, secrets: &[(&'static str, Option<&Secret>)]) {
    section.exclusive("secret-agent", "secret-agent-name");
    if section.has("secret-agent") || section.has("secret-agent-name") {
        return;
    }
    for (key, secret) in secrets {
        if matches!(secret, Some(Secret::Reference(SecretRef::Agent { .. }))) {
            section.reject(
                key,
                "a secret of an agent needs \"secret-agent\" or \"secret-agent-name\" beside it",
            );
        }
    }
}

/// A folder without slashes at its ends; empty: there is none.
pub(super) fn trimmed(path: Option<&str>) -> String {
    path.unwrap_or_default().trim_matches('/').to_owned()
}

/// Refuses what is no address of a server.
pub(super) fn check_endpoint(section: &mut Section<'_>, key: &'static str, endpoint: Option<&str>) {
    let Some(endpoint) = endpoint else { return };
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let is_good = rest.is_some_and(|rest| {
        !rest.trim_end_matches('/').is_empty() && !rest.contains(['?', '#', '@', ' ', '\\'])
    });
    if !is_good {
        let text = format!("\"{key}\" must be an http:// or https:// address without user and query");
        section.reject(key, text);
    }
}

/// One address for one server: its name in lower case, no slash at the end.
pub(super) fn plain_endpoint(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    let Some((scheme, rest)) = endpoint.split_once("://") else { return endpoint.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.to_ascii_lowercase())
}
