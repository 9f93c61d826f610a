//! In which order the members of a chain are written, and how (rules.md 4.3).

pub mod reference;

use crate::error::{Error, Result};

/// What decides the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// A scan of the sets concerned found no record in the destination.
    pub destination_empty: bool,
    /// `unique`: existing records are never touched.
    pub unique: bool,
    /// `disable-reordering`.
    pub disable_reordering: bool,
    /// `replace`: bins that the backup does not have are removed.
    pub replace: bool,
    /// `no-generation`: overwrite also what is fresher in the destination.
    pub no_generation: bool,
}

/// The order of a chain's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The last incremental first, the full last.
    NewestFirst,
    /// The full first.
    Chronological,
}

/// What a write does with a record that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exists {
    /// It stays as it is.
    CreateOnly,
    /// Its bins are merged with those of the backup.
    Update,
    /// Its bins become those of the backup.
    Replace,
}

/// Which digests are kept in the table while members are read (rules.md 4.3, 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// Every one that was read: each digest is written once.
    All,
    /// Those of versions that hide older ones.
    Hiding,
}

/// How a chain is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which member first.
    pub order: Order,
    /// What happens to records that exist.
    pub exists: Exists,
    /// Records that are fresher in the destination stay.
    pub check_generation: bool,
    /// Whose digests are kept; versions with a kept digest are passed over and count as existed.
    pub remembered: Remembered,
    /// A pass before the first write collects what hides what.
    pub collecting_pass: bool,
}

/// The table of rules.md 4.3. Fails with `bad-request` when the request contradicts itself.
pub fn plan_order(request: Request) -> Result<Plan> {
    let as_given = if request.replace { Exists::Replace } else { Exists::Update };
    let check_generation = !request.no_generation;
    if request.disable_reordering {
        if request.unique {
            let message = "unique and disable-reordering contradict each other: \
                           in the order of time, unique would keep the oldest version of every record";
            return Err(Error::permanent("bad-request", message).hint("Leave out one of the two."));
        }
        return Ok(Plan {
            order: Order::Chronological,
            exists: as_given,
            check_generation,
            remembered: Remembered::Hiding,
            collecting_pass: true,
        });
    }
    let create_only = request.destination_empty || request.unique;
    Ok(Plan {
        order: Order::NewestFirst,
        exists: if create_only { Exists::CreateOnly } else { as_given },
        check_generation: !create_only && check_generation,
        remembered: if create_only { Remembered::Hiding } else { Remembered::All },
        collecting_pass: false,
    })
}

#[cfg(test)]
mod tests {
    use super::{Exists, Order, Plan, Remembered, Request, plan_order};

    /// Every request that does not contradict itself.
    pub(super) fn requests() -> impl Iterator<Item = (Request, Plan)> {
        (0..32_u8).filter_map(|bits| {
            let request = Request {
                destination_empty: bits & 1 != 0,
                unique: bits & 2 != 0,
                disable_reordering: bits & 4 != 0,
                replace: bits & 8 != 0,
                no_generation: bits & 16 != 0,
            };
            plan_order(request).ok().map(|plan| (request, plan))
        })
    }

    #[test]
    fn the_order_is_that_of_the_table() {
        let given = Request::default();
        let newest_first = Plan {
            order: Order::NewestFirst,
            exists: Exists::CreateOnly,
            check_generation: false,
            remembered: Remembered::Hiding,
            collecting_pass: false,
        };
        let each_once = Plan {
            exists: Exists::Update,
            check_generation: true,
            remembered: Remembered::All,
            ..newest_first
        };
        let chronological = Plan {
            order: Order::Chronological,
            remembered: Remembered::Hiding,
            collecting_pass: true,
            ..each_once
        };
        for (request, expected) in [
            (Request { destination_empty: true, ..given }, newest_first),
            (Request { destination_empty: true, replace: true, no_generation: true, ..given }, newest_first),
            (Request { unique: true, ..given }, newest_first),
            (given, each_once),
            (Request { replace: true, ..given }, Plan { exists: Exists::Replace, ..each_once }),
            (Request { no_generation: true, ..given }, Plan { check_generation: false, ..each_once }),
            (Request { disable_reordering: true, ..given }, chronological),
            (Request { disable_reordering: true, destination_empty: true, ..given }, chronological),
            (
                Request { disable_reordering: true, replace: true, no_generation: true, ..given },
                Plan { exists: Exists::Replace, check_generation: false, ..chronological },
            ),
        ] {
            assert_eq!(plan_order(request).expect("valid"), expected, "{request:?}");
        }
    }

    #[test]
    fn unique_and_disable_reordering_contradict_each_other() {
        for destination_empty in [false, true] {
            let request =
                Request { unique: true, disable_reordering: true, destination_empty, ..Request::default() };
            assert_eq!(plan_order(request).expect_err("a contradiction").code(), "bad-request");
        }
        assert_eq!(requests().count(), 24);
    }
}
