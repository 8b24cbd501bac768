//! Port-forwards to pods, kept alive: for verification and for people, never for load.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Portforwarder};
use kube::core::Selector;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client::Cluster;
use super::failure::{explain, retry};
use crate::error::{Error, Result};
use crate::stack::ClusterEndpoint;

/// How long nothing is accepted after that has failed.
const REFUSED: Duration = Duration::from_millis(100);

/// How long opening a stream to a pod may take.
const OPEN: Duration = Duration::from_secs(10);

/// How often a connection is tried again, on the pod that is ready then.
const RETRIES: usize = 2;

/// A loopback port that leads to a port of a pod, until it is dropped.
///
/// Each connection gets a stream of its own to a pod that is ready then, so that a pod which is replaced
/// costs the connections it had, and no more.
pub struct Forward {
    address: SocketAddr,
    route: Arc<Route>,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Opens a free loopback port that leads to the pods of an endpoint. One of them must be ready now.
    pub async fn open(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str) -> Result<Forward> {
        Forward::listen(cluster, endpoint, namespace, &[0]).await
    }

    /// As [`Forward::open`], on the first of these ports that is free; 0 is any free one.
    pub async fn listen(
        cluster: &Cluster,
        endpoint: &ClusterEndpoint,
        namespace: &str,
        ports: &[u16],
    ) -> Result<Forward> {
        let route = Arc::new(Route::new(cluster, endpoint, namespace));
        route.choose().await?;
        Forward::start(route, ports).await
    }

    async fn start(route: Arc<Route>, ports: &[u16]) -> Result<Forward> {
        let addresses: Vec<SocketAddr> =
            ports.iter().map(|port| (Ipv4Addr::LOCALHOST, *port).into()).collect();
        let listener = TcpListener::bind(&addresses[..]).await.map_err(|e| {
            let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            Error::target(format!("{} cannot be listened on", names.join(", "))).because(e)
        })?;
        let address =
            listener.local_addr().map_err(|e| Error::target("a loopback port has no address").because(e))?;
        let accepting = tokio::spawn(accept(listener, route.clone()));
        Ok(Forward { address, route, accepting })
    }

    /// The pod that a new connection goes to now.
    ///
    /// # Errors
    /// Where none is ready, or the cluster does not tell (6).
    pub async fn pod(&self) -> Result<String> {
        self.route.choose().await
    }

    /// Opens a free loopback port that leads to one pod, ready or not.
    ///
    /// # Errors
    /// The target (exit 6) where no port can be opened.
    pub async fn to_pod(cluster: &Cluster, namespace: &str, name: &str, port: u16) -> Result<Forward> {
        Forward::to_pod_on(cluster, namespace, name, port, &[0]).await
    }

    /// As [`Forward::to_pod`], on the first of these ports that is free.
    ///
    /// # Errors
    /// The target (exit 6) where no port can be opened.
    pub async fn to_pod_on(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        port: u16,
        ports: &[u16],
    ) -> Result<Forward> {
        let route = Route {
            pods: Api::namespaced(cluster.client(), namespace),
            labels: Selector::default(),
            only: Some(name.into()),
            port,
        };
        Forward::start(Arc::new(route), ports).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().expect("an address makes a URL")
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Which pod connections go to.
struct Route {
    pods: Api<Pod>,
    labels: Selector,
    /// One pod by name, whatever its labels.
    only: Option<String>,
    port: u16,
}

impl Route {
    fn new(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str) -> Route {
        let namespace = endpoint.namespace.as_deref().unwrap_or(namespace);
        Route {
            pods: Api::namespaced(cluster.client(), namespace),
            labels: endpoint.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            only: None,
            port: endpoint.port,
        }
    }

    /// A pod that is ready: the first by name, so that connections share it while it is.
    async fn choose(&self) -> Result<String> {
        if let Some(name) = &self.only {
            return Ok(name.clone());
        }
        let params = ListParams::default().labels_from(&self.labels);
        let pods = retry(|| self.pods.list(&params)).await.map_err(|e| {
            Error::target(format!("the pods with {} could not be listed", self.labels))
                .because_of(explain(&e))
        })?;
        let ready = pods.items.iter().filter(|pod| is_ready(pod));
        ready.filter_map(|pod| pod.metadata.name.clone()).min().ok_or_else(|| {
            Error::target(format!("no pod with {} is ready ({} there)", self.labels, pods.items.len()))
        })
    }

    /// A stream to a pod that is ready.
    async fn open(&self) -> Result<Portforwarder> {
        let name = self.choose().await?;
        let failed = || Error::target(format!("pod {name} could not be reached on port {}", self.port));
        match tokio::time::timeout(OPEN, self.pods.portforward(&name, &[self.port])).await {
            Ok(opened) => opened.map_err(|e| failed().because_of(explain(&e))),
            Err(_) => Err(failed().because_of(format!("no answer within {} s", OPEN.as_secs()))),
        }
    }
}

/// Whether a pod is ready and stays.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

async fn accept(listener: TcpListener, route: Arc<Route>) {
    // The connections end with the task that accepts them.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(serve(client, route.clone()));
                }
                // No file is left to open: a connection has to end first.
                Err(_) => tokio::time::sleep(REFUSED).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Connects a client to a pod; to another one if the first went away meanwhile. A client that can't be
/// served sees its connection closed.
async fn serve(mut client: TcpStream, route: Arc<Route>) {
    let _ = client.set_nodelay(true);
    let pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_times(RETRIES)
        .with_jitter();
    let Ok(mut forwarder) = (|| route.open()).retry(pauses).await else { return };
    if let Some(mut stream) = forwarder.take_stream(route.port) {
        let _ = copy_bidirectional(&mut client, &mut stream).await;
    }
}
