//! A scenario: load, faults, and what must be seen. `scenarios/<name>.yaml`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Expect, Rate, Threshold, named};

/// Load, faults, and what must be seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The scenario's name: that of its file, without `.yaml`.
    pub name: String,
    /// One sentence for `sre list`.
    #[serde(default)]
    pub description: String,
    /// The stack that it runs on.
    #[serde(default = "default_stack")]
    pub stack: String,
    /// Which request comes next, and every other random choice, follows from this number.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How load is generated.
    pub load: Load,
    /// The requests, by name. Names are the rows of every report.
    pub requests: IndexMap<String, Request>,
    /// Limits on what the load tool measures: `p95 < 500ms`, `error rate < 5% for list-users`.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// Disturbances, on the clock of the load.
    #[serde(default)]
    pub faults: Vec<FaultStep>,
    /// What must hold afterwards. Without this key: `targets` and `reconcile`.
    #[serde(default = "default_checks", deserialize_with = "named::list")]
    pub checks: Vec<Check>,
}

fn default_stack() -> String {
    "users-api".into()
}

fn default_seed() -> u64 {
    42
}

fn default_checks() -> Vec<Check> {
    vec![Check::Targets(TargetsCheck::default()), Check::Reconcile(ReconcileCheck::default())]
}

/// How load is generated: exactly one executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Open model: request i is due at its time, whatever the server does.
    ArrivalRate(ArrivalRate),
    /// Closed model: each user waits for an answer before sending the next request.
    Users(Users),
}

/// Open model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrivalRate {
    /// Phases, one after another, each with results of its own.
    pub phases: Vec<Phase>,
    /// How arrivals are spaced.
    #[serde(default)]
    pub spacing: Spacing,
    /// Connections at the most, over all replicas.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// What holds for every request, whatever its executor.
    #[serde(default)]
    pub http: Http,
}

fn default_connections() -> usize {
    256
}

/// A stretch of time with one shape of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name in reports; `phase-1`, … without one.
    #[serde(default)]
    pub name: Option<String>,
    /// How long it lasts.
    pub duration: Duration,
    /// Requests a second at its start, and throughout if there is no `to`.
    pub rate: Rate,
    /// Requests a second at its end: a straight ramp from `rate`.
    #[serde(default)]
    pub to: Option<Rate>,
    /// In how many equal steps it goes from `rate` to `to`; a straight ramp without it.
    #[serde(default)]
    pub steps: Option<u32>,
    /// One swing from `rate` to `to` and back takes this long: a sine.
    #[serde(default)]
    pub period: Option<Duration>,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Evenly: one every 1/rate seconds.
    #[default]
    Even,
    /// As independent visitors come: exponential gaps, from the seed.
    Poisson,
}

/// Closed model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Users at the same time.
    pub users: usize,
    /// How long the load lasts, the ramp included.
    pub duration: Duration,
    /// Over what time the users start, evenly.
    #[serde(default)]
    pub ramp: Option<Duration>,
    /// How long a user waits between an answer and the next request: `100ms` or `100ms..300ms`.
    #[serde(default)]
    pub think: Option<super::DurationRange>,
    /// What holds for every request, whatever its executor.
    #[serde(default)]
    pub http: Http,
}

/// What holds for every request, whatever its executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// After this time without a complete answer the request's fate is unknown.
    pub timeout: Duration,
    /// Redirects that are followed, each hop counted as a request of its own.
    pub redirects: u32,
    /// How often a request is sent again after a failure, each counted as a request of its own.
    pub retries: u32,
    /// The protocol spoken with the service.
    pub version: HttpVersion,
}

impl Default for Http {
    fn default() -> Http {
        Http { timeout: Duration::from_secs(10), redirects: 0, retries: 0, version: HttpVersion::default() }
    }
}

