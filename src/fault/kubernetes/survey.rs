//! What there is around the object that a fault is to be on: read from the cluster before anything is planned, and
//! again before it is injected.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::{Api, ListParams};
use kube::core::{DynamicObject, Selector, TypeMeta};

use super::record::{LABEL, PodRef};
use crate::error::{Error, Result};
use crate::scenario::{Aim, AimKind, FaultKind};
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{call, call_opt, failed, retry, status};
use crate::target::kubernetes::load_job;
use crate::target::kubernetes::nodes;
use crate::target::kubernetes::object::{MANAGED_BY, MANAGER, ObjectRef};
use crate::target::kubernetes::single_writer;

/// What there is around the object that a fault is to be on.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The object that the fault is on, which gets the annotation.
    pub anchor: DynamicObject,
    /// The pods that it may touch, by name; none that are about to go.
    pub pods: Vec<Seen>,
    /// The workloads of these pods.
    pub workloads: Vec<Workload>,
    /// The Services that lead to one of the pods.
    pub services: Vec<String>,
    /// The nodes of the pods, by name, and how many processors each has.
    pub nodes: BTreeMap<String, f64>,
    /// Claims that the pods of the object write to, and that are for one writer: `data (ReadWriteOnce)`.
    pub claims: Vec<String>,
    /// NetworkPolicies that let something in or out of one of the pods, where that matters to the fault.
    pub admitting: Vec<String>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which.
    pub pod: PodRef,
    /// Its node; empty before it has one.
    pub node: String,
    /// Its address; empty before it has one.
    pub address: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Its containers: name and memory limit in bytes.
    pub containers: Vec<(String, Option<u64>)>,
    /// Ports that its containers name.
    pub ports: Vec<u16>,
    /// The images of its containers.
    pub images: Vec<String>,
    /// What makes it anew when it goes; `None` where nothing does.
    pub workload: Option<ObjectRef>,
    /// Whether a drain leaves it: a pod of a DaemonSet, one that the node itself runs, or one of `sre` itself, such as a
    /// guard or a worker of the load, which nothing would make good.
    pub stays: bool,
}

/// What makes pods anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Which.
    pub object: ObjectRef,
    /// How many of its pods are ready.
    pub ready: u64,
}

impl Survey {
    /// The object that the fault is on, by name.
    pub fn on(&self) -> ObjectRef {
        ObjectRef::of(&self.anchor)
    }
}

/// Looks around on a cluster; objects that name no namespace are in `namespace`.
///
/// # Errors
/// Usage (exit 2) where what is aimed at is not there, or cannot have this fault; the target (exit 6) where the
/// cluster does not tell.
pub async fn survey(cluster: &Cluster, namespace: &str, kind: &FaultKind, aim: &Aim) -> Result<Survey> {
    let look = Look { cluster, namespace };
    match (kind, aim) {
        (FaultKind::Cordon | FaultKind::Drain | FaultKind::NodeStop, aim) => look.node(aim).await,
        (FaultKind::WrongPort, Aim::Object { kind: AimKind::Service | AimKind::Ingress, .. }) => {
            look.route(aim).await
        }
        (FaultKind::WrongPort, aim) => Err(Error::usage(format!("{kind} cannot be on {aim}"))
            .because_of("only a Service or an Ingress leads to a port")
            .hint("--on service/NAME or --on ingress/NAME; in a scenario `on: service/NAME`")),
        (kind, aim) => look.workload(kind, aim).await,
    }
}

