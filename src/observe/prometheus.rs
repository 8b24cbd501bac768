//! Prometheus' HTTP API, as far as verdicts need it: raw samples with their own times.
//!
//! Every time is in seconds since 1970 on Prometheus' own clock, with its milliseconds: exact counts
//! compare scrapes with instants, and a second is too coarse for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::promql::{one_of, selector};
use super::query::{self, Asked, Data, QueryResult, Sample, Series};
use super::{HttpClient, stand_in};
use crate::digest;
use crate::error::{Error, Result};
use crate::target::Endpoint;

/// Label names and values, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// A client of one Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: HttpClient,
    /// What it remarked on expressions, until somebody takes it.
    infos: Arc<Mutex<BTreeSet<String>>>,
}

/// What stands for a version that a product does not tell.
const UNTOLD_VERSION: &str = "(version not told)";

/// The label of the series that an answer must have beside what is asked for.
const ANSWERED: &str = "sre_answered";

fn millisecond(sample: &Sample) -> i64 {
    (sample.time * 1000.0).round() as i64
}

/// How far back series are looked for that nobody lists as targets, in seconds; Prometheus' own look-back.
const LOOK_BACK: f64 = 300.0;

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
    /// Whether nobody lists it, and it is known by what it left behind: then its scrape URL is made up.
    #[serde(skip)]
    pub by_up: bool,
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

/// A target that it scrapes, with what its discovery told of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapedTarget {
    /// The target.
    #[serde(flatten)]
    pub target: Target,
    /// The job of the configuration that it comes from.
    #[serde(default)]
    pub scrape_pool: String,
}

/// What its discovery told of and its relabelling dropped.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Its labels before relabelling.
    #[serde(default)]
    pub discovered_labels: Labels,
    /// The job of the configuration that it comes from; not told by older ones.
    #[serde(default)]
    pub scrape_pool: String,
}

/// All that its discovery told of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// What is scraped.
    #[serde(rename = "activeTargets", deserialize_with = "or_none")]
    pub active: Vec<ScrapedTarget>,
    /// What is not.
    #[serde(rename = "droppedTargets", default, deserialize_with = "or_none")]
    pub dropped: Vec<DroppedTarget>,
}

/// A list, which some products leave null.
fn or_none<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// How it read its configuration last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether it could.
    pub succeeded: bool,
    /// When it last could.
    pub at: Option<jiff::Timestamp>,
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

/// An alert of a rule, as it is now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ActiveAlert {
    /// All its labels, `alertname` among them.
    #[serde(default)]
    pub labels: Labels,
    /// Pending or firing.
    pub state: RuleState,
    /// Since when its expression holds.
    #[serde(default, rename = "activeAt")]
    pub active_at: Option<jiff::Timestamp>,
}

/// An alerting rule, as Prometheus has loaded it: its group, name and labels tell it from others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertingRule {
    /// Its name.
    pub name: String,
    /// The labels that it adds to its alerts; values may be templates.
    #[serde(default)]
    pub labels: Labels,
    /// Seconds for which its expression must hold before it fires.
    #[serde(default)]
    pub duration: f64,
    /// Its alerts that are pending or fire now.
    #[serde(default)]
    pub alerts: Vec<ActiveAlert>,
    /// Its state.
    pub state: RuleState,
    /// `ok`, `err`, or `unknown` before its first evaluation.
    pub health: String,
    /// Why its last evaluation failed.
    #[serde(default)]
    pub last_error: String,
    /// When it was last evaluated.
    pub last_evaluation: jiff::Timestamp,
    /// Its expression.
    #[serde(default)]
    pub query: String,
    /// The name of its group.
    #[serde(skip)]
    pub group: String,
    /// The file that it is read from.
    #[serde(skip)]
    pub file: std::path::PathBuf,
    /// Seconds between evaluations; its group's.
    #[serde(skip)]
    pub interval: f64,
    /// Seconds that the last evaluation of its group took.
    #[serde(skip)]
    pub group_took: f64,
}

impl AlertingRule {
    /// When it was last evaluated, in seconds since 1970; long ago if it was not yet.
    pub fn evaluated(&self) -> f64 {
        self.last_evaluation.as_millisecond() as f64 / 1000.0
    }

