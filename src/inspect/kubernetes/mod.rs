//! Whether the targets `cluster` and `minikube` can work: what `sre up` would do there, held against what is there.

mod access;
mod capacity;
mod cluster;
mod images;
mod minikube;
mod operators;
mod rendered;
mod services;

#[cfg(any(test, fuzzing))]
pub(crate) use capacity::quantity;
pub use cluster::cluster;
pub use minikube::minikube;
pub use operators::operators;