struct Look<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Look<'_> {
    async fn node(&self, aim: &Aim) -> Result<Survey> {
        let name = match aim {
            Aim::Object { kind: AimKind::Node, name } => name.clone(),
            aim => {
                let pods = self.pods_of(aim).await?.1;
                let first = pods.iter().map(|pod| pod.node.clone()).find(|node| !node.is_empty());
                first.ok_or_else(|| Error::usage(format!("no pod of {aim} is on a node")))?
            }
        };
        let anchor = self.object(AimKind::Node, &name).await?;
        let pods: Api<Pod> = Api::all(self.cluster.client());
        let params = ListParams::default().fields(&format!("spec.nodeName={name}"));
        let found =
            call(|| format!("the pods of Node {name} could not be listed"), || pods.list(&params)).await?;
        let pods = self.seen(found.items).await?;
        self.complete(anchor, pods).await
    }

    async fn route(&self, aim: &Aim) -> Result<Survey> {
        let Aim::Object { kind, name } = aim else { unreachable!("labels name no Service") };
        let anchor = self.object(*kind, name).await?;
        let pods = match kind {
            AimKind::Service => self.pods_of(aim).await?.1,
            _ => Vec::new(),
        };
        self.complete(anchor, pods).await
    }

    async fn workload(&self, kind: &FaultKind, aim: &Aim) -> Result<Survey> {
        let (anchor, mut pods) = self.pods_of(aim).await?;
        let anchor = match anchor {
            Some(anchor) => anchor,
            None => {
                let mut owners: Vec<&ObjectRef> =
                    pods.iter().filter_map(|pod| pod.workload.as_ref()).collect();
                owners.sort();
                owners.dedup();
                match (owners.as_slice(), pods.as_slice()) {
                    ([owner], _) => {
                        let anchor = self.get(owner).await?;
                        // These are on all of a workload, also where only some of its pods are meant.
                        if matches!(kind, FaultKind::ScaleToZero | FaultKind::NetworkCut) {
                            pods = self.selected(&selector_of(&anchor)?, Some(&anchor)).await?;
                        }
                        anchor
                    }
                    ([], [pod]) => self.object(AimKind::Pod, &pod.pod.name).await?,
                    ([], []) => {
                        return Err(Error::usage(format!("no pod in {} is meant by {aim}", self.namespace))
                            .hint(format!("kubectl --namespace {} get pods --show-labels", self.namespace)));
                    }
                    (several, _) => {
                        let names: Vec<String> = several.iter().map(ToString::to_string).collect();
                        return Err(Error::usage(format!("{aim} means pods of several workloads"))
                            .because_of(names.join("\n"))
                            .hint("a fault is on one of them: name it, such as --on deployment/NAME"));
                    }
                }
            }
        };
        let mut survey = self.complete(anchor, pods).await?;
        if matches!(kind, FaultKind::NetworkCut) {
            survey.admitting = self.admitting(&survey.pods).await?;
        }
        Ok(survey)
    }

    /// The pods that are meant, and the workload where it is named itself.
    async fn pods_of(&self, aim: &Aim) -> Result<(Option<DynamicObject>, Vec<Seen>)> {
        let (anchor, selector): (_, Selector) = match aim {
            Aim::Labels(labels) => {
                (None, labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            Aim::Object { kind: AimKind::Pod, name } => {
                let api: Api<Pod> = Api::namespaced(self.cluster.client(), self.namespace);
                let pod = call_opt(|| format!("Pod {name} could not be read"), || api.get(name)).await?;
                let pod = pod.ok_or_else(|| self.unknown(AimKind::Pod, name))?;
                return Ok((None, self.seen(vec![pod]).await?));
            }
            Aim::Object { kind: AimKind::Service, name } => {
                let service = self.object(AimKind::Service, name).await?;
                let labels: BTreeMap<String, String> =
                    serde_json::from_value(service.data["spec"]["selector"].clone()).unwrap_or_default();
                if labels.is_empty() {
                    return Err(Error::usage(format!("Service {name} selects no pods")));
                }
                (None, labels.into_iter().collect())
            }
            Aim::Object { kind: AimKind::Ingress | AimKind::Node, .. } => {
                return Err(Error::usage(format!("this fault cannot be on {aim}"))
                    .hint("it is on pods: name their workload, such as --on deployment/NAME"));
            }
            Aim::Object { kind, name } => {
                let object = self.object(*kind, name).await?;
                let selector = selector_of(&object)?;
                (Some(object), selector)
            }
        };
        let pods = self.selected(&selector, anchor.as_ref()).await?;
        Ok((anchor, pods))
    }

    /// The pods that a selector selects; only those of a workload, where one is named.
    async fn selected(&self, selector: &Selector, of: Option<&DynamicObject>) -> Result<Vec<Seen>> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), self.namespace);
        let params = ListParams::default().labels_from(selector);
        let found =
            call(|| format!("the pods with {selector} could not be listed"), || api.list(&params)).await?;
        let mut pods = self.seen(found.items).await?;
        if let Some(workload) = of {
            // Pods of others may have the same labels.
            let on = ObjectRef::of(workload);
            pods.retain(|pod| pod.workload.as_ref() == Some(&on));
        }
        Ok(pods)
    }

    async fn seen(&self, pods: Vec<Pod>) -> Result<Vec<Seen>> {
        let mut deployments: BTreeMap<(String, String), Option<ObjectRef>> = BTreeMap::new();
        let mut seen = Vec::new();
        for pod in pods {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed")) {
                continue;
            }
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let owner = controller(pod.metadata.owner_references.as_deref());
            let workload = match owner {
                Some(owner) if owner.kind == "ReplicaSet" => {
                    let key = (namespace.clone(), owner.name.clone());
                    let found = match deployments.get(&key) {
                        Some(known) => known.clone(),
                        None => self.deployment_of(&namespace, &owner.name).await?,
                    };
                    deployments.insert(key, found.clone());
                    found.or_else(|| Some(reference(owner, &namespace)))
                }
                // A static pod belongs to its node.
                Some(owner) if owner.kind == "Node" => None,
                Some(owner) => Some(reference(owner, &namespace)),
                None => None,
            };
            let by_node = owner.is_some_and(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"));
            let stays = by_node || is_own(pod.metadata.labels.as_ref());
            seen.push(one(pod, workload, stays));
        }
        seen.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
        Ok(seen)
    }

    async fn deployment_of(&self, namespace: &str, name: &str) -> Result<Option<ObjectRef>> {
        let api: Api<ReplicaSet> = Api::namespaced(self.cluster.client(), namespace);
        let found =
            call_opt(|| format!("ReplicaSet {namespace}/{name} could not be read"), || api.get(name)).await?;
        Ok(found.and_then(|set| {
            controller(set.metadata.owner_references.as_deref()).map(|owner| reference(owner, namespace))
        }))
    }

    async fn complete(&self, anchor: DynamicObject, pods: Vec<Seen>) -> Result<Survey> {
        let mut objects: Vec<ObjectRef> = pods.iter().filter_map(|pod| pod.workload.clone()).collect();
        let on = ObjectRef::of(&anchor);
        if matches!(on.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") {
            objects.push(on);
        }
        objects.sort();
        objects.dedup();
        let mut workloads = Vec::new();
        for object in objects {
            let Some((api, _)) = self.cluster.api(&object, self.namespace).await? else { continue };
            let found = call_opt(|| format!("{object} could not be read"), || api.get(&object.name)).await?;
            let Some(found) = found else { continue };
            let key = if object.kind == "DaemonSet" { "numberReady" } else { "readyReplicas" };
            let ready = found.data["status"][key].as_u64().unwrap_or(0);
            workloads.push(Workload { object, ready });
        }
        let services = self.services_of(&pods, &anchor).await?;
        let nodes = self.processors(&pods).await?;
        let claims = self.claims_of(&anchor).await?;
        Ok(Survey { anchor, pods, workloads, services, nodes, claims, admitting: Vec::new() })
    }

    /// The claims of a workload that are for one writer. One that cannot be read is taken for such.
    async fn claims_of(&self, anchor: &DynamicObject) -> Result<Vec<String>> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.cluster.client(), self.namespace);
        let mut single = Vec::new();
        for name in single_writer::shared_claims(&anchor.data) {
            let found = match retry(|| claims.get(name)).await {
                Ok(found) => serde_json::to_value(found).unwrap_or_default(),
                Err(error) if matches!(status(&error), Some(403 | 404)) => serde_json::Value::Null,
                Err(error) => return Err(failed(format!("claim {name} could not be read"), &error)),
            };
            if single_writer::is_single(&found) {
                let mode = found["spec"]["accessModes"][0].as_str().unwrap_or("its access mode is not known");
                single.push(format!("{name}, {mode}"));
            }
        }
        Ok(single)
    }

    /// The policies that let something in or out of one of these pods: policies add up.
    async fn admitting(&self, pods: &[Seen]) -> Result<Vec<String>> {
        let policies: Api<NetworkPolicy> = Api::namespaced(self.cluster.client(), self.namespace);
        let what = || format!("the NetworkPolicies of {} could not be listed", self.namespace);
        let all = ListParams::default();
        let found = call(what, || policies.list(&all)).await?.items;
        let mut names = Vec::new();
        for policy in found {
            let Some(spec) = policy.spec else { continue };
            if !admits(&spec) {
                continue;
            }
            let selector: Selector =
                spec.pod_selector.unwrap_or_default().try_into().map_err(|e| {
                    Error::target("a NetworkPolicy selects nothing that makes sense").because(e)
                })?;
            let selected = self.selected(&selector, None).await?;
            if selected.iter().any(|one| pods.iter().any(|pod| pod.pod == one.pod)) {
                names.push(policy.metadata.name.unwrap_or_default());
            }
        }
        Ok(names)
    }

    /// The Services in the namespace of the anchor that lead to a pod.
    async fn services_of(&self, pods: &[Seen], anchor: &DynamicObject) -> Result<Vec<String>> {
        if anchor.metadata.namespace.is_none() || pods.is_empty() {
            return Ok(Vec::new());
        }
        let pods_api: Api<Pod> = Api::namespaced(self.cluster.client(), self.namespace);
        let services: Api<Service> = Api::namespaced(self.cluster.client(), self.namespace);
        let all = ListParams::default();
        let found = call(
            || format!("the Services of {} could not be listed", self.namespace),
            || services.list(&all),
        )
        .await?;
        let first = &pods[0].pod.name;
        let labels = call_opt(|| format!("Pod {first} could not be read"), || pods_api.get(first))
            .await?
            .and_then(|pod| pod.metadata.labels)
            .unwrap_or_default();
        Ok(found
            .items
            .into_iter()
            .filter(|service| {
                let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                selector.is_some_and(|selector| {
                    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
                })
            })
            .filter_map(|service| service.metadata.name)
            .collect())
    }

    async fn processors(&self, pods: &[Seen]) -> Result<BTreeMap<String, f64>> {
        let mut names: Vec<&str> =
            pods.iter().map(|pod| pod.node.as_str()).filter(|node| !node.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        let mut allocatable = BTreeMap::new();
        for name in names {
            // Who may not read nodes may have every fault that needs nothing of them.
            let cores = match nodes::find(self.cluster, name).await {
                Ok(Some(node)) => node
                    .status
                    .and_then(|status| status.allocatable)
                    .and_then(|all| all.get("cpu").and_then(|cpu| quantity(&cpu.0)))
                    .unwrap_or(0.0),
                Ok(None) | Err(_) => 0.0,
            };
            allocatable.insert(name.to_owned(), cores);
        }
        Ok(allocatable)
    }

    async fn object(&self, kind: AimKind, name: &str) -> Result<DynamicObject> {
        let reference = ObjectRef {
            api_version: kind.api_version().into(),
            kind: kind.kind().into(),
            namespace: (kind != AimKind::Node).then(|| self.namespace.to_owned()),
            name: name.into(),
        };
        self.find(&reference).await?.ok_or_else(|| self.unknown(kind, name))
    }

    async fn get(&self, reference: &ObjectRef) -> Result<DynamicObject> {
        self.find(reference).await?.ok_or_else(|| Error::target(format!("{reference} is gone")))
    }

    async fn find(&self, reference: &ObjectRef) -> Result<Option<DynamicObject>> {
        find(self.cluster, reference).await
    }

    fn unknown(&self, kind: AimKind, name: &str) -> Error {
        let place = match kind {
            AimKind::Node => format!("on context `{}`", self.cluster.context()),
            _ => format!("in namespace {}", self.namespace),
        };
        Error::usage(format!("there is no {} {name} {place}", kind.kind()))
            .hint(format!("kubectl get {}", kind.kind().to_lowercase()))
    }
}

