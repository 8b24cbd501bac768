//! Load: executors, pacing, recording, and what the client knows afterwards.

mod mix;
mod schedule;
mod shape;
mod summary;

pub use mix::Mix;
pub use schedule::{PhasePlan, Schedule, Share, Ticket, Tickets};
pub use summary::*;
