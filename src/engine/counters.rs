//! What a restore counts.

use std::sync::{Arc, Mutex, PoisonError};

/// Where every record read ended, exactly once (rules.md 4.6); the rest of a restore's numbers beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RestoreCounters {
    /// Records read from files.
    pub read_records: u64,
    /// Bytes read from storage.
    pub total_bytes: u64,
    /// Expired before they could be written, and hidden by nothing newer.
    pub expired_records: u64,
    /// Outside the sets wanted, or without bins.
    pub skipped_records: u64,
    /// Refused by the server and passed over.
    pub ignored_records: u64,
    /// Written.
    pub inserted_records: u64,
    /// Passed over because the destination, or a newer backup, has the record.
    pub existed_records: u64,
    /// Passed over because the destination's generation is newer.
    pub fresher_records: u64,
    /// Indexes created.
    pub index_count: u64,
    /// UDF modules registered.
    pub udf_count: u64,
    /// Writes whose first outcome is unknown.
    pub errors_in_doubt: u64,
}

impl RestoreCounters {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        self.read_records += other.read_records;
        self.total_bytes += other.total_bytes;
        self.expired_records += other.expired_records;
        self.skipped_records += other.skipped_records;
        self.ignored_records += other.ignored_records;
        self.inserted_records += other.inserted_records;
        self.existed_records += other.existed_records;
        self.fresher_records += other.fresher_records;
        self.index_count += other.index_count;
        self.udf_count += other.udf_count;
        self.errors_in_doubt += other.errors_in_doubt;
    }

    /// Takes out what is only counted as done where nothing is written; gives it by name.
    pub fn nothing_written(&mut self) -> serde_json::Value {
        let would = serde_json::json!({
            "records": self.inserted_records,
            "indexes": self.index_count,
            "udfs": self.udf_count,
        });
        (self.inserted_records, self.index_count, self.udf_count) = (0, 0, 0);
        would
    }

    /// Whether every record read sits in exactly one counter.
    pub fn balanced(&self) -> bool {
        self.read_records
            == self.inserted_records
                + self.existed_records
                + self.fresher_records
                + self.expired_records
                + self.skipped_records
                + self.ignored_records
    }
}

/// The counters of one member while it is written: they hold what was done also when the write fails.
#[derive(Debug, Clone, Default)]
pub struct SharedCounters(Arc<Mutex<RestoreCounters>>);

impl SharedCounters {
    /// Adds numbers.
    pub fn add(&self, counters: &RestoreCounters) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(counters);
    }

    /// The numbers so far.
    pub fn get(&self) -> RestoreCounters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::RestoreCounters;

    #[test]
    fn a_record_in_no_counter_is_noticed() {
        let mut counters = RestoreCounters { read_records: 2, inserted_records: 1, ..Default::default() };
        assert!(!counters.balanced());
        counters.expired_records = 1;
        assert!(counters.balanced());
    }
}
