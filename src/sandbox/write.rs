//! The write of one record: policies, then bin operations on a copy, then the commit.

use std::sync::Arc;

use super::Bin;
use super::digest::Digest;
use super::expression::Filter;
use super::msgpack;
use super::node::Node;
use super::proto::{BIN_NAME_MAX, Op, Request, SET_NAME_MAX, bit, field, kind, op, rc};
use super::single::{Answer, AnswerBin, key_agrees, passes, unknown_op};
use super::store::{Namespace, Record, size_of_bins};

/// Special values of the ttl in a request (asb.md 1.11).
const TTL_DEFAULT: u32 = 0;
const TTL_NEVER: u32 = u32::MAX;
const TTL_KEEP: u32 = u32::MAX - 1;
/// Longest life: ten years of 365 days.
const TTL_MAX: u32 = 315_360_000;
/// Most ops in a write, and most bins in a record.
const OPS_MAX: usize = 32 * 1024;

/// Writes, or says why not. Nothing changes unless the answer is OK.
pub(super) fn run(
    node: &Node,
    namespace: &Arc<Namespace>,
    digest: &Digest,
    request: &Request<'_>,
    filter: Option<&Filter>,
) -> Answer {
    if let Err(result) = check_ops(request) {
        return Answer::of(result);
    }
    let mut partition = namespace.partition_of(digest);
    let old = partition.live(digest, node.now_s());
    if let Err(result) = check_policies(node, digest, request, old, filter) {
        return old.map_or_else(|| Answer::of(result), |record| Answer::about(result, record));
    }
    let mut answer = Answer::default();
    match apply(node, namespace, request, old, &mut answer) {
        Err(result) => old.map_or_else(|| Answer::of(result), |record| Answer::about(result, record)),
        Ok(None) => {
            // The last bin went; of a record that never was there is nothing to delete.
            let result = if old.is_some() { rc::OK } else { rc::NOT_FOUND };
            partition.remove(digest);
            Answer { result, ..answer }
        }
        Ok(Some(record)) => {
            answer.generation = record.generation;
            answer.void_time = record.void_time;
            partition.insert(*digest, record);
            answer
        }
    }
}

/// Whether the generation that a request asks for, if any, fits the stored one (0 = absent).
pub(super) fn generation_agrees(request: &Request<'_>, stored: u16) -> bool {
    if request.info2 & bit::GENERATION != 0 {
        request.generation == u32::from(stored)
    } else if request.info2 & bit::GENERATION_GT != 0 {
        request.generation > u32::from(stored)
    } else {
        true
    }
}

fn replaces(request: &Request<'_>) -> bool {
    request.info3 & (bit::CREATE_OR_REPLACE | bit::REPLACE_ONLY) != 0
}

/// What can be refused without looking at the record.
fn check_ops(request: &Request<'_>) -> Result<(), u8> {
    if request.ops.is_empty() || request.ops.len() > OPS_MAX {
        return Err(rc::PARAMETER);
    }
    for wanted in &request.ops {
        match wanted.code {
            op::TOUCH if replaces(request) => return Err(rc::PARAMETER),
            op::TOUCH => {}
            _ if wanted.name.len() > BIN_NAME_MAX => return Err(rc::BIN_NAME),
            op::WRITE if wanted.kind == kind::NULL && replaces(request) => return Err(rc::PARAMETER),
            op::INCREMENT | op::APPEND | op::PREPEND if replaces(request) => return Err(rc::PARAMETER),
            op::WRITE | op::DELETE_ALL | op::INCREMENT | op::APPEND | op::PREPEND => {}
            op::READ if request.info1 & bit::READ != 0 => {}
            op::READ => return Err(rc::PARAMETER),
            other => return Err(unknown_op(other)),
        }
    }
    Ok(())
}

