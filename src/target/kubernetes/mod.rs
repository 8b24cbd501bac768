//! Kubernetes: what the targets `minikube` and `cluster` stand on.
//!
//! [`plan`] turns a stack into steps, purely; [`schedule`] runs them; the other modules are the edges
//! to the API server, to Helm and to minikube.

pub mod apply;
pub mod archive;
pub mod build;
pub mod chart;
pub mod claims;
pub mod client;
pub mod diagnosis;
pub mod down;
pub mod execute;
pub mod failure;
#[cfg(test)]
pub mod fake;
pub mod forward;
pub mod gone;
pub mod helm;
pub mod image;
pub mod kubeconfig;
pub mod lease;
pub mod leftover;
pub mod load_job;
pub mod loaded;
pub mod login;
pub mod logs;
pub mod minikube;
pub mod minikube_output;
pub mod mirrored;
pub mod node_image;
pub mod nodes;
pub mod object;
pub mod operations;
pub mod orphan;
pub mod parts;
pub mod patch;
pub mod plan;
pub mod preview;
pub mod profile;
pub mod program;
pub mod progress;
pub mod proxy;
pub mod reach;
pub mod readiness;
pub mod record;
pub mod release;
pub mod schedule;
pub mod settle;
pub mod single_writer;
pub mod status;
pub mod up;
pub mod values;
pub mod wait;
