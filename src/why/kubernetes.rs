//! The links that only a cluster has: Service, pods, monitor, operator; and the pods that write and collect lines.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{DynamicObject, Selector, SelectorExt as _};
use serde_json::Value;

use super::Place;
use super::chain::Walk;
use super::line::{Source, known_by};
use super::look::some;
use crate::error::Result;
use crate::figures::counted;
use crate::inspect::operators;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::logs::{self, Wanted};
use crate::target::kubernetes::parts;
use crate::target::kubernetes::readiness::{Readiness, readiness, trouble};

/// The group of the operator's kinds.
const GROUP: &str = "monitoring.coreos.com";
/// How many last lines of the service's pods are looked through.
const LAST_LINES: usize = 10_000;

/// What a cluster has between a Service and Prometheus.
pub struct Facts {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The Services.
    pub services: Vec<DynamicObject>,
    /// The pods.
    pub pods: Vec<DynamicObject>,
    /// The namespaces.
    pub namespaces: Vec<DynamicObject>,
    /// ServiceMonitors and PodMonitors; none where the cluster does not know them, or why they can't be read.
    pub monitors: Option<Result<Vec<DynamicObject>>>,
    /// The operator's Prometheus objects.
    pub prometheuses: Option<Result<Vec<DynamicObject>>>,
    /// The Deployments, the operator among them.
    pub deployments: Result<Vec<DynamicObject>>,
}

/// Walks from the Service to the operator; the names of the jobs that come of its monitors.
pub async fn walk(place: &Place<'_>, cluster: &Cluster, name: &str, walk: &mut Walk) -> Vec<String> {
    let own = place.lab.cluster.as_ref().map_or("default", |lab| lab.namespace.as_str());
    let (namespace, name) = name.split_once('/').unwrap_or((own, name));
    let services = match cluster.all("", "Service").await {
        Ok(services) => services.unwrap_or_default(),
        Err(error) => {
            walk.untold("the Service is there", &error);
            return Vec::new();
        }
    };
    // A job, an instance or a pod is Prometheus' to know.
    if !services.iter().any(|service| is(service, namespace, name)) {
        return Vec::new();
    }
    let list = |kind: &'static str| async move { cluster.all(GROUP, kind).await.transpose() };
    let monitors = match (list("ServiceMonitor").await, list("PodMonitor").await) {
        (None, None) => None,
        (Some(Err(error)), _) | (_, Some(Err(error))) => Some(Err(error)),
        (services, pods) => {
            let all = [services, pods].into_iter().flatten().flatten();
            Some(Ok(all.flatten().collect()))
        }
    };
    let facts = Facts {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        services,
        pods: cluster.all("", "Pod").await.ok().flatten().unwrap_or_default(),
        namespaces: cluster.all("", "Namespace").await.ok().flatten().unwrap_or_default(),
        monitors,
        prometheuses: list("Prometheus").await,
        deployments: cluster.all("apps", "Deployment").await.map(Option::unwrap_or_default),
    };
    judge(&facts, walk)
}

fn is(object: &DynamicObject, namespace: &str, name: &str) -> bool {
    object.metadata.namespace.as_deref() == Some(namespace) && object.metadata.name.as_deref() == Some(name)
}

fn named(object: &DynamicObject) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", of(&object.metadata.namespace), of(&object.metadata.name))
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

fn labels(object: &DynamicObject) -> BTreeMap<String, String> {
    object.metadata.labels.clone().unwrap_or_default()
}

/// Whether a label selector selects these labels; one that cannot be read selects nothing.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let selector: LabelSelector = serde_json::from_value(selector.clone()).unwrap_or_default();
    Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

/// What of a label selector does not fit: `it wants release=kps, and there is none`.
fn unlike(selector: &Value, labels: &BTreeMap<String, String>) -> String {
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let other = wanted.filter_map(|(key, value)| Some((key, value.as_str()?)));
    let mut other = other.filter(|(key, value)| labels.get(*key).map(String::as_str) != Some(value));
    match other.next() {
        Some((key, value)) => match labels.get(key) {
            Some(is) => format!("it wants {key}={value}, and it is {is}"),
            None => format!("it wants {key}={value}, and there is none"),
        },
        None => "its matchExpressions do not fit".into(),
    }
}