/// The protocol spoken with the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/1.1 with keep-alive.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2, with prior knowledge on plain text.
    #[serde(rename = "2")]
    Http2,
}

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its share of all requests, in proportion to the others' weights.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// HTTP method.
    #[serde(default = "default_method")]
    pub method: String,
    /// Path and query, from the service's base URL.
    pub path: String,
    /// Headers that are sent along.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// Body, as it is.
    #[serde(default)]
    pub body: Option<String>,
    /// Body, as JSON; sets `content-type` unless a header does.
    #[serde(default)]
    pub json: Option<serde_json::Value>,
    /// Statuses that are right; any other counts as an error.
    #[serde(default)]
    pub expect: Expect,
    /// What the answer's body must contain; without it the answer counts as an error.
    #[serde(default)]
    pub contains: Option<String>,
    /// Values of the request counter's labels where they are not the request's own path, method and status.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// Further series that each answer raises by one.
    #[serde(default)]
    pub raises: Vec<Raises>,
    /// Whether the stack's request counter counts this request at all.
    #[serde(default = "yes")]
    pub counted: bool,
    /// Whether the service writes a log line for this request; as `counted`, if left out.
    #[serde(default)]
    pub logged: Option<bool>,
}

impl Request {
    /// Whether the service writes a log line for this request.
    pub fn is_logged(&self) -> bool {
        self.logged.unwrap_or(self.counted)
    }
}

fn default_weight() -> u32 {
    1
}

fn default_method() -> String {
    "GET".into()
}

fn yes() -> bool {
    true
}

/// A series that an answer raises by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raises {
    /// The series: `app_error_count_total{error_type="database_error",endpoint="/api/users"}`.
    pub series: String,
    /// Only answers with this status raise it; every answer, if left out.
    #[serde(default)]
    pub status: Option<u16>,
}

/// A disturbance with a start and an end, on the clock of the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultStep {
    /// What is done.
    #[serde(deserialize_with = "named::one")]
    pub fault: FaultKind,
    /// When, after the load's start.
    pub at: Duration,
    /// For how long.
    #[serde(rename = "for")]
    pub lasts: Duration,
    /// On which replicas, by number from 0; on all, if left out. On a cluster: the service's pods, by name.
    #[serde(default)]
    pub replicas: Option<Vec<usize>>,
    /// On a cluster: on what, such as `deployment/redis-leader`; on the service that load goes to, if left out.
    #[serde(default)]
    pub on: Option<super::Aim>,
    /// On a cluster: how many pods are touched, where a fault takes some of them; 1, if left out.
    #[serde(default)]
    pub count: Option<usize>,
    /// On a cluster: whether the last replica may be taken.
    #[serde(default, rename = "allow-outage")]
    pub allow_outage: bool,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Every answer of the demo service comes this much later.
    Latency(Duration),
    /// This share of the demo service's answers is an error: `20%`.
    ErrorRate(super::Ratio),
    /// This share of the demo service's requests ends in an exception: `20%`.
    Exceptions(super::Ratio),
    /// The demo service says that it is not ready.
    Unready,
    /// The process is killed, and started again at the end.
    Kill,
    /// The process is stopped (SIGSTOP), and continued at the end.
    Pause,
    /// Pods are deleted; their workload makes new ones.
    PodDelete,
    /// A workload is scaled to 0 replicas.
    ScaleToZero,
    /// A Service or an Ingress leads to a port on which nobody listens.
    WrongPort,
    /// A new version is rolled out whose pods never get ready.
    BrokenReadiness,
    /// Helper pods use this share of the processors of the nodes: `80%`.
    CpuPressure(super::Ratio),
    /// Memory is taken inside a pod until this share of its limit is in use: `80%`; at 100% it is killed.
    MemoryPressure(super::Ratio),
    /// A NetworkPolicy cuts the pods off.
    NetworkCut,
    /// A node takes no new pods.
    Cordon,
    /// A node takes no new pods, and those on it are evicted.
    Drain,
    /// A node is stopped.
    NodeStop,
    /// Redis answers nobody.
    RedisPause,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Every scrape target is healthy.
    Targets(TargetsCheck),
    /// Series are there, with the labels named.
    Series(SeriesCheck),
    /// A PromQL expression compares as asked.
    Promql(PromqlCheck),
    /// Requests sent are requests counted, exactly.
    Reconcile(ReconcileCheck),
    /// An alert fires and resolves, and no other alert of the stack's rules does.
    Alert(AlertCheck),
    /// No alert of the stack's rules fires.
    NoAlerts(NoAlertsCheck),
    /// Monitoring sees each fault, and sees that it is over.
    Detected(DetectedCheck),
    /// Every request that was answered with such a status has its one log line in Loki, exactly.
    Logs(LogsCheck),
}

