//! How a stack runs on Kubernetes: the targets `minikube` and `cluster`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Duration;

/// How a stack runs on Kubernetes. Steps are named by their keys; a name stands for one step only.
///
/// Every step starts when all steps that it `needs` are done; steps that need nothing of each other run
/// at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterStack {
    /// The namespace of charts and objects that name none.
    pub namespace: String,
    /// Zones, given in turn to nodes that are in none.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Images that the nodes must have before pods name them.
    #[serde(default)]
    pub images: IndexMap<String, Image>,
    /// Helm charts; the step's name is the release's name.
    #[serde(default)]
    pub charts: IndexMap<String, Chart>,
    /// Manifests that are applied.
    #[serde(default)]
    pub manifests: IndexMap<String, Manifests>,
    /// Changes to objects, of this stack or of somebody else's.
    #[serde(default)]
    pub patches: IndexMap<String, Patch>,
    /// Makes the stack's rule files known to the Prometheus operator, as the step `rules`; without this they
    /// stay files.
    #[serde(default)]
    pub rules: Option<RuleObjects>,
    /// Where its parts answer.
    #[serde(default)]
    pub endpoints: ClusterEndpoints,
    /// The cluster that the target `minikube` provisions.
    #[serde(default)]
    pub minikube: Minikube,
}

/// An image that is built here and loaded into the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name, as pods write it: `shop:1.2`. An image of this program has no tag: the tag follows from its content,
    /// and stands in the stack's manifests where they write this name.
    pub image: String,
    /// The folder of a Dockerfile; without it the image holds this program and nothing else.
    #[serde(default)]
    pub dockerfile: Option<String>,
    /// Steps that must be done first.
    #[serde(default)]
    pub needs: Vec<String>,
}

/// A Helm chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// The chart's name in `repository`, an `oci://` reference, the path of a folder or a `.tgz`, or the name of a chart
    /// whose repository and version `sre` pins.
    pub chart: String,
    /// The repository's URL, where `chart` is a name.
    #[serde(default)]
    pub repository: Option<String>,
    /// The exact version; required unless the chart is a folder or a file, or pinned.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether it is installed at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The release's namespace, if not the stack's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Values files; the later win.
    #[serde(default)]
    pub values: Vec<String>,
    /// Single values by path, which win over files: `{grafana.enabled: false}`. `\.` is a dot in a key.
    #[serde(default)]
    pub set: IndexMap<String, serde_json::Value>,
    /// Steps that must be done first.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How long its workloads may take to be ready.
    #[serde(default = "default_wait")]
    pub wait: Duration,
}

/// Manifests that are applied, server-side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifests {
    /// Files of YAML documents; custom resource definitions may stand beside their objects.
    pub files: Vec<String>,
    /// The namespace of objects that name none, if not the stack's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whether they are applied at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Steps that must be done first.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How long its workloads may take to be ready.
    #[serde(default = "default_wait")]
    pub wait: Duration,
}

/// The stack's rule files as objects (`PrometheusRule`), one a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleObjects {
    /// Labels by which the operator selects them.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// How often their groups are evaluated, if not as often as their files say.
    #[serde(default)]
    pub interval: Option<Duration>,
    /// Steps that must be done first.
    #[serde(default)]
    pub needs: Vec<String>,
}

/// A change to objects, with kustomize's keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Which objects.
    pub target: PatchTarget,
    /// A strategic merge patch (a mapping) or a JSON patch (a list), as YAML.
    pub patch: String,
    /// Whether it is made at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Steps that must be done first.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How long the objects may take to be there, and to be ready again.
    #[serde(default = "default_wait")]
    pub wait: Duration,
}

/// Which objects a patch changes: all that match every key given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PatchTarget {
    /// API group; the core group, if left out.
    #[serde(default)]
    pub group: Option<String>,
    /// API version; the server's preferred one, if left out.
    #[serde(default)]
    pub version: Option<String>,
    /// Kind.
    pub kind: String,
    /// Name; any, if left out.
    #[serde(default)]
    pub name: Option<String>,
    /// Namespace, if not the stack's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Labels, as `kubectl -l` takes them.
    #[serde(default)]
    pub label_selector: Option<String>,
}

/// Where a stack's parts answer on a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterEndpoints {
    /// The service that load goes to; its pods are the replicas.
    #[serde(default)]
    pub service: Option<ClusterEndpoint>,
    /// The demo service's admin port.
    #[serde(default)]
    pub admin: Option<ClusterEndpoint>,
    /// Prometheus.
    #[serde(default)]
    pub prometheus: Option<ClusterEndpoint>,
    /// Alertmanager.
    #[serde(default)]
    pub alertmanager: Option<ClusterEndpoint>,
    /// The receiver of notifications.
    #[serde(default)]
    pub receiver: Option<ClusterEndpoint>,
    /// Loki.
    #[serde(default)]
    pub loki: Option<ClusterEndpoint>,
    /// Grafana.
    #[serde(default)]
    pub grafana: Option<ClusterEndpoint>,
}