/// The links between a Service and the operator; the names of the jobs that come of its monitors. Pure.
pub fn judge(facts: &Facts, walk: &mut Walk) -> Vec<String> {
    const PODS: &str = "its selector finds pods";
    const READY: &str = "its pods are ready";
    let Facts { namespace, name, .. } = facts;
    let Some(service) = facts.services.iter().find(|service| is(service, namespace, name)) else {
        return Vec::new();
    };
    walk.ok("the Service is there", named(service));
    let wanted = &service.data["spec"]["selector"];
    let here = |pod: &&DynamicObject| pod.metadata.namespace.as_deref() == Some(namespace);
    let selected: Vec<&DynamicObject> = facts
        .pods
        .iter()
        .filter(here)
        .filter(|pod| {
            wanted.is_object() && selects(&serde_json::json!({"matchLabels": wanted}), &labels(pod))
        })
        .collect();
    if selected.is_empty() {
        let shown: Vec<String> = wanted
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        walk.broken(
            PODS,
            format!("No pod in {namespace} has {}.", shown.join(",")),
            format!("kubectl -n {namespace} get pods --show-labels; does its workload have replicas?"),
        );
        return Vec::new();
    }
    walk.ok(PODS, counted(selected.len() as u64, "pod"));
    let ready = selected.iter().filter(|pod| readiness("Pod", pod) == Readiness::Ready).count();
    if ready == 0 {
        let ill = selected.iter().find_map(|pod| Some((named(pod), trouble(pod)?)));
        let (pod, why) = ill.unwrap_or_else(|| (named(selected[0]), "not ready".into()));
        let pod = pod.rsplit('/').next().unwrap_or_default().to_owned();
        walk.broken(
            READY,
            format!("None is; pod {pod}: {why}"),
            format!("kubectl -n {namespace} describe pod {pod}"),
        );
        return Vec::new();
    }
    walk.ok(READY, format!("{ready} of {}", selected.len()));
    monitored(facts, service, &selected, walk)
}

fn monitored(
    facts: &Facts,
    service: &DynamicObject,
    pods: &[&DynamicObject],
    walk: &mut Walk,
) -> Vec<String> {
    const MONITORED: &str = "a monitor selects it";
    let monitors = match &facts.monitors {
        // Nothing here is monitored by an operator.
        None => return Vec::new(),
        Some(Ok(monitors)) => monitors,
        Some(Err(error)) => {
            walk.untold(MONITORED, error);
            return Vec::new();
        }
    };
    let own = labels(service);
    let fits = |monitor: &&DynamicObject| {
        let selector = &monitor.data["spec"]["selector"];
        sees(monitor, &facts.namespace)
            && match kind(monitor) {
                "PodMonitor" => pods.iter().any(|pod| selects(selector, &labels(pod))),
                _ => selects(selector, &own),
            }
    };
    let found: Vec<&DynamicObject> = monitors.iter().filter(fits).collect();
    if found.is_empty() {
        let (why, hint) = not_monitored(facts, monitors, &own);
        walk.broken(MONITORED, why, hint);
        return Vec::new();
    }
    walk.ok(
        MONITORED,
        some(
            found
                .iter()
                .map(|monitor| format!("{} {}", kind(monitor), named(monitor)))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        ),
    );
    ported(service, pods, &found, walk);
    chosen(facts, &found, walk);
    operated(facts, &found, walk);
    if walk.is_over() { Vec::new() } else { found.iter().flat_map(|monitor| jobs(monitor)).collect() }
}

/// Whether a monitor looks into a namespace.
fn sees(monitor: &DynamicObject, namespace: &str) -> bool {
    let selector = &monitor.data["spec"]["namespaceSelector"];
    let mut named = selector["matchNames"].as_array().into_iter().flatten().peekable();
    match (selector["any"] == true, named.peek().is_some()) {
        (true, _) => true,
        (false, true) => named.any(|name| name == namespace),
        (false, false) => monitor.metadata.namespace.as_deref() == Some(namespace),
    }
}

