//! Workers: a load that several processes send together, merged exactly.
//!
//! A worker reads its orders, one JSON document a line, from a stream, and tells what became of its part on
//! another one. Here these are pipes of child processes; whatever else carries two streams will do.

mod merge;
mod message;
mod process;
mod serve;
mod team;

pub use serve::serve;
pub use team::{Job, Team};
