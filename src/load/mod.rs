//! Load: executors, pacing, recording, and what the client knows afterwards.

pub mod answered;
mod capacity;
mod connections;
mod consistency;
mod engine;
mod execute;
mod histograms;
mod judge;
mod mix;
mod noted;
mod plan;
mod progress;
mod reason;
mod recorder;
mod redirect;
mod requests;
mod schedule;
mod shape;
mod summary;
mod users;
mod watch;
mod wire;
mod workers;

pub use capacity::{Capacity, Held, Limit, Search, Step};
pub use consistency::MOST as MOST_COUNTED;
pub use execute::{LoadResult, LoadRun, execute};
pub use histograms::{Histograms, Key, Timing};
pub use judge::judge;
pub use mix::Mix;
pub use noted::{Noted, NotedRequest, Notes};
pub use plan::plan;
pub use reason::{NotSent, Reason, Unexpected, Unknown};
pub use recorder::{CLASSES, Ended, Recorder, Row, Second};
pub use requests::prefix as request_id_prefix;
pub use schedule::{PhasePlan, Schedule, Share, Ticket, Tickets};
pub use summary::*;
#[cfg(any(test, fuzzing))]
pub(crate) use wire::read_answer;
pub use workers::{
    Away, Carried, Job, LEASE, Link, Team, lead, listen as listen_as_worker, longest, processes,
    refuse_idlers, serve as serve_as_worker,
};
