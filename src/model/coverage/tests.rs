use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{Advance, Coverage, Digest, Touched};
use crate::model::partitions::{PartitionSet, partition_of};

fn digest(pid: u16, tail: u8) -> Digest {
    let mut digest = [tail; 20];
    digest[..2].copy_from_slice(&pid.to_le_bytes());
    digest
}

fn set(pids: &[u16]) -> PartitionSet {
    pids.iter().copied().collect()
}

#[test]
fn what_is_covered_is_not_asked_for_again() {
    let mut touched = Touched::default();
    touched.begin(1);
    for record in [digest(3, 9), digest(3, 8), digest(5, 9)] {
        touched.record(&record);
    }
    let mut coverage = Coverage::default();
    coverage.add(&touched.take());
    assert!(touched.take().is_empty(), "it was told");
    let rest = coverage.rest(&set(&[3, 4, 5]));
    assert_eq!(rest.partitions, set(&[3, 4, 5]));
    assert_eq!(rest.after, [digest(3, 8), digest(5, 9)]);
    touched.end(1, true, &set(&[3, 4]));
    coverage.add(&touched.take());
    let rest = coverage.rest(&set(&[3, 4, 5]));
    assert_eq!((rest.partitions, rest.after), (set(&[5]), vec![digest(5, 9)]));
}

#[test]
fn a_query_is_doubted_until_its_node_has_vouched_for_it() {
    let mut touched = Touched::default();
    let mut coverage = Coverage::default();
    touched.begin(7);
    touched.record(&digest(1, 1));
    coverage.add(&touched.take());
    assert_eq!(coverage.not_vouched(), [7]);
    // Its records went with the block before, and it found an empty partition.
    touched.end(7, true, &set(&[2]));
    touched.begin(8);
    touched.end(8, false, &set(&[3]));
    coverage.add(&touched.take());
    assert_eq!(coverage.not_vouched(), [8]);
}

#[test]
fn it_survives_being_stored() {
    let advance = Advance::new([digest(4, 1), digest(2, 1)], set(&[9]), [3, 1], [1]);
    let again = Advance::new(
        advance.cursors().copied(),
        advance.done().to_string().parse().unwrap(),
        advance.opened(),
        advance.vouched(),
    );
    assert_eq!(advance, again);
    assert!(!advance.is_empty());
}

/// What a node has: the records of each partition, in the order in which they are sent.
type Node = BTreeMap<u16, Vec<Digest>>;

/// One step of one of the actors of a read.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A scan takes its next record; at the end of its partitions it ends.
    Record(usize),
    /// A scan hands what it has to its writer.
    HandOver(usize),
    /// A writer takes its next block.
    Write(usize),
    /// A writer closes its file, if one is open.
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..4_usize;
    prop_oneof![
        8 => who.clone().prop_map(Step::Record),
        3 => who.clone().prop_map(Step::HandOver),
        3 => who.clone().prop_map(Step::Write),
        1 => who.prop_map(Step::Close),
    ]
}

#[derive(Default)]
struct Scan {
    /// What it is still to be sent, in order.
    records: VecDeque<Digest>,
    done: PartitionSet,
    held: Vec<Digest>,
    touched: Touched,
    ended: bool,
}

#[derive(Default)]
struct Writer {
    waiting: VecDeque<(Vec<Digest>, Advance)>,
    file: Option<Vec<Digest>>,
    advance: Advance,
}

/// One read, cut off after some steps: what is in closed files, and what they cover.
struct Read<'a> {
    scans: Vec<Scan>,
    writers: Vec<Writer>,
    closed: &'a mut Vec<Digest>,
    coverage: &'a mut Coverage,
}

