//! Checks: one file a kind. A check waits, within a bound, until what must hold is seen.

mod outcome;
pub mod reconcile;

pub use outcome::{Group, Kind, Outcome, Table, Verdict};
