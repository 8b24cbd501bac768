//! Checks: one file a kind. A check waits, within a bound, until what must hold is seen.

pub mod alert;
mod all;
mod context;
mod detected;
pub mod logs;
mod outcome;
mod pace;
mod promql;
pub mod reconcile;
mod series;
mod steady;
mod subject;
mod targets;
mod wait;

pub use all::verify;
pub use context::{CheckContext, Faults, missing};
pub use outcome::{Group, Kind, Outcome, Table, Verdict};
pub use pace::Told;
pub use steady::Steady;
pub use subject::Subject;
pub use wait::seconds_of;
