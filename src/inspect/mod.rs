//! What `sre doctor` looks at, whether `sre up` can work here; and, in [`system`], what `sre inspect` looks at.

mod finding;
mod kubernetes;
mod local;
pub mod system;

pub use finding::{Finding, Level};
pub use kubernetes::{cluster, minikube, operators};
pub use local::{local, machine};

#[cfg(any(test, fuzzing))]
pub(crate) use kubernetes::quantity;
