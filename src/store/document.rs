//! Documents kept in job rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A type that can hold references to secrets, never a secret (rules.md 7.4). Implement it for such types alone.
pub trait WithoutSecrets: Serialize {}

/// A configuration or request as a job row keeps it: JSON of a type without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document(String);

impl Document {
    /// The document of `value`.
    pub fn of(value: &impl WithoutSecrets) -> Result<Self> {
        serde_json::to_string(value)
            .map(Self)
            .map_err(|error| Error::permanent("document-unwritable", "render a job's document").source(error))
    }

    /// The value of the document.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0)
            .map_err(|error| Error::permanent("document-unreadable", "read a job's document").source(error))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }
}
