//! A run: its folder, its event log, its life from up to verdict.

mod event;
mod folder;
mod log;

pub use event::*;
pub use folder::{RunFolder, STATE_DIR};
pub use log::{Damage, EventLog, Log};
