//! Reads from Prometheus what it saw of each target.

use super::baseline::{Baseline, BaselineSeries, BaselineTarget};
use super::history::TargetHistory;
use crate::error::Result;
use crate::observe::{Labels, Prometheus, Sample, Series, matcher, selector};
use crate::stack::Counter;

/// How far back a target's last successful scrape is looked for, in seconds; Prometheus' own look-back.
const LOOK_BACK: f64 = 300.0;

/// The counters that are read: the request counter and the metrics of further series.
#[derive(Debug, Clone)]
pub struct Counters<'a> {
    /// The request counter.
    pub counter: &'a Counter,
    /// Names of the other metrics.
    pub others: Vec<String>,
}

impl Counters<'_> {
    fn selectors(&self) -> Vec<String> {
        let counter = self.counter;
        let matching = counter.matching.iter().map(|(label, value)| matcher(label, "=", value));
        let except = counter
            .except
            .iter()
            .flat_map(|(label, values)| values.iter().map(move |value| matcher(label, "!=", value)));
        let all: Vec<String> = self.job().into_iter().chain(matching).chain(except).collect();
        let mut selectors = vec![selector(&counter.metric, all)];
        selectors.extend(self.others.iter().map(|name| self.of_targets(name)));
        selectors
    }

    /// A metric of the targets themselves.
    fn of_targets(&self, metric: &str) -> String {
        selector(metric, self.job())
    }

    fn job(&self) -> Option<String> {
        self.counter.job.as_ref().map(|job| matcher("job", "=", job))
    }
}

/// What Prometheus has of every target that serves the counters, between two times on its clock.
///
/// Scrapes are read before counters: whatever scrape is listed, its counters are there, too.
async fn read(
    prometheus: &Prometheus,
    counters: &Counters<'_>,
    instances: &[String],
    from: f64,
    to: f64,
) -> Result<Vec<TargetHistory>> {
    let scrapes = prometheus.samples(&counters.of_targets("up"), from, to).await?;
    let started = prometheus.samples(&counters.of_targets("process_start_time_seconds"), from, to).await?;
    let mut series = Vec::new();
    for selector in counters.selectors() {
        series.extend(prometheus.samples(&selector, from, to).await?);
    }
    let mut histories: Vec<TargetHistory> = scrapes
        .into_iter()
        .map(|up| {
            let mut labels = up.labels;
            labels.remove("__name__");
            TargetHistory { labels, scrapes: up.samples, ..TargetHistory::default() }
        })
        .collect();
    for found in started {
        if let Some(history) = owner(&mut histories, &found.labels) {
            history.process_started = found.samples;
        }
    }
    for found in series {
        if let Some(history) = owner(&mut histories, &found.labels) {
            history.series.push(found);
        }
    }
    // Without a job, whoever serves the counter is asked about, and whoever has to.
    histories.retain(|history| {
        counters.counter.job.is_some()
            || !history.series.is_empty()
            || instances.iter().any(|instance| instance == history.instance())
    });
    Ok(histories)
}

/// The target whose labels a series carries; of several, the one with the most.
fn owner<'a>(histories: &'a mut [TargetHistory], labels: &Labels) -> Option<&'a mut TargetHistory> {
    histories
        .iter_mut()
        .filter(|history| history.labels.iter().all(|(name, value)| labels.get(name) == Some(value)))
        .max_by_key(|history| history.labels.len())
}

/// The counters of every target in its last successful scrape until now.
pub async fn baseline(
    prometheus: &Prometheus,
    counters: &Counters<'_>,
    instances: &[String],
) -> Result<Baseline> {
    let now = prometheus.time().await?;
    let histories = read(prometheus, counters, instances, now - LOOK_BACK, now).await?;
    let targets = histories.iter().filter_map(|history| {
        let scraped = history.last_scrape()?;
        let last = |samples: &[Sample]| samples.iter().rev().find(|s| s.time <= scraped).copied();
        let in_it = |series: &&Series| {
            // An exporter may give its samples times of their own; then the last one stands.
            series.samples.iter().any(|s| (s.time - scraped).abs() < 0.0005) || history.has_own_times(series)
        };
        let series = history.series.iter().filter(in_it).filter_map(|series| {
            let value = last(&series.samples)?.value;
            Some(BaselineSeries { labels: series.labels.clone(), value })
        });
        Some(BaselineTarget {
            labels: history.labels.clone(),
            scraped,
            process_started: last(&history.process_started).map(|s| s.value),
            series: series.collect(),
        })
    });
    Ok(Baseline { at: now, targets: targets.collect() })
}

/// What Prometheus saw of every target since the baseline.
pub async fn since(
    prometheus: &Prometheus,
    counters: &Counters<'_>,
    instances: &[String],
    baseline: &Baseline,
    now: f64,
) -> Result<Vec<TargetHistory>> {
    let from = baseline.targets.iter().map(|target| target.scraped).fold(baseline.at, f64::min);
    let mut histories = read(prometheus, counters, instances, from, now).await?;
    for target in &baseline.targets {
        if !histories.iter().any(|history| history.labels == target.labels) {
            histories.push(TargetHistory { labels: target.labels.clone(), ..TargetHistory::default() });
        }
    }
    for history in &mut histories {
        let before = baseline.targets.iter().find(|target| target.labels == history.labels);
        graft(history, before, baseline.at);
    }
    // A target that nobody scrapes any more and that had nothing to do with the load.
    histories.retain(|history| history.known_before || !history.scrapes.is_empty());
    Ok(histories)
}

/// Puts what was read before the load in front of what was read since: it stands even where Prometheus
/// has lost it meanwhile.
fn graft(history: &mut TargetHistory, before: Option<&BaselineTarget>, at: f64) {
    let from = before.map_or(at, |before| before.scraped);
    let after = |samples: &mut Vec<Sample>| samples.retain(|s| s.time > from + 0.0005);
    after(&mut history.scrapes);
    after(&mut history.process_started);
    history.series.iter_mut().for_each(|series| after(&mut series.samples));
    history.series.retain(|series| !series.samples.is_empty());
    let Some(before) = before else { return };
    history.known_before = true;
    history.scrapes.insert(0, Sample { time: from, value: 1.0 });
    if let Some(value) = before.process_started {
        history.process_started.insert(0, Sample { time: from, value });
    }
    for known in &before.series {
        let sample = Sample { time: from, value: known.value };
        match history.series.iter_mut().find(|series| series.labels == known.labels) {
            Some(series) => series.samples.insert(0, sample),
            None => history.series.push(Series { labels: known.labels.clone(), samples: vec![sample] }),
        }
    }
}