    /// Until when every evaluation that was due is over: one may begin late, by what the rules before it in its group
    /// took.
    pub fn evaluated_until(&self) -> f64 {
        self.evaluated() - self.group_took
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
    /// `alerting` or `recording`.
    #[serde(default)]
    pub r#type: String,
    /// `ok`, `err`, or `unknown` before its first evaluation.
    #[serde(default)]
    pub health: String,
    /// Why its last evaluation failed.
    #[serde(default, rename = "lastError")]
    pub last_error: String,
}

impl Prometheus {
    /// A client of the Prometheus behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn new(endpoint: &Endpoint) -> Result<Prometheus> {
        Ok(Prometheus::over(HttpClient::new("Prometheus", endpoint)?))
    }

    /// A client of the Prometheus behind the proxy of a cluster's API server, at a path there.
    pub fn behind_api_server(client: kube::Client, path: &str) -> Prometheus {
        Prometheus::over(HttpClient::behind_api_server("Prometheus", client, path))
    }

    fn over(http: HttpClient) -> Prometheus {
        Prometheus { http, infos: Arc::default() }
    }

    /// One that asks once: for those who ask again by themselves.
    pub fn once_only(self) -> Prometheus {
        Prometheus { http: self.http.once_only(), ..self }
    }

    /// Its base URL.
    pub fn url(&self) -> &url::Url {
        self.http.base()
    }

    /// Whether anybody answers at its address, whatever it says.
    pub async fn answers(&self) -> bool {
        self.http.answers().await
    }

    /// The metrics of its own.
    ///
    /// # Errors
    /// No data (exit 3) where it does not show them.
    pub async fn own_page(&self) -> Result<String> {
        self.http.text("metrics").await
    }

    /// Its own time.
    ///
    /// # Errors
    /// No data (exit 3), as for every question below.
    pub async fn time(&self) -> Result<f64> {
        let answer = self.query("time()", None).await?;
        // VictoriaMetrics gives a number as one series without labels.
        let time = match &answer {
            QueryResult::Scalar(time) => Some(*time),
            QueryResult::Vector(series) => match series.as_slice() {
                [(labels, time)] if labels.is_empty() => Some(*time),
                _ => None,
            },
        };
        time.filter(|time| time.is_finite() && *time > 0.0).ok_or_else(|| {
            Error::no_data(format!("{} did not tell its time", self.http.name()))
                .because_of(format!("`time()` gives {answer:?}"))
        })
    }

