//! Prometheus' HTTP API, as far as verdicts need it: raw samples with their own times.
//!
//! Every time is in seconds since 1970 on Prometheus' own clock, with its milliseconds: exact counts
//! compare scrapes with instants, and a second is too coarse for that.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::HttpClient;
use crate::error::{Error, Result};
use crate::target::Endpoint;

/// Label names and values, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// A client of one Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: HttpClient,
}

/// A value, and when it was sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since 1970, on Prometheus' clock.
    pub time: f64,
    /// The value.
    pub value: f64,
}

/// A series with its samples, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// The result of an instant query.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryResult {
    /// Series, each with one sample.
    Vector(Vec<(Labels, f64)>),
    /// A number without series.
    Scalar(f64),
}

/// Whether Prometheus could scrape a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
    /// It was not scraped yet.
    Unknown,
}

/// An active scrape target.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its labels, `job` and `instance` among them.
    pub labels: Labels,
    /// What is scraped.
    pub scrape_url: String,
    /// Why the last scrape failed; empty where it did not.
    #[serde(default)]
    pub last_error: String,
    /// Whether it could be scraped.
    pub health: Health,
    /// When its last scrape began; in year 1 if there was none.
    pub last_scrape: jiff::Timestamp,
    /// How often it is scraped, as Prometheus writes it (`1s`, `500ms`).
    #[serde(default)]
    pub scrape_interval: String,
    /// How long a scrape may take, as Prometheus writes it.
    #[serde(default)]
    pub scrape_timeout: String,
}

impl Target {
    /// Its `job` label.
    pub fn job(&self) -> &str {
        self.labels.get("job").map_or("", String::as_str)
    }

    /// Its `instance` label.
    pub fn instance(&self) -> &str {
        self.labels.get("instance").map_or("", String::as_str)
    }
}

/// The state of an alerting rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleState {
    /// Its expression gives nothing.
    Inactive,
    /// Its expression gives something, not yet for long enough.
    Pending,
    /// It fires.
    Firing,
    /// It was not evaluated yet (Prometheus 3).
    Unknown,
}

/// An alerting rule, as Prometheus has loaded it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertingRule {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: RuleState,
    /// `ok`, `err`, or `unknown` before its first evaluation.
    pub health: String,
    /// Why its last evaluation failed.
    #[serde(default)]
    pub last_error: String,
    /// When it was last evaluated.
    pub last_evaluation: jiff::Timestamp,
    /// Seconds between evaluations; its group's.
    #[serde(skip)]
    pub interval: f64,
}

impl AlertingRule {
    /// When it was last evaluated, in seconds since 1970; long ago if it was not yet.
    pub fn evaluated(&self) -> f64 {
        self.last_evaluation.as_millisecond() as f64 / 1000.0
    }

    /// Whether it was not evaluated any more at a time: for two of its intervals, and `late` seconds.
    pub fn is_stale(&self, at: f64, late: f64) -> bool {
        self.evaluated() + 2.0 * self.interval + late < at
    }
}

/// A group of rules, as Prometheus has loaded it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RuleGroup {
    /// Its name.
    pub name: String,
    /// Seconds between its evaluations.
    pub interval: f64,
    /// Its rules, in their order.
    pub rules: Vec<LoadedRule>,
}

/// A rule of either kind, as Prometheus has loaded it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LoadedRule {
    /// The alert's name, or that of the series that is recorded.
    pub name: String,
    /// Its expression, in Prometheus' own layout.
    pub query: String,
    /// Seconds for which it must hold before the alert fires; 0 for what is recorded.
    #[serde(default)]
    pub duration: f64,
    /// The labels that it adds: a mapping.
    #[serde(default)]
    pub labels: serde_json::Value,
    /// The alert's annotations: a mapping.
    #[serde(default)]
    pub annotations: serde_json::Value,
}

/// A label matcher of a selector: `handler!="/metrics"`. PromQL escapes text as JSON does.
pub fn matcher(label: &str, operator: &str, value: &str) -> String {
    format!("{label}{operator}{}", serde_json::Value::from(value))
}

