//! Which Services and pods are a Prometheus, by the labels that its charts and operators give them.

use indexmap::IndexMap;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The labels of a Prometheus, the surest first. Services and pods carry the same, or another of these.
const LABELS: [&[(&str, &str)]; 7] = [
    // kube-prometheus-stack
    &[("app", "kube-prometheus-stack-prometheus")],
    // The operator's own Service, whatever installed the operator
    &[("operated-prometheus", "true")],
    // kube-prometheus; and the operator's pods
    &[("app.kubernetes.io/name", "prometheus"), ("app.kubernetes.io/component", "prometheus")],
    // The community chart
    &[("app.kubernetes.io/name", "prometheus"), ("app.kubernetes.io/component", "server")],
    &[("app", "prometheus"), ("component", "server")],
    // Manifests by hand, Istio's sample, minikube's tutorials
    &[("app.kubernetes.io/name", "prometheus")],
    &[("app", "prometheus")],
];

/// Names of the port that Prometheus answers on.
const PORTS: [&str; 5] = ["http-web", "web", "http", "http-prometheus", "prometheus"];
const PORT: i32 = 9090;

/// A Service or a pod that may be a Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// What it is.
    pub kind: Kind,
    /// Its base path, for one that does not answer at `/`; without slashes around it.
    pub path: String,
    /// Pods behind it, and their port, for a port-forward; `None` where they are not known.
    pub pods: Option<(IndexMap<String, String>, u16)>,
}

/// What a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Service.
    Service,
    /// A pod.
    Pod,
}

impl Candidate {
    /// As it is shown, and as `--prometheus` takes it: `monitoring/prometheus-operated:9090`.
    pub fn place(&self) -> String {
        let path = if self.path.is_empty() { String::new() } else { format!("/{}", self.path) };
        format!("{}/{}:{}{path}", self.namespace, self.name, self.port)
    }

    /// The path of the API server that leads there.
    pub fn proxy_path(&self) -> String {
        let kind = match self.kind {
            Kind::Service => "services",
            Kind::Pod => "pods",
        };
        let Candidate { namespace, name, port, path, .. } = self;
        format!("/api/v1/namespaces/{namespace}/{kind}/{name}:{port}/proxy/{path}")
    }
}

/// The Services and pods that are a Prometheus, the surest first; one of each namespace, Services before pods.
pub fn candidates(services: &[Service], pods: &[Pod]) -> Vec<Candidate> {
    let mut ranked: Vec<(usize, Candidate)> = services
        .iter()
        .filter_map(|service| Some((rank(service.metadata.labels.as_ref())?, of_service(service)?)))
        .collect();
    ranked.extend(pods.iter().filter_map(|pod| {
        // A pod is the last resort: its name changes.
        Some((LABELS.len() + rank(pod.metadata.labels.as_ref())?, of_pod(pod)?))
    }));
    ranked.sort_by(|(a, one), (b, other)| (a, one.place()).cmp(&(b, other.place())));
    let mut found: Vec<Candidate> = Vec::new();
    for (_, candidate) in ranked {
        if found.iter().all(|known| known.namespace != candidate.namespace) {
            found.push(candidate);
        }
    }
    found
}

fn rank(labels: Option<&std::collections::BTreeMap<String, String>>) -> Option<usize> {
    let labels = labels?;
    LABELS.iter().position(|wanted| {
        wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|known| known == value))
    })
}

/// A Service as a candidate; `None` without a port that may be Prometheus'.
fn of_service(service: &Service) -> Option<Candidate> {
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let named = |name: &str| ports.iter().find(|port| port.name.as_deref() == Some(name));
    let port = PORTS
        .into_iter()
        .find_map(named)
        .or_else(|| ports.iter().find(|port| port.port == PORT))
        .or_else(|| ports.first().filter(|_| ports.len() == 1))?;
    Some(Candidate {
        namespace: service.metadata.namespace.clone()?,
        name: service.metadata.name.clone()?,
        port: u16::try_from(port.port).ok()?,
        kind: Kind::Service,
        path: String::new(),
        pods: behind(service, port),
    })
}

/// A Service that was named, with the port that was, if one was; else `None` without a port that may be Prometheus'.
pub fn of_named(service: &Service, port: Option<u16>, path: &str) -> Option<Candidate> {
    let candidate = match port {
        None => of_service(service)?,
        Some(number) => {
            let ports = service.spec.as_ref()?.ports.as_deref().unwrap_or_default();
            let port = ports.iter().find(|port| port.port == i32::from(number));
            Candidate {
                namespace: service.metadata.namespace.clone()?,
                name: service.metadata.name.clone()?,
                port: number,
                kind: Kind::Service,
                path: String::new(),
                pods: port.and_then(|port| behind(service, port)),
            }
        }
    };
    Some(Candidate { path: path.to_owned(), ..candidate })
}