/// Every scrape target is healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetsCheck {
    /// Only the targets of these jobs; all, if left out.
    pub jobs: Vec<String>,
    /// How long it may take.
    pub wait: Duration,
}

impl Default for TargetsCheck {
    fn default() -> Self {
        TargetsCheck { jobs: Vec::new(), wait: Duration::from_secs(30) }
    }
}

/// Series are there, with the labels named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeriesCheck {
    /// A selector: `app_request_latency_seconds_bucket{endpoint="/api/users"}`.
    pub series: String,
    /// Labels that each of them must have.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How long it may take.
    #[serde(default = "default_wait")]
    pub wait: Duration,
}

fn default_wait() -> Duration {
    Duration::from_secs(30)
}

/// A PromQL expression compares as asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromqlCheck {
    /// What must hold, as a sentence; the expression, if left out.
    #[serde(default)]
    pub name: Option<String>,
    /// The expression; one series is its result.
    pub expr: String,
    /// A comparison with the value: `> 0`, `<= 0.05`, `== 3`.
    pub is: super::Comparison,
    /// How long it may take.
    #[serde(default = "default_wait")]
    pub wait: Duration,
}

/// Requests sent are requests counted, exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReconcileCheck {
    /// How many requests a series may differ by.
    pub tolerance: u64,
    /// While the count is short it is read again at each new scrape, for this long after the last answer.
    pub wait: Duration,
    /// By how much counters may be behind, such as those that are exported once a minute: so long is waited before the
    /// load, too. If left out, `wait` where it is longer than 30s, else nothing.
    pub lag: Option<Duration>,
}

impl Default for ReconcileCheck {
    fn default() -> Self {
        ReconcileCheck { tolerance: 0, wait: ReconcileCheck::USUAL_WAIT, lag: None }
    }
}

impl ReconcileCheck {
    /// A longer wait says that counters are behind.
    const USUAL_WAIT: Duration = Duration::from_secs(30);

    /// What a longer wait says at the most of how far they are behind: it is waited before the load, too.
    const LONGEST_IMPLIED_LAG: Duration = Duration::from_secs(120);

    /// By how much counters may be behind.
    pub fn lag(&self) -> Duration {
        let implied = self.wait.min(Self::LONGEST_IMPLIED_LAG);
        let longer = || if self.wait > Self::USUAL_WAIT { implied } else { Duration::default() };
        self.lag.unwrap_or_else(longer)
    }
}

/// An alert fires and resolves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertCheck {
    /// The rule's name.
    pub name: String,
    /// Labels that the alert must carry, besides its name: `{instance: "…"}`.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// It fires within this time of the first fault, or of the load's start where there is no fault.
    pub fires: Duration,
    /// It resolves within this time of the last fault's end, or of the load's end where there is no fault.
    pub resolves: Duration,
    /// Whether the notification must arrive at the receiver, firing and resolved.
    #[serde(default = "yes")]
    pub notified: bool,
    /// How long a notification may take after the alert fired, and after it resolved.
    #[serde(default = "default_wait")]
    pub delivered: Duration,
    /// Other alerts of the stack's rules that may fire along with it.
    #[serde(default)]
    pub along: Vec<String>,
}