    /// What it remarked on expressions since this was last asked: nothing that takes from their values.
    pub fn take_infos(&self) -> Vec<String> {
        let mut infos = self.infos.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *infos).into_iter().collect()
    }

    /// An instant query, at a time or now.
    pub async fn query(&self, expression: &str, at: Option<f64>) -> Result<QueryResult> {
        query::instant(self.ask(expression, at).await?, &self.asked(expression))
    }

    /// The raw samples of a selector's series, from one time to another, both included, in the order of their times.
    /// Stale markers are left out: some products give them as NaN.
    pub async fn samples(&self, selector: &str, from: f64, to: f64) -> Result<Vec<Series>> {
        query::raw(self.range(selector, "", from, to).await?, &self.asked(selector))
    }

    /// The samples of `ALERTS` of these names, and those of `up` out of the same answer: an answer without either proves
    /// nothing of alerts that are not in it.
    pub async fn alerts_and_up(
        &self,
        names: &[&str],
        from: f64,
        to: f64,
    ) -> Result<(Vec<Series>, Vec<Series>)> {
        // `up` has no such label, which matches what is empty.
        let names = one_of("alertname", names.iter().copied().chain([""]));
        let both = format!("{{__name__=~\"ALERTS|up\",{names}}}");
        let is_up = |series: &Series| series.labels.get("__name__").is_some_and(|name| name == "up");
        let (up, alerts) = self.samples(&both, from, to).await?.into_iter().partition(is_up);
        Ok((alerts, up))
    }

    async fn range(&self, selector: &str, step: &str, from: f64, to: f64) -> Result<Vec<Series>> {
        // One second more on the left: Prometheus 3 leaves that end of a range open, 2 closes it.
        let window = ((to - from).max(0.0) * 1000.0).ceil() + 1000.0;
        let data = self.ask(&format!("{selector}[{window}ms{step}]"), Some(to)).await?;
        query::range(data, from..=to, &self.asked(selector))
    }

    fn asked<'a>(&self, expression: &'a str) -> Asked<'a> {
        Asked { whom: self.http.name(), expression }
    }

    /// The values of a label, of the series of a selector that had samples from one time to another.
    pub async fn label_values(&self, label: &str, selector: &str, from: f64, to: f64) -> Result<Vec<String>> {
        let query =
            [("match[]", selector.to_owned()), ("start", format!("{from:.3}")), ("end", format!("{to:.3}"))];
        self.get(&format!("api/v1/label/{label}/values"), &query).await
    }

    /// The values of an expression, evaluated every `step` seconds from one time to another, both included.
    ///
    /// A series of its own stands beside them: without it in the answer, at each of the times, nobody has evaluated
    /// anything, and what is not there proves nothing.
    pub async fn evaluations(&self, expression: &str, from: f64, to: f64, step: f64) -> Result<Vec<Series>> {
        let step = (step * 1000.0).round();
        let question = digest::of_text(&format!("{expression}\n{from:.3}\n{to:.3}\n{step}"));
        let witness = Labels::from([(ANSWERED.to_owned(), question[..16].to_owned())]);
        // It may end with a comment.
        let both = format!(
            "(({expression}\n) or label_replace(vector(1), \"{ANSWERED}\", \"{}\", \"\", \"\"))",
            witness[ANSWERED]
        );
        let mut series = self.range(&both, &format!(":{step}ms"), from, to).await?;
        let found = series.iter().position(|series| series.labels == witness).map(|at| series.remove(at));
        let times: BTreeSet<i64> = found.iter().flat_map(|series| &series.samples).map(millisecond).collect();
        let mut values = series.iter().flat_map(|series| &series.samples);
        let due = (to - from) * 1000.0 / step - 2.0;
        if (times.len() as f64) < due || values.any(|sample| !times.contains(&millisecond(sample))) {
            return Err(Error::no_data(format!("{} did not answer what was asked", self.http.name()))
                .because_of(format!("the answer lacks times at which `{expression}` had to be evaluated")));
        }
        Ok(series)
    }

    /// The active scrape targets. Where it lists none, or has no such list (Thanos, Mimir, what others write to), those
    /// whose `up` it has.
    pub async fn targets(&self) -> Result<Vec<Target>> {
        match self.listed_targets().await? {
            Some(targets) if !targets.is_empty() => Ok(targets),
            _ => self.targets_by_up(&selector("up", [])).await,
        }
    }

    /// The same; and of jobs none of whose targets is listed, those whose `up` it has from elsewhere.
    pub async fn targets_with<J: AsRef<str>>(&self, jobs: &[J]) -> Result<Vec<Target>> {
        let mut targets = self.targets().await?;
        let missing: Vec<&str> = jobs
            .iter()
            .map(AsRef::as_ref)
            .filter(|job| !targets.iter().any(|target| target.job() == *job))
            .collect();
        if !missing.is_empty() {
            targets.extend(self.targets_by_up(&selector("up", [one_of("job", missing)])).await?);
        }
        Ok(targets)
    }

    async fn listed_targets(&self) -> Result<Option<Vec<Target>>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Targets {
            active_targets: Vec<Target>,
        }
        let listed =
            self.http.told_if_there::<Targets>("api/v1/targets", &[("state", "active".into())]).await?;
        Ok(listed.and_then(|told| told.data).map(|targets| targets.active_targets))
    }

    /// All that its discovery told of, kept or dropped; `None` where it has no such list.
    pub async fn discovery(&self) -> Result<Option<Discovery>> {
        Ok(self.http.told_if_there("api/v1/targets", &[]).await?.and_then(|told| told.data))
    }

    /// How it read its configuration last, where it tells.
    pub async fn reload(&self) -> Result<Option<Reload>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Runtime {
            reload_config_success: Option<bool>,
            last_config_time: Option<jiff::Timestamp>,
        }
        let told = self.http.told_if_there::<Runtime>("api/v1/status/runtimeinfo", &[]).await?;
        Ok(told.and_then(|told| {
            let Runtime { reload_config_success, last_config_time: at } = told.data?;
            Some(Reload { succeeded: reload_config_success?, at })
        }))
    }

    async fn targets_by_up(&self, up: &str) -> Result<Vec<Target>> {
        let now = self.time().await?;
        let mut all = stand_in::targets(self.samples(up, now - LOOK_BACK, now).await?);
        // A target that left is remembered for a while; an instant query knows that it has.
        if let QueryResult::Vector(there) = self.query(up, Some(now)).await? {
            all.retain(|target| {
                there.iter().any(|(labels, _)| {
                    labels.iter().filter(|(name, _)| *name != "__name__").eq(target.labels.iter())
                })
            });
        }
        Ok(all)
    }

    /// The alerting rules that it has loaded.
    pub async fn rules(&self) -> Result<Vec<AlertingRule>> {
        Ok(self.rule_groups().await?.into_iter().flat_map(AlertingGroup::into_rules).collect())
    }

    /// The files of the alerting rules that it has loaded.
    pub async fn rule_files(&self) -> Result<Vec<std::path::PathBuf>> {
        Ok(self.rule_groups().await?.into_iter().map(|group| group.file).collect())
    }

    /// All groups of rules that it has loaded.
    pub async fn groups(&self) -> Result<Vec<RuleGroup>> {
        let answer: Groups<RuleGroup> = self.get("api/v1/rules", &[]).await?;
        Ok(answer.groups)
    }

    /// The configuration that it has loaded, as YAML in its own spelling.
    pub async fn config(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Config {
            yaml: String,
        }
        let answer: Config = self.get("api/v1/status/config", &[]).await?;
        Ok(answer.yaml)
    }

    /// The value of a flag that it was started with, where it tells.
    pub async fn flag(&self, name: &str) -> Result<Option<String>> {
        let told = self.http.told_if_there::<BTreeMap<String, String>>("api/v1/status/flags", &[]).await?;
        Ok(told.and_then(|told| told.data?.remove(name)))
    }

    async fn rule_groups(&self) -> Result<Vec<AlertingGroup>> {
        let answer: Groups<AlertingGroup> = self.get("api/v1/rules", &[("type", "alert".into())]).await?;
        Ok(answer.groups)
    }

    /// Whether it knows an Alertmanager.
    pub async fn has_alertmanager(&self) -> Result<bool> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Alertmanagers {
            active_alertmanagers: Vec<serde::de::IgnoredAny>,
        }
        let answer: Alertmanagers = self.get("api/v1/alertmanagers", &[]).await?;
        Ok(!answer.active_alertmanagers.is_empty())
    }

    /// Its version, where it tells one; that it answers, in any case.
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Build {
            #[serde(default)]
            version: String,
        }
        let told = self.http.told_if_there::<Build>("api/v1/status/buildinfo", &[]).await?;
        match told.and_then(|told| told.data).map(|build| build.version).filter(|text| !text.is_empty()) {
            Some(version) => Ok(version),
            // Other products do without: that it answers queries is what counts.
            None => self.time().await.map(|_| UNTOLD_VERSION.to_owned()),
        }
    }

    /// Since when it runs, where it tells.
    pub async fn running_since(&self) -> Result<Option<jiff::Timestamp>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Runtime {
            start_time: Option<jiff::Timestamp>,
        }
        let told = self.http.told_if_there::<Runtime>("api/v1/status/runtimeinfo", &[]).await?;
        Ok(told.and_then(|told| told.data?.start_time))
    }

    /// The type that a metric's exposition gives it (`counter`, `gauge`); `None` where it gives none.
    pub async fn metric_type(&self, metric: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Metadata {
            r#type: String,
        }
        let query = [("metric", metric.to_owned())];
        let told =
            self.http.told_if_there::<BTreeMap<String, Vec<Metadata>>>("api/v1/metadata", &query).await?;
        let known = told
            .and_then(|told| told.data)
            .unwrap_or_default()
            .into_values()
            .flatten()
            .map(|metadata| metadata.r#type);
        Ok(known.into_iter().find(|name| name != "unknown"))
    }

    async fn ask(&self, expression: &str, at: Option<f64>) -> Result<Data> {
        // VictoriaMetrics answers as of 30 s ago unless it is told not to.
        let mut query = vec![("query", expression.to_owned()), ("nocache", "1".to_owned())];
        query.extend(at.map(|at| ("time", format!("{at:.3}"))));
        self.get("api/v1/query", &query).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        let told = self.http.told(path, query).await?;
        self.infos.lock().unwrap_or_else(PoisonError::into_inner).extend(told.infos);
        told.data.ok_or_else(|| {
            Error::no_data(format!("{} gave an answer without data", self.http.name()))
                .because_of(format!("asked for /{path}"))
        })
    }
}