/// The pods behind a port of a Service, and their port.
fn behind(service: &Service, port: &ServicePort) -> Option<(IndexMap<String, String>, u16)> {
    let selector = service.spec.as_ref()?.selector.as_ref().filter(|selector| !selector.is_empty())?;
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        // By its usual number: what a name stands for is told by the pods, which may not be listed.
        Some(IntOrString::String(_)) => PORT,
    };
    let labels = selector.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Some((labels, u16::try_from(number).ok()?))
}

fn of_pod(pod: &Pod) -> Option<Candidate> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports
        .clone()
        .find(|port| port.name.as_deref().is_some_and(|name| PORTS.contains(&name)))
        .or_else(|| ports.find(|port| port.container_port == PORT))?;
    let port = u16::try_from(port.container_port).ok()?;
    let labels = pod.metadata.labels.as_ref()?;
    Some(Candidate {
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
        port,
        kind: Kind::Pod,
        path: String::new(),
        pods: Some((labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(), port)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(namespace: &str, name: &str, labels: Value, ports: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "labels": labels},
            "spec": {"selector": {"app.kubernetes.io/name": "prometheus"}, "ports": ports}
        }))
        .expect("a Service")
    }

    fn places(services: &[Service], pods: &[Pod]) -> Vec<String> {
        candidates(services, pods).iter().map(Candidate::place).collect()
    }

    #[test]
    fn the_usual_installations_are_found_by_their_labels() {
        let stack = service(
            "monitoring",
            "monitoring-kube-prometheus-prometheus",
            json!({"app": "kube-prometheus-stack-prometheus", "release": "monitoring"}),
            json!([{"name": "http-web", "port": 9090, "targetPort": 9090},
                   {"name": "reloader-web", "port": 8080, "targetPort": "reloader-web"}]),
        );
        let operated = service(
            "monitoring",
            "prometheus-operated",
            json!({"operated-prometheus": "true"}),
            json!([{"name": "http-web", "port": 9090, "targetPort": "http-web"}]),
        );
        let community = service(
            "prometheus",
            "prometheus-server",
            json!({"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"}),
            json!([{"name": "http", "port": 80, "targetPort": 9090}]),
        );
        let alertmanager = service(
            "monitoring",
            "alertmanager-operated",
            json!({"operated-alertmanager": "true"}),
            json!([{"name": "http-web", "port": 9093}]),
        );
        let all = [community.clone(), alertmanager, operated.clone(), stack];
        assert_eq!(
            places(&all, &[]),
            ["monitoring/monitoring-kube-prometheus-prometheus:9090", "prometheus/prometheus-server:80"]
        );
        assert_eq!(places(&[operated], &[]), ["monitoring/prometheus-operated:9090"]);
        let found = candidates(&[community], &[]).remove(0);
        assert_eq!(found.proxy_path(), "/api/v1/namespaces/prometheus/services/prometheus-server:80/proxy/");
        assert_eq!(found.pods.expect("a selector").1, 9090, "the pods' port, not the Service's");
    }

    #[test]
    fn a_pod_will_do_where_there_is_no_service() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "lab", "name": "prometheus-0", "labels": {"app": "prometheus"}},
            "spec": {"containers": [{"name": "prometheus", "ports": [{"containerPort": 9090}]}]}
        }))
        .expect("a Pod");
        assert_eq!(places(&[], std::slice::from_ref(&pod)), ["lab/prometheus-0:9090"]);
        let found = candidates(&[], std::slice::from_ref(&pod)).remove(0);
        assert_eq!(found.proxy_path(), "/api/v1/namespaces/lab/pods/prometheus-0:9090/proxy/");
        let service = service("lab", "prom", json!({"app": "prometheus"}), json!([{"port": 9090}]));
        assert_eq!(places(&[service], &[pod]), ["lab/prom:9090"]);
    }

    #[test]
    fn what_has_no_port_of_prometheus_is_none() {
        let two = service(
            "lab",
            "p",
            json!({"app": "prometheus"}),
            json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]),
        );
        assert_eq!(places(&[two], &[]), Vec::<String>::new());
    }
}
