//! Faults: reversible disturbances with a start and an end, journalled before they are injected.
//!
//! A scenario's steps become a [`Timeline`], which injects and undoes each fault beside the load. What
//! is injected stands in the [`Journal`]; what a killed `sre` left behind there is undone by
//! [`recover`] at the start of the next command.

mod active;
mod catalogue;
mod clock;
mod entry;
mod heal;
mod journal;
pub mod kubernetes;
mod moment;
mod owned;
mod plan;
pub mod pressure;
mod recover;
mod sign;
#[cfg(test)]
mod simulated;
mod switches;
mod timeline;
mod touch;

pub use catalogue::{Description, Place, describe};
pub use clock::Clock;
pub use entry::{Entry, State, Touched};
pub use journal::{Held, Journal};
pub use moment::Steady;
pub use plan::{LONGEST, On, Planned, Timeline, aim, plan};
pub use recover::{Finding, Found, ensure_none, ensure_none_before_up, ensure_none_on, heal, recover};
pub use sign::Sign;
pub use switches::Switches;
