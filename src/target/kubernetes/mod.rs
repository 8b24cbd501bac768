//! Kubernetes: what the targets `minikube` and `cluster` stand on.
//!
//! [`plan`] turns a stack into steps, purely; [`schedule`] runs them; the other modules are the edges
//! to the API server, to Helm and to minikube.

pub mod apply;
pub mod client;
pub mod diagnosis;
pub mod failure;
pub mod forward;
pub mod helm;
pub mod image;
pub mod minikube;
pub mod minikube_output;
pub mod object;
pub mod operations;
pub mod orphan;
pub mod patch;
pub mod plan;
pub mod program;
pub mod readiness;
pub mod release;
pub mod schedule;
pub mod values;
pub mod wait;
