//! Where the parts of a lab on a cluster answer just now: port-forwards for what is asked, a node's port for load.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, ListParams};
use kube::core::Selector;
use url::Url;

use super::client::Cluster;
use super::failure::call;
use super::forward::{Forward, is_ready};
use super::nodes;
use super::record::ClusterLab;
use crate::error::{Error, Result};
use crate::stack::ClusterEndpoint;
use crate::target::{Endpoint, Endpoints, Lab, Replica, ServicePod};

/// How long a node's port may take to be connected.
const CONNECT: Duration = Duration::from_secs(3);

/// A lab whose endpoints answer as long as this lives.
pub struct Reached {
    /// The lab, with its endpoints as they are now.
    pub lab: Lab,
    service: Option<PodsOf>,
    /// Its cluster, where it is on one.
    pub cluster: Option<Cluster>,
    /// Whether load has to be sent from inside the cluster.
    pub inside: bool,
    _forwards: Vec<Forward>,
}

/// Whose pods the replicas are.
struct PodsOf {
    cluster: Cluster,
    endpoint: ClusterEndpoint,
    namespace: String,
}

impl Reached {
    /// A lab that nothing has to be opened to, and whose pods nobody follows.
    pub fn of(lab: Lab) -> Reached {
        Reached { lab, service: None, cluster: None, inside: false, _forwards: Vec::new() }
    }

    /// The service's pods as they are now; `None` where it has none, or they cannot be listed.
    pub async fn pods(&self) -> Option<Vec<ServicePod>> {
        let service = self.service.as_ref()?;
        pods(&service.cluster, &service.endpoint, &service.namespace).await.ok()
    }
}

/// How load reaches the service of a lab on a cluster. It never goes through a port-forward, which would be
/// measured along with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// There will be none.
    Unneeded,
    /// From here to a port of a node.
    NodePort,
    /// From inside the cluster to the Service.
    Service,
    /// From here to a port of a node, where one answers; else from inside.
    NodePortOrService,
    /// From here to an ingress, a load balancer or whatever else answers at this base URL.
    Url(Url),
}

/// The cluster of a lab, if its context still leads there.
///
/// # Errors
/// The context cannot be used (2), or the cluster does not answer or is another one (6).
pub async fn connect(lab: &ClusterLab) -> Result<Cluster> {
    connect_to(lab.kubeconfig.as_deref(), &lab.context, &lab.identity).await
}

/// The cluster of a context, if it is the one with this identity.
///
/// # Errors
/// As for [`connect`].
pub async fn connect_to(kubeconfig: Option<&Path>, context: &str, identity: &str) -> Result<Cluster> {
    let cluster = Cluster::connect(kubeconfig, Some(context)).await?;
    let now = self::identity(&cluster).await?;
    if now == identity {
        return Ok(cluster);
    }
    Err(Error::target(format!("context `{context}` leads to another cluster than before"))
        .because_of(format!("the UID of its namespace kube-system is {now}, and was {identity}"))
        .hint("mend the kubeconfig; if that cluster is gone for good, remove .sre/lab.json"))
}

/// What tells one cluster from every other: the UID of its namespace `kube-system`.
pub async fn identity(cluster: &Cluster) -> Result<String> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let found = call(
        || format!("the cluster of context `{}` could not be told from others", cluster.context()),
        || api.get("kube-system"),
    )
    .await?;
    Ok(found.metadata.uid.unwrap_or_default())
}

