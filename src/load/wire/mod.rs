//! How requests are sent and answers are read, in HTTP/1.1 and HTTP/2: the same for both executors, so that each fate has
//! the same reason.

mod addresses;
mod answer;
mod connect;
mod contents;
mod exchange;
mod failure;
pub(super) mod http1;
pub(super) mod http2;

#[cfg(any(test, fuzzing))]
pub(crate) use answer::read as read_answer;
pub(super) use connect::{Connector, Stream, native_roots};
pub(super) use exchange::{Asked, End};

/// How often a request that certainly never left is given another connection.
pub(super) const UNSENT: u32 = 3;
