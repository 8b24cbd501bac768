//! Targets: where a stack runs.

pub mod busy;
mod choose;
mod endpoints;
pub mod external;
mod folder;
pub mod kubernetes;
mod lab;
pub mod local;
mod lock;
pub mod own_files;
pub mod seal;
mod waiting;

use serde::{Deserialize, Serialize};

pub use choose::{Choice, choose, where_it_runs};
pub use endpoints::{Credentials, Endpoint, Endpoints, PodChanges, Replica, ServicePod};
pub use folder::Folder;
pub use lab::{Lab, Process, SCHEMA as LAB_SCHEMA};
pub use lock::Lock;
pub use waiting::Waiting;

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