impl<'a> Read<'a> {
    fn begin(
        node: &Node,
        scans: usize,
        writers: usize,
        closed: &'a mut Vec<Digest>,
        coverage: &'a mut Coverage,
    ) -> Self {
        let rest = coverage.rest(&node.keys().copied().collect());
        let after: BTreeMap<u16, Digest> =
            rest.after.iter().map(|digest| (partition_of(digest), *digest)).collect();
        let scan = |range: PartitionSet| {
            let records = range.iter().flat_map(|pid| {
                // As the node does: what comes after the digest, wherever that is by now.
                node[&pid]
                    .iter()
                    .copied()
                    .filter(|digest| after.get(&pid).is_none_or(|after| digest < after))
                    .collect::<Vec<_>>()
            });
            Scan { records: records.collect(), done: range.clone(), ..Scan::default() }
        };
        let scans = rest.partitions.split(scans).into_iter().map(scan).collect();
        let writers = (0..writers).map(|_| Writer::default()).collect();
        Self { scans, writers, closed, coverage }
    }

    fn step(&mut self, step: Step) {
        let writers = self.writers.len();
        match step {
            Step::Record(scan) => {
                let Some(scan) = self.scans.get_mut(scan) else { return };
                if let Some(record) = scan.records.pop_front() {
                    scan.touched.record(&record);
                    scan.held.push(record);
                } else if !scan.ended {
                    scan.ended = true;
                    scan.touched.end(1, true, &scan.done);
                }
            }
            Step::HandOver(index) => {
                let Some(scan) = self.scans.get_mut(index) else { return };
                let block = (std::mem::take(&mut scan.held), scan.touched.take());
                self.writers[index % writers].waiting.push_back(block);
            }
            Step::Write(index) => {
                let writer = &mut self.writers[index % writers];
                let Some((records, advance)) = writer.waiting.pop_front() else { return };
                writer.advance.add(&advance);
                if !records.is_empty() {
                    writer.file.get_or_insert_default().extend(records);
                }
            }
            Step::Close(index) => {
                let writer = &mut self.writers[index % writers];
                let Some(file) = writer.file.take() else { return };
                self.closed.extend(file);
                self.coverage.add(&std::mem::take(&mut writer.advance));
            }
        }
    }
}

fn covered(node: &Node, coverage: &Coverage) -> BTreeSet<Digest> {
    let rest = coverage.rest(&node.keys().copied().collect());
    let after: BTreeMap<u16, Digest> =
        rest.after.iter().map(|digest| (partition_of(digest), *digest)).collect();
    let is_left = |digest: &&Digest| {
        let pid = partition_of(digest);
        rest.partitions.contains(pid) && after.get(&pid).is_none_or(|after| *digest < after)
    };
    node.values().flatten().filter(|digest| !is_left(digest)).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever the order of scans, writers and files, and wherever each read is cut off: every record that is covered
    /// lies in a closed file, once, and no other record does.
    #[test]
    fn what_is_covered_is_what_lies_in_closed_files(
        sizes in prop::collection::vec(0_u8..6, 1..8),
        reads in prop::collection::vec((1..5_usize, 1..4_usize, prop::collection::vec(step(), 0..80)), 1..5),
    ) {
        let records = |pid: u16, count: u8| (0..count).rev().map(move |tail| digest(pid, tail)).collect();
        let node: Node = (0..).zip(sizes).map(|(pid, count)| (pid, records(pid, count))).collect();
        let (mut closed, mut coverage) = (Vec::new(), Coverage::default());
        for (scans, writers, steps) in reads {
            let mut read = Read::begin(&node, scans, writers, &mut closed, &mut coverage);
            for step in steps {
                read.step(step);
            }
            let unique: BTreeSet<Digest> = closed.iter().copied().collect();
            prop_assert_eq!(unique.len(), closed.len(), "a record is in two files");
            prop_assert_eq!(&unique, &covered(&node, &coverage));
        }
        // The last read goes to its end.
        let mut read = Read::begin(&node, 2, 2, &mut closed, &mut coverage);
        for _ in 0..100 {
            (0..2).for_each(|who| read.step(Step::Record(who)));
        }
        for act in [Step::HandOver, Step::Write, Step::Close] {
            (0..2).for_each(|who| read.step(act(who)));
        }
        let all: BTreeSet<Digest> = node.values().flatten().copied().collect();
        prop_assert_eq!(closed.len(), all.len());
        prop_assert_eq!(closed.into_iter().collect::<BTreeSet<_>>(), all);
    }
}
