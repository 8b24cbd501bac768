//! The configurations of Prometheus and Alertmanager, as the stack wants them. Pure.
//!
//! Every key is known to Prometheus 2.42 and to 3.x; a key that is new in 3.x would keep 2.42 from starting.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::scenario::Duration;

/// A job of Prometheus: what is scraped under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The `job` label.
    pub name: String,
    /// The path of the metrics.
    pub metrics_path: String,
    /// The `instance` labels: addresses.
    pub instances: Vec<String>,
}

/// What Prometheus is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// How often it scrapes.
    pub scrape_interval: Duration,
    /// How often it evaluates its rules.
    pub evaluation_interval: Duration,
    /// The files with its rules.
    pub rules: Vec<PathBuf>,
    /// Where Alertmanager listens.
    pub alertmanager: String,
    /// What it scrapes.
    pub jobs: Vec<Job>,
}

impl PrometheusConfig {
    /// `prometheus.yml`.
    pub fn to_yaml(&self) -> Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            global: Global,
            rule_files: &'a [PathBuf],
            alerting: Alerting<'a>,
            scrape_configs: Vec<Scrape<'a>>,
        }
        #[derive(Serialize)]
        struct Global {
            scrape_interval: String,
            evaluation_interval: String,
        }
        #[derive(Serialize)]
        struct Alerting<'a> {
            alertmanagers: [Static<'a>; 1],
        }
        #[derive(Serialize)]
        struct Static<'a> {
            static_configs: [Targets<'a>; 1],
        }
        #[derive(Serialize)]
        struct Targets<'a> {
            targets: &'a [String],
        }
        #[derive(Serialize)]
        struct Scrape<'a> {
            job_name: &'a str,
            metrics_path: &'a str,
            static_configs: [Targets<'a>; 1],
        }
        let alertmanager = [self.alertmanager.clone()];
        write(&File {
            global: Global {
                scrape_interval: duration(self.scrape_interval),
                evaluation_interval: duration(self.evaluation_interval),
            },
            rule_files: &self.rules,
            alerting: Alerting {
                alertmanagers: [Static { static_configs: [Targets { targets: &alertmanager }] }],
            },
            scrape_configs: self
                .jobs
                .iter()
                .map(|job| Scrape {
                    job_name: &job.name,
                    metrics_path: &job.metrics_path,
                    static_configs: [Targets { targets: &job.instances }],
                })
                .collect(),
        })
    }
}

/// What Alertmanager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertmanagerConfig {
    /// How long it waits for further alerts of a group before it notifies.
    pub group_wait: Duration,
    /// How long it waits before it tells of a change in a group.
    pub group_interval: Duration,
    /// Where notifications go.
    pub webhook: String,
}

impl AlertmanagerConfig {
    /// `alertmanager.yml`.
    pub fn to_yaml(&self) -> Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            route: Route<'a>,
            receivers: [Receiver<'a>; 1],
        }
        #[derive(Serialize)]
        struct Route<'a> {
            receiver: &'a str,
            group_by: [&'a str; 1],
            group_wait: String,
            group_interval: String,
        }
        #[derive(Serialize)]
        struct Receiver<'a> {
            name: &'a str,
            webhook_configs: [Webhook<'a>; 1],
        }
        #[derive(Serialize)]
        struct Webhook<'a> {
            url: &'a str,
            send_resolved: bool,
        }
        write(&File {
            route: Route {
                receiver: "sre",
                // Each alert is a group of its own, so that none waits for another's group_interval.
                group_by: ["..."],
                group_wait: duration(self.group_wait),
                group_interval: duration(self.group_interval),
            },
            receivers: [Receiver {
                name: "sre",
                webhook_configs: [Webhook { url: &self.webhook, send_resolved: true }],
            }],
        })
    }
}

pub(super) fn write(file: &impl Serialize) -> Result<String> {
    let yaml = serde_saphyr::to_string(file)
        .map_err(|e| Error::target("a configuration cannot be written as YAML").because(e))?;
    Ok(format!("# Written by `sre up`; changes are lost.\n{yaml}"))
}

/// A duration as Prometheus reads it, which is more narrow than how people write it.
fn duration(duration: Duration) -> String {
    let milliseconds = duration.get().as_millis().max(1);
    match (milliseconds % 1000, milliseconds / 1000) {
        (0, seconds) => format!("{seconds}s"),
        _ => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_is_told_what_to_scrape_and_whom_to_alert() {
        let config = PrometheusConfig {
            scrape_interval: Duration::from_secs(1),
            evaluation_interval: std::time::Duration::from_millis(1500).into(),
            rules: vec!["/lab/.sre/local/rules/lab.yaml".into()],
            alertmanager: "127.0.0.1:15002".into(),
            jobs: vec![Job {
                name: "users-api".into(),
                metrics_path: "/metrics".into(),
                instances: vec!["127.0.0.1:15003".into(), "127.0.0.1:15004".into()],
            }],
        };
        insta::assert_snapshot!(config.to_yaml().expect("YAML"), @r"
        # Written by `sre up`; changes are lost.
        global:
          scrape_interval: 1s
          evaluation_interval: 1500ms
        rule_files:
        - /lab/.sre/local/rules/lab.yaml
        alerting:
          alertmanagers:
          - static_configs:
            - targets:
              - 127.0.0.1:15002
        scrape_configs:
        - job_name: users-api
          metrics_path: /metrics
          static_configs:
          - targets:
            - 127.0.0.1:15003
            - 127.0.0.1:15004
        ");
    }

    #[test]
    fn alertmanager_tells_of_firing_and_resolved() {
        let config = AlertmanagerConfig {
            group_wait: Duration::from_secs(0),
            group_interval: Duration::from_secs(1),
            webhook: "http://127.0.0.1:15005/alerts".into(),
        };
        insta::assert_snapshot!(config.to_yaml().expect("YAML"), @r#"
        # Written by `sre up`; changes are lost.
        route:
          receiver: sre
          group_by:
          - "..."
          group_wait: 1ms
          group_interval: 1s
        receivers:
        - name: sre
          webhook_configs:
          - url: http://127.0.0.1:15005/alerts
            send_resolved: true
        "#);
    }
}