/// What is decided by the record as it is, in the server's order.
fn check_policies(
    node: &Node,
    digest: &Digest,
    request: &Request<'_>,
    old: Option<&Record>,
    filter: Option<&Filter>,
) -> Result<(), u8> {
    let touches = request.ops.iter().any(|wanted| wanted.code == op::TOUCH);
    let must_exist = touches || request.info3 & (bit::UPDATE_ONLY | bit::REPLACE_ONLY) != 0;
    if must_exist && old.is_none() {
        return Err(rc::NOT_FOUND);
    }
    if request.info2 & bit::CREATE_ONLY != 0 && old.is_some() {
        return Err(rc::EXISTS);
    }
    if !generation_agrees(request, old.map_or(0, |record| record.generation)) {
        return Err(rc::GENERATION);
    }
    match old {
        None if request.set().len() > SET_NAME_MAX => return Err(rc::PARAMETER),
        // Unlike a read, a write must name the record's set.
        Some(record) if request.set() != record.set.name => return Err(rc::PARAMETER),
        Some(record) if !passes(filter, node, digest, record) => return Err(rc::FILTERED_OUT),
        Some(record) if !key_agrees(request, record) => return Err(rc::KEY_MISMATCH),
        _ => {}
    }
    if old.is_none_or(|record| record.key.is_none())
        && let Some(key) = request.field(field::KEY)
        && (key.is_empty() || (key.first() == Some(&kind::INTEGER) && key.len() != 9))
    {
        return Err(rc::UNSUPPORTED);
    }
    if request.ttl > TTL_MAX && request.ttl != TTL_NEVER && request.ttl != TTL_KEEP {
        return Err(rc::PARAMETER);
    }
    Ok(())
}

/// The record after the ops, or none when its last bin went.
fn apply(
    node: &Node,
    namespace: &Namespace,
    request: &Request<'_>,
    old: Option<&Record>,
    answer: &mut Answer,
) -> Result<Option<Record>, u8> {
    let mut bins = match old {
        Some(record) if !replaces(request) => record.bins.clone(),
        _ => Vec::new(),
    };
    let respond_all = request.info2 & bit::RESPOND_ALL != 0;
    let get_all = request.info1 & bit::GET_ALL != 0;
    for wanted in &request.ops {
        match wanted.code {
            op::WRITE if wanted.kind == kind::NULL => bins.retain(|bin| bin.name != wanted.name),
            op::WRITE => put(&mut bins, wanted, particle(wanted.kind, wanted.value)?),
            op::INCREMENT | op::APPEND | op::PREPEND => {
                let value = modified(&bins, wanted)?;
                put(&mut bins, wanted, value);
            }
            op::DELETE_ALL => bins.clear(),
            op::READ if get_all && wanted.name.is_empty() => answer.read_all(&bins),
            op::READ => answer.read(&bins, wanted.name, respond_all),
            _ => {}
        }
        if respond_all && wanted.code != op::READ {
            answer.bins.push(AnswerBin {
                op: wanted.code,
                kind: kind::NULL,
                name: wanted.name.to_vec(),
                value: Vec::new(),
            });
        }
    }
    if bins.is_empty() {
        return Ok(None);
    }
    if size_of_bins(&bins) > node.max_record_bytes || bins.len() > OPS_MAX {
        return Err(rc::TOO_BIG);
    }
    let key = old.and_then(|record| record.key.clone());
    Ok(Some(Record {
        set: old.map_or_else(|| namespace.set(request.set()), |record| Arc::clone(&record.set)),
        key: key.or_else(|| request.field(field::KEY).map(<[u8]>::to_vec)),
        bins,
        generation: old.map_or(1, |record| next_generation(record.generation)),
        void_time: void_time(node, request.ttl, old),
        last_update_ms: node.now_ms(),
    }))
}

/// Generations have 16 bits, and 0 means absent.
fn next_generation(generation: u16) -> u16 {
    generation.checked_add(1).unwrap_or(1)
}