/// Pods that answer, by their labels: names of charts' Services depend on releases, labels do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterEndpoint {
    /// The pods' namespace, if not the stack's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The pods' labels.
    pub labels: IndexMap<String, String>,
    /// The pods' port.
    pub port: u16,
    /// The port of the pods' metrics, as their `instance` label has it, if it is another one.
    #[serde(default)]
    pub metrics: Option<u16>,
    /// Whether there is such a part at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// The cluster that the target `minikube` provisions. What is left out is minikube's own choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Minikube {
    /// The profile, which is also the kubeconfig context.
    pub profile: String,
    /// How many nodes.
    pub nodes: u32,
    /// CPUs of each node.
    pub cpus: Option<u32>,
    /// Memory of each node, in minikube's notation: `4g`.
    pub memory: Option<String>,
    /// The driver: `docker`, `kvm2`, `ssh`, …
    pub driver: Option<String>,
    /// `containerd`, `cri-o` or `docker`.
    pub container_runtime: Option<String>,
    /// The Kubernetes version: `v1.35.1`.
    pub kubernetes_version: Option<String>,
    /// Addons that are switched on.
    pub addons: Vec<String>,
}

impl ClusterStack {
    /// The stack without what is not `enabled`, and without addons that have no name; nobody needs a step that is not there.
    pub fn enabled(mut self) -> ClusterStack {
        let mut left_out: Vec<String> = Vec::new();
        self.charts.retain(|name, chart| kept(name, chart.enabled, &mut left_out));
        self.manifests.retain(|name, manifests| kept(name, manifests.enabled, &mut left_out));
        self.patches.retain(|name, patch| kept(name, patch.enabled, &mut left_out));
        self.minikube.addons.retain(|addon| !addon.is_empty());
        let needs = self
            .images
            .values_mut()
            .map(|step| &mut step.needs)
            .chain(self.charts.values_mut().map(|step| &mut step.needs))
            .chain(self.manifests.values_mut().map(|step| &mut step.needs))
            .chain(self.patches.values_mut().map(|step| &mut step.needs))
            .chain(self.rules.iter_mut().map(|step| &mut step.needs));
        needs.for_each(|needs| needs.retain(|need| !left_out.contains(need)));
        let of = &mut self.endpoints;
        for endpoint in [
            &mut of.service,
            &mut of.admin,
            &mut of.prometheus,
            &mut of.alertmanager,
            &mut of.receiver,
            &mut of.loki,
            &mut of.grafana,
        ] {
            if endpoint.as_ref().is_some_and(|endpoint| !endpoint.enabled) {
                *endpoint = None;
            }
        }
        self
    }
}

fn kept(name: &str, enabled: bool, left_out: &mut Vec<String>) -> bool {
    if !enabled {
        left_out.push(name.to_owned());
    }
    enabled
}

impl Default for Minikube {
    fn default() -> Minikube {
        Minikube {
            profile: "sre".into(),
            nodes: 1,
            cpus: None,
            memory: None,
            driver: None,
            container_runtime: None,
            kubernetes_version: None,
            addons: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}

fn default_wait() -> Duration {
    Duration::from_secs(600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_enabled_is_not_there_and_needed_by_nobody() {
        let stack: ClusterStack = serde_saphyr::from_str(
            "namespace: lab\n\
             charts: {loki: {chart: ./loki, enabled: false}, collector: {chart: ./c, needs: [loki, other]}}\n\
             manifests: {other: {files: []}, off: {files: [], enabled: false}}\n\
             patches: {off-too: {target: {kind: Pod}, patch: 'a: b', enabled: false}}\n\
             endpoints: {loki: {labels: {a: b}, port: 1, enabled: false}, grafana: {labels: {a: b}, port: 1}}\n",
        )
        .unwrap();
        let stack = stack.enabled();
        assert_eq!(stack.charts.keys().collect::<Vec<_>>(), ["collector"]);
        assert_eq!(stack.charts["collector"].needs, ["other"]);
        assert_eq!(stack.manifests.keys().collect::<Vec<_>>(), ["other"]);
        assert!(stack.patches.is_empty());
        assert!(stack.endpoints.loki.is_none() && stack.endpoints.grafana.is_some());
    }
}