/// Monitoring sees each fault, and sees that it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DetectedCheck {
    /// What is seen, as a sentence; the fault's own words, if left out.
    pub name: Option<String>,
    /// Only this fault, by its number in the scenario, from 1; each one, if left out.
    pub fault: Option<usize>,
    /// An expression that has a value also when all is well; if left out, what the catalogue of faults says.
    pub expr: Option<String>,
    /// A comparison with the value of `expr` that holds while a fault is on, and only then; `> 0`, if left out.
    pub is: Option<super::Comparison>,
    /// It is seen within this time of the fault's injection.
    pub within: Duration,
    /// It is seen to be over within this time of the fault's healing.
    pub recovers: Duration,
}

impl Default for DetectedCheck {
    fn default() -> Self {
        DetectedCheck {
            name: None,
            fault: None,
            expr: None,
            is: None,
            within: Duration::from_secs(30),
            recovers: Duration::from_secs(60),
        }
    }
}

impl DetectedCheck {
    /// What is seen, as a sentence.
    pub fn sentence(&self) -> String {
        match (&self.name, self.fault) {
            (Some(name), _) => name.clone(),
            (None, Some(number)) => format!("fault {number} is seen"),
            (None, None) => "every fault is seen".into(),
        }
    }

    /// Whether this fault is meant, by its number from 1.
    pub fn is_of(&self, number: usize) -> bool {
        self.fault.is_none_or(|only| only == number)
    }
}

/// No alert of the stack's rules fires.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoAlertsCheck {
    /// Alerts of the stack's rules that may fire all the same.
    pub except: Vec<String>,
}

/// Every request that was answered with such a status has its one log line in Loki.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogsCheck {
    /// The statuses whose requests must be logged: `5xx`, `[4xx, 5xx]`.
    pub status: Expect,
    /// How long a line may take to reach Loki, after the last answer.
    pub wait: Duration,
}

impl Default for LogsCheck {
    fn default() -> Self {
        LogsCheck { status: Expect::class(5), wait: Duration::from_secs(30) }
    }
}

impl Scenario {
    /// Its checks that faults are detected, with where they stand.
    pub fn detected_checks(&self) -> impl Iterator<Item = (usize, &DetectedCheck)> {
        self.checks.iter().enumerate().filter_map(|(i, check)| match check {
            Check::Detected(detected) => Some((i, detected)),
            _ => None,
        })
    }

    /// By how much the service's counters may be behind what they count.
    pub fn counters_lag(&self) -> Duration {
        let lag = |check: &Check| match check {
            Check::Reconcile(reconcile) => Some(reconcile.lag()),
            _ => None,
        };
        self.checks.iter().filter_map(lag).max().unwrap_or_default()
    }

    /// What its checks ask of alerts.
    pub fn alert_checks(&self) -> impl Iterator<Item = &AlertCheck> {
        self.checks.iter().filter_map(|check| match check {
            Check::Alert(alert) => Some(alert),
            _ => None,
        })
    }

    /// Whether an alert with these labels may fire before the run: it is named as one that may fire, and it is not one
    /// that must begin to.
    pub fn may_fire_before(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        let Some(name) = labels.get("alertname") else { return false };
        let carries =
            |asked: &AlertCheck| asked.labels.iter().all(|(name, value)| labels.get(name) == Some(value));
        let must_begin = self.alert_checks().any(|asked| asked.name == *name && carries(asked));
        let is_named = self.checks.iter().any(|check| match check {
            Check::Alert(alert) => alert.along.contains(name),
            Check::NoAlerts(none) => none.except.contains(name),
            _ => false,
        });
        is_named && !must_begin
    }

    /// What its checks ask of the log.
    pub fn logs_checks(&self) -> impl Iterator<Item = &LogsCheck> {
        self.checks.iter().filter_map(|check| match check {
            Check::Logs(logs) => Some(logs),
            _ => None,
        })
    }
}
