//! Check `alert`: it fired in time, for whom it had to, resolved in time, and was notified; nothing else fired.
//!
//! When an alert fired is read from Prometheus' own series `ALERTS`, which has a sample at each evaluation:
//! a verdict can be made again later from the same samples.

mod away;
mod check;
mod configuration;
mod episode;
mod fate;
mod gate;
#[cfg(test)]
mod histories;
mod look;
mod notification;
mod others;
mod rule;
mod sought;
mod verdict;
mod world;

pub use away::scrape_interval;
pub use check::check;
pub use configuration::longest_wait;
pub use fate::{Fate, Reason, Watch};
pub use gate::{Firing, already_firing};
pub use look::unknown_rule;
pub use others::no_others;
pub use rule::{display as display_rule, fits};

use crate::check::reconcile::display_labels;
