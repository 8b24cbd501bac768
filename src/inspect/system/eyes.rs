//! What is asked of Prometheus, at one instant and over the window that was asked for, if one was.

use super::model::Missing;
use super::probe::{Moved, Probe};
use super::window;
use crate::observe::{Labels, Prometheus, QueryResult, matcher};

/// How far back one series is read to see how often it is scraped, in seconds.
const LOOK_BACK: f64 = 3600.0;
/// How long ago the newest sample of a metric may be, in seconds: Prometheus' own look-back.
const FRESH: &str = "5 min";

/// A Prometheus, looked at from one instant.
#[derive(Debug, Clone)]
pub struct Eyes {
    prometheus: Prometheus,
    /// Seconds since 1970, on its own clock.
    at: f64,
    /// The window that was asked for, in seconds.
    asked: Option<u32>,
}

impl Eyes {
    /// Looks at what it holds now.
    pub async fn open(prometheus: Prometheus, asked: Option<u32>) -> Result<Eyes, Missing> {
        let at = prometheus.time().await?;
        Ok(Eyes { prometheus, at, asked })
    }

    /// The names of metrics that match a pattern and had samples in the last day.
    pub async fn names(&self, pattern: &str) -> Result<Vec<String>, Missing> {
        let selector = format!("{{{}}}", matcher("__name__", "=~", pattern));
        let day = self.at - f64::from(window::LADDER[window::LADDER.len() - 1]);
        Ok(self.prometheus.label_values("__name__", &selector, day, self.at).await?)
    }

    /// Series with a value each; empty where the expression gives a number or nothing.
    pub async fn vector(&self, expression: &str) -> Result<Vec<(Labels, f64)>, Missing> {
        match self.prometheus.query(expression, Some(self.at)).await? {
            QueryResult::Vector(series) => Ok(series),
            QueryResult::Scalar(_) => Ok(Vec::new()),
        }
    }

    /// How often the series of a selector are scraped, in seconds; by one of them.
    pub async fn interval(&self, selector: &str) -> Result<f64, Missing> {
        let one = self.vector(&format!("topk(1, {selector})")).await?;
        let Some((labels, _)) = one.first() else {
            return Err(Missing::new(
                format!("there is no sample of {selector} within {FRESH}"),
                "is its target still scraped? up == 0 tells which are not",
            ));
        };
        let series = self.prometheus.samples(&exactly(labels), self.at - LOOK_BACK, self.at).await?;
        let times: Vec<f64> =
            series.iter().flat_map(|series| &series.samples).map(|sample| sample.time).collect();
        window::interval(&times).ok_or_else(|| {
            Missing::new(
                format!("there is one sample of {selector} only"),
                "rates need two: ask again after the next scrape",
            )
        })
    }

    /// How a metric moved, over the window that was asked for or the one in which it moved `wanted` times.
    pub async fn counter(
        &self,
        selector: &str,
        by: Option<&'static str>,
        interval: f64,
        wanted: f64,
    ) -> Result<Moved, Missing> {
        let probe = Probe::counter(selector, self.asked);
        self.moved(by.map_or(probe.clone(), |label| probe.by(label)), selector, interval, wanted).await
    }

    /// How several counters moved, each by its name, likewise over one window.
    pub async fn counters(
        &self,
        selectors: Vec<(&'static str, String)>,
        interval: f64,
        wanted: f64,
    ) -> Result<Moved, Missing> {
        let names: Vec<&str> = selectors.iter().map(|(_, selector)| selector.as_str()).collect();
        let names = names.join(" and ");
        self.moved(Probe::counters(selectors, self.asked), &names, interval, wanted).await
    }

    /// The mean and the largest value of a gauge, likewise.
    pub async fn gauge(&self, selector: &str, interval: f64, wanted: f64) -> Result<Moved, Missing> {
        self.moved(Probe::gauge(selector, self.asked), selector, interval, wanted).await
    }

    async fn moved(
        &self,
        probe: Probe,
        selector: &str,
        interval: f64,
        wanted: f64,
    ) -> Result<Moved, Missing> {
        let answer = self.prometheus.query(&probe.query(), Some(self.at)).await?;
        probe.read(&answer, interval, wanted).ok_or_else(|| match self.asked {
            Some(seconds) if f64::from(seconds) < 2.0 * interval => Missing::new(
                format!(
                    "{} holds less than two scrapes, one each {}",
                    window::in_promql(seconds),
                    crate::figures::duration(interval)
                ),
                "ask for a longer --time-range, or leave it out",
            ),
            _ => Missing::because(format!("Prometheus has no two samples of {selector}")),
        })
    }
}

/// The selector of one series.
pub fn exactly(labels: &Labels) -> String {
    let matchers: Vec<String> = labels.iter().map(|(name, value)| matcher(name, "=", value)).collect();
    format!("{{{}}}", matchers.join(","))
}
