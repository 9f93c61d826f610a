//! Lists of backups as they were last shown, kept while nothing that they show changes: to read thousands of rows of the
//! cache takes many times as long as to answer with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::catalog::details::BackupDetails;
use crate::model::BackupType;
use crate::model::status::AbsLevel;

/// The backups of one routine and type, oldest first.
pub type Shown = Arc<[BackupDetails]>;

/// How many backups are kept, of all routines: about 25 MiB. Beyond, it begins anew.
const BACKUPS_MAX: usize = 50_000;

/// What a list was made of: with anything else it is another list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MadeOf {
    /// As [`crate::store::CatalogListing::place`].
    pub(super) place: String,
    /// As [`crate::store::CatalogListing::changed`].
    pub(super) changed: i64,
    /// The storage's name.
    pub(super) storage: String,
    /// The storage as it is shown.
    pub(super) definition: Arc<Value>,
    /// The names of the storages that it is copied to.
    pub(super) copies: Vec<String>,
    /// The release that is spoken.
    pub(super) level: AbsLevel,
}

/// The lists that are kept.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    of: HashMap<(String, BackupType), (MadeOf, Shown)>,
    /// The backups in them.
    backups: usize,
}

impl Remembered {
    /// The list of a routine, if it would be made of the same.
    pub(super) fn get(&self, routine: &str, backup_type: BackupType, of: &MadeOf) -> Option<Shown> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (made_of, shown) = lists.of.get(&(routine.to_owned(), backup_type))?;
        (made_of == of).then(|| Arc::clone(shown))
    }

    /// Keeps the list of a routine. What it was made of was known before it was read: what changed meanwhile is seen then.
    pub(super) fn put(&self, routine: &str, backup_type: BackupType, of: MadeOf, shown: &Shown) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (routine.to_owned(), backup_type);
        if let Some((_, old)) = lists.of.remove(&key) {
            lists.backups -= old.len();
        }
        if lists.backups + shown.len() > BACKUPS_MAX {
            *lists = Lists::default();
        }
        if shown.len() <= BACKUPS_MAX {
            lists.backups += shown.len();
            lists.of.insert(key, (of, Arc::clone(shown)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(length: usize) -> Shown {
        let one = BackupDetails {
            created: String::new(),
            timestamp: 0,
            finished: String::new(),
            finished_timestamp: None,
            duration: 0,
            from: None,
            namespace: "n".to_owned(),
            record_count: 0,
            byte_count: 0,
            file_count: 0,
            secondary_index_count: 0,
            udf_count: 0,
            key: String::new(),
            storage: Arc::new(Value::Null),
            compression: "NONE",
            encryption: "NONE",
            verification: None,
            copies: Vec::new(),
        };
        vec![one; length].into()
    }

    #[test]
    fn a_list_is_given_only_for_what_it_was_made_of() {
        let remembered = Remembered::default();
        let of = MadeOf {
            place: "p".to_owned(),
            changed: 1,
            storage: "s".to_owned(),
            definition: Arc::new(Value::Null),
            copies: Vec::new(),
            level: AbsLevel::V3_5,
        };
        remembered.put("r", BackupType::Full, of.clone(), &list(2));
        assert_eq!(remembered.get("r", BackupType::Full, &of).unwrap().len(), 2);
        for other in [
            MadeOf { place: "q".to_owned(), ..of.clone() },
            MadeOf { changed: 2, ..of.clone() },
            MadeOf { storage: "t".to_owned(), ..of.clone() },
            MadeOf { definition: Arc::new(Value::Bool(true)), ..of.clone() },
            MadeOf { copies: vec!["c".to_owned()], ..of.clone() },
            MadeOf { level: AbsLevel::V3_7, ..of.clone() },
        ] {
            assert!(remembered.get("r", BackupType::Full, &other).is_none(), "{other:?}");
        }
        assert!(remembered.get("r", BackupType::Incremental, &of).is_none());
        assert!(remembered.get("q", BackupType::Full, &of).is_none());
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let remembered = Remembered::default();
        let of = MadeOf {
            place: String::new(),
            changed: 1,
            storage: String::new(),
            definition: Arc::new(Value::Null),
            copies: Vec::new(),
            level: AbsLevel::V3_5,
        };
        let kept = |routine| remembered.get(routine, BackupType::Full, &of).is_some();
        let half = list(BACKUPS_MAX / 2);
        for routine in ["a", "b", "b"] {
            remembered.put(routine, BackupType::Full, of.clone(), &half);
        }
        assert!(kept("a") && kept("b"));
        remembered.put("c", BackupType::Full, of.clone(), &list(1));
        assert!(!kept("a") && !kept("b") && kept("c"));
        remembered.put("d", BackupType::Full, of.clone(), &list(BACKUPS_MAX + 1));
        assert!(!kept("d"));
    }
}
