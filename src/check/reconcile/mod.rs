//! Reconcile: requests that the client sent against the server's counters, exactly.
//!
//! `ledger` is the client's half, `history` the server's; `reading` holds one against the other at an
//! instant, `judge` turns readings into a verdict, with `hidden` for what makes them doubtful, and `outcomes` tells it. All of that is pure. `fetch` reads
//! the history from Prometheus, and `check` waits.

mod absence;
mod baseline;
mod check;
mod duplicates;
mod fetch;
mod hidden;
mod history;
mod judge;
mod lag;
mod ledger;
mod outcomes;
mod peer;
mod pods;
#[cfg(test)]
mod property;
mod reading;
mod restarts;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unassigned;
#[cfg(test)]
mod world;

pub use baseline::{Baseline, BaselineSeries, BaselineTarget};
pub use check::{check, interruptions, take_baseline};
pub use history::{Gap, Rise, TargetCount, TargetHistory, display_labels};
pub use judge::{Case, Judgement};
pub use lag::AnsweredSecond;
pub use ledger::{Group, Key, Ledger, Raised};
pub use peer::{PeerRun, check_peer};
pub use reading::{Question, Reading, Row, Selector, State};

/// What must hold, as the check's outcome says it.
pub const NAME: &str = "every request is counted";

/// Seconds by which this machine's clock may be past a bound before Prometheus' is no longer waited for.
const CLOCKS: f64 = 10.0;
