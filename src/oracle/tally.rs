//! What an oracle test has seen, for its last words.

use std::collections::BTreeMap;

use super::judge::{Finding, Limit, Verdict};

/// Counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<&'static str, u64>,
    rows: BTreeMap<String, [u64; 2]>,
    limits: BTreeMap<Limit, u64>,
}

impl Tally {
    /// Adds to a count.
    pub(crate) fn add(&mut self, what: &'static str, number: u64) {
        *self.counts.entry(what).or_default() += number;
    }

    /// A count.
    pub(crate) fn count(&self, what: &'static str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// How often a limit was met.
    pub(crate) fn limit(&self, limit: Limit) -> u64 {
        self.limits.get(&limit).copied().unwrap_or(0)
    }

    /// The rows of rules.md 4.3 that were met.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Counts a restore in its row of rules.md 4.3.
    pub(crate) fn restore(&mut self, row: String, records: u64) {
        self.add("restores", 1);
        let counted = self.rows.entry(row).or_default();
        counted[0] += 1;
        counted[1] += records;
    }

    /// Counts what was found of one record; gives what is wrong with it.
    pub(crate) fn record(&mut self, finding: Finding) -> Result<(), String> {
        self.add("records compared", 1);
        self.add("expired versions that hid older ones", u64::from(finding.hid));
        self.add("records of the destination that had to stay", u64::from(finding.had_to_stay));
        self.add("limits that could be one or another", u64::from(finding.ambiguous));
        match finding.verdict {
            Verdict::Exact => self.add("records exactly as the cluster held them", 1),
            Verdict::Limit(limit) => *self.limits.entry(limit).or_default() += 1,
            Verdict::Wrong(reason) => return Err(reason),
        }
        Ok(())
    }

    /// Adds another's counts.
    pub(crate) fn join(&mut self, other: &Self) {
        for (what, number) in &other.counts {
            *self.counts.entry(what).or_default() += number;
        }
        for (row, [restores, records]) in &other.rows {
            let counted = self.rows.entry(row.clone()).or_default();
            counted[0] += restores;
            counted[1] += records;
        }
        for (limit, number) in &other.limits {
            *self.limits.entry(*limit).or_default() += number;
        }
    }

    /// Prints everything.
    #[allow(clippy::print_stdout)] // the figures of the README are read from here
    pub(crate) fn print(&self, title: &str) {
        println!("{title}");
        for (what, number) in &self.counts {
            println!("  {what}: {number}");
        }
        println!("  per row of rules.md 4.3 (restores, records):");
        for (row, [restores, records]) in &self.rows {
            println!("    {row}: {restores}, {records}");
        }
        println!("  known limits met (rules.md 9), in records:");
        for (limit, number) in &self.limits {
            println!("    {limit:?}: {number}");
        }
    }
}
