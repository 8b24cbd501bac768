//! The target `external`: the user's own service and own Prometheus, already running.
//!
//! `up` looks whether everything answers, and starts nothing; `propose` finds out what counts the
//! service's requests, so that a stack file need not be written by hand.

mod init;
mod propose;
mod up;

pub use init::{Addresses, Found, look, scenario_file, stack_file};
pub use propose::{Proposal, propose};
pub use up::up;
