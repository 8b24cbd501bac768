//! Alertmanager's HTTP API, as far as verdicts need it.

use serde::Deserialize;

use super::{HttpClient, Labels, matcher};
use crate::error::Result;
use crate::target::Endpoint;

/// A client of one Alertmanager.
#[derive(Debug, Clone)]
pub struct Alertmanager {
    http: HttpClient,
}

impl Alertmanager {
    /// A client of the Alertmanager behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn new(endpoint: &Endpoint) -> Result<Alertmanager> {
        Ok(Alertmanager { http: HttpClient::new("Alertmanager", endpoint)? })
    }

    /// Whether anybody answers at its address, whatever it says.
    pub async fn answers(&self) -> bool {
        self.http.answers().await
    }

    /// Whether nobody takes a connection at its address.
    pub async fn is_gone(&self) -> bool {
        self.http.is_gone().await
    }

    /// The metrics of its own.
    ///
    /// # Errors
    /// No data (exit 3) where it does not show them.
    pub async fn own_page(&self) -> Result<String> {
        self.http.text("metrics").await
    }

    /// Its version; asking for it proves that it answers.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn version(&self) -> Result<String> {
        Ok(self.status().await?.version_info.version)
    }

    /// The configuration that it has loaded, as it would write it: with its defaults, and without secrets.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn config(&self) -> Result<String> {
        Ok(self.status().await?.config.original)
    }

    /// When it started.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn started(&self) -> Result<Option<jiff::Timestamp>> {
        Ok(self.status().await?.uptime)
    }

    /// The alerts that it has and that carry this label; those that are over are gone at once.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn alerts(&self, label: &str, value: &str) -> Result<Vec<HeldAlert>> {
        self.http.get("api/v2/alerts", &[("filter", matcher(label, "=", value))]).await
    }

    /// All alerts that it has.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn all_alerts(&self) -> Result<Vec<HeldAlert>> {
        self.http.get("api/v2/alerts", &[]).await
    }

    /// A silence by its id.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn silence(&self, id: &str) -> Result<Silence> {
        self.http.get(&format!("api/v2/silence/{id}"), &[]).await
    }

    /// All silences that it knows, those that are over among them.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn silences(&self) -> Result<Vec<Silence>> {
        self.http.get("api/v2/silences", &[]).await
    }

    async fn status(&self) -> Result<Status> {
        self.http.get("api/v2/status", &[]).await
    }
}

/// An alert that Alertmanager has, and what it does with it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldAlert {
    /// Its labels as they came here: external labels and relabelling may have changed them.
    pub labels: Labels,
    /// When it began to fire, on Prometheus' clock.
    pub starts_at: jiff::Timestamp,
    /// Its name among alerts.
    #[serde(default)]
    pub fingerprint: String,
    /// Whether it is notified, and why not.
    pub status: HeldStatus,
    /// Where its routes lead.
    #[serde(default)]
    pub receivers: Vec<ReceiverName>,
}

/// Whether Alertmanager notifies of an alert, and why not.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldStatus {
    /// `active`, `suppressed` or `unprocessed`.
    pub state: String,
    /// The ids of silences.
    #[serde(default)]
    pub silenced_by: Vec<String>,
    /// The fingerprints of alerts.
    #[serde(default)]
    pub inhibited_by: Vec<String>,
    /// The names of time intervals (from 0.28).
    #[serde(default)]
    pub muted_by: Vec<String>,
}

/// A receiver's name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReceiverName {
    /// The name.
    pub name: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Who made it.
    #[serde(default)]
    pub created_by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
    /// Until when.
    pub ends_at: jiff::Timestamp,
    /// What it matches.
    #[serde(default)]
    pub matchers: Vec<Matcher>,
}

/// One label that a silence matches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Silence {
    /// Who made it, and why.
    pub fn by(&self) -> String {
        format!("{} (“{}”)", self.created_by, self.comment)
    }

    /// Whether it matches an alert with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.matchers.is_empty() && self.matchers.iter().all(|matcher| matcher.matches(labels))
    }
}

impl Matcher {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let same = match self.is_regex {
            false => value == self.value,
            // Alertmanager anchors it; one that cannot be read matches nothing.
            true => {
                regex::Regex::new(&format!("^(?:{})$", self.value)).is_ok_and(|regex| regex.is_match(value))
            }
        };
        same == self.is_equal
    }
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    uptime: Option<jiff::Timestamp>,
    #[serde(rename = "versionInfo")]
    version_info: VersionInfo,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
struct VersionInfo {
    version: String,
}

#[derive(Default, Deserialize)]
struct Config {
    original: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_matches_as_alertmanager_does() {
        let silence = |matchers: serde_json::Value| -> Silence {
            let json = serde_json::json!({"endsAt": "2026-01-01T00:00:00Z", "matchers": matchers});
            serde_json::from_value(json).expect("a silence")
        };
        let labels = Labels::from([("alertname".into(), "Alarm".into())]);
        for (name, value, regex, equal, matches) in [
            ("alertname", "Alarm", false, true, true),
            ("alertname", "Al.*", true, true, true),
            ("alertname", "Al", true, true, false),
            ("alertname", "Alarm", false, false, false),
            ("zone", "", false, true, true),
            ("zone", "(", true, true, false),
        ] {
            let matcher =
                serde_json::json!({"name": name, "value": value, "isRegex": regex, "isEqual": equal});
            assert_eq!(silence(serde_json::json!([matcher])).matches(&labels), matches, "{name} {value}");
        }
        assert!(!silence(serde_json::json!([])).matches(&labels));
    }
}
