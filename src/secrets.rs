//! Secrets: a type that shows itself to nobody, the references by which a document names one, and how a reference
//! is followed when the secret is needed.
//!
//! Who needs a secret calls [`StoredSecret::fetch`], or [`fetch`] with a reference of its own; see there.

mod agent;
mod fetch;
mod keep;
mod reveal;
#[cfg(test)]
#[path = "../tests/support/agent.rs"]
pub(crate) mod test_agent;

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

pub use agent::{AGENT_TIMEOUT_MS, AgentOptions, AgentPlace, AgentTls};
pub use fetch::{SecretSource, StoredSecret, fetch};
pub use keep::Keeper;
pub use reveal::revealed;

/// What stands in place of a literal secret wherever one is written (abs.md 2.4 [3.7]).
pub const REDACTED: &str = "[secret]";

/// A secret as a document gives it: the thing itself, or where it is kept.
///
/// It has no `Display`; `Debug` and `Serialize` show a reference, and [`REDACTED`] for a literal, which is written out only
/// inside [`revealed`]. So what is masked follows from a field's type, whatever section it stands in.
#[derive(Clone)]
pub enum Secret {
    /// The secret itself; wiped from memory when dropped.
    Literal(SecretString),
    /// Where it is kept.
    Reference(SecretRef),
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// At the secret agent: `secrets:<resource>:<key>`.
    Agent {
        /// The resource.
        resource: String,
        /// The key in it.
        key: String,
    },
    /// In the environment: `${NAME}`, or ABS's `env:NAME`.
    Env(String),
    /// In a file: `file:<path>`.
    File(PathBuf),
    /// In the memory of this process, under a name of the [`Keeper`]'s. No document can say so.
    Kept(String),
}

/// What is wrong with a reference; never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not `secrets:<resource>:<key>`.
    #[error("a secret of an agent must be secrets:<resource>:<key>")]
    Agent,
    /// Not `${NAME}`.
    #[error("a secret of the environment must be ${{NAME}}, of letters, digits and _")]
    Env,
    /// No path.
    #[error("a secret of a file must be file:<path>")]
    File,
    /// The mark of a secret that was not shown is no secret.
    #[error("\"[secret]\" stands for a stored secret, there is none yet")]
    Redacted,
}

impl Secret {
    /// Reads a field that may hold a secret; what is no reference is the secret itself.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        if text == REDACTED {
            return Err(SecretError::Redacted);
        }
        if let Some(rest) = text.strip_prefix("secrets:") {
            return match rest.split_once(':') {
                Some((resource, key)) if !resource.is_empty() && !key.is_empty() && !key.contains(':') => {
                    let (resource, key) = (resource.to_owned(), key.to_owned());
                    Ok(Self::Reference(SecretRef::Agent { resource, key }))
                }
                _ => Err(SecretError::Agent),
            };
        }
        if let Some(rest) = text.strip_prefix("${") {
            let name = rest.strip_suffix('}').ok_or(SecretError::Env)?;
            return env_name(name).map(Self::Reference);
        }
        if let Some(name) = text.strip_prefix("env:") {
            return env_name(name).map(Self::Reference);
        }
        if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() {
                return Err(SecretError::File);
            }
            return Ok(Self::Reference(SecretRef::File(path.into())));
        }
        Ok(Self::Literal(text.into()))
    }

    /// Where it is kept; none for a literal.
    pub fn reference(&self) -> Option<&SecretRef> {
        match self {
            Self::Literal(_) => None,
            Self::Reference(reference) => Some(reference),
        }
    }

    /// The secret itself; none for a reference. The one way to it: look for its callers.
    pub fn expose(&self) -> Option<&str> {
        match self {
            Self::Literal(secret) => Some(secret.expose_secret()),
            Self::Reference(_) => None,
        }
    }
}

fn env_name(name: &str) -> Result<SecretRef, SecretError> {
    let legal = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if legal { Ok(SecretRef::Env(name.to_owned())) } else { Err(SecretError::Env) }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { resource, key } => write!(f, "secrets:{resource}:{key}"),
            Self::Env(name) => write!(f, "${{{name}}}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kept(_) => f.write_str(REDACTED),
        }
    }
}

impl From<SecretRef> for Secret {
    fn from(reference: SecretRef) -> Self {
        Self::Reference(reference)
    }
}

/// For the diff of two configurations.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose() && self.reference() == other.reference()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str(REDACTED),
            Self::Reference(reference) => write!(f, "{reference}"),
        }
    }
}

impl utoipa::PartialSchema for Secret {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let text = utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(
                "A secret in clear, or a reference: `${NAME}`, `env:NAME`, `file:PATH` or `secrets:RESOURCE:KEY`. What stands in \
                 clear is answered as `[secret]`; sent back, that keeps what is stored.",
            ))
            .examples([serde_json::json!("secrets:passwords:backup"), serde_json::json!("${PASSWORD}")]);
        text.build().into()
    }
}

impl utoipa::ToSchema for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Literal(secret) if reveal::is_revealed() => {
                serializer.serialize_str(secret.expose_secret())
            }
            Self::Literal(_) => serializer.serialize_str(REDACTED),
            Self::Reference(reference) => serializer.collect_str(reference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretError, SecretRef};

    #[test]
    fn a_literal_shows_itself_to_nobody() {
        let secret = Secret::parse("hunter2").unwrap();
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""[secret]""#);
        assert_eq!(secret.expose(), Some("hunter2"));
        assert_eq!(secret.reference(), None);
    }

    #[test]
    fn references_are_written_as_given() {
        for text in ["secrets:res:key", "${DB_PASSWORD}", "file:/run/secrets/db"] {
            let secret = Secret::parse(text).unwrap();
            assert_eq!(serde_json::to_value(&secret).unwrap(), text);
            assert_eq!(format!("{secret:?}"), text);
            assert_eq!(secret.expose(), None);
        }
        assert_eq!(Secret::parse("env:A").unwrap().reference(), Some(&SecretRef::Env("A".into())));
    }

    #[test]
    fn refuses_what_only_looks_like_a_reference() {
        for (text, error) in [
            ("secrets:res", SecretError::Agent),
            ("secrets::key", SecretError::Agent),
            ("secrets:a:b:c", SecretError::Agent),
            ("${NAME", SecretError::Env),
            ("${1A}", SecretError::Env),
            ("env:", SecretError::Env),
            ("file:", SecretError::File),
            ("[secret]", SecretError::Redacted),
        ] {
            assert_eq!(Secret::parse(text).err(), Some(error), "{text}");
        }
    }
}
