//! Reads from Prometheus what it saw of each target.

use super::baseline::{Baseline, BaselineSeries, BaselineTarget};
use super::history::{SAME_TIME, TargetHistory, display_labels};
use crate::error::Result;
use crate::figures::{count, plural};
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

    /// The series that tell when those of the request counter were made: `requests_created` of `requests_total`.
    fn created(&self) -> String {
        let name = &self.counter.metric;
        let stem = ["_total", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        format!("{}_created", stem.unwrap_or(name))
    }

    /// A metric of the targets themselves.
    fn of_targets(&self, metric: &str) -> String {
        selector(metric, self.job())
    }

    fn job(&self) -> Option<String> {
        self.counter.job.as_ref().map(|job| matcher("job", "=", job))
    }
}

/// What Prometheus has of the targets, and what it has of the counters that fits none of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Every target that serves the counters.
    pub histories: Vec<TargetHistory>,
    /// Series of the counters that belong to no target without doubt.
    pub orphans: Vec<Series>,
}

/// Raw samples, as Prometheus has them.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// `up` of every target.
    pub up: Vec<Series>,
    /// `process_start_time_seconds` of every target.
    pub started: Vec<Series>,
    /// When the series of the request counter were made, where they tell.
    pub created: Vec<Series>,
    /// The counters.
    pub counters: Vec<Series>,
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
) -> Result<Seen> {
    let up = prometheus.samples(&counters.of_targets("up"), from, to).await?;
    let started = prometheus.samples(&counters.of_targets("process_start_time_seconds"), from, to).await?;
    let created = prometheus.samples(&counters.of_targets(&counters.created()), from, to).await?;
    let mut found = Vec::new();
    for selector in counters.selectors() {
        found.extend(prometheus.samples(&selector, from, to).await?);
    }
    Ok(assemble(Samples { up, started, created, counters: found }, counters, instances))
}

/// Gives every series to its target. Pure.
pub fn assemble(samples: Samples, counters: &Counters<'_>, instances: &[String]) -> Seen {
    let mut histories: Vec<TargetHistory> = samples
        .up
        .into_iter()
        .map(tidy)
        .map(|up| {
            let mut labels = up.labels;
            labels.remove("__name__");
            TargetHistory { labels, scrapes: up.samples, ..TargetHistory::default() }
        })
        .collect();
    let mut orphans = Vec::new();
    for found in samples.started.into_iter().map(tidy) {
        if let Some(owner) = owner(&histories, &found.labels) {
            histories[owner].process_started = found.samples;
        }
    }
    for found in samples.created.into_iter().map(tidy) {
        if let Some(owner) = owner(&histories, &found.labels) {
            histories[owner].created.push(found);
        }
    }
    for found in samples.counters.into_iter().map(tidy).filter(|series| !series.samples.is_empty()) {
        match owner(&histories, &found.labels) {
            Some(owner) => histories[owner].series.push(found),
            None => orphans.push(found),
        }
    }
    // Without a job, whoever serves the counter is asked about, and whoever has to.
    histories.retain(|history| {
        counters.counter.job.is_some()
            || !history.series.is_empty()
            || instances.iter().any(|instance| instance == history.instance())
    });
    Seen { histories, orphans }
}

/// Samples in the order of their times, without markers of what ended: some stores give those as `NaN`.
fn tidy(mut series: Series) -> Series {
    series.samples.retain(|sample| !sample.value.is_nan());
    series.samples.sort_by(|a, b| a.time.total_cmp(&b.time));
    series
}

/// The target that a series belongs to without doubt, by its place: the one whose labels it carries; of several, the
/// one with the most. A series that lost labels belongs to the only target that it does not contradict, and where there is
/// one target alone, it is that one's whatever its labels say.
fn owner(histories: &[TargetHistory], labels: &Labels) -> Option<usize> {
    let carries =
        |history: &TargetHistory| history.labels.iter().all(|(name, value)| labels.get(name) == Some(value));
    let fits = |history: &TargetHistory| {
        history.labels.iter().all(|(name, value)| labels.get(name).is_none_or(|other| other == value))
    };
    let places = || 0..histories.len();
    let whole = places().filter(|place| carries(&histories[*place]));
    if let Some(place) = whole.max_by_key(|place| histories[*place].labels.len()) {
        return Some(place);
    }
    let fitting: Vec<usize> = places().filter(|place| fits(&histories[*place])).collect();
    match (fitting.as_slice(), histories.len()) {
        ([only], _) => Some(*only),
        (_, 1) => Some(0),
        _ => None,
    }
}

