//! The nodes of a cluster: what the API server tells of them.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use super::client::Cluster;
use super::failure::{call, call_opt};
use crate::error::Result;

/// The label that holds a node's zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// The taint of a node that is closed to new pods.
const CLOSED: &str = "node.kubernetes.io/unschedulable";

/// All nodes.
///
/// # Errors
/// They may not be listed, or the API server does not answer (6).
pub async fn list(cluster: &Cluster) -> Result<Vec<Node>> {
    let (api, all): (Api<Node>, _) = (Api::all(cluster.client()), ListParams::default());
    Ok(call(|| "the nodes could not be listed".into(), || api.list(&all)).await?.items)
}

/// The node of this name, if there is one.
///
/// # Errors
/// It may not be read, or the API server does not answer (6).
pub async fn find(cluster: &Cluster, name: &str) -> Result<Option<Node>> {
    let api: Api<Node> = Api::all(cluster.client());
    call_opt(|| format!("Node {name} could not be read"), || api.get(name)).await
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

/// Whether a node that is open again keeps pods off still: a controller takes the taint away a moment later.
pub fn is_opening(node: &Node) -> bool {
    let Some(spec) = &node.spec else { return false };
    let tainted = spec.taints.iter().flatten().any(|taint| taint.key == CLOSED);
    tainted && spec.unschedulable != Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_was_uncordoned_opens_once_its_taint_is_gone() {
        let node = |spec: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec})).unwrap()
        };
        let taints = |key: &str| json!([{"key": key, "effect": "NoSchedule"}]);
        assert!(is_opening(&node(json!({"taints": taints("node.kubernetes.io/unschedulable")}))));
        assert!(!is_opening(&node(json!({
            "unschedulable": true, "taints": taints("node.kubernetes.io/unschedulable"),
        }))));
        assert!(!is_opening(&node(json!({"taints": taints("example.com/mine")}))));
        assert!(!is_opening(&node(json!({}))));
    }
}
