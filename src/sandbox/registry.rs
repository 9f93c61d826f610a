//! What a cluster keeps beside records: index definitions and UDF modules. Registered, never used.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Indexes of a namespace, and modules of the cluster, that we take at most.
const INDEXES_MAX: usize = 256;
const UDFS_MAX: usize = 256;

/// The definition of a secondary index, in the words of `sindex-create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub namespace: String,
    pub name: String,
    /// Empty = all sets.
    pub set: String,
    /// `None` when it is over an expression.
    pub bin: Option<String>,
    /// `numeric`, `string`, `blob`, `geo2dsphere`.
    pub data_type: String,
    /// `default`, `list`, `mapkeys`, `mapvalues`.
    pub collection: String,
    /// Base64, as given.
    pub context: Option<String>,
    /// Base64, as given.
    pub expression: Option<String>,
}

/// What became of an index that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    /// The name has another definition.
    Conflict,
    Full,
}

/// The registry of a cluster.
#[derive(Debug, Default)]
pub(super) struct Registry {
    indexes: Mutex<Vec<Index>>,
    udfs: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Registry {
    /// Adds an index. A definition that is there under another name gets the new name, as on the server.
    pub fn add_index(&self, index: Index) -> Added {
        let mut indexes = lock(&self.indexes);
        let same = |old: &Index| Index { name: index.name.clone(), ..old.clone() } == index;
        let named = indexes.iter().find(|old| old.namespace == index.namespace && old.name == index.name);
        if let Some(old) = named {
            return if *old == index { Added::Yes } else { Added::Conflict };
        }
        if let Some(old) = indexes.iter_mut().find(|old| same(old)) {
            old.name = index.name;
        } else if indexes.len() >= INDEXES_MAX {
            return Added::Full;
        } else {
            indexes.push(index);
        }
        Added::Yes
    }

    pub fn remove_index(&self, namespace: &str, name: &str) {
        lock(&self.indexes).retain(|index| index.namespace != namespace || index.name != name);
    }

    /// The indexes of a namespace, or all.
    pub fn indexes(&self, namespace: Option<&str>) -> Vec<Index> {
        let of = |index: &&Index| namespace.is_none_or(|name| index.namespace == name);
        lock(&self.indexes).iter().filter(of).cloned().collect()
    }

    /// Whether there was room.
    pub fn put_udf(&self, name: &str, content: Vec<u8>) -> bool {
        let mut udfs = lock(&self.udfs);
        if udfs.len() >= UDFS_MAX && !udfs.contains_key(name) {
            return false;
        }
        udfs.insert(name.to_owned(), content);
        true
    }

    pub fn remove_udf(&self, name: &str) {
        lock(&self.udfs).remove(name);
    }

    pub fn udf(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.udfs).get(name).cloned()
    }

    pub fn udfs(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.udfs).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
