//! The nodes of a cluster: what the API server tells of them.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use super::client::Cluster;
use super::failure::call;
use crate::error::Result;

/// The label that holds a node's zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// All nodes.
///
/// # Errors
/// They may not be listed, or the API server does not answer (6).
pub async fn list(cluster: &Cluster) -> Result<Vec<Node>> {
    let (api, all): (Api<Node>, _) = (Api::all(cluster.client()), ListParams::default());
    Ok(call(|| "the nodes could not be listed".into(), || api.list(&all)).await?.items)
}

/// A node's name.
pub fn name(node: &Node) -> String {
    node.metadata.name.clone().unwrap_or_default()
}

/// The zone that a node is in.
pub fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE)
}

/// Whether a node says that it is ready.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
