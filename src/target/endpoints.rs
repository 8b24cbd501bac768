//! Where a target's parts answer: all that load and checks know of a target.

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
        let others = self.instances.iter().map(|instance| (instance.clone(), instance.clone()));
        of_replicas.chain(others).collect()
    }

    /// How many replicas the service has; some may stand behind one base URL.
    pub fn replica_count(&self) -> usize {
        self.replicas.len().max(self.instances.len())
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
}

impl Endpoint {
    /// An endpoint that asks for no credentials.
    pub fn new(url: Url) -> Endpoint {
        Endpoint { url, credentials: None }
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
