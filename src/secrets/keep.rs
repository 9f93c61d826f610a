//! What must not be written anywhere, kept in memory: literals of the configuration and of requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};

use super::{Secret, SecretRef};

/// Literal secrets by name, so that a job's row can hold the name (rules.md 7.4). Clones share them.
///
/// What the configuration holds is found under its place there, also after a restart or a reload; what a request
/// held is gone with the process.
#[derive(Clone, Default)]
pub struct Keeper(Arc<Inner>);

#[derive(Default)]
struct Inner {
    configured: ArcSwap<BTreeMap<String, SecretString>>,
    /// Each different secret once: the same request made again and again takes no more room.
    requested: Mutex<BTreeMap<String, SecretString>>,
}

impl Keeper {
    /// From now on these are the literals of the configuration, by their places in it.
    pub fn set_configured(&self, literals: BTreeMap<String, SecretString>) {
        self.0.configured.store(Arc::new(literals));
    }

    /// Takes the literal out of `secret` and leaves a reference to it; a reference stays as it is.
    pub fn take(&self, secret: &mut Secret) {
        let Secret::Literal(literal) = &*secret else { return };
        let mut requested = self.0.requested.lock().unwrap_or_else(PoisonError::into_inner);
        let known = requested.iter().find(|(_, kept)| kept.expose_secret() == literal.expose_secret());
        let name = if let Some((name, _)) = known {
            name.clone()
        } else {
            let name = format!("request/{:032x}", rand::random::<u128>());
            requested.insert(name.clone(), literal.clone());
            name
        };
        *secret = SecretRef::Kept(name).into();
    }

    /// The secret of that name, if it is here.
    pub(super) fn get(&self, name: &str) -> Option<SecretString> {
        let requested = self.0.requested.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.configured.load().get(name).or_else(|| requested.get(name)).cloned()
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}