/// Opens what a run needs of a lab on a cluster. A part that has no ready pod is left out: whoever needs it
/// finds no data; `warn` is told.
///
/// # Errors
/// As for [`connect`], and where the service that load goes to cannot be reached (6).
pub async fn reach(lab: &Lab, way: &Way, warn: &dyn Fn(&str)) -> Result<Reached> {
    let Some(place) = &lab.cluster else {
        return Ok(Reached::of(lab.clone()));
    };
    let cluster = connect(place).await?;
    let (mut forwards, mut inside) = (Vec::new(), false);
    let mut endpoints = Endpoints::default();
    let parts = [
        (&place.endpoints.prometheus, &mut endpoints.prometheus),
        (&place.endpoints.alertmanager, &mut endpoints.alertmanager),
        (&place.endpoints.receiver, &mut endpoints.receiver),
        (&place.endpoints.loki, &mut endpoints.loki),
    ];
    for (part, endpoint) in parts {
        let Some(part) = part else { continue };
        match Forward::open(&cluster, part, &place.namespace).await {
            Ok(forward) => {
                *endpoint = Some(Endpoint::new(forward.url()));
                forwards.push(forward);
            }
            Err(error) => warn(error.what()),
        }
    }
    if let Some(service) = &place.endpoints.service {
        endpoints.pods = pods(&cluster, service, &place.namespace).await?;
        endpoints.instances = instances_of(&endpoints.pods);
        let (url, from_inside) = match way {
            Way::Unneeded => (None, false),
            Way::NodePort => (Some(node_port(&cluster, service, &place.namespace).await?), false),
            Way::Service => (Some(inside_url(&cluster, service, &place.namespace).await?), true),
            Way::Url(url) => (Some(url.clone()), false),
            Way::NodePortOrService => match node_port(&cluster, service, &place.namespace).await {
                Ok(url) => (Some(url), false),
                Err(error) => {
                    warn(&format!("load is sent from inside the cluster (--via job): {error}"));
                    (Some(inside_url(&cluster, service, &place.namespace).await?), true)
                }
            },
        };
        inside = from_inside;
        let replica = |url| Replica { name: lab.stack.clone(), url, instance: None, admin: None };
        endpoints.replicas = url.into_iter().map(replica).collect();
    }
    let service = place.endpoints.service.clone().map(|endpoint| PodsOf {
        cluster: cluster.clone(),
        endpoint,
        namespace: place.namespace.clone(),
    });
    let lab = Lab { endpoints, ..lab.clone() };
    Ok(Reached { lab, service, cluster: Some(cluster), inside, _forwards: forwards })
}

/// The pods of an endpoint that are there to stay, by their names: neither ended nor on their way out.
pub async fn pods(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str) -> Result<Vec<ServicePod>> {
    let namespace = endpoint.namespace.as_deref().unwrap_or(namespace);
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let labels: Selector = endpoint.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let params = ListParams::default().labels_from(&labels);
    let found = call(|| format!("the pods with {labels} could not be listed"), || api.list(&params)).await?;
    let address = |pod: &Pod| {
        let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        Some(SocketAddr::new(address, endpoint.metrics.unwrap_or(endpoint.port)).to_string())
    };
    let ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && !ended(pod);
    let mut pods: Vec<ServicePod> = found
        .items
        .iter()
        .filter(stays)
        .map(|pod| ServicePod {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            instance: address(pod),
            ready: is_ready(pod),
        })
        .collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pods)
}

/// The `instance` labels of the pods that are ready, in order.
pub fn instances_of(pods: &[ServicePod]) -> Vec<String> {
    let ready = pods.iter().filter(|pod| pod.ready);
    let mut instances: Vec<String> = ready.filter_map(|pod| pod.instance.clone()).collect();
    instances.sort();
    instances
}

/// The Services in an endpoint's namespace, and that namespace.
async fn services<'a>(
    cluster: &Cluster,
    endpoint: &'a ClusterEndpoint,
    namespace: &'a str,
) -> Result<(Vec<Service>, &'a str)> {
    let namespace = endpoint.namespace.as_deref().unwrap_or(namespace);
    let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
    let (all, what) = (ListParams::default(), || format!("the Services of {namespace} could not be listed"));
    Ok((call(what, || services.list(&all)).await?.items, namespace))
}

