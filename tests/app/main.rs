//! The demo service, from the built binary.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod broken_off;
mod command;
mod counts;
mod docs;
mod faults;
mod logs;
mod protocol;
mod shutdown;
