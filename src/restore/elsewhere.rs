//! A backup without block hashes, which shows only as a whole whether it is good: it is looked for elsewhere before the
//! first write, and named to whoever restores once something was written (rules.md 4.2).
//!
//! With hashes it is the reader of its files that goes on in another storage, block by block.

use std::sync::Arc;

use super::plan::MemberPlan;
use crate::catalog::layout::METADATA;
use crate::catalog::metadata::METADATA_BYTES_MAX;
use crate::engine::copies::{Copies, another_may_have};
use crate::error::{Error, Result};
use crate::storage::{Storage, join};

/// After `error` in the backup where it was read: has it read in the next storage that has the same one. `asked`: those
/// that were read, and what came of it.
///
/// Errors: what was said first, where there is none.
pub(super) async fn next(
    copies: Option<&Copies>,
    chosen: &Arc<dyn Storage>,
    member: &MemberPlan,
    asked: &mut Vec<(usize, Error)>,
    error: Error,
) -> Result<()> {
    let Some(copies) = copies.filter(|_| may_move(member, &error)) else { return Err(error) };
    let place = copies.place_of(&member.key);
    asked.push((place, error));
    let original = metadata(copies, chosen, place, &member.key).await;
    while let Some(next) = copies.next(|place| asked.iter().any(|(asked, _)| *asked == place)) {
        match (metadata(copies, chosen, next, &member.key).await, &original) {
            // Where the first does not answer any more, its files' sizes and the number of its records must be there.
            (Ok(Some(_)), Err(_)) => {
                move_on(copies, member, next, asked);
                return Ok(());
            }
            (Ok(there), Ok(original)) if there == *original => {
                move_on(copies, member, next, asked);
                return Ok(());
            }
            (Ok(_), _) => {
                let text = format!("backup {} is not the same one there", member.key);
                asked.push((next, Error::permanent("backup-damaged", text)));
            }
            (Err(error), _) => asked.push((next, error)),
        }
    }
    let mut asked = std::mem::take(asked).into_iter();
    let nobody = || Error::permanent("backup-damaged", format!("backup {} was not read", member.key));
    let first = asked.next().map_or_else(nobody, |(_, error)| error);
    let others: Vec<String> = asked
        .map(|(place, error)| format!("storage {}: {}", copies.name(place), error.report_without_hint()))
        .collect();
    Err(first.context(format!("no copy will do ({})", others.join("; "))))
}

fn move_on(copies: &Copies, member: &MemberPlan, next: usize, asked: &[(usize, Error)]) {
    if let Some((failed, error)) = asked.last() {
        copies.move_to(&member.key, next, *failed, error);
    }
}

/// Says from which storages a backup can be restored, of which not all could be read.
pub(super) fn name_copies(copies: Option<&Copies>, member: &MemberPlan, error: Error) -> Error {
    let Some(copies) = copies.filter(|_| may_move(member, &error)) else { return error };
    let names: Vec<String> = copies.names().map(|name| format!("\"copy\": \"{name}\"")).collect();
    error.hint(format!("Restore again from another storage that has it: {}.", names.join(" or ")))
}

/// With hashes all storages were asked already.
fn may_move(member: &MemberPlan, error: &Error) -> bool {
    !member.contents.has_manifest && another_may_have(error)
}

async fn metadata(
    copies: &Copies,
    chosen: &Arc<dyn Storage>,
    place: usize,
    folder: &str,
) -> Result<Option<bytes::Bytes>> {
    copies.storage(place, chosen).await?.get(&join(folder, METADATA), METADATA_BYTES_MAX).await
}