/// An object with its kind; `None` where it is not there.
pub async fn find(cluster: &Cluster, reference: &ObjectRef) -> Result<Option<DynamicObject>> {
    let Some((api, kind)) = cluster.api(reference, "default").await? else { return Ok(None) };
    let found = call_opt(|| format!("{reference} could not be read"), || api.get(&reference.name)).await?;
    Ok(found.map(|mut object| {
        object.types.get_or_insert_with(|| TypeMeta {
            api_version: kind.resource.api_version.clone(),
            kind: kind.resource.kind.clone(),
        });
        object
    }))
}

fn one(pod: Pod, workload: Option<ObjectRef>, stays: bool) -> Seen {
    let ready = crate::target::kubernetes::forward::is_ready(&pod);
    let spec = pod.spec.unwrap_or_default();
    let limit = |container: &k8s_openapi::api::core::v1::Container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        quantity(&limits.get("memory")?.0).map(|bytes| bytes as u64)
    };
    Seen {
        pod: PodRef {
            namespace: pod.metadata.namespace.unwrap_or_default(),
            name: pod.metadata.name.unwrap_or_default(),
            uid: pod.metadata.uid.unwrap_or_default(),
        },
        node: spec.node_name.unwrap_or_default(),
        address: pod.status.and_then(|status| status.pod_ip).unwrap_or_default(),
        ready,
        containers: spec
            .containers
            .iter()
            .map(|container| (container.name.clone(), limit(container)))
            .collect(),
        ports: spec
            .containers
            .iter()
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| u16::try_from(port.container_port).ok())
            .collect(),
        images: spec.containers.iter().filter_map(|container| container.image.clone()).collect(),
        workload,
        stays,
    }
}

