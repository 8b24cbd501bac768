//! Whether a node has an image, before pods that need it are started.
//!
//! A node's own list of images is short (fifty) and late. What it has, the node has; what it lacks may be there all
//! the same, which only a pod on that node can tell: one that must not pull.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::client::Cluster;
use super::failure::{call, call_opt};
use super::nodes;
use super::object::{MANAGED_BY, MANAGER, ObjectRef};
use crate::digest::hex;
use crate::error::{Error, Result};

/// How long a pod that looks for an image may take to tell.
const TELL: Duration = Duration::from_secs(30);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is known of an image on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    There,
    /// It is not.
    Missing,
    /// That cannot be told, and why.
    Unknown(String),
}

/// The nodes that the scheduler may give pods to, each with what its own list, and pods that run in `namespace`,
/// tell of the image.
pub async fn listed(cluster: &Cluster, namespace: &str, image: &str) -> Result<BTreeMap<String, Presence>> {
    let all = ListParams::default();
    let nodes = nodes::list(cluster).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let what = || format!("the pods of {namespace} could not be listed");
    let pods = call(what, || pods.list(&all)).await?.items;
    Ok(nodes
        .iter()
        .filter(|node| takes_pods(node))
        .map(|node| {
            let name = nodes::name(node);
            let runs = pods.iter().any(|pod| runs_on(pod, &name, image));
            let presence = match () {
                () if runs || lists(node, image) => Presence::There,
                () if !nodes::is_ready(node) => Presence::Unknown("the node is not ready".into()),
                () => Presence::Missing,
            };
            (name, presence)
        })
        .collect())
}

/// Whether the scheduler may give the node pods that tolerate nothing.
fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    // That a node is not ready is a taint, too; it may be ready by the time that pods start.
    let kept_out = taints
        .filter(|taint| !taint.key.starts_with("node.kubernetes.io/"))
        .any(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    !kept_out && spec.and_then(|spec| spec.unschedulable) != Some(true)
}

fn lists(node: &Node, image: &str) -> bool {
    let images = node.status.as_ref().and_then(|status| status.images.as_ref());
    images
        .into_iter()
        .flatten()
        .filter_map(|known| known.names.as_ref())
        .any(|names| names.iter().any(|name| name == image))
}

/// What runs keeps its image from being removed.
fn runs_on(pod: &Pod, node: &str, image: &str) -> bool {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.as_deref() == Some(node)) else {
        return false;
    };
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let runs = |name: &str| {
        statuses.into_iter().flatten().any(|status| {
            status.name == name && status.state.as_ref().is_some_and(|state| state.running.is_some())
        })
    };
    spec.containers.iter().any(|container| container.image.as_deref() == Some(image) && runs(&container.name))
}

/// The pod that looks for an image on a node. Steps look for theirs at the same time: each image has its own.
pub fn looker(namespace: &str, node: &str, image: &str) -> ObjectRef {
    let hash = hex(&Sha256::digest(image)[..4]);
    // A node's name may be as long as a pod's, and is ASCII.
    let tail = node.get(node.len().saturating_sub(200)..).unwrap_or(node).trim_start_matches(['.', '-']);
    ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: Some(namespace.into()),
        name: format!("sre-image-{hash}-{tail}"),
    }
}

/// Has each of these nodes look for the image, by a pod that must not pull and ends at once.
///
/// # Errors
/// Such a pod could not be made (exit 6).
pub async fn look(
    cluster: &Cluster,
    namespace: &str,
    nodes: &[String],
    image: &str,
) -> Result<BTreeMap<String, Presence>> {
    let all = nodes.iter().map(|node| async move {
        let presence = look_on(cluster, namespace, node, image).await?;
        Ok::<_, Error>((node.clone(), presence))
    });
    Ok(try_join_all(all).await?.into_iter().collect())
}

/// Makes a pod, in a namespace that may be so new that its service account is not there yet: on a cluster that has just
/// started, that takes seconds. One that is there already is the one of an attempt whose answer was lost.
async fn create(pods: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
    let (started, made) = (Instant::now(), PostParams::default());
    loop {
        match pods.create(&made, pod).await {
            Err(kube::Error::Api(status)) if is_too_early(&status) && started.elapsed() < TELL => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            result => return result.map(drop),
        }
    }
}

fn is_too_early(status: &kube::core::Status) -> bool {
    status.code == 403 && status.message.ends_with("serviceaccount \"default\" not found")
}

