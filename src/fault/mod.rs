//! Faults: reversible disturbances with a start and an end, journalled before they are injected.
//!
//! A scenario's steps become a [`Timeline`], which injects and undoes each fault beside the load. What
//! is injected stands in the [`Journal`]; what a killed `sre` left behind there is undone by
//! [`recover`] at the start of the next command.

mod active;
mod catalogue;
mod entry;
mod heal;
mod journal;
mod plan;
mod recover;
mod switches;
mod timeline;
mod touch;

pub use catalogue::{Description, describe};
pub use entry::{Entry, State, Touched};
pub use journal::{Held, Journal};
pub use plan::{Planned, Timeline, plan};
pub use recover::{Finding, Found, ensure_none, heal, recover};
pub use switches::Switches;