/// The base URL of the service from inside the cluster.
async fn inside_url(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str) -> Result<Url> {
    let (found, namespace) = services(cluster, endpoint, namespace).await?;
    let address = found.iter().find_map(|service| address_inside(service, endpoint)).ok_or_else(|| {
        Error::target(format!("no Service in {namespace} leads to the pods that load goes to"))
            .hint("give the stack a Service whose selector is among the labels of its endpoint")
    })?;
    format!("http://{address}")
        .parse()
        .map_err(|e| Error::target(format!("{address} makes no URL")).because(e))
}

/// A Service's own address and port: by name, where it has no address of its own.
fn address_inside(service: &Service, endpoint: &ClusterEndpoint) -> Option<String> {
    if !leads_to(service, endpoint) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let is_ours = |port: &&ServicePort| {
        port.port == i32::from(endpoint.port)
            || port.target_port == Some(IntOrString::Int(endpoint.port.into()))
    };
    let ports = spec.ports.as_ref()?;
    let port = ports.iter().find(is_ours).or(ports.first())?.port;
    let host = match spec.cluster_ip.as_deref() {
        Some(address) if address.contains(':') => format!("[{address}]"),
        Some(address) if !address.is_empty() && address != "None" => address.to_owned(),
        // The pods themselves, which listen where the endpoint says.
        _ => {
            let (name, namespace) = (service.metadata.name.as_ref()?, service.metadata.namespace.as_ref()?);
            return Some(format!("{name}.{namespace}.svc:{}", endpoint.port));
        }
    };
    Some(format!("{host}:{port}"))
}

/// The base URL of the service by a node's port.
async fn node_port(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str) -> Result<Url> {
    let (found, namespace) = services(cluster, endpoint, namespace).await?;
    let port = found.iter().find_map(|service| port_of(service, endpoint)).ok_or_else(|| {
        Error::target(format!("no Service in {namespace} has a node's port to the pods that load goes to"))
            .hint("give the stack's Service `type: NodePort`, or send load from inside: --via job")
    })?;
    let addresses: Vec<String> = nodes::list(cluster).await?.iter().filter_map(address_of).collect();
    let mut refused = Vec::new();
    for address in &addresses {
        let connected =
            tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect((address.as_str(), port)));
        match connected.await {
            Ok(Ok(_)) => {
                let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
                return format!("http://{host}:{port}")
                    .parse()
                    .map_err(|e| Error::target(format!("{address}:{port} makes no URL")).because(e));
            }
            Ok(Err(e)) => refused.push(format!("{address}:{port}: {e}")),
            Err(_) => refused.push(format!("{address}:{port}: no connection within {} s", CONNECT.as_secs())),
        }
    }
    Err(Error::target("the service's port answers on no node")
        .because_of(refused.join("\n"))
        .hint("the nodes' addresses must be reachable from this machine; --via job sends load from inside"))
}

/// Whether a Service leads to an endpoint's pods.
fn leads_to(service: &Service, endpoint: &ClusterEndpoint) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
    })
}

/// The node's port of a Service that leads to an endpoint's pods.
fn port_of(service: &Service, endpoint: &ClusterEndpoint) -> Option<u16> {
    if !leads_to(service, endpoint) {
        return None;
    }
    // A port that says by number where it leads is believed; one that leads to a named port may be any of several.
    let ports =
        || service.spec.iter().flat_map(|spec| &spec.ports).flatten().filter(|port| port.node_port.is_some());
    let leads = |port: &&ServicePort| {
        let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
        target == IntOrString::Int(endpoint.port.into()) || port.port == i32::from(endpoint.port)
    };
    let port = ports().find(leads).or_else(|| ports().next())?.node_port?;
    u16::try_from(port).ok()
}

/// The address of a node that is ready.
fn address_of(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let address =
        |kind: &str| status.addresses.iter().flatten().find(|a| a.type_ == kind).map(|a| a.address.clone());
    if ready { address("InternalIP").or_else(|| address("ExternalIP")) } else { None }
}
