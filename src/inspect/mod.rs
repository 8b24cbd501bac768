//! What `sre doctor` looks at: whether `sre up` can work here.

mod finding;
mod kubernetes;
mod local;

pub use finding::{Finding, Level};
pub use kubernetes::{cluster, minikube};
pub use local::{local, machine};
