//! Faults on objects of a cluster.
//!
//! A fault is on one object, which bears its [`Record`] as an annotation. `survey` reads what there is around it,
//! `plan` decides purely what is done and how far that reaches; injecting and undoing follow from the record alone.

mod aimed;
mod bodies;
mod change;
mod confine;
mod enforced;
mod find;
mod guard;
mod heal;
#[cfg(test)]
mod hostile;
mod inject;
mod keep;
mod node;
mod own;
mod ownership;
mod place;
mod plan;
mod record;
mod recover;
mod survey;

pub use aimed::{Aimed, Scene, image_of, image_that_runs, node_commands};
pub use bodies::HELPER;
pub use enforced::reach;
pub use guard::serve as expire;
pub use heal::{SETTLED, relieve, settle, undo};
pub use inject::inject;
pub use keep::Keeper;
pub use place::Place;
pub use plan::Blast;
pub use record::{ANNOTATION, Effect, LABEL, Owner, PodRef, Ready, Record};
pub use recover::recover;
