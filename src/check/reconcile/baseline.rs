//! Prometheus' counters before the load: the first of the two instants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What Prometheus had of the service before the first request was sent.
///
/// Every time is in seconds since 1970 on Prometheus' clock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Prometheus' time when this was read, before the load's start.
    pub at: f64,
    /// The targets that it scraped.
    pub targets: Vec<BaselineTarget>,
    /// Seconds that were waited before it was read, so that what was sent earlier is in it although counters may be
    /// behind.
    #[serde(default)]
    pub settled: f64,
    /// Seconds in which every target is scraped twice, if all goes well; `None` in runs of before it was kept.
    #[serde(default)]
    pub round: Option<f64>,
}

/// One scrape target before the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineTarget {
    /// Its labels, as its `up` series has them.
    pub labels: BTreeMap<String, String>,
    /// When it was last scraped with success.
    pub scraped: f64,
    /// What was scraped; `None` where that is not known.
    #[serde(default)]
    pub scrape_url: Option<String>,
    /// When its process started, where it tells (`process_start_time_seconds`).
    pub process_started: Option<f64>,
    /// Its series of the counters that are reconciled, as they were in that scrape.
    pub series: Vec<BaselineSeries>,
}

/// One counter in the last scrape before the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineSeries {
    /// Its labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}
