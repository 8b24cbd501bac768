//! A run: its folder, its event log, its life from up to verdict.

mod capacity;
mod consistency;
mod event;
mod folder;
mod load;
mod log;
mod noted;
mod overlap;
mod record;
mod senders;
mod verify;
mod witness;

pub use capacity::CapacitySearch;
pub use event::*;
pub use folder::{RunFolder, STATE_DIR};
pub use load::{Begun, Run};
pub use log::{Damage, EventLog, Log};
pub use noted::{NotedWriter, read_noted};
pub use overlap::sent_between;
pub use record::Record;
pub use senders::Senders;
pub use verify::{judge_load, resume, verify};
