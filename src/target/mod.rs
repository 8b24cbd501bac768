//! Targets: where a stack runs.

mod endpoints;
pub mod kubernetes;
mod lab;

use serde::{Deserialize, Serialize};

pub use endpoints::{Credentials, Endpoint, Endpoints, Replica};
pub use lab::{Lab, Process};

/// Where a stack runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Processes on this machine.
    Local,
    /// Your own service and your own Prometheus; nothing is started.
    External,
    /// A cluster that `sre` provisions with minikube.
    Minikube,
    /// Any cluster, by its kubeconfig context.
    Cluster,
}

impl std::fmt::Display for TargetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TargetKind::Local => "local",
            TargetKind::External => "external",
            TargetKind::Minikube => "minikube",
            TargetKind::Cluster => "cluster",
        })
    }
}
