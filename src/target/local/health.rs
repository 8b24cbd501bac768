//! Whether the parts of a lab answer, and whether Prometheus sees what it should.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::plan::ExpectedTarget;
use crate::error::{Error, Result};
use crate::http_client;
use crate::observe;
use crate::target::Endpoint;

/// How long an answer may take.
const ANSWER_BOUND: Duration = Duration::from_secs(3);

/// Asks the parts of a lab.
#[derive(Debug, Clone)]
pub struct Health {
    http: reqwest::Client,
}

/// What came of telling a part to read its configuration again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// It did.
    Done,
    /// It goes on with the one that it had, and says why.
    Refused(String),
    /// It does not answer.
    NoAnswer,
}

/// A scrape target as Prometheus sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its `job` label.
    pub job: String,
    /// Its `instance` label.
    pub instance: String,
    /// Whether its last scrape was a success.
    pub healthy: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// When its last scrape began; in year 1 if there was none.
    pub last_scrape: Timestamp,
}

impl From<observe::Target> for Target {
    fn from(target: observe::Target) -> Target {
        Target {
            job: target.job().to_owned(),
            instance: target.instance().to_owned(),
            healthy: target.health == observe::Health::Up,
            last_scrape: target.last_scrape,
            error: target.last_error,
        }
    }
}

impl Health {
    /// One that never uses a proxy: all of a lab is on this machine.
    pub fn new() -> Result<Health> {
        let http = http_client::builder()
            .no_proxy()
            .timeout(ANSWER_BOUND)
            .build()
            .map_err(|e| Error::target("HTTP cannot be spoken here").because(e))?;
        Ok(Health { http })
    }

    /// Whether an address answers 2xx; else why not.
    pub async fn ready(&self, url: &Url) -> Result<(), String> {
        match self.http.get(url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("{url} answers {}", answer.status())),
            Err(e) => Err(format!("{url}: {}", root_cause(&e))),
        }
    }

    /// The text of a page.
    pub async fn page(&self, url: &Url) -> Result<String, String> {
        let answer = self.http.get(url.clone()).send().await.map_err(|e| root_cause(&e))?;
        let answer = answer.error_for_status().map_err(|e| e.to_string())?;
        let body = http_client::read(answer, http_client::LARGEST_ANSWER).await.map_err(|e| e.to_string())?;
        String::from_utf8(body).map_err(|e| e.to_string())
    }

    /// Tells a part to read its configuration again.
    pub async fn reload(&self, url: &Url) -> Reload {
        match self.http.post(url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Reload::Done,
            Ok(answer) if answer.status().is_redirection() => {
                let to = answer.headers().get(reqwest::header::LOCATION);
                let to = to.map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
                Reload::Refused(format!("{url} sends on to {to}: nothing was read again"))
            }
            Ok(answer) => Reload::Refused(http_client::excerpt(answer).await),
            Err(_) => Reload::NoAnswer,
        }
    }

    /// Prometheus' active targets.
    pub async fn targets(&self, prometheus: &Url) -> Result<Vec<Target>, String> {
        let targets = client(prometheus)?.targets().await.map_err(why)?;
        Ok(targets.into_iter().map(Target::from).collect())
    }

    /// The rule files that Prometheus has loaded.
    pub async fn rule_files(&self, prometheus: &Url) -> Result<Vec<PathBuf>, String> {
        client(prometheus)?.rule_files().await.map_err(why)
    }

    /// Whether Prometheus knows an Alertmanager.
    pub async fn has_alertmanager(&self, prometheus: &Url) -> Result<bool, String> {
        client(prometheus)?.has_alertmanager().await.map_err(why)
    }
}

/// A wait asks again by itself.
fn client(prometheus: &Url) -> Result<observe::Prometheus, String> {
    let client = observe::Prometheus::new(&Endpoint::new(prometheus.clone())).map_err(why)?;
    Ok(client.once_only())
}

/// The reason at the bottom of an error.
pub(super) fn why(error: Error) -> String {
    error.causes().last().cloned().unwrap_or_else(|| error.what().to_owned())
}

/// The first target that is not as it should be, and why; `None` if all are. `started` tells since
/// when a process runs, where that was just now: a scrape of the one before it proves nothing.
pub fn not_healthy(
    expected: &[ExpectedTarget],
    seen: &[Target],
    started: impl Fn(&str) -> Option<Timestamp>,
) -> Option<String> {
    for target in expected {
        let name = format!("target {} {} ({})", target.job, target.instance, target.process);
        let Some(seen) = seen.iter().find(|seen| seen.job == target.job && seen.instance == target.instance)
        else {
            return Some(format!("{name}: Prometheus does not know it yet"));
        };
        if !seen.healthy {
            let why = if seen.error.is_empty() { "not scraped yet" } else { &seen.error };
            return Some(format!("{name}: {why}"));
        }
        if started(&target.process).is_some_and(|started| seen.last_scrape < started) {
            return Some(format!("{name}: not scraped since it was started"));
        }
    }
    seen.iter()
        .find(|seen| {
            !expected.iter().any(|target| target.job == seen.job && target.instance == seen.instance)
        })
        .map(|extra| format!("target {} {}: Prometheus has it still", extra.job, extra.instance))
}

/// What is at the bottom of an error: `Connection refused`, not what was being done.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(instance: &str) -> ExpectedTarget {
        ExpectedTarget { job: "users-api".into(), instance: instance.into(), process: "users-api-0".into() }
    }

    fn seen(instance: &str, error: &str) -> Target {
        Target {
            job: "users-api".into(),
            instance: instance.into(),
            healthy: error.is_empty(),
            error: error.into(),
            last_scrape: "2026-11-21T06:40:12Z".parse().expect("a time"),
        }
    }

    #[test]
    fn the_one_that_is_not_healthy_is_named() {
        let before = |_: &str| None;
        assert_eq!(not_healthy(&[expected("a:1")], &[seen("a:1", "")], before), None);
        let why = |seen: &[Target]| not_healthy(&[expected("a:1")], seen, before).unwrap_or_default();
        assert_eq!(why(&[]), "target users-api a:1 (users-api-0): Prometheus does not know it yet");
        assert_eq!(
            why(&[seen("a:1", "connection refused")]),
            "target users-api a:1 (users-api-0): connection refused"
        );
        assert_eq!(why(&[seen("a:1", ""), seen("b:1", "")]), "target users-api b:1: Prometheus has it still");
    }

    #[test]
    fn a_scrape_of_the_process_before_proves_nothing() {
        let started = |time: &'static str| move |_: &str| time.parse::<Timestamp>().ok();
        let judge = |time| not_healthy(&[expected("a:1")], &[seen("a:1", "")], started(time));
        assert_eq!(judge("2026-11-21T06:40:11Z"), None);
        assert!(
            judge("2026-11-21T06:40:13Z")
                .is_some_and(|why| why.ends_with("not scraped since it was started"))
        );
    }
}
