//! Where a namespace's pods are: as the API server tells, else as kube-state-metrics does.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::eyes::Eyes;
use super::model::{Missing, NodeCount};
use super::scope;
use super::spread::{Node, Owner, Placed, Spread, Wanted, spread};
use crate::error::Result;
use crate::observe::Labels;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call;
use crate::target::kubernetes::nodes;
use crate::target::kubernetes::object::{MANAGED_BY, MANAGER};

/// The label that holds a node's zone, as kube-state-metrics writes it.
const ZONE_METRIC: &str = "label_topology_kubernetes_io_zone";

/// The cluster's nodes, and how many of them are ready.
///
/// # Errors
/// They may not be listed, or the API server does not answer (6).
pub async fn nodes(cluster: &Cluster) -> Result<(Vec<Node>, NodeCount)> {
    let found = nodes::list(cluster).await?;
    let nodes: Vec<Node> =
        found.iter().map(|node| Node { name: nodes::name(node), zone: nodes::zone(node).cloned() }).collect();
    let zones: BTreeSet<&str> = nodes.iter().filter_map(|node| node.zone.as_deref()).collect();
    let ready = found.iter().filter(|node| nodes::is_ready(node)).count();
    let count = NodeCount { total: nodes.len(), ready, zones: zones.len() };
    Ok((nodes, count))
}

/// The pods of a namespace that run or shall run.
///
/// # Errors
/// They may not be listed, or the API server does not answer (6).
async fn placed(cluster: &Cluster, namespace: &str) -> Result<Vec<Placed>> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let params = ListParams::default();
    let found = call(|| format!("the pods of {namespace} could not be listed"), || api.list(&params)).await?;
    Ok(found.items.iter().filter(|pod| !has_ended(pod) && !is_helper(pod)).map(placed_as).collect())
}

/// The Deployments and StatefulSets of a namespace, and how many pods each is to have.
///
/// # Errors
/// They may not be listed, or the API server does not answer (6).
async fn wanted(cluster: &Cluster, namespace: &str) -> Result<Vec<Wanted>> {
    let (deployments, sets): (Api<Deployment>, Api<StatefulSet>) =
        (Api::namespaced(cluster.client(), namespace), Api::namespaced(cluster.client(), namespace));
    let (what, all) = (|| format!("the workloads of {namespace} could not be listed"), ListParams::default());
    let (deployments, sets) =
        tokio::try_join!(call(what, || deployments.list(&all)), call(what, || sets.list(&all)))?;
    let wanted = |kind: &str, name: Option<String>, replicas: Option<i32>| Wanted {
        owner: Owner { kind: kind.into(), name: name.unwrap_or_default() },
        replicas: replicas.and_then(|replicas| u64::try_from(replicas).ok()).unwrap_or(1),
    };
    let deployments = deployments
        .items
        .into_iter()
        .map(|it| wanted("Deployment", it.metadata.name, it.spec.and_then(|spec| spec.replicas)));
    let sets = sets
        .items
        .into_iter()
        .map(|it| wanted("StatefulSet", it.metadata.name, it.spec.and_then(|spec| spec.replicas)));
    Ok(deployments.chain(sets).collect())
}

/// The same, as kube-state-metrics tells.
async fn wanted_by_metrics(eyes: &Eyes, namespace: &str) -> Result<Vec<Wanted>, Missing> {
    let mut all = Vec::new();
    for (kind, label, metric) in [
        ("Deployment", "deployment", "kube_deployment_spec_replicas"),
        ("StatefulSet", "statefulset", "kube_statefulset_replicas"),
    ] {
        let found = eyes.vector(metric).await?;
        let here = found
            .iter()
            .filter(|(labels, _)| scope::namespace(labels).is_some_and(|(_, known)| known == namespace));
        all.extend(here.filter_map(|(labels, replicas)| {
            let name = own(labels, label)?.to_owned();
            Some(Wanted { owner: Owner { kind: kind.into(), name }, replicas: *replicas as u64 })
        }));
    }
    Ok(all)
}

