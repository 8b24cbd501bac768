//! Check `alert`: it fired in time, for whom it had to, resolved in time, and was notified; nothing else fired.
//!
//! When an alert fired is read from Prometheus' own series `ALERTS`, which has a sample at each evaluation:
//! a verdict can be made again later from the same samples.

mod away;
mod check;
mod episode;
mod notification;
mod others;

pub use check::check;
pub use others::{already_firing, no_others};
