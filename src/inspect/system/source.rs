//! Finds the Prometheus of a cluster, and a way to it: the API server's proxy, which only needs to `get`, else a
//! port-forward.

use std::str::FromStr;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams};
use url::Url;

use super::candidates::{self, Candidate, Kind, candidates};
use super::model::{Missing, PrometheusFacts};
use crate::error::{Error, Result};
use crate::observe::{Prometheus, QueryResult, matcher};
use crate::stack::ClusterEndpoint;
use crate::target::Endpoint;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{call, explain, retry, status};
use crate::target::kubernetes::forward::Forward;

/// What to do next where none was found.
const NAME_IT: &str = "name it: --prometheus NAMESPACE/SERVICE[:PORT], or --prometheus URL";

/// How Prometheus is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By its URL.
    Url(Url),
    /// By its Service: `namespace/service[:port][/path]`.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port; the one that is Prometheus' by its name or number, if left out.
        port: Option<u16>,
        /// Prometheus' base path, without slashes around it.
        path: String,
    },
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        let wrong = || {
            format!(
                "`{text}` is neither a URL (http://…) nor a Service: write NAMESPACE/SERVICE, or NAMESPACE/SERVICE:PORT"
            )
        };
        if text.contains("://") {
            let url: Url = text.parse().map_err(|e| format!("{text} is no URL: {e}"))?;
            return match url.scheme() {
                "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
                    Err("a URL does not hold credentials: name the variables that do".into())
                }
                "http" | "https" => Ok(Named::Url(url)),
                _ => Err(wrong()),
            };
        }
        let (namespace, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (service, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, port) = match service.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| wrong())?)),
            None => (service, None),
        };
        let is_name = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        if !is_name(namespace) || !is_name(name) {
            return Err(wrong());
        }
        let path = path.trim_matches('/').to_owned();
        Ok(Named::Service { namespace: namespace.into(), name: name.into(), port, path })
    }
}

/// A Prometheus that answers, as long as this lives.
pub struct Source {
    /// Its client.
    pub prometheus: Prometheus,
    /// Where it is, and how it was reached.
    pub facts: PrometheusFacts,
    /// What must be known of the choice.
    pub notes: Vec<String>,
    _forward: Option<Forward>,
}

impl Source {
    /// The one behind a URL.
    ///
    /// # Errors
    /// It does not answer (3), or its credentials are not in the environment (5).
    pub async fn at(endpoint: &Endpoint) -> Result<Source> {
        let prometheus = Prometheus::new(endpoint)?;
        let version = prometheus.version().await?;
        let facts =
            PrometheusFacts { place: endpoint.url.to_string(), way: "asked directly".into(), version };
        Ok(Source { prometheus, facts, notes: Vec::new(), _forward: None })
    }

    /// The one behind a Service that was named.
    pub async fn named(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        port: Option<u16>,
        path: &str,
    ) -> Result<Source, Missing> {
        let api: Api<Service> = Api::namespaced(cluster.client(), namespace);
        let candidate = match (retry(|| api.get(name)).await, port) {
            (Ok(service), port) => candidates::of_named(&service, port, path)
                .ok_or_else(|| no_port(&service, namespace, name))?,
            // Whoever may not read Services may still reach one through the proxy.
            (Err(error), Some(port)) if status(&error) == Some(403) => Candidate {
                namespace: namespace.into(),
                name: name.into(),
                port,
                kind: Kind::Service,
                path: path.into(),
                pods: None,
            },
            (Err(error), _) => {
                return Err(Missing::new(
                    format!("the Service {namespace}/{name} could not be read: {}", explain(&error)),
                    format!("kubectl --context {} --namespace {namespace} get services", cluster.context()),
                ));
            }
        };
        reach(cluster, &candidate).await
    }

    /// The one that the cluster's labels tell; of several, the first that has data of the namespace.
    pub async fn found(cluster: &Cluster, namespace: &str) -> Result<Source, Missing> {
        let all = look(cluster, namespace).await?;
        if all.is_empty() {
            return Err(Missing::new("no Service and no pod has the labels of a Prometheus", NAME_IT));
        }
        let mut answering = Vec::new();
        let mut refused = Vec::new();
        for candidate in &all {
            match reach(cluster, candidate).await {
                Ok(source) if all.len() == 1 || knows(&source.prometheus, namespace).await => {
                    return Ok(source.with_note_on(candidate, &all, namespace, true));
                }
                Ok(source) => answering.push((candidate, source)),
                Err(missing) => refused.push(missing.why),
            }
        }
        match answering.into_iter().next() {
            Some((candidate, source)) => Ok(source.with_note_on(candidate, &all, namespace, false)),
            None => Err(Missing::new(refused.join("\n"), NAME_IT)),
        }
    }

    fn with_note_on(mut self, taken: &Candidate, all: &[Candidate], namespace: &str, knows: bool) -> Source {
        let others: Vec<String> = all.iter().filter(|other| *other != taken).map(Candidate::place).collect();
        if !knows {
            self.notes.push(format!(
                "none of {} Prometheus has data of {namespace}; {} was asked",
                all.len(),
                taken.place()
            ));
        } else if !others.is_empty() {
            self.notes.push(format!(
                "there are other Prometheus: {}; --prometheus names the one to ask",
                others.join(", ")
            ));
        }
        self
    }
}

