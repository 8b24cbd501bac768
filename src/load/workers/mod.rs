//! Workers: a load that several processes send together, merged exactly.
//!
//! A worker reads its orders, one JSON document a line, from a stream, and tells what became of its part on
//! another one. What carries these lines is behind a [`Link`]: the pipes of a child process, or a session with a
//! worker elsewhere, over connections that may break.

mod clock;
mod lead;
mod link;
mod listen;
mod merge;
mod message;
mod process;
mod serve;
mod session;
mod team;

pub use lead::{Away, LEASE, lead};
pub use link::{Carried, Link};
pub use listen::listen;
pub use process::processes;
pub use serve::serve;
pub use team::{Job, Team, longest, refuse_idlers};
