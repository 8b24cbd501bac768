//! The cluster that a fault is on, so that the fault can be undone without scenario and lab.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::reach;

/// The cluster that a fault is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The kubeconfig context.
    pub context: String,
    /// The kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The UID of the namespace `kube-system`: a context may lead elsewhere one day.
    pub identity: String,
}

impl Place {
    /// The place of a connected cluster.
    ///
    /// # Errors
    /// The target (exit 6) where the cluster does not tell who it is.
    pub async fn of(cluster: &Cluster) -> Result<Place> {
        Ok(Place {
            context: cluster.context().to_owned(),
            kubeconfig: cluster.kubeconfig().map(Path::to_owned).or_else(from_environment),
            identity: reach::identity(cluster).await?,
        })
    }

    /// Connects to it.
    ///
    /// # Errors
    /// As for [`reach::connect_to`].
    pub async fn connect(&self) -> Result<Cluster> {
        reach::connect_to(self.kubeconfig.as_deref(), &self.context, &self.identity).await
    }
}

/// The file that `KUBECONFIG` names, if it is one: the next command may run without that variable.
fn from_environment() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG")?;
    let mut paths = std::env::split_paths(&named);
    let only = paths.next().filter(|_| paths.next().is_none())?;
    std::path::absolute(only).ok()
}
