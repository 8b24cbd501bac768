//! It can't be lied to: what is wrong, and the verdict on it.
//!
//! Each test is a server that lies in one way, in front of a real Prometheus, judged by the built binary on
//! the target `external`. The servers are doubles by design: an honest one cannot be made to lie. Everything
//! that observes is real, but for one clock (see `clock.rs`).

mod alerts;
mod clock;
mod counts;
mod disguise;
mod expressions;
#[allow(dead_code, reason = "shared with tests/field, which uses the rest")]
mod lab;
mod liar;
mod logs;
mod more;
#[path = "../support/needs.rs"]
mod needs;
mod observers;
mod serve;