async fn look_on(cluster: &Cluster, namespace: &str, node: &str, image: &str) -> Result<Presence> {
    let name = looker(namespace, node, image).name;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let now = DeleteParams::default().grace_period(0);
    let delete =
        || call_opt(|| format!("Pod {namespace}/{name} could not be deleted"), || pods.delete(&name, &now));
    // One that a killed `sre` left says nothing of now.
    if delete().await?.is_some() {
        super::gone::gone(cluster, &looker(namespace, node, image)).await?;
    }
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {MANAGED_BY: MANAGER}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "look",
                "image": image,
                "imagePullPolicy": "Never",
                "args": ["--version"],
                "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
    .expect("it is a pod");
    call(|| format!("no pod could be made that looks for image {image} on {node}"), || create(&pods, &pod))
        .await?;
    let started = Instant::now();
    let mut seen = Presence::Unknown("its kubelet has not looked at the pod that asks".into());
    while started.elapsed() < TELL {
        let found =
            call_opt(|| format!("Pod {namespace}/{name} could not be read"), || pods.get(&name)).await?;
        let Some(found) = found else { break };
        seen = told(&found);
        if !matches!(seen, Presence::Unknown(_)) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    delete().await?;
    Ok(seen)
}

/// What a pod that must not pull tells of its image.
fn told(pod: &Pod) -> Presence {
    let Some(status) = &pod.status else { return Presence::Unknown("its pod has no status".into()) };
    let state = status.container_statuses.iter().flatten().find_map(|container| container.state.as_ref());
    if let Some(state) = state {
        // Whatever became of the program: it was there to be started.
        if state.running.is_some() || state.terminated.is_some() {
            return Presence::There;
        }
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            return match reason {
                "ErrImageNeverPull" => Presence::Missing,
                // The image is looked for before a container is made of it.
                "CreateContainerError" | "CreateContainerConfigError" | "RunContainerError" => {
                    Presence::There
                }
                _ => Presence::Unknown(format!(
                    "the pod that asks is still waiting ({reason}): {}",
                    waiting.message.as_deref().unwrap_or("no more is told")
                )),
            };
        }
    }
    let phase = status.phase.as_deref().unwrap_or("Pending");
    let why = status.message.as_deref().or(status.reason.as_deref()).unwrap_or("no more is told");
    Presence::Unknown(format!("the pod that asks is {phase}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_without_its_service_account_is_new_and_other_refusals_are_final() {
        let refused = |message: &str| kube::core::Status::failure(message, "Forbidden").with_code(403);
        let new = r#"pods "sre-image-sre" is forbidden: error looking up service account users-api/default: serviceaccount "default" not found"#;
        assert!(is_too_early(&refused(new)));
        assert!(!is_too_early(&refused(r#"pods is forbidden: User "bob" cannot create resource "pods""#)));
    }

    fn pod(state: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "x"},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i:1"}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "c", "image": "i:1", "imageID": "", "ready": true, "restartCount": 0, "state": state}]},
        }))
        .unwrap()
    }

    #[test]
    fn an_image_is_there_once_a_container_was_made_of_it() {
        assert_eq!(told(&pod(json!({"terminated": {"exitCode": 1}}))), Presence::There);
        assert_eq!(told(&pod(json!({"running": {}}))), Presence::There);
        assert_eq!(told(&pod(json!({"waiting": {"reason": "ErrImageNeverPull"}}))), Presence::Missing);
        let waiting = told(&pod(json!({"waiting": {"reason": "ContainerCreating"}})));
        assert!(matches!(waiting, Presence::Unknown(_)), "{waiting:?}");
    }

    #[test]
    fn what_runs_on_a_node_proves_its_image_there_and_nowhere_else() {
        let running = pod(json!({"running": {}}));
        assert!(runs_on(&running, "n", "i:1"));
        assert!(!runs_on(&running, "m", "i:1"));
        assert!(!runs_on(&running, "n", "i:2"));
        assert!(!runs_on(&pod(json!({"waiting": {"reason": "ImagePullBackOff"}})), "n", "i:1"));
    }

    #[test]
    fn nodes_that_keep_pods_out_need_no_image() {
        let node = |spec: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec})).unwrap()
        };
        let tainted = |key: &str| node(json!({"taints": [{"key": key, "effect": "NoSchedule"}]}));
        assert!(takes_pods(&node(json!({}))));
        assert!(!takes_pods(&node(json!({"unschedulable": true}))));
        assert!(!takes_pods(&tainted("node-role.kubernetes.io/control-plane")));
        assert!(takes_pods(&tainted("node.kubernetes.io/not-ready")));
    }

    #[test]
    fn the_pod_that_looks_has_a_name_that_pods_may_have() {
        let name = looker("lab", &format!("ip-{}.internal", "10-".repeat(90)), "i:1").name;
        assert!(name.len() <= 253 && name.starts_with("sre-image-") && name.ends_with(".internal"), "{name}");
    }

    #[test]
    fn each_image_and_each_node_has_a_pod_of_its_own() {
        let name = |node: &str, image: &str| looker("lab", node, image).name;
        assert_eq!(name("n", "docker.io/library/sre:1"), name("n", "docker.io/library/sre:1"));
        assert_ne!(name("n", "docker.io/library/sre:1"), name("n", "docker.io/library/whereami:1"));
        assert_ne!(name("n", "docker.io/library/sre:1"), name("m", "docker.io/library/sre:1"));
    }

    /// An API server that answers each request so.
    fn answering(code: u16, reason: &'static str) -> Api<Pod> {
        let status = kube::core::Status::failure("no", reason).with_code(code);
        let answer = serde_json::to_value(status).unwrap();
        let cluster = crate::target::kubernetes::client::standin(move |_| (code, answer.clone()));
        Api::namespaced(cluster.client(), "lab")
    }

    #[tokio::test]
    async fn a_pod_that_is_there_is_made_and_other_refusals_are_errors() {
        let pod = pod(json!({}));
        create(&answering(409, "AlreadyExists"), &pod).await.unwrap();
        create(&answering(422, "Invalid"), &pod).await.unwrap_err();
    }
}
