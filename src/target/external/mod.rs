//! The target `external`: the user's own service and own Prometheus, already running.
//!
//! `up` looks whether everything answers, and starts nothing. `look` finds out what counts the service's
//! requests and `files` writes it down, so that a stack file need not be written by hand.

mod files;
mod look;
mod propose;
mod up;

pub use files::{Addresses, scenario_file, some, stack_file};
pub use look::{Found, look};
pub use propose::{Proposal, Seen, propose};
pub use up::{has_moved, moved, up};
