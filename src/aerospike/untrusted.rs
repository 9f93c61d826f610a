//! Doors to what this room reads of a node's bytes, for `tests/fuzz` alone: the parsers that nobody outside calls.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

use super::result_code::ResultCode;
use super::scan::account::Account;
use super::wire::Malformed;
use super::{Build, IndexList};
use super::{batch, choose, cluster, index, inflate, info, login, namespace, udf};

/// The values of an info answer, in the order of `commands`.
pub fn info_values(body: &[u8], commands: &[&[u8]]) -> Result<Vec<Vec<u8>>, Malformed> {
    info::parse_answers(body, commands)
}

/// Lets every parser of info values read `value`, whatever it answers; how many things came out of all of them.
pub fn info_value(value: &[u8], of_namespace: &[u8]) -> usize {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let missing = |key: &str| Error::permanent("info-unreadable", format!("no number \"{key}\""));
    let mut sets = BTreeMap::new();
    let added = namespace::add_sets(&mut sets, value, missing);
    usize::from(info::refusal(value).is_some())
        + usize::from(Build::parse(text).is_some())
        + cluster::parse_peers(text).map_or(0, |peers| peers.len())
        + cluster::masters(value, of_namespace).map_or(0, |claim| usize::from(claim.is_some()))
        + choose::copies(value, of_namespace).iter().count()
        + usize::from(choose::rack_of(value, of_namespace).is_some())
        + index::parse_list(value).map_or(0, |IndexList { indexes, warnings }| indexes.len() + warnings.len())
        + udf::parse_list(value).map_or(0, |udfs| udfs.len())
        + added.map_or(0, |()| sets.len())
        + namespace::node_namespace("node", value, value, missing)
            .map_or(0, |found| usize::from(found.is_some()))
        + usize::from(Account::parse(value).is_some())
}

/// Whether the answer to a login grants a session.
pub fn login_answer(body: &[u8]) -> bool {
    login::session(body).is_ok()
}

/// The body inside a compressed frame; `out` holds what was unpacked.
pub fn compressed_frame<'o>(packed: &[u8], out: &'o mut Vec<u8>) -> Result<&'o [u8], Malformed> {
    inflate::inflate(packed, out)
}

/// The rows in a frame of the answer to a batch; how the batch ended, if it ends here.
pub fn batch_answer(
    frame: &[u8],
    each: impl FnMut(u32, ResultCode),
) -> Result<Option<ResultCode>, Malformed> {
    batch::read_answer(frame, each)
}

/// The request that writes a whole batch: what the answers that are changed are answers to.
pub fn batch_request(rows: &batch::WriteBatch) -> Vec<u8> {
    let mut frame = Vec::new();
    rows.request(&(0..rows.len()).collect::<Vec<_>>(), 1000, &mut frame);
    frame
}
