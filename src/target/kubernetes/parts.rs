//! The pods of a lab, and the names that people call them by.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::client::Cluster;
use super::failure::call;
use super::record::{ClusterLab, Done};
use crate::error::Result;
use crate::stack::{ClusterEndpoint, ClusterEndpoints};

/// The label that names what a pod is a replica of.
const APP: &str = "app.kubernetes.io/name";

/// A pod of a lab.
#[derive(Debug, Clone, PartialEq)]
pub struct LabPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is to the lab, as [`endpoints`] names it: `app`, `prometheus`.
    pub part: Option<&'static str>,
    /// Its own description.
    pub object: DynamicObject,
}

impl LabPod {
    /// A pod of this lab; `None` if it is somebody else's.
    fn of(place: &ClusterLab, object: DynamicObject) -> Option<LabPod> {
        let namespace = object.metadata.namespace.clone()?;
        let part = endpoints(&place.endpoints)
            .into_iter()
            .find(|(_, endpoint)| matches(&object, endpoint, &place.namespace))
            .map(|(name, _)| name);
        if part.is_none() && !belongs(&object, &namespace, place) {
            return None;
        }
        Some(LabPod { namespace, name: object.metadata.name.clone()?, part, object })
    }

    /// What it is a replica of, by its label.
    fn app(&self) -> Option<&str> {
        label(&self.object, APP)
    }

    /// What tells it from a later pod of the same name.
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether a Job made it, which need not be ready to be well.
    pub fn is_of_a_job(&self) -> bool {
        label(&self.object, "batch.kubernetes.io/job-name").is_some()
    }
}

/// The endpoints that a stack declares, by the names that people call them by.
pub fn endpoints(all: &ClusterEndpoints) -> Vec<(&'static str, &ClusterEndpoint)> {
    [
        ("app", &all.service),
        ("prometheus", &all.prometheus),
        ("alertmanager", &all.alertmanager),
        ("receiver", &all.receiver),
        ("loki", &all.loki),
        ("grafana", &all.grafana),
    ]
    .into_iter()
    .filter_map(|(name, endpoint)| Some((name, endpoint.as_ref()?)))
    .collect()
}

/// The namespaces that a lab has pods in, the stack's own first.
fn namespaces(place: &ClusterLab) -> Vec<&str> {
    let mut names = vec![place.namespace.as_str()];
    let of_endpoints = endpoints(&place.endpoints).into_iter().filter_map(|(_, e)| e.namespace.as_deref());
    let of_steps = place.done.iter().filter_map(|done| match done {
        Done::Namespace(name) => Some(name.as_str()),
        Done::Release { namespace, .. } => Some(namespace.as_str()),
        _ => None,
    });
    for name in of_endpoints.chain(of_steps) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The pods of a lab, the stack's namespace first, then by name.
///
/// # Errors
/// Where a namespace's pods cannot be listed (6).
pub async fn pods(cluster: &Cluster, place: &ClusterLab) -> Result<Vec<LabPod>> {
    let mut pods = Vec::new();
    for namespace in namespaces(place) {
        let kind = ApiResource::erase::<Pod>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &kind);
        let all = ListParams::default();
        let found =
            call(|| format!("the pods in {namespace} could not be listed"), || api.list(&all)).await?;
        let mut ours: Vec<LabPod> =
            found.items.into_iter().filter_map(|object| LabPod::of(place, object)).collect();
        ours.sort_by(|a, b| a.name.cmp(&b.name));
        pods.extend(ours);
    }
    Ok(pods)
}

/// The pods that a name stands for: a pod's own, a part's, what pods are replicas of, or one of these with a
/// number: `users-api-0` is the first by name.
pub fn named<'a>(pods: &'a [LabPod], name: &str) -> Vec<&'a LabPod> {
    let called = |name: &str| -> Vec<&'a LabPod> {
        pods.iter().filter(|pod| pod.part == Some(name) || pod.app() == Some(name)).collect()
    };
    let by_name: Vec<&LabPod> = pods.iter().filter(|pod| pod.name == name).collect();
    if !by_name.is_empty() {
        return by_name;
    }
    let all = called(name);
    if !all.is_empty() {
        return all;
    }
    let numbered = name.rsplit_once('-').and_then(|(name, number)| Some((name, number.parse().ok()?)));
    let one = numbered.and_then(|(name, number): (&str, usize)| called(name).get(number).copied());
    one.into_iter().collect()
}

/// The names that [`named`] knows, but for those of pods: parts first.
pub fn names(pods: &[LabPod]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let parts = pods.iter().filter_map(|pod| pod.part);
    for name in parts.chain(pods.iter().filter_map(LabPod::app)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn matches(pod: &DynamicObject, endpoint: &ClusterEndpoint, namespace: &str) -> bool {
    let namespace = endpoint.namespace.as_deref().unwrap_or(namespace);
    pod.metadata.namespace.as_deref() == Some(namespace)
        && endpoint.labels.iter().all(|(key, value)| label(pod, key) == Some(value))
}

/// Whether a pod that is no endpoint's came with the lab: in a namespace that `up` made, of a release that it
/// installed, or of a workload that it applied.
fn belongs(pod: &DynamicObject, namespace: &str, place: &ClusterLab) -> bool {
    place.done.iter().any(|done| match done {
        Done::Namespace(made) => made == namespace,
        Done::Release { namespace: of, name } => {
            of == namespace
                && ["app.kubernetes.io/instance", "release"].iter().any(|key| label(pod, key) == Some(name))
        }
        Done::Object(object) => {
            object.namespace.as_deref() == Some(namespace)
                && owner(pod).is_some_and(|(kind, name)| kind == object.kind && name == object.name)
        }
        _ => false,
    })
}

/// The workload that a pod is of: its kind and name. A ReplicaSet stands for its Deployment.
fn owner(pod: &DynamicObject) -> Option<(&str, &str)> {
    let owner =
        pod.metadata.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))?;
    if owner.kind == "ReplicaSet"
        && let Some(hash) = label(pod, "pod-template-hash")
        && let Some(name) = owner.name.strip_suffix(hash).and_then(|name| name.strip_suffix('-'))
    {
        return Some(("Deployment", name));
    }
    Some((&owner.kind, &owner.name))
}