/// A label matcher for any of these values, as they are.
pub fn one_of<T: AsRef<str>>(label: &str, values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| literal(value.as_ref())).collect();
    matcher(label, "=~", &values.join("|"))
}

/// A regular expression for this text and no other.
pub fn literal(text: &str) -> String {
    let special = |c: char| !(c.is_ascii_alphanumeric() || "-_:/".contains(c));
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

impl Prometheus {
    /// A client of the Prometheus behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn new(endpoint: &Endpoint) -> Result<Prometheus> {
        Ok(Prometheus { http: HttpClient::new("Prometheus", endpoint)? })
    }

    /// A client of the Prometheus behind the proxy of a cluster's API server, at a path there.
    pub fn behind_api_server(client: kube::Client, path: &str) -> Prometheus {
        Prometheus { http: HttpClient::behind_api_server("Prometheus", client, path) }
    }

    /// One that asks once: for those who ask again by themselves.
    pub fn once_only(self) -> Prometheus {
        Prometheus { http: self.http.once_only() }
    }

    /// Its base URL.
    pub fn url(&self) -> &url::Url {
        self.http.base()
    }

    /// Its own time.
    ///
    /// # Errors
    /// No data (exit 3), as for every question below.
    pub async fn time(&self) -> Result<f64> {
        match self.query("time()", None).await? {
            QueryResult::Scalar(time) => Ok(time),
            QueryResult::Vector(_) => Err(Error::no_data("Prometheus did not tell its time")),
        }
    }

    /// An instant query, at a time or now.
    pub async fn query(&self, expression: &str, at: Option<f64>) -> Result<QueryResult> {
        match self.ask(expression, at).await? {
            Data::Vector(series) => {
                Ok(QueryResult::Vector(series.into_iter().map(|s| (s.metric, s.value.value())).collect()))
            }
            Data::Scalar(point) => Ok(QueryResult::Scalar(point.value())),
            Data::Matrix(_) | Data::String(_) => {
                Err(Error::no_data(format!("`{expression}` gives neither series nor a number")))
            }
        }
    }

    /// The raw samples of a selector's series, from one time to another, both included. Stale markers are left out.
    pub async fn samples(&self, selector: &str, from: f64, to: f64) -> Result<Vec<Series>> {
        self.range(selector, "", from, to).await
    }

    async fn range(&self, selector: &str, step: &str, from: f64, to: f64) -> Result<Vec<Series>> {
        // One second more on the left: Prometheus 3 leaves that end of a range open, 2 closes it.
        let window = ((to - from).max(0.0) * 1000.0).ceil() + 1000.0;
        match self.ask(&format!("{selector}[{window}ms{step}]"), Some(to)).await? {
            Data::Matrix(series) => Ok(series
                .into_iter()
                .map(|series| Series {
                    labels: series.metric,
                    samples: series
                        .values
                        .iter()
                        .map(|point| Sample { time: point.0, value: point.value() })
                        .filter(|sample| (from..=to).contains(&sample.time))
                        .collect(),
                })
                .filter(|series| !series.samples.is_empty())
                .collect()),
            _ => Err(Error::no_data(format!("`{selector}` selects no series"))),
        }
    }

    /// The values of a label, of the series of a selector that had samples from one time to another.
    pub async fn label_values(&self, label: &str, selector: &str, from: f64, to: f64) -> Result<Vec<String>> {
        let query =
            [("match[]", selector.to_owned()), ("start", format!("{from:.3}")), ("end", format!("{to:.3}"))];
        let answer: Answer<Vec<String>> =
            self.http.get(&format!("api/v1/label/{label}/values"), &query).await?;
        Ok(answer.data)
    }

    /// The values of an expression, evaluated every `step` seconds from one time to another, both included.
    pub async fn evaluations(&self, expression: &str, from: f64, to: f64, step: f64) -> Result<Vec<Series>> {
        let step = (step * 1000.0).round();
        // It may end with a comment.
        self.range(&format!("({expression}\n)"), &format!(":{step}ms"), from, to).await
    }

    /// The active scrape targets.
    pub async fn targets(&self) -> Result<Vec<Target>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Targets {
            active_targets: Vec<Target>,
        }
        let answer: Answer<Targets> = self.http.get("api/v1/targets", &[("state", "active".into())]).await?;
        Ok(answer.data.active_targets)
    }

    /// The alerting rules that it has loaded.
    pub async fn rules(&self) -> Result<Vec<AlertingRule>> {
        let with_interval = |group: AlertingGroup| {
            group.rules.into_iter().map(move |rule| AlertingRule { interval: group.interval, ..rule })
        };
        Ok(self.rule_groups().await?.into_iter().flat_map(with_interval).collect())
    }

    /// The files of the alerting rules that it has loaded.
    pub async fn rule_files(&self) -> Result<Vec<std::path::PathBuf>> {
        Ok(self.rule_groups().await?.into_iter().map(|group| group.file).collect())
    }

    /// All groups of rules that it has loaded.
    pub async fn groups(&self) -> Result<Vec<RuleGroup>> {
        let answer: Answer<Groups<RuleGroup>> = self.http.get("api/v1/rules", &[]).await?;
        Ok(answer.data.groups)
    }

    /// The configuration that it has loaded, as YAML in its own spelling.
    pub async fn config(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Config {
            yaml: String,
        }
        let answer: Answer<Config> = self.http.get("api/v1/status/config", &[]).await?;
        Ok(answer.data.yaml)
    }

    async fn rule_groups(&self) -> Result<Vec<AlertingGroup>> {
        let answer: Answer<Groups<AlertingGroup>> =
            self.http.get("api/v1/rules", &[("type", "alert".into())]).await?;
        Ok(answer.data.groups)
    }

    /// Whether it knows an Alertmanager.
    pub async fn has_alertmanager(&self) -> Result<bool> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Alertmanagers {
            active_alertmanagers: Vec<serde::de::IgnoredAny>,
        }
        let answer: Answer<Alertmanagers> = self.http.get("api/v1/alertmanagers", &[]).await?;
        Ok(!answer.data.active_alertmanagers.is_empty())
    }

    /// Its version.
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Build {
            version: String,
        }
        let answer: Answer<Build> = self.http.get("api/v1/status/buildinfo", &[]).await?;
        Ok(answer.data.version)
    }

    /// The type that a metric's exposition gives it (`counter`, `gauge`); `None` where it gives none.
    pub async fn metric_type(&self, metric: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Metadata {
            r#type: String,
        }
        let query = [("metric", metric.to_owned())];
        let answer: Answer<BTreeMap<String, Vec<Metadata>>> =
            self.http.get("api/v1/metadata", &query).await?;
        let known = answer.data.into_values().flatten().map(|metadata| metadata.r#type);
        Ok(known.into_iter().find(|name| name != "unknown"))
    }

    async fn ask(&self, expression: &str, at: Option<f64>) -> Result<Data> {
        let mut query = vec![("query", expression.to_owned())];
        query.extend(at.map(|at| ("time", format!("{at:.3}"))));
        let answer: Answer<Data> = self.http.get("api/v1/query", &query).await?;
        Ok(answer.data)
    }
}

#[derive(Deserialize)]
struct Groups<G> {
    groups: Vec<G>,
}

#[derive(Deserialize)]
struct AlertingGroup {
    file: std::path::PathBuf,
    interval: f64,
    rules: Vec<AlertingRule>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<VectorSeries>),
    Matrix(Vec<MatrixSeries>),
    Scalar(Point),
    // Its content is of no use to a verdict; a text never compares.
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct VectorSeries {
    metric: Labels,
    value: Point,
}

#[derive(Deserialize)]
struct MatrixSeries {
    metric: Labels,
    #[serde(default)]
    values: Vec<Point>,
}

#[derive(Deserialize)]
struct Point(f64, String);

impl Point {
    /// Prometheus writes `NaN`, `+Inf` and `-Inf` as Rust reads them.
    fn value(&self) -> f64 {
        self.1.parse().unwrap_or(f64::NAN)
    }
}
