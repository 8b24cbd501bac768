//! Situations that people met with other tools, from public bug reports: set up small, with the real programs, and
//! judged by the built binary. One module a kind, named by what people see.

#[allow(dead_code, reason = "shared with tests/lies, which uses the rest")]
#[path = "../lies/lab.rs"]
mod lab;
#[allow(dead_code, reason = "shared with tests/lies, which uses the rest")]
#[path = "../lies/liar.rs"]
mod liar;
#[path = "../support/needs.rs"]
mod needs;
#[allow(dead_code, reason = "shared with tests/lies, which uses the rest")]
#[path = "../lies/serve.rs"]
mod serve;

mod addresses;
mod alerts;
mod answers;
mod bodies;
mod clusters;
mod commands;
mod connections;
mod counters;
mod counting;
mod folders;
mod heads;
mod hostile;
mod missing_programs;
mod no_answers;
mod notifications;
mod observers;
mod programs;
mod redirects;
mod shop;
mod stand_in;
mod targets;
mod why;
