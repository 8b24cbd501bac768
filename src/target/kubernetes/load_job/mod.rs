//! Load from inside a cluster: an Indexed Job whose pods are the workers.
//!
//! The leader reaches each pod by a port-forward, for orders and results only: load goes from the pods to the
//! Service. The Job is journalled before it is made, removed when the load is over, and removes itself where its
//! leader is gone: pods end without a leader, and what has ended is cleared away by the cluster.

mod crew;
mod journal;
mod manifest;

pub use crew::{Crew, PodWorkers};
pub use journal::recover;
pub use manifest::{LABEL, NAME};
