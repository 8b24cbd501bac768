//! The arrival-rate engine: requests leave when they are due, whatever the server does.
//!
//! One thread, the pacer, tells how many requests of the schedule are due. A few other threads, the
//! lanes, send them; each has its share of the schedule and of the connections, and shares nothing with
//! the others. A request that finds no free connection stays in the schedule until one is free, and its
//! time since due goes on.

mod http1;
mod http2;
mod lane;
mod outcome;
mod pacer;
mod pool;
mod run;

pub(super) use run::run;
