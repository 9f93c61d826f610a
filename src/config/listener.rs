//! `service.http` and `service.https` (abs.md 2.2).

use std::net::IpAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::MS_MAX;
use super::kind::Kind;
use super::reader::{Read, Section};
use super::secret_agent::SecretAgent;
use crate::secrets::Secret;
use crate::tls;

/// `service.http`, and what `service.https` has in common with it, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Http {
    /// Where to listen; none: loopback only as long as there is no authentication (rules.md 7.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port; 0 lets the system choose, for tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The prefix of every path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_path: Option<String>,
    /// How long a client may take to send a request's head, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How long a client may take to send a request's body, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<u64>,
    /// How long a client may leave an answer untaken, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_timeout: Option<u64>,
    /// How long an idle connection is kept, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u64>,
    /// Whether there is no such listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// How many requests a client may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// `rate`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rate {
    /// Requests per second from one address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tps: Option<u32>,
    /// How many may come at once after a rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Addresses and networks without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub white_list: Option<Vec<String>>,
}

/// `service.https`, as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Https {
    /// What it has in common with `service.http`.
    #[serde(flatten)]
    pub listener: Http,
    /// The certificate, with what leads to its authority: a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_file: String,
    /// Its key: a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_file: String,
    /// The password of an encrypted key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file_password: Option<Secret>,
    /// Whether clients show a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// The authorities of clients' certificates: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<String>,
    /// Certificates of clients that were taken back: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_crl_file: Option<String>,
    /// The least version of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// The cipher suites, by their names in Go; none: all that are safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_suites: Option<Vec<String>>,
    /// Who is asked for the password, inline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent: Option<SecretAgent>,
    /// Who is asked for the password, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_agent_name: Option<String>,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; one that is shown must be good.
    Request,
    /// They must.
    RequireAndVerify,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// A listener with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpConfig {
    /// Where to listen; none: loopback only, and the log says so (rules.md 7.2); with authentication everywhere.
    pub address: Option<String>,
    /// The port; default 8080, of https 8443.
    pub port: u16,
    /// The prefix of every path, with `/` at both ends; default `/`.
    pub context_path: String,
    /// How long a client may take to send a request's head, in ms; default 5,000.
    pub timeout: u64,
    /// How long a client may take to send a request's body, in ms; 0: for ever; default 30,000.
    pub read_timeout: u64,
    /// How long a client may leave an answer untaken, in ms; 0: for ever; default 60,000.
    pub write_timeout: u64,
    /// How long an idle connection is kept, in ms; default 120,000.
    pub idle_timeout: u64,
    /// Whether there is no such listener.
    pub disabled: bool,
    /// How many requests a client may send.
    pub rate: RateConfig,
}

/// `rate` with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RateConfig {
    /// Requests per second from one address; default 1,024.
    pub tps: u32,
    /// How many may come at once after a rest; default 1,024.
    pub size: u32,
    /// Networks without a limit; default none.
    pub white_list: Vec<String>,
}

/// `service.https` with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpsConfig {
    /// What it has in common with `service.http`.
    pub listener: HttpConfig,
    /// The certificate, with what leads to its authority.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Whether clients show a certificate; default not.
    pub client_auth: ClientAuth,
    /// The authorities of clients' certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Certificates of clients that were taken back.
    pub client_crl_file: Option<PathBuf>,
    /// The least version of TLS; default 1.2.
    pub min_version: TlsVersion,
    /// The cipher suites; empty: all that are safe.
    pub cipher_suites: Vec<String>,
}

/// ABS's own ports (abs.md 2.2).
pub(super) const PORT: u16 = 8080;
const TLS_PORT: u16 = 8443;

impl Http {
    /// With the defaults.
    pub fn resolve(&self, port: u16) -> HttpConfig {
        let rate = self.rate.clone().unwrap_or_default();
        HttpConfig {
            address: self.address.clone(),
            port: self.port.unwrap_or(port),
            context_path: between_slashes(self.context_path.as_deref().unwrap_or("/")),
            timeout: self.timeout.unwrap_or(5_000),
            read_timeout: self.read_timeout.unwrap_or(30_000),
            write_timeout: self.write_timeout.unwrap_or(60_000),
            idle_timeout: self.idle_timeout.unwrap_or(120_000),
            disabled: self.disabled.unwrap_or(false),
            rate: RateConfig {
                tps: rate.tps.unwrap_or(1024),
                size: rate.size.unwrap_or(1024),
                white_list: rate.white_list.unwrap_or_default(),
            },
        }
    }
}

