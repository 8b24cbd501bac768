//! What `sre doctor` looks at: whether `sre up` can work here.

mod finding;
mod local;

pub use finding::{Finding, Level};
pub use local::local;
