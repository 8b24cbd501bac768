//! Logs: requests that had to be logged against the lines that Loki has of them, one by one.
//!
//! `question` says which lines are asked for, `comparison` holds them against the requests that the load noted,
//! and `judge` turns that into a verdict. All of these are pure. `surroundings` asks what hides lines, and `check`
//! waits.

mod check;
mod comparison;
mod judge;
mod question;
mod surroundings;
#[cfg(test)]
mod tests;

pub use check::check;
pub(in crate::check) use check::name;
pub use comparison::{Comparison, Doubled, RequestLine};
pub use judge::{Case, Surroundings};
pub use question::Question;
pub use surroundings::silence;
