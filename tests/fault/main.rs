//! Faults on real replicas of the demo service: injected, undone, and undone whatever became of `sre`.

#![allow(clippy::unwrap_used)]

#[path = "../support/needs.rs"]
mod needs;
#[path = "../support/mod.rs"]
mod support;

mod heal;
mod kill;
mod lab;
mod process;
mod timeline;