fn void_time(node: &Node, ttl: u32, old: Option<&Record>) -> u32 {
    let life_s = match (ttl, old) {
        (TTL_NEVER, _) => return 0,
        (TTL_KEEP, Some(record)) => return record.void_time,
        (TTL_KEEP | TTL_DEFAULT, _) if node.default_ttl_s == 0 => return 0,
        (TTL_KEEP | TTL_DEFAULT, _) => node.default_ttl_s,
        (seconds, _) => seconds,
    };
    node.now_s().saturating_add(life_s)
}

fn put(bins: &mut Vec<Bin>, wanted: &Op<'_>, value: Vec<u8>) {
    match bins.iter_mut().find(|bin| bin.name == wanted.name) {
        Some(bin) => (bin.kind, bin.value) = (wanted.kind, value),
        None => bins.push(Bin { name: wanted.name.to_vec(), kind: wanted.kind, value }),
    }
}

/// What an increment, an append or a prepend makes of a bin; of one that is not there, the operand.
fn modified(bins: &[Bin], wanted: &Op<'_>) -> Result<Vec<u8>, u8> {
    let fits = match wanted.code {
        op::INCREMENT => matches!(wanted.kind, kind::INTEGER | kind::FLOAT),
        _ => matches!(wanted.kind, kind::STRING | kind::BLOB),
    };
    if !fits {
        return Err(rc::PARAMETER);
    }
    let operand = particle(wanted.kind, wanted.value)?;
    let Some(bin) = bins.iter().find(|bin| bin.name == wanted.name) else { return Ok(operand) };
    if bin.kind != wanted.kind {
        return Err(rc::INCOMPATIBLE_TYPE);
    }
    let number = |bytes: &[u8]| bytes.try_into().map_err(|_| rc::PARAMETER);
    Ok(match (wanted.code, wanted.kind) {
        (op::APPEND, _) => [bin.value.as_slice(), &operand].concat(),
        (op::PREPEND, _) => [operand.as_slice(), &bin.value].concat(),
        (_, kind::FLOAT) => {
            let sum = f64::from_be_bytes(number(&bin.value)?) + f64::from_be_bytes(number(&operand)?);
            sum.to_be_bytes().to_vec()
        }
        _ => {
            let (old, by) = (i64::from_be_bytes(number(&bin.value)?), i64::from_be_bytes(number(&operand)?));
            old.wrapping_add(by).to_be_bytes().to_vec()
        }
    })
}

/// The value as it is stored, or the code with which a server refuses it.
fn particle(kind: u8, value: &[u8]) -> Result<Vec<u8>, u8> {
    let fits = match kind {
        kind::INTEGER => {
            return integer(value).map(|number| number.to_be_bytes().to_vec()).ok_or(rc::PARAMETER);
        }
        kind::FLOAT => value.len() == 8,
        kind::BOOL => matches!(value, [0 | 1]),
        kind::STRING | kind::BLOB | kind::JAVA..=kind::ERLANG | kind::VECTOR | kind::HLL => true,
        kind::MAP | kind::LIST if msgpack::is_whole(value, kind == kind::MAP) => true,
        kind::MAP | kind::LIST => return Err(rc::UNKNOWN),
        kind::GEOJSON => return geojson(value),
        _ => false,
    };
    if fits { Ok(value.to_vec()) } else { Err(rc::PARAMETER) }
}

/// An integer of 1, 2, 4 or 8 bytes.
fn integer(value: &[u8]) -> Option<i64> {
    Some(match *value {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        _ => i64::from_be_bytes(value.try_into().ok()?),
    })
}

/// Flags, the number of cells, the cells, the text. We keep no cells, where a server computes its own.
fn geojson(value: &[u8]) -> Result<Vec<u8>, u8> {
    let [_flags, high, low, rest @ ..] = value else { return Err(rc::PARAMETER) };
    let cells = usize::from(u16::from_be_bytes([*high, *low])) * 8;
    let text = rest.get(cells..).ok_or(rc::PARAMETER)?;
    let trimmed = text.trim_ascii();
    if trimmed.starts_with(b"{") && trimmed.ends_with(b"}") {
        Ok([&[0, 0, 0], text].concat())
    } else {
        Err(rc::GEO)
    }
}
