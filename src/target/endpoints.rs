//! Where a target's parts answer: all that load and checks know of a target.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use url::Url;

/// Where a target's parts answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The replicas of the service; load goes to them in turn.
    pub replicas: Vec<Replica>,
    /// `instance` labels that Prometheus must have besides the replicas' own: those behind one base URL.
    #[serde(default)]
    pub instances: Vec<String>,
    /// The pods that these instances are, on a cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<ServicePod>,
    /// Prometheus.
    pub prometheus: Option<Endpoint>,
    /// Alertmanager.
    pub alertmanager: Option<Endpoint>,
    /// The receiver of notifications.
    pub receiver: Option<Endpoint>,
    /// Loki.
    pub loki: Option<Endpoint>,
}

impl Endpoints {
    /// What Prometheus must scrape: the name and the `instance` label of each.
    pub fn scraped(&self) -> Vec<(String, String)> {
        let of_replicas = self.replicas.iter().filter_map(|r| Some((r.name.clone(), r.instance.clone()?)));
        let name = |instance: &String| {
            let pod = self.pods.iter().find(|pod| pod.instance.as_ref() == Some(instance));
            pod.map_or_else(|| instance.clone(), |pod| pod.name.clone())
        };
        let others = self.instances.iter().map(|instance| (name(instance), instance.clone()));
        of_replicas.chain(others).collect()
    }

    /// How many replicas the service has; some may stand behind one base URL.
    pub fn replica_count(&self) -> usize {
        self.replicas.len().max(self.instances.len())
    }
}

/// A pod of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePod {
    /// Its name.
    pub name: String,
    /// What tells it from every other pod, also from one that comes under its name later.
    pub uid: String,
    /// The node that it runs on.
    #[serde(default)]
    pub node: Option<String>,
    /// The `instance` label that Prometheus gives it, once it has an address: `10.244.1.7:8080`.
    #[serde(default)]
    pub instance: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
}

/// What became of the service's pods during a load. Both are empty where that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodChanges {
    /// Those that were there before the load and are not any more.
    pub gone: Vec<ServicePod>,
    /// Those that came since: their counters began from 0.
    pub new: Vec<ServicePod>,
}

impl PodChanges {
    /// What differs between the pods before a load and after it.
    pub fn between(before: &[ServicePod], after: &[ServicePod]) -> PodChanges {
        let without = |all: &[ServicePod], others: &[ServicePod]| -> Vec<ServicePod> {
            all.iter().filter(|pod| !others.iter().any(|other| other.uid == pod.uid)).cloned().collect()
        };
        PodChanges { gone: without(before, after), new: without(after, before) }
    }
}

/// One replica of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its name: `users-api-0`.
    pub name: String,
    /// Its base URL.
    pub url: Url,
    /// The `instance` label that Prometheus gives it, where that is known: `127.0.0.1:41005`.
    #[serde(default)]
    pub instance: Option<String>,
    /// The demo service's admin port, where it has one.
    #[serde(default)]
    pub admin: Option<Url>,
}

/// A server that is asked for data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its base URL; never with credentials in it.
    pub url: Url,
    /// What it wants to know of who asks.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Headers that each request to it has: `X-Scope-OrgID` names a tenant.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// How many MiB an answer of it may have, where more than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_answer_mib: Option<u64>,
}

impl Endpoint {
    /// An endpoint that asks for no credentials.
    pub fn new(url: Url) -> Endpoint {
        Endpoint { url, credentials: None, headers: IndexMap::new(), largest_answer_mib: None }
    }
}

/// Names of the environment variables that hold credentials; the secrets themselves are in no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Credentials {
    /// `Authorization: Bearer …` from this variable.
    Bearer(String),
    /// `Authorization: Basic …` from these two variables.
    Basic {
        /// The variable that holds the user's name.
        user: String,
        /// The variable that holds the password.
        password: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str) -> ServicePod {
        let instance = Some(format!("{name}:8080"));
        ServicePod { name: name.into(), uid: uid.into(), node: None, instance, ready: true }
    }

    #[test]
    fn a_pod_is_told_from_one_that_came_under_its_name() {
        let changes = PodChanges::between(&[pod("a", "1"), pod("b", "2")], &[pod("a", "1"), pod("b", "3")]);
        assert_eq!(changes, PodChanges { gone: vec![pod("b", "2")], new: vec![pod("b", "3")] });
    }

    #[test]
    fn instances_are_named_by_their_pods() {
        let endpoints = Endpoints {
            instances: vec!["a:8080".into(), "x:1".into()],
            pods: vec![pod("a", "1")],
            ..Endpoints::default()
        };
        let scraped = [("a".to_owned(), "a:8080".to_owned()), ("x:1".to_owned(), "x:1".to_owned())];
        assert_eq!(endpoints.scraped(), scraped);
    }
}
