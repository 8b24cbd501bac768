//! Stacks: what is installed, where it answers, and what counts its requests.

mod cluster;
mod model;

pub use cluster::*;
pub use model::*;
