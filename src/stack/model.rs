//! A stack: what is installed, where it answers, and what counts its requests. `stacks/<name>/stack.yaml`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{Check, Duration};
use crate::target::Credentials;

/// What is installed, where it answers, and what counts its requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// The stack's name: that of its folder.
    pub name: String,
    /// One sentence for `sre list`.
    #[serde(default)]
    pub description: String,
    /// What can be set by `--set key=value`; `${key}` anywhere below is replaced by it.
    #[serde(default)]
    pub parameters: IndexMap<String, Parameter>,
    /// What counts the service's requests.
    pub counter: Counter,
    /// How the service's log lines are found in Loki.
    #[serde(default)]
    pub logs: Option<LogLines>,
    /// Files with alert rules of this stack, from the stack's folder.
    #[serde(default)]
    pub rules: Vec<String>,
    /// How it runs on the target `local`.
    #[serde(default)]
    pub local: Option<LocalStack>,
    /// How it runs on Kubernetes: the targets `minikube` and `cluster`.
    #[serde(default)]
    pub cluster: Option<super::ClusterStack>,
    /// Where it runs already: the target `external`.
    #[serde(default)]
    pub external: Option<ExternalStack>,
    /// What must hold before `up` is finished, besides healthy scrape targets.
    #[serde(default, deserialize_with = "crate::scenario::named_list")]
    pub steady: Vec<Check>,
}

/// A parameter of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it is for, in a sentence.
    pub description: String,
    /// Its value where none is given.
    pub default: serde_json::Value,
    /// Its value on a cluster where none is given, if not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_cluster: Option<serde_json::Value>,
    /// The values that it may have; any, if left out.
    #[serde(default)]
    pub values: Vec<serde_json::Value>,
    /// Further parameters that follow from its value: `{status_label: {nginx: status, traefik: code}}` makes
    /// `${status_label}`, which cannot be set by itself.
    #[serde(default)]
    pub gives: IndexMap<String, IndexMap<String, serde_json::Value>>,
}

/// The counter that each request raises by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// Its name: `app_request_count_total`.
    pub metric: String,
    /// The `job` label of the targets that serve it; any, if left out.
    #[serde(default)]
    pub job: Option<String>,
    /// The label that holds the request's path or route.
    #[serde(default)]
    pub path: Option<String>,
    /// The label that holds the request's method.
    #[serde(default)]
    pub method: Option<String>,
    /// The label that holds the answer's status.
    #[serde(default)]
    pub status: Option<String>,
    /// Labels that its series must have to count at all: `{namespace: shop}`.
    #[serde(default, rename = "where")]
    pub matching: IndexMap<String, String>,
    /// Labels and values whose series do not count: `{handler: [/metrics]}` where scrapes are counted, too.
    #[serde(default)]
    pub except: IndexMap<String, Vec<String>>,
    /// How the label `method` spells methods.
    #[serde(default)]
    pub method_as: MethodAs,
    /// How the label `status` spells statuses.
    #[serde(default)]
    pub status_as: StatusAs,
}

/// How a label spells methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MethodAs {
    /// As they are sent: `GET`.
    #[default]
    Sent,
    /// In lower case: `get`.
    Lower,
}

/// How a label spells statuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatusAs {
    /// The code: `404`.
    #[default]
    Code,
    /// Its class: `4xx`.
    Class,
}

impl MethodAs {
    /// A method as the label spells it.
    pub fn spell(self, method: &str) -> String {
        match self {
            MethodAs::Sent => method.to_owned(),
            MethodAs::Lower => method.to_ascii_lowercase(),
        }
    }
}

impl StatusAs {
    /// A status as the label spells it.
    pub fn spell(self, status: u16) -> String {
        match self {
            StatusAs::Code => status.to_string(),
            StatusAs::Class => format!("{}xx", status / 100),
        }
    }
}

/// How the service's log lines are found in Loki, and how a line tells of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLines {
    /// The stream selector of the service's lines: `{service_name="users-api"}`.
    pub selector: String,
    /// How a line holds its fields.
    #[serde(default)]
    pub format: LogFormat,
    /// The field with the request's id, as the header `x-request-id` had it.
    #[serde(default = "default_request_id")]
    pub request_id: String,
    /// The field with the answer's status.
    #[serde(default = "default_status")]
    pub status: String,
    /// The counter of lines that the service itself gave up, where it has one.
    #[serde(default)]
    pub lost: Option<String>,
}

fn default_request_id() -> String {
    "request_id".into()
}

