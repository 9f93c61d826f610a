//! Sets of partitions (asb.md 4.5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many partitions every namespace has.
pub const PARTITION_COUNT: u16 = 4096;

/// The partition that a record with this digest lives in (asb.md 4.5): its first two bytes, little-endian, 12 bits.
pub fn partition_of(digest: &[u8; 20]) -> u16 {
    let [low, high, ..] = *digest;
    u16::from_le_bytes([low, high]) & (PARTITION_COUNT - 1)
}

/// A set of partitions; shown and stored in the syntax of `partition-list`, where `a-b` is begin and COUNT.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PartitionSet {
    words: [u64; 64],
}

/// What is wrong with a partition list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition list item \"{item}\": {problem}")]
pub struct PartitionListError {
    /// The item as given.
    pub item: String,
    /// What is wrong with it.
    pub problem: String,
}

impl PartitionSet {
    /// No partition.
    pub const fn empty() -> Self {
        Self { words: [0; 64] }
    }

    /// Every partition.
    pub const fn all() -> Self {
        Self { words: [u64::MAX; 64] }
    }

    /// Adds a partition; false if it was there or does not exist.
    pub fn insert(&mut self, partition: u16) -> bool {
        let bit = 1 << (partition % 64);
        match self.words.get_mut(usize::from(partition / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    /// Takes a partition out; false if it was not there.
    pub fn remove(&mut self, partition: u16) -> bool {
        let bit = 1 << (partition % 64);
        match self.words.get_mut(usize::from(partition / 64)) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                true
            }
            _ => false,
        }
    }

    /// Whether the partition is in the set.
    pub fn contains(&self, partition: u16) -> bool {
        self.words.get(usize::from(partition / 64)).is_some_and(|word| word >> (partition % 64) & 1 == 1)
    }

    /// How many partitions are in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no partition is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The partitions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..64).zip(&self.words).flat_map(|(index, &word)| {
            std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| index * 64 + rest.trailing_zeros() as u16)
        })
    }

    /// At most `parts` sets, each a run of what is present, as even as whole numbers allow; no empty one.
    pub fn split(&self, parts: usize) -> Vec<Self> {
        let total = self.len();
        let parts = parts.clamp(1, total.max(1));
        let mut all = self.iter();
        (0..parts)
            .map(|part| all.by_ref().take(total * (part + 1) / parts - total * part / parts).collect())
            .filter(|part: &Self| !part.is_empty())
            .collect()
    }
}

impl FromIterator<u16> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = u16>>(partitions: I) -> Self {
        let mut set = Self::empty();
        for partition in partitions {
            set.insert(partition);
        }
        set
    }
}

impl Extend<u16> for PartitionSet {
    fn extend<I: IntoIterator<Item = u16>>(&mut self, partitions: I) {
        for partition in partitions {
            self.insert(partition);
        }
    }
}

impl Default for PartitionSet {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Display for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut partitions = self.iter().peekable();
        let mut separator = "";
        while let Some(begin) = partitions.next() {
            let mut count = 1;
            while partitions.next_if_eq(&(begin + count)).is_some() {
                count += 1;
            }
            f.write_str(separator)?;
            separator = ",";
            if count == 1 {
                write!(f, "{begin}")?;
            } else {
                write!(f, "{begin}-{count}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionSet({self})")
    }
}

impl From<PartitionSet> for String {
    fn from(set: PartitionSet) -> Self {
        set.to_string()
    }
}

impl TryFrom<String> for PartitionSet {
    type Error = PartitionListError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for PartitionSet {
    type Err = PartitionListError;

    /// As [`parse_partition_list`]; the empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self::empty()) } else { parse_partition_list(text) }
    }
}

/// Parses `partition-list`: items `id` or `begin-COUNT`, separated by commas (abs.md 2.7).
///
/// An overlap is an error, so a list that says `0-100,50-200` where begin and end were meant is often caught.
pub fn parse_partition_list(text: &str) -> Result<PartitionSet, PartitionListError> {
    let mut set = PartitionSet::empty();
    for item in text.split(',').map(str::trim) {
        let error = |problem: String| PartitionListError { item: item.to_owned(), problem };
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u16>().ok())
                .flatten()
                .ok_or_else(|| {
                    error("must be a partition id or <begin>-<count>, for example 0 or 100-50".into())
                })
        };
        let (begin, count) = match item.split_once('-') {
            None => (number(item)?, 1),
            Some((begin, count)) => (number(begin)?, number(count)?),
        };
        if begin >= PARTITION_COUNT {
            return Err(error(format!("partition ids go from 0 to {}", PARTITION_COUNT - 1)));
        }
        if count == 0 {
            return Err(error("the count must be at least 1".into()));
        }
        if count > PARTITION_COUNT - begin {
            return Err(error(format!(
                "{count} partitions from {begin} on go beyond {}; the second number is a count, not an end",
                PARTITION_COUNT - 1
            )));
        }
        for partition in begin..begin + count {
            if !set.insert(partition) {
                return Err(error(format!("partition {partition} is already in an earlier item")));
            }
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PartitionSet, parse_partition_list, partition_of};