fn label<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// The containers of a pod, the one that is meant where none is named first; then those that only prepare.
///
/// As with kubectl, that is the one that the pod's annotation names, else the first.
pub fn containers(pod: &DynamicObject) -> Vec<&str> {
    let of = |key: &str| {
        let all = pod.data["spec"][key].as_array();
        all.into_iter().flatten().filter_map(|container| container["name"].as_str()).collect::<Vec<_>>()
    };
    let mut names = of("containers");
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    if let Some(place) = names.iter().position(|name| default.is_some_and(|default| default == name)) {
        names[..=place].rotate_right(1);
    }
    names.extend(of("initContainers"));
    names
}

/// A container's environment variable, as the pod's description has it: a value or where it comes from.
pub fn variable<'a>(pod: &'a DynamicObject, name: &str) -> Option<&'a Value> {
    let containers = pod.data["spec"]["containers"].as_array()?;
    let mut variables =
        containers.iter().flat_map(|container| container["env"].as_array().into_iter().flatten());
    variables.find(|variable| variable["name"] == name)
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde_json::json;

    use super::*;
    use crate::target::kubernetes::object::ObjectRef;

    fn pod(namespace: &str, name: &str, labels: Value) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": labels}}))
        .expect("a pod")
    }

    fn place(done: Vec<Done>) -> ClusterLab {
        let endpoint = |namespace: Option<&str>, app: &str| {
            Some(ClusterEndpoint {
                namespace: namespace.map(str::to_owned),
                labels: IndexMap::from([(APP.to_owned(), app.to_owned())]),
                port: 8080,
                metrics: None,
                enabled: true,
            })
        };
        ClusterLab {
            context: "lab".into(),
            kubeconfig: None,
            identity: String::new(),
            namespace: "users-api".into(),
            endpoints: ClusterEndpoints {
                service: endpoint(None, "users-api"),
                prometheus: endpoint(Some("monitoring"), "prometheus"),
                ..ClusterEndpoints::default()
            },
            image_loader: None,
            values: IndexMap::new(),
            images: IndexMap::new(),
            minikube: None,
            done,
        }
    }

    fn lab() -> Vec<LabPod> {
        let place = place(vec![Done::Release { namespace: "monitoring".into(), name: "kps".into() }]);
        let pods = [
            pod("users-api", "users-api-5f-a", json!({APP: "users-api"})),
            pod("users-api", "users-api-5f-b", json!({APP: "users-api"})),
            pod("users-api", "stranger", json!({APP: "shop"})),
            pod("monitoring", "prometheus-kps-0", json!({APP: "prometheus"})),
            pod("monitoring", "kps-operator-1", json!({"release": "kps", APP: "operator"})),
            pod("monitoring", "theirs", json!({"release": "other"})),
        ];
        pods.into_iter().filter_map(|pod| LabPod::of(&place, pod)).collect()
    }

    #[test]
    fn other_people_s_pods_are_left_out() {
        let names: Vec<String> = lab().into_iter().map(|pod| pod.name).collect();
        assert_eq!(names, ["users-api-5f-a", "users-api-5f-b", "prometheus-kps-0", "kps-operator-1"]);
    }

    #[test]
    fn a_pod_of_an_applied_deployment_belongs() {
        let deployment = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("users-api".into()),
            name: "worker".into(),
        };
        let place = place(vec![Done::Object(deployment)]);
        let mut of = pod("users-api", "worker-77-x", json!({"pod-template-hash": "77"}));
        of.metadata.owner_references = serde_json::from_value(
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "worker-77", "uid": "1",
            "controller": true}]),
        )
        .expect("owners");
        assert!(LabPod::of(&place, of.clone()).is_some());
        of.metadata.owner_references.as_mut().expect("owners")[0].name = "other-77".into();
        assert!(LabPod::of(&place, of).is_none());
    }

    #[test]
    fn a_name_is_a_pod_s_a_part_s_or_numbered() {
        let pods = lab();
        let found = |name| named(&pods, name).iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>();
        assert_eq!(found("users-api-5f-b"), ["users-api-5f-b"]);
        assert_eq!(found("app"), ["users-api-5f-a", "users-api-5f-b"]);
        assert_eq!(found("users-api"), found("app"));
        assert_eq!(found("users-api-1"), ["users-api-5f-b"]);
        assert_eq!(found("prometheus"), ["prometheus-kps-0"]);
        assert_eq!(found("users-api-2"), [""; 0]);
        assert_eq!(names(&pods), ["app", "prometheus", "users-api", "operator"]);
    }

    #[test]
    fn the_first_container_is_the_one_that_is_meant() {
        let mut pod = pod("n", "p", json!({}));
        pod.data = json!({"spec": {"initContainers": [{"name": "init"}],
            "containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}});
        assert_eq!(containers(&pod), ["a", "b", "c", "init"]);
        pod.metadata.annotations =
            Some([("kubectl.kubernetes.io/default-container".to_owned(), "b".to_owned())].into());
        assert_eq!(containers(&pod), ["b", "a", "c", "init"]);
    }
}
