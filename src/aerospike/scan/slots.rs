//! How far each partition of a range is.

use std::fmt::Write as _;

use crate::model::partitions::{PARTITION_COUNT, PartitionSet, partition_of};

use super::super::wire::Malformed;

/// Marks a partition that is not in this range.
const NOT_HERE: u16 = u16::MAX;

/// The partitions of one range.
#[derive(Debug)]
pub(super) struct Slots {
    list: Vec<Slot>,
    /// Partition to position in `list`.
    positions: Vec<u16>,
    records: u64,
    done: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    pid: u16,
    /// The last record that the sink has.
    cursor: Option<[u8; 20]>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be asked.
    Open,
    /// Asked in the current stream.
    Asked,
    /// Read to its end.
    Done,
}

impl Slots {
    /// The partitions of a range; those of the digests in `after` go on behind them.
    pub(super) fn new(range: &PartitionSet, after: &[[u8; 20]]) -> Self {
        let mut positions = vec![NOT_HERE; usize::from(PARTITION_COUNT)];
        let mut list = Vec::with_capacity(range.len());
        for pid in range.iter() {
            if let Some(position) = positions.get_mut(usize::from(pid)) {
                *position = list.len() as u16;
                list.push(Slot { pid, cursor: None, state: State::Open });
            }
        }
        let mut slots = Self { list, positions, records: 0, done: 0 };
        for digest in after {
            if let Some(slot) = slots.get(partition_of(digest)) {
                slot.cursor = Some(*digest);
            }
        }
        slots
    }

    /// The partitions that are not done.
    pub(super) fn open(&self) -> impl Iterator<Item = u16> {
        self.list.iter().filter(|slot| slot.state != State::Done).map(|slot| slot.pid)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.done == self.list.len()
    }

    /// Grows with every record accepted and every partition done.
    pub(super) fn progress(&self) -> u64 {
        self.records + self.done as u64
    }

    /// Begins a stream over `pids`: those to be read whole, and the digests after which the others go on.
    pub(super) fn ask(&mut self, pids: &[u16]) -> (Vec<u16>, Vec<[u8; 20]>) {
        let (mut whole, mut resumed) = (Vec::new(), Vec::new());
        for pid in pids {
            if let Some(slot) = self.get(*pid) {
                slot.state = State::Asked;
                match slot.cursor {
                    None => whole.push(*pid),
                    Some(digest) => resumed.push(digest),
                }
            }
        }
        (whole, resumed)
    }

    /// Whether a record with this digest was asked for in this stream.
    pub(super) fn expects(&mut self, digest: &[u8; 20]) -> Result<(), Malformed> {
        match self.get(partition_of(digest)) {
            Some(Slot { state: State::Asked, .. }) => Ok(()),
            _ => Err(Malformed { what: "record: of a partition that was not asked for" }),
        }
    }

    /// The sink has the record with this digest.
    pub(super) fn accepted(&mut self, digest: &[u8; 20]) {
        if let Some(slot) = self.get(partition_of(digest)) {
            slot.cursor = Some(*digest);
            self.records += 1;
        }
    }

    /// The node does not serve the partition now: it stays open.
    pub(super) fn not_served(&mut self, pid: u16) {
        if let Some(slot) = self.get(pid)
            && slot.state == State::Asked
        {
            slot.state = State::Open;
        }
    }

    /// The stream ended well: what it was asked for and did not refuse is done. Returns how many that are.
    pub(super) fn stream_complete(&mut self) -> u32 {
        let before = self.done;
        for slot in &mut self.list {
            if slot.state == State::Asked {
                slot.state = State::Done;
                self.done += 1;
            }
        }
        (self.done - before) as u32
    }

    /// Those of `pids` that are done.
    pub(super) fn done_of(&mut self, pids: &[u16]) -> PartitionSet {
        let done = |pid: &u16| self.get(*pid).is_some_and(|slot| slot.state == State::Done);
        pids.iter().copied().filter(done).collect()
    }

    /// The stream broke: what it was asked for stays open.
    pub(super) fn stream_broken(&mut self) {
        for slot in &mut self.list {
            if slot.state == State::Asked {
                slot.state = State::Open;
            }
        }
    }

    /// The open partitions in words: `0-4, 17`; at most twenty ranges.
    pub(super) fn describe_open(&self) -> String {
        const RANGES_MAX: usize = 20;
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for pid in self.open() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == pid => *last = pid,
                _ => ranges.push((pid, pid)),
            }
        }
        let mut text = String::new();
        for (index, (first, last)) in ranges.iter().take(RANGES_MAX).enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            let _ = if first == last { write!(text, "{first}") } else { write!(text, "{first}-{last}") };
        }
        if ranges.len() > RANGES_MAX {
            let _ = write!(text, " and more ({} in all)", self.open().count());
        }
        text
    }

    fn get(&mut self, pid: u16) -> Option<&mut Slot> {
        let position = *self.positions.get(usize::from(pid))?;
        self.list.get_mut(usize::from(position))
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    fn of(pids: impl IntoIterator<Item = u16>) -> Slots {
        Slots::new(&pids.into_iter().collect(), &[])
    }

    fn digest(pid: u16, tail: u8) -> [u8; 20] {
        let mut digest = [tail; 20];
        digest[..2].copy_from_slice(&pid.to_le_bytes());
        digest
    }

    #[test]
    fn a_broken_stream_goes_on_after_the_last_accepted_record() {
        let mut slots = of([1, 2, 3]);
        assert_eq!(slots.ask(&[1, 2, 3]), (vec![1, 2, 3], vec![]));
        slots.accepted(&digest(2, 7));
        slots.accepted(&digest(2, 8));
        slots.stream_broken();
        assert_eq!(slots.ask(&[1, 2, 3]), (vec![1, 3], vec![digest(2, 8)]));
        slots.stream_complete();
        assert!(slots.is_complete());
    }

    #[test]
    fn a_scan_may_begin_behind_records_that_are_known() {
        let known = [digest(2, 7), digest(9, 7)];
        let mut slots = Slots::new(&[1, 2].into_iter().collect(), &known);
        assert_eq!(slots.ask(&[1, 2]), (vec![1], vec![digest(2, 7)]));
        slots.not_served(2);
        slots.stream_complete();
        assert_eq!(slots.done_of(&[1, 2]).iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_partition_that_is_not_served_stays_open_when_its_stream_ends_well() {
        let mut slots = of([5, 6]);
        slots.ask(&[5, 6]);
        slots.not_served(6);
        slots.stream_complete();
        assert_eq!(slots.open().collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_record_that_was_not_asked_for_is_malformed() {
        let mut slots = of([5, 6]);
        slots.ask(&[5]);
        assert!(slots.expects(&digest(5, 0)).is_ok());
        assert!(slots.expects(&digest(6, 0)).is_err());
        assert!(slots.expects(&digest(7, 0)).is_err());
    }

    #[test]
    fn open_partitions_are_named_as_ranges() {
        let mut slots = of(0..=10);
        slots.ask(&[3, 10]);
        slots.stream_complete();
        assert_eq!(slots.describe_open(), "0-2, 4-9");
        let sparse = of((0..100).map(|pid| pid * 2));
        assert!(sparse.describe_open().ends_with(" and more (100 in all)"));
    }
}
