//! Stacks: what is installed, where it answers, and what counts its requests.

mod model;

pub use model::*;
