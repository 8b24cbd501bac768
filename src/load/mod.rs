//! Load: executors, pacing, recording, and what the client knows afterwards.

mod summary;

pub use summary::*;
