//! `credentials` and `tls` of a cluster (abs.md 2.3): who we are to it, and who it is to us.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::SecretAgent;
use crate::config::kind::Kind;
use crate::config::reader::{Read, Section};
use crate::error::{Error, Result};
use crate::secrets::{AgentOptions, Keeper, Secret, SecretRef, SecretSource};
use crate::tls::{self, TlsFiles};

/// Who we are to a cluster, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Credentials {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password, or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The file that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_path: Option<String>,
    /// Who checks the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mode: Option<AuthMode>,
    /// The agent that is asked for `secrets:` here and in `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent: Option<SecretAgent>,
    /// Its name among `secret-agents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent_name: Option<String>,
}

/// How a cluster finds out who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AuthMode {
    /// It knows the user and the password's hash.
    #[default]
    Internal,
    /// Another service does; the password itself is sent, so only with TLS.
    External,
    /// By the certificate of the TLS connection.
    Pki,
}

/// TLS to a cluster, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterTls {
    /// Authorities to trust: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Authorities to trust: a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_path: Option<String>,
    /// The name in the certificates of nodes for which nothing else names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Protocol versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocols: Option<String>,
    /// Cipher suites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_suite: Option<String>,
    /// Our key: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The password of our key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file_password: Option<Secret>,
    /// Our certificate: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
}

/// Who we are to a cluster; no part of it is a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CredentialsConfig {
    /// How it finds out.
    pub mode: AuthMode,
    /// The user; empty with [`AuthMode::Pki`].
    pub user: String,
    /// Where the password is; none with [`AuthMode::Pki`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
}

/// TLS to a cluster; no part of it is a secret (rules.md 7.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TlsConfig {
    /// Authorities, our certificate and key, what may be spoken.
    pub files: TlsFiles,
    /// The name in certificates where nothing else names one; none: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the password of our key is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_password: Option<SecretSource>,
}

/// Turns what is written into what a job's row may hold.
pub(super) struct Resolver<'a> {
    /// The cluster's name; none for one that stands in a request.
    pub name: Option<&'a str>,
    pub agents: &'a BTreeMap<String, SecretAgent>,
    pub credentials: Option<&'a Credentials>,
}

impl Resolver<'_> {
    pub fn credentials(&self) -> Result<Option<CredentialsConfig>> {
        let Some(given) = self.credentials else { return Ok(None) };
        let mode = given.auth_mode.unwrap_or_default();
        let Some(user) = given.user.clone().or_else(|| (mode == AuthMode::Pki).then(String::new)) else {
            return Ok(None); // the reader refused everything but an empty block
        };
        let password = match &given.password_path {
            Some(path) => Some(SecretSource::File(PathBuf::from(path))),
            None => self.source(given.password.as_ref(), PASSWORD)?,
        };
        Ok(Some(CredentialsConfig { mode, user, password }))
    }

    pub fn tls(&self, given: Option<&ClusterTls>) -> Result<Option<TlsConfig>> {
        let Some(given) = given else { return Ok(None) };
        let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
        Ok(Some(TlsConfig {
            files: TlsFiles {
                ca_file: path(&given.ca_file),
                ca_path: path(&given.ca_path),
                cert_file: path(&given.cert_file),
                key_file: path(&given.key_file),
                protocols: given.protocols.clone(),
                cipher_suite: given.cipher_suite.clone(),
            },
            name: given.name.clone(),
            key_password: self.source(given.key_file_password.as_ref(), KEY_PASSWORD)?,
        }))
    }

    fn source(&self, secret: Option<&Secret>, key: &str) -> Result<Option<SecretSource>> {
        match (secret, self.name) {
            (None, _) => Ok(None),
            (Some(Secret::Reference(reference)), _) => {
                SecretSource::of(reference, self.agent()?.as_ref()).map(Some)
            }
            (Some(Secret::Literal(_)), Some(name)) => Ok(Some(SecretSource::Kept(place(name, key)))),
            (Some(Secret::Literal(_)), None) => {
                Err(Error::permanent("secret-missing", "a secret of a request was not kept"))
            }
        }
    }

    fn agent(&self) -> Result<Option<AgentOptions>> {
        let Some(given) = self.credentials else { return Ok(None) };
        match (&given.secret_agent, &given.secret_agent_name) {
            (Some(agent), _) => Ok(Some(agent.resolve())),
            (None, Some(name)) => match self.agents.get(name) {
                Some(agent) => Ok(Some(agent.resolve())),
                None => Err(Error::permanent("secret-missing", format!("secret agent \"{name}\" not found"))),
            },
            (None, None) => Ok(None),
        }
    }
}

const PASSWORD: &str = "credentials/password";
const KEY_PASSWORD: &str = "tls/key-file-password";

/// Under which name the [`Keeper`] has a literal of the configuration.
fn place(cluster: &str, key: &str) -> String {
    format!("aerospike-clusters/{cluster}/{key}")
}

