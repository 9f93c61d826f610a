//! Slots, chain, lower bound and retention driven together, against what really happened.

mod backups;
mod oracle;
mod slots;
