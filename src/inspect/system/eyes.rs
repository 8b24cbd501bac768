//! What is asked of Prometheus, at one instant and over the window that was asked for, if one was.

use super::model::Missing;
use super::probe::{Moved, Probe};
use super::window;
use crate::observe::{Labels, Prometheus, QueryResult, matcher};

/// How far back one series is read to see how often it is scraped, in seconds; and how far back one may have ended and is
/// still told of.
const LOOK_BACK: f64 = 3600.0;
/// The same in PromQL, and in words.
const HOUR: &str = "1h";

/// What became of the targets of a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// Whether a series of it is there now.
    pub now: bool,
    /// Seconds since its newest sample; `None` where there is none within the hour.
    pub since: Option<f64>,
    /// How many of the targets that it came from are scraped with success.
    pub up: usize,
    /// How many of them could not be scraped.
    pub down: usize,
}

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

    /// Groups of the series of a selector that are there, or were within the hour, by these labels.
    pub async fn lately(&self, selector: &str, by: &str) -> Result<Vec<Labels>, Missing> {
        let groups = self.vector(&format!("group by ({by}) (last_over_time({selector}[{HOUR}]))")).await?;
        Ok(groups.into_iter().map(|(labels, _)| labels).collect())
    }

    /// Series of a metric that ended within the hour, and whose target is there still; each with what `up` says of it.
    pub async fn silent(&self, metric: &str) -> Result<Vec<(Labels, f64)>, Missing> {
        let ended = format!("last_over_time({metric}[{HOUR}]) unless on (job, instance) {metric}");
        let series = self.vector(&format!("{ended} and on (job, instance) up")).await?;
        if series.is_empty() {
            return Ok(Vec::new());
        }
        let up = self.vector(&format!("up and on (job, instance) ({ended})")).await?;
        let same =
            |a: &Labels, b: &Labels| ["job", "instance"].iter().all(|name| a.get(*name) == b.get(*name));
        let with_up = |(mut labels, _): (Labels, f64)| {
            // Some products leave the name out.
            labels.insert("__name__".into(), metric.to_owned());
            let up = up.iter().find(|(target, _)| same(target, &labels)).map(|(_, value)| *value);
            up.map(|up| (labels, up))
        };
        Ok(series.into_iter().filter_map(with_up).collect())
    }

    /// What became of the targets that the series of a selector came from within the hour.
    pub async fn targets(&self, selector: &str) -> Result<Targets, Missing> {
        let of = |expression: &str| format!("max by (job, instance) ({expression})");
        let lately = of(&format!("last_over_time({selector}[{HOUR}])"));
        let up = self.vector(&format!("{} and {lately}", of("up"))).await?;
        let now = !self.vector(&format!("group({selector})")).await?.is_empty();
        let newest = format!("max_over_time(max(timestamp({selector}))[{HOUR}:15s])");
        let newest = self.vector(&newest).await?.first().map(|(_, time)| *time);
        Ok(Targets {
            now,
            since: newest.filter(|time| time.is_finite()).map(|time| (self.at - time).max(0.0)),
            up: up.iter().filter(|(_, value)| *value > 0.0).count(),
            down: up.iter().filter(|(_, value)| *value == 0.0).count(),
        })
    }

    /// When the newest sample of a series within the hour was, in seconds ago.
    pub async fn newest(&self, labels: &Labels) -> Result<Option<f64>, Missing> {
        let series = self.prometheus.samples(&exactly(labels), self.at - LOOK_BACK, self.at).await?;
        let newest = series.iter().filter_map(|series| series.samples.last()).map(|sample| sample.time);
        Ok(newest.reduce(f64::max).map(|time| (self.at - time).max(0.0)))
    }

    /// How often the series of a selector are scraped, in seconds; by one of them, or by one that ended within the hour.
    pub async fn interval(&self, selector: &str) -> Result<f64, Missing> {
        let one = self.vector(&format!("topk(1, {selector})")).await?.into_iter().map(|(labels, _)| labels);
        let mut one = one.collect::<Vec<_>>();
        if one.is_empty() {
            let ended = self.vector(&format!("topk(1, last_over_time({selector}[{HOUR}]))")).await?;
            one.extend(ended.into_iter().map(|(labels, _)| labels));
        }
        let Some(mut labels) = one.pop() else {
            return Err(Missing::new(
                format!("there is no sample of {selector} within the last hour"),
                "is its target still scraped? up == 0 tells which are not",
            ));
        };
        // Some products leave the name out.
        if let Some(name) = selector.split('{').next().filter(|name| !name.is_empty()) {
            labels.insert("__name__".into(), name.to_owned());
        }
        let series = self.prometheus.samples(&exactly(&labels), self.at - LOOK_BACK, self.at).await?;
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