/// Whether a pod is one that `sre` itself made for a while: a guard of a fault, or what sends load.
fn is_helper(pod: &Pod) -> bool {
    let ours = pod.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let of_a_job = owners.any(|owner| owner.controller == Some(true) && owner.kind == "Job");
    let alone = pod.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
    ours.is_some_and(|manager| manager == MANAGER) && (of_a_job || alone)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

fn placed_as(pod: &Pod) -> Placed {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let controller =
        pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    let owner = match (controller, hash) {
        (Some(owner), Some(hash)) if owner.kind == "ReplicaSet" => deployment(&owner.name, Some(hash))
            .unwrap_or(Owner { kind: owner.kind.clone(), name: owner.name.clone() }),
        (Some(owner), _) => Owner { kind: owner.kind.clone(), name: owner.name.clone() },
        (None, _) => Owner { kind: "Pod".into(), name: name.clone() },
    };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Placed { pod: name, owner, node }
}

/// The Deployment of a ReplicaSet, whose name is the Deployment's and a hash.
fn deployment(replica_set: &str, hash: Option<&str>) -> Option<Owner> {
    let (name, end) = replica_set.rsplit_once('-')?;
    hash.is_none_or(|hash| hash == end).then(|| Owner { kind: "Deployment".into(), name: name.into() })
}

/// How the namespace's pods are spread, by the API server where it tells, else by kube-state-metrics.
/// `nodes` are those that it told of.
pub async fn look(
    cluster: Option<&Cluster>,
    nodes: Option<&[Node]>,
    eyes: Option<&Eyes>,
    namespace: &str,
) -> Result<Spread, Missing> {
    let mut reasons = Vec::new();
    let pods = match cluster {
        None => None,
        Some(cluster) => match placed(cluster, namespace).await {
            Ok(pods) => Some(pods),
            Err(error) => {
                reasons.push(Missing::from(error));
                None
            }
        },
    };
    // Who may not list workloads has them from kube-state-metrics, if anybody has.
    let of_api = match cluster {
        Some(cluster) => wanted(cluster, namespace).await.ok(),
        None => None,
    };
    let wanted = match (of_api, eyes) {
        (Some(wanted), _) => wanted,
        (None, Some(eyes)) => wanted_by_metrics(eyes, namespace).await.unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    match (pods, nodes, eyes) {
        (Some(pods), _, _) if pods.is_empty() && wanted.is_empty() => Err(empty(namespace)),
        (Some(pods), Some(nodes), _) => Ok(spread("the API server", &pods, nodes, &wanted)),
        (Some(pods), None, None) => {
            Ok(spread("the API server; the nodes could not be listed", &pods, &[], &wanted))
        }
        (Some(pods), None, Some(eyes)) => {
            let nodes = metric_nodes(eyes).await.unwrap_or_default();
            Ok(spread("the API server; the zones by kube-state-metrics", &pods, &nodes, &wanted))
        }
        (None, _, Some(eyes)) => match by_metrics(eyes, nodes, namespace, &wanted).await {
            Ok(found) => Ok(found),
            Err(missing) => Err(reasons.into_iter().fold(missing, |all, reason| Missing {
                why: format!("{}\n{}", reason.why, all.why),
                next: reason.next.or(all.next),
            })),
        },
        (None, _, None) => Err(reasons.pop().unwrap_or_else(|| {
            Missing::because("neither the API server nor kube-state-metrics could be asked")
        })),
    }
}

fn empty(namespace: &str) -> Missing {
    Missing::new(format!("no pod runs in {namespace}"), "is this the right namespace? kubectl get namespaces")
}

async fn by_metrics(
    eyes: &Eyes,
    nodes: Option<&[Node]>,
    namespace: &str,
    wanted: &[Wanted],
) -> Result<Spread, Missing> {
    let groups = eyes.vector(&format!("group by ({}) (kube_pod_info)", scope::grouped())).await?;
    let groups: Vec<Labels> = groups.into_iter().map(|(labels, _)| labels).collect();
    let Some(here) = scope::matching(&groups, namespace) else {
        return Err(Missing::new(
            "Prometheus has no metric kube_pod_info with a namespace",
            "is kube-state-metrics scraped?",
        ));
    };
    let pods = eyes
        .vector(&format!(
            "group by (pod, exported_pod, node, exported_node, created_by_kind, created_by_name) (kube_pod_info{{{here}}})"
        ))
        .await?;
    let ended = eyes
        .vector(&format!(
            "group by (pod, exported_pod) (kube_pod_status_phase{{{here},phase=~\"Succeeded|Failed\"}} == 1)"
        ))
        .await?;
    let ended: BTreeSet<&str> = ended.iter().filter_map(|(labels, _)| own(labels, "pod")).collect();
    let pods: Vec<Placed> = pods
        .iter()
        .filter_map(|(labels, _)| metric_pod(labels))
        .filter(|pod| !ended.contains(pod.pod.as_str()) && !is_helper_s(&pod.owner))
        .collect();
    if pods.is_empty() && wanted.is_empty() {
        return Err(empty(namespace));
    }
    let told = match nodes {
        Some(nodes) => nodes.to_vec(),
        None => metric_nodes(eyes).await?,
    };
    Ok(spread("kube-state-metrics", &pods, &told, wanted))
}

async fn metric_nodes(eyes: &Eyes) -> Result<Vec<Node>, Missing> {
    let known = eyes.vector("group by (node, exported_node) (kube_node_info)").await?;
    let zoned =
        eyes.vector(&format!("group by (node, exported_node, {ZONE_METRIC}) (kube_node_labels)")).await?;
    let zone = |name: &str| {
        let labels =
            zoned.iter().map(|(labels, _)| labels).find(|labels| own(labels, "node") == Some(name))?;
        labels.get(ZONE_METRIC).filter(|zone| !zone.is_empty()).cloned()
    };
    let names: BTreeSet<&str> =
        known.iter().chain(&zoned).filter_map(|(labels, _)| own(labels, "node")).collect();
    Ok(names.into_iter().map(|name| Node { name: name.to_owned(), zone: zone(name) }).collect())
}

/// The same of an owner, which tells no labels here.
fn is_helper_s(owner: &Owner) -> bool {
    owner.kind == "Job" && owner.name.starts_with("sre-")
}

/// A label that the metric gives itself; renamed where the target has one of that name.
fn own<'a>(labels: &'a Labels, name: &str) -> Option<&'a str> {
    let value = labels.get(&format!("exported_{name}")).or_else(|| labels.get(name));
    value.map(String::as_str).filter(|value| !value.is_empty())
}