/// Why no monitor selects it, and what mends it: the one that is nearest is told.
fn not_monitored(
    facts: &Facts,
    monitors: &[DynamicObject],
    own: &BTreeMap<String, String>,
) -> (String, String) {
    let namespace = &facts.namespace;
    let selector = |monitor: &DynamicObject| monitor.data["spec"]["selector"].clone();
    let of_services = || monitors.iter().filter(|monitor| kind(monitor) == "ServiceMonitor");
    if let Some(blind) =
        of_services().find(|monitor| selects(&selector(monitor), own) && !sees(monitor, namespace))
    {
        return (
            format!("ServiceMonitor {} would select it, but does not look into {namespace}.", named(blind)),
            format!("Name {namespace} in its `namespaceSelector.matchNames`."),
        );
    }
    if let Some(near) = of_services().find(|monitor| sees(monitor, namespace)) {
        return (
            format!("ServiceMonitor {} does not: {}.", named(near), unlike(&selector(near), own)),
            "Change its `selector`, or label the Service: a ServiceMonitor goes by the labels of the Service, not by those of its pods.".into(),
        );
    }
    (
        format!("No ServiceMonitor and no PodMonitor looks into {namespace}."),
        format!("Make one that selects the labels of Service {namespace}/{}.", facts.name),
    )
}