fn no_port(service: &Service, namespace: &str, name: &str) -> Missing {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<String> = ports.map(|port| port.port.to_string()).collect();
    Missing::new(
        format!("none of the ports of {namespace}/{name} is Prometheus' by its name or number"),
        format!("name one: --prometheus {namespace}/{name}:PORT; it has {}", ports.join(", ")),
    )
}

/// Candidates of all namespaces; of one only, where no more may be listed.
async fn look(cluster: &Cluster, namespace: &str) -> Result<Vec<Candidate>, Missing> {
    let params = ListParams::default();
    let all: Api<Service> = Api::all(cluster.client());
    let services = match retry(|| all.list(&params)).await {
        Ok(found) => found.items,
        Err(error) if status(&error) == Some(403) => {
            let here: Api<Service> = Api::namespaced(cluster.client(), namespace);
            let what = || "Prometheus could not be looked for: Services could not be listed".to_owned();
            call(what, || here.list(&params))
                .await
                .map_err(|e| Missing { next: Some(NAME_IT.into()), ..e.into() })?
                .items
        }
        Err(error) => {
            return Err(Error::target("Prometheus could not be looked for: Services could not be listed")
                .because_of(explain(&error))
                .into());
        }
    };
    let found = candidates(&services, &[]);
    if !found.is_empty() {
        return Ok(found);
    }
    let pods: Api<Pod> = Api::all(cluster.client());
    let pods = retry(|| pods.list(&params)).await.map(|found| found.items).unwrap_or_default();
    Ok(candidates(&[], &pods))
}

/// Reaches a candidate: through the API server's proxy, else by a port-forward.
async fn reach(cluster: &Cluster, candidate: &Candidate) -> Result<Source, Missing> {
    let place = candidate.place();
    let facts = |way: &str, version| PrometheusFacts { place: place.clone(), way: way.into(), version };
    let prometheus = Prometheus::behind_api_server(cluster.client(), &candidate.proxy_path());
    let refused = match prometheus.version().await {
        Ok(version) => {
            let facts = facts("by the API server's proxy", version);
            return Ok(Source { prometheus, facts, notes: Vec::new(), _forward: None });
        }
        Err(error) => Missing::from(error),
    };
    let forwarded = match &candidate.pods {
        None => return Err(Missing { why: format!("{place}: {}", refused.why), next: refused.next }),
        Some((labels, port)) => {
            let endpoint = ClusterEndpoint {
                namespace: Some(candidate.namespace.clone()),
                labels: labels.clone(),
                port: *port,
                metrics: None,
                enabled: true,
            };
            forward(cluster, &endpoint, &candidate.path).await
        }
    };
    match forwarded {
        Ok((forward, prometheus, version)) => {
            let facts = facts("by a port-forward", version);
            Ok(Source { prometheus, facts, notes: Vec::new(), _forward: Some(forward) })
        }
        Err(error) => Err(Missing {
            why: format!(
                "{place} by the API server's proxy: {}\n{place} by a port-forward: {}",
                refused.why,
                Missing::from(error).why
            ),
            next: refused.next,
        }),
    }
}

async fn forward(
    cluster: &Cluster,
    endpoint: &ClusterEndpoint,
    path: &str,
) -> Result<(Forward, Prometheus, String)> {
    let forward = Forward::open(cluster, endpoint, "").await?;
    let mut url = forward.url();
    url.set_path(path);
    let prometheus = Prometheus::new(&Endpoint::new(url))?;
    let version = prometheus.version().await?;
    Ok((forward, prometheus, version))
}

/// Whether it scrapes anything of a namespace.
async fn knows(prometheus: &Prometheus, namespace: &str) -> bool {
    let names = matcher("__name__", "=~", "up|kube_pod_info|redis_up|nginx_ingress_controller_requests");
    let of = |label: &str| format!("{{{names},{}}}", matcher(label, "=", namespace));
    let query = format!("group({} or {})", of("namespace"), of("exported_namespace"));
    matches!(prometheus.query(&query, None).await, Ok(QueryResult::Vector(series)) if !series.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_is_named_by_a_url_or_a_service() {
        let service = |port, path: &str| Named::Service {
            namespace: "monitoring".into(),
            name: "prometheus-operated".into(),
            port,
            path: path.into(),
        };
        assert_eq!("monitoring/prometheus-operated".parse(), Ok(service(None, "")));
        assert_eq!("monitoring/prometheus-operated:9090".parse(), Ok(service(Some(9090), "")));
        assert_eq!(
            "monitoring/prometheus-operated:9090/prometheus/".parse(),
            Ok(service(Some(9090), "prometheus"))
        );
        let url = "https://prometheus.example.org/p";
        assert_eq!(url.parse(), Ok(Named::Url(url.parse().expect("a URL"))));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for wrong in
            ["prometheus", "a/b:c", "/x", "a/", "ftp://x", "http://", "A/b", "a/b:70000", "localhost:9090"]
        {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
        let secret = "http://user:secret@x".parse::<Named>().expect_err("a secret");
        assert!(!secret.contains("secret"), "{secret}");
    }
}