/// The literals of a cluster of the configuration, under the names by which jobs know them.
pub(super) fn literals<'a>(
    name: &str,
    credentials: Option<&'a Credentials>,
    tls: Option<&'a ClusterTls>,
) -> impl Iterator<Item = (String, SecretString)> + use<'a> {
    let password = credentials.and_then(|given| given.password.as_ref());
    let key_password = tls.and_then(|given| given.key_file_password.as_ref());
    let places = [(place(name, PASSWORD), password), (place(name, KEY_PASSWORD), key_password)];
    places.into_iter().filter_map(|(place, secret)| Some((place, secret?.expose()?.into())))
}

/// Leaves references to `keeper` in the place of literals.
pub(super) fn keep(credentials: Option<&mut Credentials>, tls: Option<&mut ClusterTls>, keeper: &Keeper) {
    let password = credentials.and_then(|given| given.password.as_mut());
    let key_password = tls.and_then(|given| given.key_file_password.as_mut());
    password.into_iter().chain(key_password).for_each(|secret| keeper.take(secret));
}

impl Read for Credentials {
    const KIND: Kind = Kind::Credentials;

    fn read(section: &mut Section<'_>) -> Self {
        let modes =
            [("INTERNAL", AuthMode::Internal), ("EXTERNAL", AuthMode::External), ("PKI", AuthMode::Pki)];
        let credentials = Self {
            user: section.optional("user"),
            password: section.secret("password"),
            password_path: section.optional("password-path"),
            auth_mode: section.word("auth-mode", &modes),
            secret_agent: section.child("secret-agent"),
            secret_agent_name: section.optional("secret-agent-name"),
        };
        section.exclusive("password", "password-path");
        section.exclusive("secret-agent", "secret-agent-name");
        credentials.check(section);
        credentials
    }
}

impl Credentials {
    fn check(&self, section: &mut Section<'_>) {
        let has_password = section.has("password") || self.password_path.is_some();
        if self.auth_mode == Some(AuthMode::Pki) {
            for key in ["user", "password", "password-path"] {
                if section.has(key) {
                    section.reject(
                        key,
                        format!("\"{key}\" says nothing with auth-mode PKI: the certificate does"),
                    );
                }
            }
        } else if self.user.is_none() && (has_password || self.auth_mode == Some(AuthMode::External)) {
            section.reject("user", "username is required when using authentication");
        } else if self.user.is_some() && !has_password {
            section.missing_either("password", "password-path");
        }
        if wants_agent(self.password.as_ref()) && !self.has_agent() {
            section.reject("password", NO_AGENT);
        }
    }

    fn has_agent(&self) -> bool {
        self.secret_agent.is_some() || self.secret_agent_name.is_some()
    }
}

const NO_AGENT: &str = "a secret of an agent needs \"secret-agent\" or \"secret-agent-name\" in credentials";

fn wants_agent(secret: Option<&Secret>) -> bool {
    matches!(secret, Some(Secret::Reference(SecretRef::Agent { .. })))
}

impl Read for ClusterTls {
    const KIND: Kind = Kind::ClusterTls;

    fn read(section: &mut Section<'_>) -> Self {
        section.both_or_none("cert-file", "key-file");
        let tls = Self {
            ca_file: section.optional("ca-file"),
            ca_path: section.optional("ca-path"),
            name: section.optional("name"),
            protocols: section.optional("protocols"),
            cipher_suite: section.optional("cipher-suite"),
            key_file: section.optional("key-file"),
            key_file_password: section.secret("key-file-password"),
            cert_file: section.optional("cert-file"),
        };
        if let Some(Err(reason)) = tls.protocols.as_deref().map(tls::check_protocols) {
            section.reject("protocols", crate::config::problem::clip(&reason));
        }
        if let Some(Err(reason)) = tls.cipher_suite.as_deref().map(tls::check_cipher_suites) {
            section.reject("cipher-suite", reason);
        }
        if tls.key_file.is_none() && section.has("key-file-password") {
            section.missing("key-file");
        }
        tls
    }
}

/// What only both together can have wrong.
pub(super) fn check_together(
    section: &Section<'_>,
    credentials: Option<&Credentials>,
    tls: Option<&ClusterTls>,
) {
    let mode = credentials.and_then(|given| given.auth_mode);
    match (mode, tls) {
        (Some(AuthMode::External), None) => {
            section.reject("credentials", "auth-mode EXTERNAL sends the password itself: it needs \"tls\"");
        }
        (Some(AuthMode::Pki), tls) if tls.is_none_or(|tls| tls.cert_file.is_none()) => {
            section.reject("credentials", "auth-mode PKI needs \"tls\" with \"cert-file\" and \"key-file\"");
        }
        _ => {}
    }
    let password = tls.and_then(|tls| tls.key_file_password.as_ref());
    if wants_agent(password) && !credentials.is_some_and(Credentials::has_agent) {
        section.reject("tls", format!("key-file-password: {NO_AGENT}"));
    }
}