fn default_status() -> String {
    "status".into()
}

/// How a log line holds its fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// The line is a JSON object; a field within another one is a path: `request.id`.
    #[default]
    Json,
    /// The line is `key=value key="value"`.
    Logfmt,
    /// Fields are beside the line: structured metadata, as OpenTelemetry sends attributes.
    Metadata,
}

/// How a stack runs on the target `local`: processes on this machine, on free loopback ports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalStack {
    /// The service that load goes to.
    pub service: LocalService,
    /// How often Prometheus scrapes.
    pub scrape_interval: Duration,
    /// How often Prometheus evaluates its rules.
    pub evaluation_interval: Duration,
    /// How long Alertmanager waits for further alerts of a group before it notifies.
    pub group_wait: Duration,
    /// How long Alertmanager waits before it tells of a change in a group, a resolved alert among them.
    pub group_interval: Duration,
    /// Whether the node exporter runs.
    #[serde(default)]
    pub node_exporter: bool,
    /// What keeps the replicas' log lines; nothing, if left out.
    #[serde(default)]
    pub logs: LogKeeping,
}

/// What keeps log lines on the target `local`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "LogSetting", into = "LogSetting")]
pub enum LogKeeping {
    /// Nothing.
    #[default]
    Nothing,
    /// Loki where it is there already, else the log store that is a part of `sre`.
    Any,
    /// The log store that is a part of `sre`.
    Embedded,
    /// Loki; where it is missing, it is got.
    Loki,
}

/// How it is written: `true`, `false`, `embedded` or `loki`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, false, embedded or loki is wanted")]
enum LogSetting {
    Whether(bool),
    Store(LogStoreName),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LogStoreName {
    Embedded,
    Loki,
}

impl From<LogSetting> for LogKeeping {
    fn from(setting: LogSetting) -> LogKeeping {
        match setting {
            LogSetting::Whether(false) => LogKeeping::Nothing,
            LogSetting::Whether(true) => LogKeeping::Any,
            LogSetting::Store(LogStoreName::Embedded) => LogKeeping::Embedded,
            LogSetting::Store(LogStoreName::Loki) => LogKeeping::Loki,
        }
    }
}

impl From<LogKeeping> for LogSetting {
    fn from(keeping: LogKeeping) -> LogSetting {
        match keeping {
            LogKeeping::Nothing => LogSetting::Whether(false),
            LogKeeping::Any => LogSetting::Whether(true),
            LogKeeping::Embedded => LogSetting::Store(LogStoreName::Embedded),
            LogKeeping::Loki => LogSetting::Store(LogStoreName::Loki),
        }
    }
}

/// The service of a local stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalService {
    /// The name of its Prometheus job, and the stem of its replicas' names.
    pub name: String,
    /// How many replicas run.
    pub replicas: usize,
    /// The program and its arguments; `{sre}` is this program, `{listen}` a free loopback address,
    /// `{admin}` another one, `{replica}` the replica's number.
    pub command: Vec<String>,
    /// Environment variables that are set for it.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// The path that answers 2xx when it is ready.
    pub ready: String,
    /// The path of its metrics.
    #[serde(default = "default_metrics_path")]
    pub metrics: String,
}

fn default_metrics_path() -> String {
    "/metrics".into()
}

/// Where a stack runs already: `sre` starts and stops nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalStack {
    /// The service's base URLs, one a replica or one for all of them.
    pub service: Vec<url::Url>,
    /// The `instance` labels of all replicas, as Prometheus should have them; what it has, if left out.
    #[serde(default)]
    pub instances: Vec<String>,
    /// Prometheus.
    pub prometheus: ExternalEndpoint,
    /// Alertmanager.
    #[serde(default)]
    pub alertmanager: Option<ExternalEndpoint>,
    /// A receiver of notifications that can be asked what it got: `sre receiver`, as a webhook of Alertmanager.
    #[serde(default)]
    pub receiver: Option<ExternalEndpoint>,
    /// Loki.
    #[serde(default)]
    pub loki: Option<ExternalEndpoint>,
}

/// A server of the user's that is asked for data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalEndpoint {
    /// Its base URL, without credentials.
    pub url: url::Url,
    /// The environment variables that hold what it wants to know of who asks.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Headers that each request to it has: `{X-Scope-OrgID: lab}` names a tenant. They are no place for secrets.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// How many MiB an answer of it may have [default: 64].
    #[serde(default)]
    pub largest_answer_mib: Option<u64>,
}
