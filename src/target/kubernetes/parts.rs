//! The pods of a lab, and the names that people call them by.

use indexmap::IndexMap;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::client::Cluster;
use super::failure::{call, failed, retry, status};
use super::object::ObjectRef;
use super::record::{ClusterLab, Done};
use crate::error::Result;
use crate::stack::{ClusterEndpoint, ClusterEndpoints};

/// The labels that name what a pod is a replica of: the recommended one, and the one that many manifests have instead.
static APP: [&str; 2] = ["app.kubernetes.io/name", "app"];

/// The labels that tell a pod from the others of its workload, or its version from others.
const OF_ONE: [&str; 4] = [
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

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
        if part.is_none() && !place.done.iter().any(|done| is_of(&object, &namespace, done)) {
            return None;
        }
        Some(LabPod { namespace, name: object.metadata.name.clone()?, part, object })
    }

    /// What people call it by, the surest first: what it is to the lab, its workload, what its labels say.
    fn called(&self) -> impl Iterator<Item = &str> {
        let workload = owner(&self.object).map(|(_, name)| name);
        let labels = APP.iter().filter_map(|key| label(&self.object, key));
        self.part.into_iter().chain(workload).chain(labels)
    }

    /// Whether it is one of those that people call so, and not the only one.
    pub fn is_called(&self, name: &str) -> bool {
        self.called().any(|known| known == name)
    }

    /// Where it and those that have its labels answer. `None` where it has none, or no container of it names a port.
    pub fn endpoint(&self) -> Option<ClusterEndpoint> {
        let mut labels: IndexMap<String, String> =
            self.object.metadata.labels.clone().into_iter().flatten().collect();
        labels.retain(|key, _| !OF_ONE.contains(&key.as_str()));
        (!labels.is_empty()).then_some(ClusterEndpoint {
            namespace: Some(self.namespace.clone()),
            labels,
            port: self.port()?,
            metrics: None,
            enabled: true,
        })
    }

    /// The first port that a container of it names.
    pub fn port(&self) -> Option<u16> {
        let containers = self.object.data["spec"]["containers"].as_array()?;
        let ports =
            containers.iter().flat_map(|container| container["ports"].as_array().into_iter().flatten());
        ports.filter_map(|port| port["containerPort"].as_u64()).find_map(|port| u16::try_from(port).ok())
    }

    /// Whether it is on its way out: another one has taken its place, or nothing is to.
    pub fn is_going(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
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

/// The workloads of a lab that are there: those that `up` applied, and those of its releases and namespaces.
///
/// # Errors
/// Where a namespace's workloads cannot be listed (6).
pub async fn workloads(cluster: &Cluster, place: &ClusterLab) -> Result<Vec<(ObjectRef, DynamicObject)>> {
    let mut found = Vec::new();
    let kinds = [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
    ];
    for namespace in namespaces(place) {
        for kind in &kinds {
            let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, kind);
            let all = ListParams::default();
            let listed = match retry(|| api.list(&all)).await {
                Ok(listed) => listed.items,
                // Who may not list them may read those that `up` applied, one by one.
                Err(error) if status(&error) == Some(403) => continue,
                Err(error) => {
                    return Err(failed(
                        format!("the {} in {namespace} could not be listed", kind.plural),
                        &error,
                    ));
                }
            };
            for object in listed {
                let reference = ObjectRef {
                    api_version: kind.api_version.clone(),
                    kind: kind.kind.clone(),
                    namespace: Some(namespace.to_owned()),
                    name: object.metadata.name.clone().unwrap_or_default(),
                };
                let applied = |done: &Done| matches!(done, Done::Object(applied) if *applied == reference);
                if place.done.iter().any(|done| applied(done) || is_of(&object, namespace, done)) {
                    found.push((reference, object));
                }
            }
        }
    }
    Ok(found)
}