fn metric_pod(labels: &Labels) -> Option<Placed> {
    let pod = own(labels, "pod")?.to_owned();
    let label =
        |name| labels.get(name).map(String::as_str).filter(|value| !value.is_empty() && *value != "<none>");
    let owner = match (label("created_by_kind"), label("created_by_name")) {
        (Some("ReplicaSet"), Some(name)) => {
            deployment(name, None).unwrap_or(Owner { kind: "ReplicaSet".into(), name: name.into() })
        }
        (Some(kind), Some(name)) => Owner { kind: kind.into(), name: name.into() },
        _ => Owner { kind: "Pod".into(), name: pod.clone() },
    };
    Some(Placed { pod, owner, node: own(labels, "node").map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).expect("a pod")
    }

    #[test]
    fn a_pod_belongs_to_the_deployment_of_its_replica_set() {
        let made = |kind: &str, name: &str| {
            placed_as(&pod(serde_json::json!({
                "metadata": {"name": "x", "labels": {"pod-template-hash": "5d4f"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "uid": "1", "controller": true}]},
                "spec": {"containers": [], "nodeName": "n1"}
            })))
        };
        let owner = |kind: &str, name: &str| Owner { kind: kind.into(), name: name.into() };
        assert_eq!(made("ReplicaSet", "redis-leader-5d4f").owner, owner("Deployment", "redis-leader"));
        assert_eq!(made("ReplicaSet", "by-hand").owner, owner("ReplicaSet", "by-hand"));
        assert_eq!(made("StatefulSet", "db").owner, owner("StatefulSet", "db"));
        assert_eq!(made("StatefulSet", "db").node.as_deref(), Some("n1"));
        let alone = placed_as(&pod(serde_json::json!({"metadata": {"name": "alone"}})));
        assert_eq!((alone.owner, alone.node), (owner("Pod", "alone"), None));
    }

    #[test]
    fn what_has_ended_takes_no_part() {
        let ended = |json| has_ended(&pod(json));
        assert!(ended(serde_json::json!({"metadata": {}, "status": {"phase": "Succeeded"}})));
        assert!(ended(serde_json::json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})));
        assert!(!ended(serde_json::json!({"metadata": {}, "status": {"phase": "Pending"}})));
    }

    #[test]
    fn what_sre_made_for_a_while_takes_no_part() {
        let of = |labels: serde_json::Value, owner: Option<&str>| {
            let owners: Vec<serde_json::Value> = owner
                .map(|kind| serde_json::json!({"apiVersion": "v1", "kind": kind, "name": "x", "uid": "1", "controller": true}))
                .into_iter()
                .collect();
            is_helper(&pod(serde_json::json!({"metadata": {"labels": labels, "ownerReferences": owners}})))
        };
        let ours = serde_json::json!({"app.kubernetes.io/managed-by": "sre"});
        assert!(of(ours.clone(), Some("Job")) && of(ours.clone(), None));
        assert!(!of(ours, Some("ReplicaSet")), "what a stack brought does");
        assert!(!of(serde_json::json!({}), Some("Job")), "somebody else's Job does");
        let owner = |kind: &str, name: &str| Owner { kind: kind.into(), name: name.into() };
        assert!(is_helper_s(&owner("Job", "sre-fault-x")) && !is_helper_s(&owner("Job", "backup")));
    }

    #[test]
    fn kube_state_metrics_tells_the_same() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        // Its own labels are renamed where the target's are not honoured.
        let placed = metric_pod(&labels(&[
            ("pod", "kube-state-metrics-1"),
            ("exported_pod", "frontend-5d4f-x"),
            ("node", "n1"),
            ("created_by_kind", "ReplicaSet"),
            ("created_by_name", "frontend-5d4f"),
        ]))
        .expect("a pod");
        assert_eq!(placed.pod, "frontend-5d4f-x");
        assert_eq!(placed.owner, Owner { kind: "Deployment".into(), name: "frontend".into() });
        assert_eq!(placed.node.as_deref(), Some("n1"));
        let alone = metric_pod(&labels(&[
            ("pod", "a"),
            ("created_by_kind", "<none>"),
            ("created_by_name", "<none>"),
        ]));
        assert_eq!(alone.expect("a pod").owner.kind, "Pod");
    }
}
