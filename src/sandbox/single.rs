//! One record: read, delete, and the way to `write`. Also the rows of a batch.

use std::sync::Arc;

use super::digest::{Digest, partition_of};
use super::expression::{Filter, Subject};
use super::node::Node;
use super::proto::{BIN_NAME_MAX, Frame, Head, Op, Request, bit, field, kind, op, rc};
use super::store::{Namespace, Record};
use super::write;

/// What is answered for one record.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub result: u8,
    pub generation: u16,
    pub void_time: u32,
    pub bins: Vec<AnswerBin>,
}

/// A bin of an answer.
#[derive(Debug)]
pub(super) struct AnswerBin {
    pub op: u8,
    pub kind: u8,
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

impl Answer {
    /// Only a result.
    pub fn of(result: u8) -> Self {
        Self { result, ..Self::default() }
    }

    /// A result with the generation and void time of the record, as a server answers once it has found one.
    pub fn about(result: u8, record: &Record) -> Self {
        Self { result, generation: record.generation, void_time: record.void_time, bins: Vec::new() }
    }

    /// Adds what a READ op of `name` finds; nothing for a bin that is not there, unless all ops must answer.
    pub fn read(&mut self, record: &[super::Bin], name: &[u8], respond_all: bool) {
        let found = record.iter().find(|bin| bin.name == name);
        if found.is_some() || respond_all {
            self.bins.push(AnswerBin {
                op: op::READ,
                kind: found.map_or(kind::NULL, |bin| bin.kind),
                name: name.to_vec(),
                value: found.map(|bin| bin.value.clone()).unwrap_or_default(),
            });
        }
    }

    /// Adds all bins.
    pub fn read_all(&mut self, record: &[super::Bin]) {
        for bin in record {
            self.read(record, &bin.name, false);
        }
    }

    pub fn write(&self, frame: &mut Frame, index: u32) {
        let head = Head {
            result: self.result,
            generation: u32::from(self.generation),
            void_time: self.void_time,
            index,
            ..Head::default()
        };
        frame.head(head, 0, self.bins.len() as u16);
        for bin in &self.bins {
            frame.op(bin.op, bin.kind, &bin.name, &bin.value);
        }
    }
}

/// Does what a request asks of one record. `batch_filter` holds for rows without a filter of their own.
pub(super) fn run(
    node: &Node,
    namespace: &Arc<Namespace>,
    digest: &Digest,
    request: &Request<'_>,
    batch_filter: Option<&Filter>,
) -> Answer {
    let writes = request.info2 & bit::WRITE != 0;
    if !writes && request.info1 & bit::READ == 0 {
        return Answer::of(rc::PARAMETER);
    }
    if !node.owns(partition_of(digest)) {
        return Answer::of(rc::UNAVAILABLE);
    }
    let own = match request.field(field::FILTER).map(Filter::parse) {
        Some(None) => return Answer::of(rc::PARAMETER),
        Some(Some(filter)) => Some(filter),
        None => None,
    };
    let filter = own.as_ref().or(batch_filter);
    if !writes {
        read(node, namespace, digest, request, filter)
    } else if request.info2 & bit::DELETE != 0 {
        delete(node, namespace, digest, request, filter)
    } else {
        write::run(node, namespace, digest, request, filter)
    }
}

/// Whether a filter lets the record through.
pub(super) fn passes(filter: Option<&Filter>, node: &Node, digest: &Digest, record: &Record) -> bool {
    filter.is_none_or(|filter| filter.matches(&Subject { digest, record, now_ms: node.now_ms() }))
}

/// Whether the set of a request, if it names one, is that of the record.
fn set_agrees(request: &Request<'_>, record: &Record) -> bool {
    request.set().is_empty() || request.set() == record.set.name
}

/// Whether a key in the request is the stored one, if both are there.
pub(super) fn key_agrees(request: &Request<'_>, record: &Record) -> bool {
    match (request.field(field::KEY), &record.key) {
        (Some(given), Some(stored)) => given == stored.as_slice(),
        _ => true,
    }
}

fn read(
    node: &Node,
    namespace: &Namespace,
    digest: &Digest,
    request: &Request<'_>,
    filter: Option<&Filter>,
) -> Answer {
    let mut partition = namespace.partition_of(digest);
    let Some(record) = partition.live(digest, node.now_s()) else {
        return Answer::of(rc::NOT_FOUND);
    };
    let refusal = if !set_agrees(request, record) {
        rc::PARAMETER
    } else if !passes(filter, node, digest, record) {
        rc::FILTERED_OUT
    } else if !key_agrees(request, record) {
        rc::KEY_MISMATCH
    } else {
        rc::OK
    };
    let mut answer = Answer::about(refusal, record);
    if refusal != rc::OK || request.info1 & bit::NO_BINS != 0 {
        return answer;
    }
    if request.info1 & bit::GET_ALL != 0 {
        answer.read_all(&record.bins);
        return answer;
    }
    answer.result = check_reads(&request.ops);
    if answer.result == rc::OK {
        let respond_all = request.info2 & bit::RESPOND_ALL != 0;
        for wanted in &request.ops {
            answer.read(&record.bins, wanted.name, respond_all);
        }
    }
    answer
}

/// A read has at least one op, and only READ ops.
fn check_reads(ops: &[Op<'_>]) -> u8 {
    if ops.is_empty() {
        return rc::PARAMETER;
    }
    ops.iter().map(|wanted| check_read(wanted)).find(|result| *result != rc::OK).unwrap_or(rc::OK)
}

fn check_read(wanted: &Op<'_>) -> u8 {
    match wanted.code {
        _ if wanted.name.len() > BIN_NAME_MAX => rc::BIN_NAME,
        op::READ => rc::OK,
        other => unknown_op(other),
    }
}

/// The refusal of an op: what a server knows and we do not is unsupported, everything else a bad parameter.
pub(super) fn unknown_op(op: u8) -> u8 {
    let write_only = [op::WRITE, op::INCREMENT, op::APPEND, op::PREPEND, op::TOUCH, op::DELETE_ALL];
    if op == 0 || op > op::KNOWN_MAX || write_only.contains(&op) { rc::PARAMETER } else { rc::UNSUPPORTED }
}

fn delete(
    node: &Node,
    namespace: &Namespace,
    digest: &Digest,
    request: &Request<'_>,
    filter: Option<&Filter>,
) -> Answer {
    if request.info2 & bit::DURABLE_DELETE != 0 {
        return Answer::of(rc::ENTERPRISE_ONLY);
    }
    let mut partition = namespace.partition_of(digest);
    let Some(record) = partition.live(digest, node.now_s()) else {
        return Answer::of(rc::NOT_FOUND);
    };
    if !set_agrees(request, record) {
        return Answer::of(rc::PARAMETER);
    }
    if !write::generation_agrees(request, record.generation) {
        return Answer::of(rc::GENERATION);
    }
    if !passes(filter, node, digest, record) {
        return Answer::of(rc::FILTERED_OUT);
    }
    if !key_agrees(request, record) {
        return Answer::of(rc::KEY_MISMATCH);
    }
    partition.remove(digest);
    Answer::of(rc::OK)
}
