//! Screens, formats and run folders, from events that a run could have told.

mod commands;
mod fixture;
mod foreign;
mod formats;
mod log;
mod screens;
mod verdicts;
