//! Where the configuration is: a file, an object of a storage, or an address that can only be read (abs.md 2.1).

mod file;
mod object;
mod url;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::object::ConfigObject;
use self::url::ConfigUrl;
use crate::config::{Config, ConfigPointer, Problems};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::storage::Version;
use crate::tasks::blocking;

/// What a configuration's text is, to tell it from what was there before.
pub type TextHash = [u8; 32];

/// Stands for a text that cannot be read.
pub const GONE: TextHash = [0; 32];

/// The hash of a text.
pub fn hash(text: &str) -> TextHash {
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// Where the configuration is. What it shows of itself has no secret.
#[derive(Debug, Clone)]
pub enum ConfigPlace {
    /// A file of this machine.
    File(PathBuf),
    /// An object of a storage.
    Object(ConfigObject),
    /// An address of the web; it can only be read.
    Url(ConfigUrl),
}

/// A text as it was read.
#[derive(Clone)]
pub struct Held {
    /// It may hold secrets.
    pub text: String,
    /// What a write over it compares.
    version: Version,
}

impl ConfigPlace {
    /// What `--config` names: a path, or an address that begins with `http://` or `https://`. `remote`: there is a
    /// document that says where the real one is.
    ///
    /// Errors: `config-unreadable`, `config-invalid`, `config-url`.
    pub async fn find(given: &Path, remote: bool, now: UnixMillis) -> Result<Self> {
        let named = match given.to_str().filter(|text| url::is_url(text)) {
            Some(address) => Self::Url(ConfigUrl::parse(address)?),
            None => Self::File(given.to_owned()),
        };
        if !remote {
            return Ok(named);
        }
        let pointer = named.read().await??;
        let pointer = ConfigPointer::parse(&pointer.text, &named.to_string(), now)?;
        Ok(match pointer {
            ConfigPointer::File(path) => Self::File(path),
            ConfigPointer::Object { place, key, keeper } => {
                Self::Object(ConfigObject::new(*place, key, keeper))
            }
        })
    }

    /// The text. The inner error: it is no text, or too long.
    ///
    /// Errors: `config-unreadable`, for an object those of storage, for an address `tls-refused` and `tls-files`.
    pub async fn read(&self) -> Result<Result<Held, Problems>> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let read = blocking(move || file::read(&path)).await?;
                Ok(read.map(|text| Held { text, version: Version::default() }))
            }
            Self::Object(object) => {
                let (bytes, version) = object.read().await?;
                Ok(self.text(bytes.to_vec(), version))
            }
            Self::Url(url) => Ok(self.text(url.read().await?, Version::default())),
        }
    }

    fn text(&self, bytes: Vec<u8>, version: Version) -> Result<Held, Problems> {
        Ok(Held { text: Config::text_of(bytes, &self.to_string())?, version })
    }

    /// Replaces `old`, which was read here, whole or not at all; what is there then. `keep_old`: its text goes to
    /// [`ConfigPlace::backup`] first.
    ///
    /// Errors: `config-not-persisted`.
    pub async fn replace(&self, old: &Held, new: String, keep_old: bool) -> Result<Held> {
        match self {
            Self::File(path) => {
                let (path, keep) = (path.clone(), keep_old.then(|| old.text.clone()));
                blocking(move || {
                    file::replace(&path, &new, keep.as_deref())?;
                    Ok(Held { text: new, version: Version::default() })
                })
                .await
            }
            Self::Object(object) => {
                let version = object.replace((&old.text, &old.version), &new, keep_old).await?;
                Ok(Held { text: new, version })
            }
            Self::Url(url) => {
                Err(Error::permanent("config-not-persisted", format!("{url} can only be read")).hint(
                    "Change the document where it comes from: it is looked at again and again. For a configuration that \
                     the API changes, keep it in a file or, with --remote, in an object store.",
                ))
            }
        }
    }

    /// Where the old text is kept when the new one loses its comments.
    pub async fn backup(&self) -> String {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let real = blocking(move || Ok(std::fs::canonicalize(&path).unwrap_or(path))).await;
                real.map_or_else(
                    |_| format!("{self}.bak"),
                    |real| file::backup_path(&real).display().to_string(),
                )
            }
            _ => format!("{self}.bak"),
        }
    }

    /// The file, if it is one that can be looked at often.
    pub fn as_file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }
}

/// The file's path, the storage's place with the object, the address without credentials and query.
impl std::fmt::Display for ConfigPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object(object) => object.fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// What changes when a file is written or replaced; none while it cannot be asked. Blocks.
pub use file::stamp;

/// How long a place of the network may take for one reading or writing.
const PATIENCE: Duration = Duration::from_secs(30);

fn silent(place: &dyn std::fmt::Display) -> Error {
    Error::temporary("config-unreadable", format!("{place} has not answered within {} s", PATIENCE.as_secs()))
}