fn selector_of(workload: &DynamicObject) -> Result<Selector> {
    let selector: LabelSelector =
        serde_json::from_value(workload.data["spec"]["selector"].clone()).unwrap_or_default();
    let failed = || Error::target(format!("the selector of {} cannot be read", ObjectRef::of(workload)));
    Selector::try_from(selector).map_err(|e| failed().because(e))
}

/// Whether labels are those of a pod that serves a fault or sends a load.
fn is_own(labels: Option<&BTreeMap<String, String>>) -> bool {
    let is = |key: &str, value: &str| labels.and_then(|all| all.get(key)).is_some_and(|is| is == value);
    let of_fault = labels.is_some_and(|all| all.contains_key(LABEL));
    is(MANAGED_BY, MANAGER) && (of_fault || is(load_job::LABEL, load_job::NAME))
}

pub(super) fn controller(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
}

/// Whether a policy lets anything through.
fn admits(spec: &NetworkPolicySpec) -> bool {
    let is_empty = |rules: Option<usize>| rules.unwrap_or(0) == 0;
    !is_empty(spec.ingress.as_ref().map(Vec::len)) || !is_empty(spec.egress.as_ref().map(Vec::len))
}

fn reference(owner: &OwnerReference, namespace: &str) -> ObjectRef {
    ObjectRef {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        namespace: Some(namespace.into()),
        name: owner.name.clone(),
    }
}

/// The number in a quantity of Kubernetes: `500m`, `128Mi`, `1.5G`.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        for (text, number) in [("500m", 0.5), ("2", 2.0), ("128Mi", 134_217_728.0), ("1.5G", 1.5e9)] {
            assert_eq!(quantity(text), Some(number), "{text}");
        }
        assert_eq!(quantity("many"), None);
    }

    #[test]
    fn pods_of_sre_itself_are_known_by_their_labels() {
        let labels = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let managed = (MANAGED_BY, MANAGER);
        for own in [[managed, (LABEL, "one")], [managed, ("app.kubernetes.io/name", "sre-load")]] {
            assert!(is_own(Some(&labels(&own))), "{own:?}");
        }
        // The demo service is applied by sre, too, and is a workload like any other.
        assert!(!is_own(Some(&labels(&[managed, ("app.kubernetes.io/name", "users-api")]))));
        assert!(!is_own(None));
    }
}