/// Under which name the keeper has the password of the key of HTTPS, where that is a literal.
pub const HTTPS_KEY_PASSWORD: &str = "service/https/key-file-password";

impl Https {
    /// The literal in it, under its name.
    pub(super) fn literal(&self) -> Option<(String, SecretString)> {
        let secret = self.key_file_password.as_ref()?.expose()?;
        Some((HTTPS_KEY_PASSWORD.to_owned(), secret.into()))
    }

    /// With the defaults; none: there is no such listener.
    pub fn resolve(&self) -> Option<HttpsConfig> {
        let listener = self.listener.resolve(TLS_PORT);
        let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
        (!listener.disabled).then(|| HttpsConfig {
            listener,
            cert_file: PathBuf::from(&self.cert_file),
            key_file: PathBuf::from(&self.key_file),
            client_auth: self.client_auth.unwrap_or_default(),
            client_ca_file: path(&self.client_ca_file),
            client_crl_file: path(&self.client_crl_file),
            min_version: self.min_version.unwrap_or_default(),
            cipher_suites: self.cipher_suites.clone().unwrap_or_default(),
        })
    }
}

fn between_slashes(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() { "/".into() } else { format!("/{path}/") }
}

/// A network as `10.0.0.0/8`, or one address: its first address and the length of its prefix.
pub fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    (length <= most).then_some((address, length))
}

fn read_listener(section: &mut Section<'_>) -> Http {
    let context_path = section.optional("context-path");
    if let Some(path) = &context_path {
        let clean = path.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~".contains(c));
        if !path.starts_with('/') || !clean || path.contains("//") {
            section.reject("context-path", "\"context-path\" must start with / and hold plain path segments");
        }
    }
    Http {
        address: section.optional("address"),
        port: section.int("port", 0..=65_535),
        context_path,
        timeout: section.int("timeout", 0..=MS_MAX),
        read_timeout: section.int("read-timeout", 0..=MS_MAX),
        write_timeout: section.int("write-timeout", 0..=MS_MAX),
        idle_timeout: section.int("idle-timeout", 0..=MS_MAX),
        disabled: section.flag("disabled"),
        rate: section.child("rate"),
    }
}

impl Read for Http {
    const KIND: Kind = Kind::Http;

    fn read(section: &mut Section<'_>) -> Self {
        read_listener(section)
    }
}

impl Read for Rate {
    const KIND: Kind = Kind::Rate;

    fn read(section: &mut Section<'_>) -> Self {
        let white_list = section.texts("white-list");
        for (index, text) in white_list.iter().flatten().enumerate() {
            if network(text).is_none() {
                section.reject_item("white-list", index, "must be an address, or a network as 10.0.0.0/8");
            }
        }
        Self { tps: section.int("tps", 1..=1_000_000), size: section.int("size", 1..=1_000_000), white_list }
    }
}

impl Read for Https {
    const KIND: Kind = Kind::Https;

    fn read(section: &mut Section<'_>) -> Self {
        let listener = read_listener(section);
        let off = listener.disabled == Some(true);
        let mut file =
            |key| if off { section.optional(key).unwrap_or_default() } else { section.filled(key) };
        let (cert_file, key_file) = (file("cert-file"), file("key-file"));
        let client_auth = section.word(
            "client-auth",
            &[
                ("none", ClientAuth::None),
                ("request", ClientAuth::Request),
                ("require-and-verify", ClientAuth::RequireAndVerify),
            ],
        );
        let client_ca_file = section.optional("client-ca-file");
        if !off && client_auth.is_some_and(|asked| asked != ClientAuth::None) && client_ca_file.is_none() {
            section.missing("client-ca-file");
        }
        let cipher_suites = section.texts("cipher-suites");
        if let Some(names) = cipher_suites.as_ref().filter(|names| !names.is_empty())
            && let Err(problem) = tls::check_cipher_suites(&names.join(":"))
        {
            section.reject("cipher-suites", format!("\"cipher-suites\": {problem}"));
        }
        section.exclusive("secret-agent", "secret-agent-name");
        Self {
            listener,
            cert_file,
            key_file,
            key_file_password: section.secret("key-file-password"),
            client_auth,
            client_ca_file,
            client_crl_file: section.optional("client-crl-file"),
            min_version: section.word("min-version", &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]),
            cipher_suites,
            secret_agent: section.child("secret-agent"),
            secret_agent_name: section.optional("secret-agent-name"),
        }
    }
}