/// The endpoints of a monitor.
fn endpoints(monitor: &DynamicObject) -> &[Value] {
    let key = if kind(monitor) == "PodMonitor" { "podMetricsEndpoints" } else { "endpoints" };
    monitor.data["spec"][key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The jobs that the operator makes of a monitor.
fn jobs(monitor: &DynamicObject) -> Vec<String> {
    let prefix = if kind(monitor) == "PodMonitor" { "podMonitor" } else { "serviceMonitor" };
    (0..endpoints(monitor).len()).map(|i| format!("{prefix}/{}/{i}", named(monitor))).collect()
}

/// Whether one of the monitors' ports is there.
fn ported(service: &DynamicObject, pods: &[&DynamicObject], monitors: &[&DynamicObject], walk: &mut Walk) {
    const PORT: &str = "the port that it names is there";
    let ports = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let of_service = ports(&service.data["spec"]["ports"]);
    let of_pods: Vec<Value> = pods
        .iter()
        .flat_map(|pod| ports(&pod.data["spec"]["containers"]))
        .flat_map(|container| ports(&container["ports"]))
        .collect();
    let is_there = |monitor: &DynamicObject, endpoint: &Value| {
        let (port, target) = (&endpoint["port"], &endpoint["targetPort"]);
        let of_pod = |wanted: &Value| {
            of_pods.iter().any(|port| port["name"] == *wanted || port["containerPort"] == *wanted)
        };
        match (kind(monitor), port.is_null(), target.is_null()) {
            ("PodMonitor", false, _) => of_pod(port),
            ("PodMonitor", ..) => target.is_null() || of_pod(target),
            (_, false, _) => of_service.iter().any(|known| known["name"] == *port),
            (_, true, false) => {
                of_pod(target) || of_service.iter().any(|known| known["targetPort"] == *target)
            }
            // Without a port it is each of them.
            _ => true,
        }
    };
    let all = || {
        monitors
            .iter()
            .flat_map(|monitor| endpoints(monitor).iter().map(move |endpoint| (*monitor, endpoint)))
    };
    if all().any(|(monitor, endpoint)| is_there(monitor, endpoint)) {
        return walk.ok(PORT, "");
    }
    let Some((monitor, endpoint)) = all().next() else {
        return walk.broken(PORT, "The monitor has no endpoint.", "Name the port in its `endpoints`.");
    };
    let wanted = [&endpoint["port"], &endpoint["targetPort"]].into_iter().find(|port| !port.is_null());
    let (of, there) =
        if kind(monitor) == "PodMonitor" { ("its pods", &of_pods) } else { ("the Service", &of_service) };
    let names: Vec<&str> = there.iter().map(|port| port["name"].as_str().unwrap_or("(no name)")).collect();
    walk.broken(
        PORT,
        format!(
            "{} {} wants the port {}; {of} has: {}.",
            kind(monitor),
            named(monitor),
            wanted.map_or("(none)".into(), plain),
            if names.is_empty() { "none".into() } else { some(names) }
        ),
        "A monitor goes by the port's name, not by its number: give the port that name, or change the monitor.",
    );
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a Prometheus of the operator takes one of the monitors.
fn chosen(facts: &Facts, monitors: &[&DynamicObject], walk: &mut Walk) {
    const CHOSEN: &str = "Prometheus selects the monitor";
    let prometheuses = match &facts.prometheuses {
        None => return,
        Some(Ok(all)) => all,
        Some(Err(error)) => return walk.untold(CHOSEN, error),
    };
    let of =
        |monitor: &DynamicObject| if kind(monitor) == "PodMonitor" { "podMonitor" } else { "serviceMonitor" };
    let mut why = String::new();
    for prometheus in prometheuses {
        for monitor in monitors {
            let (spec, prefix) = (&prometheus.data["spec"], of(monitor));
            let selector = &spec[format!("{prefix}Selector")];
            let of_namespaces = &spec[format!("{prefix}NamespaceSelector")];
            let namespace = monitor.metadata.namespace.as_deref().unwrap_or_default();
            let in_namespace = match of_namespaces.is_null() {
                true => prometheus.metadata.namespace.as_deref() == Some(namespace),
                false => {
                    let found = facts
                        .namespaces
                        .iter()
                        .find(|known| known.metadata.name.as_deref() == Some(namespace));
                    found.is_some_and(|found| selects(of_namespaces, &labels(found)))
                }
            };
            if !selector.is_null() && selects(selector, &labels(monitor)) && in_namespace {
                return walk.ok(CHOSEN, named(prometheus));
            }
            if why.is_empty() {
                let what = match (selector.is_null(), in_namespace) {
                    (true, _) => format!("has no {prefix}Selector, and so takes none"),
                    (false, false) => format!("does not look into {namespace} ({prefix}NamespaceSelector)"),
                    (false, true) => {
                        format!("goes by labels ({prefix}Selector): {}", unlike(selector, &labels(monitor)))
                    }
                };
                why =
                    format!("Prometheus {} does not take {}: it {what}.", named(prometheus), named(monitor));
            }
        }
    }
    if prometheuses.is_empty() {
        why = "There is no Prometheus object: the operator runs none.".into();
    }
    walk.broken(CHOSEN, why, "Label the monitor as that selector wants it, or change the selector (of kube-prometheus-stack: `prometheus.prometheusSpec`).");
}

fn operated(facts: &Facts, monitors: &[&DynamicObject], walk: &mut Walk) {
    const RUNS: &str = "the operator runs";
    let deployments = match &facts.deployments {
        Ok(deployments) => deployments,
        Err(error) => return walk.untold(RUNS, error),
    };
    let running: Vec<&DynamicObject> =
        deployments.iter().filter(|one| !operators(std::slice::from_ref(*one)).is_empty()).collect();
    let Some(first) = running.first() else {
        return walk.broken(
            RUNS,
            "No Deployment runs a prometheus-operator: nobody writes the monitors into a configuration.",
            "`sre doctor --target cluster` tells more; install it again (kube-prometheus-stack).",
        );
    };
    let is_ready = |one: &&&DynamicObject| {
        readiness("Deployment", one) == Readiness::Ready
            && one.data["status"]["readyReplicas"].as_u64().unwrap_or(0) > 0
    };
    let Some(ready) = running.iter().find(is_ready) else {
        let (namespace, name) = (
            first.metadata.namespace.clone().unwrap_or_default(),
            first.metadata.name.clone().unwrap_or_default(),
        );
        return walk.broken(
            RUNS,
            format!("Deployment {} has no ready pod.", named(first)),
            format!("kubectl -n {namespace} describe deployment {name}"),
        );
    };
    let watched = operators(std::slice::from_ref(*ready))
        .into_iter()
        .flat_map(|operator| operator.namespaces)
        .collect::<Vec<_>>();
    let seen = |monitor: &&&DynamicObject| {
        watched.is_empty() || watched.iter().any(|one| Some(one) == monitor.metadata.namespace.as_ref())
    };
    match monitors.iter().any(|monitor| seen(&monitor)) {
        true => walk.ok(RUNS, named(ready)),
        false => walk.broken(
            RUNS,
            format!("{} looks after {} only.", named(ready), watched.join(", ")),
            "Name the monitor's namespace in its argument --namespaces.",
        ),
    }
}

/// The pods that collect the lab's lines.
pub async fn collectors(place: &Place<'_>, cluster: &Cluster, walk: &mut Walk) {
    const RUNS: &str = "what collects lines runs";
    let Some(lab) = &place.lab.cluster else { return };
    let pods = match parts::pods(cluster, lab).await {
        Ok(pods) => pods,
        Err(error) => return walk.untold(RUNS, &error),
    };
    let collectors: Vec<_> = pods.iter().filter(|pod| pod.name.contains("collector")).collect();
    let ill = collectors.iter().find(|pod| readiness("Pod", &pod.object) != Readiness::Ready);
    match (collectors.len(), ill) {
        (0, _) => {}
        (_, Some(pod)) => walk.broken(
            RUNS,
            format!("Pod {} is not ready: {}", pod.name, trouble(&pod.object).unwrap_or_default()),
            format!("`sre logs {}` shows what it wrote.", pod.name),
        ),
        (count, None) => walk.ok(RUNS, counted(count as u64, "pod")),
    }
}

/// Whether the service's pods wrote a line. The name of the service, or of a pod, stands for its newest line.
pub async fn pod_lines(
    place: &Place<'_>,
    cluster: &Cluster,
    name: &str,
    of_service: bool,
) -> (String, Source) {
    let Some(lab) = &place.lab.cluster else { return (name.to_owned(), Source::NotKnown) };
    let is_pod = place.lab.endpoints.pods.iter().any(|pod| pod.name == name);
    let of = if is_pod { name } else { "app" };
    let wanted = Wanted { name: of.into(), container: None, lines: LAST_LINES, previous: false };
    let lines = logs::last(cluster, lab, &wanted, &|_| ()).await;
    match lines {
        Err(error) => (name.to_owned(), Source::Pods(Err(error))),
        Ok(mut lines) if is_pod || of_service => {
            // The pod's name stands before the line where there are several.
            let last = lines.pop().unwrap_or_default();
            let pod = place.lab.endpoints.pods.iter().find(|pod| last.starts_with(&pod.name));
            let line = pod.map_or(last.as_str(), |pod| last[pod.name.len()..].trim_start());
            (known_by(line.to_owned()), Source::Pods(Ok(!line.is_empty())))
        }
        Ok(lines) => (name.to_owned(), Source::Pods(Ok(lines.iter().any(|line| line.contains(name))))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::target::kubernetes::fake::Fake;
    use crate::why::chain::State;

    fn shop() -> Vec<Value> {
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "web"}}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
            json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"release": "kps"}},
                "spec": {"selector": {"matchLabels": {"app": "web"}}, "endpoints": [{"port": "http"}]}}),
            json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"name": "kps", "namespace": "monitoring"},
                "spec": {"serviceMonitorSelector": {"matchLabels": {"release": "kps"}}, "serviceMonitorNamespaceSelector": {}}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "operator", "namespace": "monitoring", "generation": 1},
                "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": "quay.io/prometheus-operator/prometheus-operator:v0.93.1"}]}}},
                "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}}),
        ]
    }

    /// What is told where these objects are changed so: by kind, path and value; null takes the object away.
    async fn told(changes: &[(&str, &str, Value)]) -> (Vec<String>, String, State, String) {
        let mut objects = shop();
        for (kind, path, value) in changes {
            let at = objects.iter().position(|object| object["kind"] == *kind).expect("an object");
            match path.is_empty() {
                true => drop(objects.remove(at)),
                false => *objects[at].pointer_mut(path).expect("a place") = value.clone(),
            }
        }
        let fake = Fake::new(&objects).await;
        let mut lab = fake.lab();
        lab.endpoints = crate::target::Endpoints::default();
        let folder = crate::target::Folder::at(std::path::Path::new("."));
        let place =
            Place { lab: &lab, stack: None, rules: &[], cluster: Some(&fake.cluster), state: &folder };
        let mut found = Walk::default();
        let jobs = walk(&place, &fake.cluster, "web", &mut found).await;
        let last = found.chain("target", "web").links.pop();
        let last = last.unwrap_or(super::super::Link {
            link: String::new(),
            state: State::Ok,
            found: String::new(),
            hint: None,
        });
        (jobs, last.link, last.state, format!("{} {}", last.found, last.hint.unwrap_or_default()))
    }

    #[tokio::test]
    async fn a_chain_that_is_whole_leads_to_the_monitors_job() {
        let (jobs, link, state, text) = told(&[]).await;
        assert_eq!((link.as_str(), state), ("the operator runs", State::Ok), "{text}");
        assert_eq!(jobs, ["serviceMonitor/shop/web/0"]);
        let (jobs, link, ..) = told(&[
            ("ServiceMonitor", "", Value::Null),
            ("Prometheus", "", Value::Null),
            ("Service", "", Value::Null),
        ])
        .await;
        assert!(jobs.is_empty() && link.is_empty(), "what is no Service is looked for in Prometheus alone");
    }

    #[tokio::test]
    async fn the_first_broken_link_of_a_service_is_named() {
        let unready = json!([{"type": "Ready", "status": "False"}]);
        for (change, link, hint) in [
            (
                ("Service", "/spec/selector", json!({"app": "wbe"})),
                "its selector finds pods",
                "No pod in shop has app=wbe.",
            ),
            (("Pod", "/status/conditions", unready), "its pods are ready", "describe pod web-1"),
            (
                ("ServiceMonitor", "", Value::Null),
                "a monitor selects it",
                "No ServiceMonitor and no PodMonitor looks into shop",
            ),
            (
                ("ServiceMonitor", "/spec/selector", json!({"matchLabels": {"app": "shop"}})),
                "a monitor selects it",
                "it wants app=shop, and it is web",
            ),
            (
                ("ServiceMonitor", "/metadata/namespace", json!("other")),
                "a monitor selects it",
                "does not look into shop",
            ),
            (
                ("ServiceMonitor", "/spec/endpoints/0/port", json!("web")),
                "the port that it names is there",
                "wants the port web; the Service has: http.",
            ),
            (
                ("Prometheus", "/spec/serviceMonitorSelector", json!({"matchLabels": {"release": "lab"}})),
                "Prometheus selects the monitor",
                "it wants release=lab, and it is kps",
            ),
            (
                ("Prometheus", "/spec/serviceMonitorSelector", Value::Null),
                "Prometheus selects the monitor",
                "has no serviceMonitorSelector",
            ),
            (
                (
                    "Prometheus",
                    "/spec/serviceMonitorNamespaceSelector",
                    json!({"matchLabels": {"team": "ops"}}),
                ),
                "Prometheus selects the monitor",
                "does not look into shop",
            ),
            (
                ("Prometheus", "", Value::Null),
                "Prometheus selects the monitor",
                "There is no Prometheus object",
            ),
            (("Deployment", "", Value::Null), "the operator runs", "nobody writes the monitors"),
            (
                ("Deployment", "/status", json!({"observedGeneration": 1})),
                "the operator runs",
                "describe deployment operator",
            ),
        ] {
            let about = format!("{change:?}");
            let (_, at, state, text) = told(&[change]).await;
            assert_eq!((at.as_str(), state), (link, State::Broken), "{about}: {text}");
            assert!(text.contains(hint), "{about}: {text}");
        }
    }
}