#[derive(Deserialize)]
struct Groups<G> {
    groups: Vec<G>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertingGroup {
    #[serde(default)]
    name: String,
    file: std::path::PathBuf,
    interval: f64,
    #[serde(default)]
    evaluation_time: f64,
    rules: Vec<ListedRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedRule {
    #[serde(flatten)]
    rule: AlertingRule,
    /// Only vmalert tells it.
    datasource_type: Option<serde::de::IgnoredAny>,
}

/// vmalert asks what was so long ago (`-rule.evalDelay`), and writes what it finds into that past: an evaluation tells
/// nothing of later times.
const VMALERT_DELAY: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

impl AlertingGroup {
    fn into_rules(self) -> impl Iterator<Item = AlertingRule> {
        let (group, file, interval, group_took) = (self.name, self.file, self.interval, self.evaluation_time);
        self.rules.into_iter().map(move |listed| {
            let told = listed.rule.last_evaluation;
            let delayed = listed.datasource_type.and_then(|_| told.checked_sub(VMALERT_DELAY).ok());
            let last_evaluation = delayed.unwrap_or(told);
            AlertingRule {
                group: group.clone(),
                file: file.clone(),
                interval,
                group_took,
                last_evaluation,
                ..listed.rule
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that gives these as the result of every query; `HASH` in them is what the query's own series is known by.
    async fn giving(result: &'static str) -> (Prometheus, tokio::task::JoinHandle<()>) {
        use axum::extract::Query;
        let answer = move |Query(asked): Query<BTreeMap<String, String>>| async move {
            let query = asked.get("query").cloned().unwrap_or_default();
            let hash = query.split("\"sre_answered\", \"").nth(1).and_then(|rest| rest.split('"').next());
            let result = result.replace("HASH", hash.unwrap_or_default());
            format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}"#)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().route("/api/v1/query", axum::routing::get(answer));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        (Prometheus::new(&Endpoint::new(url.parse().expect("a URL"))).expect("a client").once_only(), server)
    }

    #[tokio::test]
    async fn nothing_is_an_answer_only_beside_what_must_be_in_it() {
        let whole = r#"[{"metric":{"sre_answered":"HASH"},"values":[[0,"1"],[1,"1"],[2,"1"],[3,"1"],[4,"1"],[5,"1"]]}]"#;
        let (client, _server) = giving(whole).await;
        assert_eq!(client.evaluations("ALERTS", 0.0, 5.0, 1.0).await.expect("an answer"), []);
        for lie in [
            "[]",
            r#"[{"metric":{"sre_answered":"HASH"},"values":[[0,"1"],[1,"1"]]}]"#,
            r#"[{"metric":{"sre_answered":"0123456789abcdef"},"values":[[0,"1"],[1,"1"],[2,"1"],[3,"1"],[4,"1"],[5,"1"]]}]"#,
        ] {
            let (client, _server) = giving(lie).await;
            let error = client.evaluations("ALERTS", 0.0, 5.0, 1.0).await.expect_err("it proves nothing");
            assert_eq!(error.exit().code(), 3, "{error}");
        }
        let both = r#"[{"metric":{"__name__":"up"},"values":[[1,"1"]]},{"metric":{"__name__":"ALERTS","alertname":"A"},"values":[[1,"1"]]}]"#;
        let (client, _server) = giving(both).await;
        let (alerts, up) = client.alerts_and_up(&["A"], 0.0, 5.0).await.expect("an answer");
        assert_eq!((alerts.len(), up.len(), alerts[0].labels["alertname"].as_str()), (1, 1, "A"));
    }

    #[test]
    fn an_evaluation_of_vmalert_tells_of_what_was_half_a_minute_ago() {
        let rule = |more: &str| {
            let text = format!(
                r#"{{"file":"r.yml","interval":5,"rules":[{{"name":"A","state":"inactive","health":"ok",
                    "lastEvaluation":"2026-11-28T20:29:17.02Z","type":"alerting"{more}}}]}}"#
            );
            let group: AlertingGroup = serde_json::from_str(&text).expect("a group");
            group.into_rules().next().expect("a rule")
        };
        let (prometheus, vmalert) = (rule(""), rule(r#","datasourceType":"prometheus","keep_firing_for":0"#));
        assert_eq!((prometheus.interval, vmalert.interval), (5.0, 5.0));
        assert!((prometheus.evaluated() - vmalert.evaluated() - 30.0).abs() < 0.001);
    }
}