/// The pods that a name stands for: a pod's own, a part's, their workload's, what pods are replicas of, or one of these
/// with a number: `users-api-0` is the first by name. Where that is told in several ways, the surest counts.
pub fn named<'a>(pods: &'a [LabPod], name: &str) -> Vec<&'a LabPod> {
    let called = |name: &str| -> Vec<&'a LabPod> {
        let by = |is: &dyn Fn(&LabPod) -> bool| pods.iter().filter(|pod| is(pod)).collect::<Vec<_>>();
        let of_workload = |pod: &LabPod| owner(&pod.object).is_some_and(|(_, known)| known == name);
        let ways = [
            by(&|pod| pod.part == Some(name)),
            by(&of_workload),
            by(&|pod| pod.called().any(|known| known == name)),
        ];
        ways.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
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

/// The names that [`named`] knows, but for those of pods: parts first, and for other pods what they are called first.
pub fn names(pods: &[LabPod]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let parts = pods.iter().filter_map(|pod| pod.part);
    let others = pods.iter().filter(|pod| !pod.is_of_a_job());
    for name in parts.chain(others.flat_map(LabPod::called)) {
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

/// Whether a pod or a workload came with what was done: in a namespace that `up` made, of a release that it installed, or
/// of an object that it applied.
fn is_of(object: &DynamicObject, namespace: &str, done: &Done) -> bool {
    match done {
        Done::Namespace(made) => made == namespace,
        Done::Release { namespace: of, name } => {
            let names = ["app.kubernetes.io/instance", "release"];
            of == namespace && names.iter().any(|key| label(object, key) == Some(name))
        }
        Done::Object(applied) => {
            applied.namespace.as_deref() == Some(namespace)
                && owner(object).is_some_and(|(kind, name)| kind == applied.kind && name == applied.name)
        }
        _ => false,
    }
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
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, name: &str, labels: Value) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": labels}}))
        .expect("a pod")
    }

    fn place(done: Vec<Done>) -> ClusterLab {
        let endpoint = |namespace: Option<&str>, app: &str| {
            Some(ClusterEndpoint {
                namespace: namespace.map(str::to_owned),
                labels: IndexMap::from([(APP[0].to_owned(), app.to_owned())]),
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
            pod("users-api", "users-api-5f-a", json!({APP[0]: "users-api"})),
            pod("users-api", "users-api-5f-b", json!({APP[0]: "users-api"})),
            pod("users-api", "stranger", json!({APP[0]: "shop"})),
            pod("monitoring", "prometheus-kps-0", json!({APP[0]: "prometheus"})),
            pod("monitoring", "kps-operator-1", json!({"release": "kps", APP[0]: "operator"})),
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
    fn a_pod_is_called_by_its_workload_and_by_either_label() {
        let of = |workload: &str, labels: Value| {
            let mut pod = pod("default", &format!("{workload}-77-x"), labels);
            let labels = pod.metadata.labels.as_mut().expect("labels");
            labels.insert("pod-template-hash".into(), "77".into());
            pod.metadata.owner_references = serde_json::from_value(json!([{"apiVersion": "apps/v1",
                "kind": "ReplicaSet", "name": format!("{workload}-77"), "uid": "1", "controller": true}]))
            .expect("owners");
            pod
        };
        let guestbook = json!({"app": "guestbook", "tier": "frontend"});
        let objects = [
            of("frontend", guestbook.clone()),
            of("backend", guestbook),
            of("redis-leader", json!({"app": "redis"})),
            of("redis", json!({"app": "cache"})),
        ];
        let place = place(vec![Done::Namespace("default".into())]);
        let pods: Vec<LabPod> = objects.into_iter().filter_map(|pod| LabPod::of(&place, pod)).collect();
        let found = |name| named(&pods, name).iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>();
        assert_eq!(found("frontend"), ["frontend-77-x"]);
        assert_eq!(found("redis-leader"), ["redis-leader-77-x"]);
        assert_eq!(found("guestbook"), ["frontend-77-x", "backend-77-x"]);
        assert_eq!(found("guestbook-1"), ["backend-77-x"]);
        assert_eq!(found("redis"), ["redis-77-x"], "a workload's name is surer than a label");
        assert_eq!(names(&pods), ["frontend", "guestbook", "backend", "redis-leader", "redis", "cache"]);
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
