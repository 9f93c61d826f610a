//! What a restore must bring back, told by a model that saw every change (rules.md 3.3, 4.3 to 4.5, 9).
//!
//! Two tests drive it: `model::property_tests::oracle` on the pure model, and `oracle::end_to_end` on the real work of
//! backups and restores, against the sandbox.

mod end_to_end;
pub(crate) mod history;
pub(crate) mod judge;
pub(crate) mod tally;
