//! `sre` brings up a monitored lab, puts a known load and known faults on it, and proves that the
//! monitoring saw exactly that.
//!
//! The pure parts (`stack`, `scenario`, the judging half of `check`) know no terminal, no cluster
//! and no process; `docs/architecture.md` tells the whole.

#![warn(clippy::disallowed_methods)]

pub mod app;
pub mod catalog;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod config;
pub mod digest;
pub mod error;
pub mod exit;
pub mod fault;
pub mod figures;
pub mod foreign;
pub mod http_client;
pub mod inspect;
pub mod interrupt;
pub mod lines;
pub mod load;
pub mod locked_file;
pub mod logstore;
pub mod loopback;
pub mod mirror;
pub mod observe;
pub mod own_program;
pub mod peers;
pub mod receiver;
pub mod report;
pub mod run;
pub mod scenario;
pub mod secret;
pub mod stack;
pub mod target;
pub mod terminal;
pub mod tools;
pub mod why;

// Its own targets for fuzzing, for tests and `just fuzz` alone.
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/targets/mod.rs"]
pub mod fuzzing;

// What judges the manifests of stacks judges those that are made here, too.
#[cfg(test)]
#[path = "../tests/policy/restricted.rs"]
mod restricted;