    #[test]
    fn a_digest_names_its_partition_by_twelve_little_endian_bits() {
        let mut digest = [0xFF; 20];
        (digest[0], digest[1]) = (0x34, 0xF2);
        assert_eq!(partition_of(&digest), 0x234);
    }

    #[test]
    fn a_range_is_begin_and_count() {
        let set = parse_partition_list("0, 100-50 ,200").expect("valid");
        assert_eq!(set.len(), 52);
        assert!(set.contains(0) && set.contains(100) && set.contains(149) && set.contains(200));
        assert!(!set.contains(1) && !set.contains(150) && !set.contains(4096));
        assert_eq!(set.to_string(), "0,100-50,200");
        assert_eq!(parse_partition_list("0-4096").expect("valid"), PartitionSet::all());
        assert_eq!(PartitionSet::all().to_string(), "0-4096");
    }

    #[test]
    fn a_wrong_list_is_refused_with_the_item_named() {
        for (text, item, problem) in [
            ("0,4096", "4096", "from 0 to 4095"),
            ("4000-97", "4000-97", "a count, not an end"),
            ("1-0", "1-0", "at least 1"),
            ("0-100,99", "99", "partition 99 is already"),
            ("1,x", "x", "<begin>-<count>"),
            ("", "", "<begin>-<count>"),
            ("1,,2", "", "<begin>-<count>"),
            ("1-2-3", "1-2-3", "<begin>-<count>"),
            ("+1", "+1", "<begin>-<count>"),
            ("65536", "65536", "<begin>-<count>"),
            ("EjRWeJCrze8SNFZ4kKvN7xI0Vng=", "EjRWeJCrze8SNFZ4kKvN7xI0Vng=", "<begin>-<count>"),
        ] {
            let error = parse_partition_list(text).expect_err(text);
            assert_eq!(error.item, item, "{text}");
            assert!(error.to_string().contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_split_has_no_empty_part() {
        let set = parse_partition_list("7,9-2").expect("valid");
        assert_eq!(set.split(8).len(), 3);
        assert_eq!(set.split(0), std::slice::from_ref(&set));
        assert!(PartitionSet::empty().split(4).is_empty());
    }

    proptest! {
        #[test]
        fn a_split_covers_each_partition_once_in_even_runs(
            ids in prop::collection::btree_set(0..4096_u16, 0..600), parts in 1..200_usize
        ) {
            let set: PartitionSet = ids.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), ids.iter().copied().collect::<Vec<_>>());
            let split = set.split(parts);
            prop_assert_eq!(split.iter().flat_map(PartitionSet::iter).collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
            let sizes: Vec<usize> = split.iter().map(PartitionSet::len).collect();
            if let (Some(least), Some(most)) = (sizes.iter().min(), sizes.iter().max()) {
                prop_assert!(most - least <= 1 && *least > 0);
                prop_assert_eq!(sizes.len(), parts.min(set.len()));
            }
        }

        #[test]
        fn what_is_shown_is_read_back(ids in prop::collection::btree_set(0..4096_u16, 0..600)) {
            let mut set: PartitionSet = ids.iter().copied().collect();
            prop_assert_eq!(set.to_string().parse(), Ok(set.clone()));
            for id in ids {
                prop_assert!(set.remove(id) && !set.remove(id) && !set.contains(id));
            }
            prop_assert!(set.is_empty());
        }
    }
}