/// What is said of series that belong to no target; `None` where none of them rose.
pub fn orphaned(seen: &Seen) -> Option<String> {
    let rose = |series: &&Series| {
        let values = series.samples.iter().map(|sample| sample.value);
        values.clone().fold(f64::MIN, f64::max) > values.fold(f64::MAX, f64::min)
    };
    let mut orphans: Vec<&Series> = seen.orphans.iter().filter(rose).collect();
    let first = *orphans.first()?;
    let metric = first.labels.get("__name__").map_or("", String::as_str);
    orphans.retain(|series| series.labels.get("__name__") == first.labels.get("__name__"));
    let target_labels = seen.histories.iter().flat_map(|history| history.labels.keys());
    let mut lacking: Vec<&str> =
        target_labels.filter(|name| !first.labels.contains_key(*name)).map(String::as_str).collect();
    lacking.sort_unstable();
    lacking.dedup();
    let number = plural(orphans.len() as u64, "series", "series");
    let verb = if orphans.len() == 1 { "belongs" } else { "belong" };
    let why = match lacking.as_slice() {
        [] => {
            let labels = display_labels(&first.labels, &["__name__"]);
            format!("{labels} names none of them (honor_labels, federation?)")
        }
        lacking => format!("without {} (metric_relabel_configs?)", lacking.join(", ")),
    };
    Some(format!(
        "{number} of {metric} {verb} to no target of the job without doubt, of which there are {}: {why}",
        count(seen.histories.len() as u64)
    ))
}

/// The counters of every target in its last successful scrape until now.
pub async fn baseline(
    prometheus: &Prometheus,
    counters: &Counters<'_>,
    instances: &[String],
    round: f64,
) -> Result<Baseline> {
    baseline_at(prometheus, counters, instances, prometheus.time().await?, round).await
}

/// The same, as they were at a time.
pub async fn baseline_at(
    prometheus: &Prometheus,
    counters: &Counters<'_>,
    instances: &[String],
    at: f64,
    round: f64,
) -> Result<Baseline> {
    let seen = read(prometheus, counters, instances, at - LOOK_BACK, at).await?;
    Ok(baseline_of(&seen.histories, at, round))
}

/// The counters of every target in the last successful scrape that can be seen whole: where samples do not come
/// together, `up` may be there before the counters are. `round` is as in [`Baseline`]. Pure.
pub fn baseline_of(histories: &[TargetHistory], now: f64, round: f64) -> Baseline {
    let targets = histories.iter().filter_map(|history| {
        let scraped = last_whole_scrape(history, round)?;
        let last = |samples: &[Sample]| samples.iter().rev().find(|s| s.time <= scraped + SAME_TIME).copied();
        let in_it = |series: &&Series| {
            // An exporter may give its samples times of their own; then the last one stands.
            series.samples.iter().any(|s| (s.time - scraped).abs() < SAME_TIME)
                || history.has_own_times(series)
        };
        let series = history.series.iter().filter(in_it).filter_map(|series| {
            let value = last(&series.samples)?.value;
            Some(BaselineSeries { labels: series.labels.clone(), value })
        });
        Some(BaselineTarget {
            labels: history.labels.clone(),
            scraped,
            process_started: last(&history.process_started).map(|s| s.value),
            scrape_url: None,
            series: series.collect(),
        })
    });
    Baseline { at: now, targets: targets.collect(), settled: 0.0, round: Some(round) }
}

/// The last successful scrape in which no series is missing that was in one a moment before.
fn last_whole_scrape(history: &TargetHistory, round: f64) -> Option<f64> {
    let good = || history.scrapes.iter().rev().filter(|scrape| scrape.value == 1.0).map(|scrape| scrape.time);
    let whole = |scrape: f64| {
        history.series.iter().filter(|series| !history.has_own_times(series)).all(|series| {
            let last = series.samples.last().map_or(f64::MIN, |sample| sample.time);
            last > scrape - SAME_TIME || last < scrape - round
        })
    };
    good().find(|scrape| whole(*scrape)).or_else(|| good().next())
}

/// What Prometheus saw of every target since the baseline.
pub async fn since(
    prometheus: &Prometheus,
    counters: &Counters<'_>,
    instances: &[String],
    baseline: &Baseline,
    now: f64,
) -> Result<Seen> {
    let from = baseline.targets.iter().map(|target| target.scraped).fold(baseline.at, f64::min);
    let seen = read(prometheus, counters, instances, from, now).await?;
    Ok(Seen { histories: graft_all(seen.histories, baseline), orphans: seen.orphans })
}

/// Puts the baseline in front of what was seen since. Pure.
pub fn graft_all(mut histories: Vec<TargetHistory>, baseline: &Baseline) -> Vec<TargetHistory> {
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
    histories
}

/// Puts what was read before the load in front of what was read since: it stands even where Prometheus
/// has lost it meanwhile.
fn graft(history: &mut TargetHistory, before: Option<&BaselineTarget>, at: f64) {
    let from = before.map_or(at, |before| before.scraped);
    let after = |samples: &mut Vec<Sample>| samples.retain(|s| s.time > from + SAME_TIME);
    after(&mut history.scrapes);
    after(&mut history.process_started);
    for series in &mut history.series {
        // What was in the same scrape and could not be seen then is as good as what was.
        let known =
            before.is_some_and(|before| before.series.iter().any(|known| known.labels == series.labels));
        let margin = if known || before.is_none() { SAME_TIME } else { -SAME_TIME };
        series.samples.retain(|sample| sample.time > from + margin);
    }
    history.series.retain(|series| !series.samples.is_empty());
    let Some(before) = before else { return };
    history.known_before = true;
    history.scrape_url.clone_from(&before.scrape_url);
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
