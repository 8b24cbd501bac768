//! A run: its folder, its event log, its life from up to verdict.

mod event;

pub use event::*;
