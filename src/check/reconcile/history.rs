//! The server's half: what Prometheus saw of each target, and how far its counters rose.
//!
//! Pure: a history is judged the same whether it was read a moment ago or a day ago.

use std::collections::BTreeMap;

use super::ledger::Key;
use super::restarts::{self, Restarts};
use crate::observe::{Labels, Sample, Series};

/// What Prometheus saw of one target, from the last scrape before the load on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetHistory {
    /// Its labels, as its `up` series has them.
    pub labels: Labels,
    /// What is scraped, where the target is still there.
    pub scrape_url: Option<String>,
    /// Its scrapes, oldest first: 1 where it succeeded. The first is the one before the load.
    pub scrapes: Vec<Sample>,
    /// `process_start_time_seconds`, where it tells.
    pub process_started: Vec<Sample>,
    /// When its series were made (`…_created`), where they tell: anew in a new process.
    pub created: Vec<Series>,
    /// Its series of the counters, with the value before the load as their first sample where they had one.
    pub series: Vec<Series>,
    /// Whether Prometheus scraped it with success before the load.
    pub known_before: bool,
    /// Whether Prometheus no longer scrapes it, and did not after the load: a pod that was replaced.
    pub gone: bool,
    /// Whether its process came after the load's start: what it counts before its first scrape counts, too.
    pub from_zero: bool,
}

/// How far a target's counters rose until an instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetCount {
    /// How far each series rose, with its labels.
    pub rises: Vec<Rise>,
    /// Gaps in which the process was started again: counts between the two times are lost.
    pub restarts: Vec<Gap>,
    /// Why this is not one process that may have been started again, but several counters in turn.
    pub mixed: Option<String>,
    /// A fall of a counter of which nothing tells whether a new process was behind it.
    pub unproven: Option<Gap>,
    /// The scrapes in which any of its counters had risen, and by how much in all, oldest first.
    pub steps: Vec<(f64, f64)>,
    /// Scrapes that failed.
    pub failed_scrapes: usize,
}

/// How far one series rose.
#[derive(Debug, Clone, PartialEq)]
pub struct Rise {
    /// Its labels.
    pub labels: Labels,
    /// How far it rose.
    pub by: f64,
    /// Its highest value.
    pub highest: f64,
    /// It was in a scrape, then not in a later one, and did not come back, although the process ran on.
    pub ended: Option<f64>,
    /// It was first seen in this scrape, after the load's start.
    pub began: Option<f64>,
    /// It was missing in a scrape and then came back no lower, although nothing tells of a new process: whether
    /// it began again from 0 is not known.
    pub returned: Option<f64>,
}

/// From the last scrape before something to the first after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// The last scrape before.
    pub from: f64,
    /// The first scrape after.
    pub to: f64,
}

/// Two starts of a process that differ by less are the same start: some exporters compute it anew each
/// time from a clock that is being adjusted.
pub(super) const SAME_START: f64 = 1.5;

/// Times in a query and in its answer have milliseconds.
pub(super) const SAME_TIME: f64 = 0.0005;

impl TargetHistory {
    /// Its `job` label.
    pub fn job(&self) -> &str {
        self.labels.get("job").map_or("", String::as_str)
    }

    /// Its `instance` label.
    pub fn instance(&self) -> &str {
        self.labels.get("instance").map_or("", String::as_str)
    }

    /// Its successful scrapes after an instant, oldest first.
    pub fn scrapes_after(&self, instant: f64) -> impl Iterator<Item = f64> + '_ {
        self.scrapes.iter().filter(move |s| s.value == 1.0 && s.time > instant).map(|s| s.time)
    }

    /// Its last successful scrape.
    pub fn last_scrape(&self) -> Option<f64> {
        self.scrapes.iter().rev().find(|s| s.value == 1.0).map(|s| s.time)
    }

    /// How far its counters rose until the scrape at `end`.
    pub fn count(&self, end: f64) -> TargetCount {
        let end = end + SAME_TIME;
        let good: Vec<f64> =
            self.scrapes.iter().filter(|s| s.value == 1.0 && s.time <= end).map(|s| s.time).collect();
        let Restarts { gaps, unproven, mixed } = restarts::find(self, end, &good);
        let mut count = TargetCount {
            failed_scrapes: self.scrapes.iter().filter(|s| s.value != 1.0 && s.time <= end).count(),
            restarts: gaps,
            unproven,
            mixed,
            ..TargetCount::default()
        };
        let mut steps = Vec::new();
        for series in &self.series {
            let samples: Vec<Sample> = series.samples.iter().copied().filter(|s| s.time <= end).collect();
            let Some(first) = samples.first() else { continue };
            // What has times of its own is missing in no scrape that could be named.
            let own_times = self.has_own_times(series);
            let began = self.from_zero || good.first().is_some_and(|start| first.time > start + SAME_TIME);
            // A series that was not in the last scrape before the load counts from 0.
            let mut by = if began { first.value } else { 0.0 };
            if began && first.value > 0.0 {
                steps.push((first.time, first.value));
            }
            let mut returned = None;
            for pair in samples.windows(2) {
                let anew = count.restarts.iter().any(|gap| gap.covers(pair[0].time, pair[1].time));
                let away = !own_times && absent_between(&good, pair[0].time, pair[1].time);
                if away && !anew && pair[0].value > 0.0 {
                    returned.get_or_insert(pair[1].time);
                }
                let restarted = anew || away;
                let rise = if restarted { pair[1].value } else { pair[1].value - pair[0].value };
                by += rise;
                if rise > 0.0 {
                    steps.push((pair[1].time, rise));
                }
            }
            let last = samples.last().map_or(first.time, |s| s.time);
            let missed = good.iter().find(|time| **time > last + SAME_TIME && !own_times).copied();
            // After a restart a series is away until it is raised again: it has not ended.
            let ended = missed.filter(|_| !count.restarts.iter().any(|gap| gap.from >= last - SAME_TIME));
            count.rises.push(Rise {
                labels: series.labels.clone(),
                by,
                highest: samples.iter().map(|sample| sample.value).fold(0.0, f64::max),
                ended,
                // In a new process every series begins: that is no label that was renamed.
                began: (began && !self.from_zero).then_some(first.time),
                returned,
            });
        }
        count.steps = sum_by_time(steps);
        count
    }

    /// Whether a series has samples at times that are no scrape's: its exposition gives them times of their own.
    pub fn has_own_times(&self, series: &Series) -> bool {
        let (Some(first), Some(last)) = (self.scrapes.first(), self.scrapes.last()) else { return false };
        let within = |time: f64| time > first.time + SAME_TIME && time < last.time - SAME_TIME;
        series.samples.iter().filter(|sample| within(sample.time)).any(|sample| {
            let next = self.scrapes.partition_point(|scrape| scrape.time < sample.time - SAME_TIME);
            self.scrapes.get(next).is_none_or(|scrape| scrape.time > sample.time + SAME_TIME)
        })
    }

    /// Whether it is certain that one process ran throughout.
    pub fn ran_throughout(&self, end: f64) -> bool {
        let told: Vec<_> = self.process_started.iter().filter(|s| s.time <= end + SAME_TIME).collect();
        match (told.first(), told.last()) {
            (Some(first), Some(last)) => {
                let same = told.iter().all(|s| (s.value - first.value).abs() <= SAME_START);
                same && last.time + SAME_TIME >= end
            }
            _ => false,
        }
    }
}

impl TargetCount {
    /// The last scrape in which any of its counters had risen.
    pub fn last_rise(&self) -> Option<f64> {
        self.steps.last().map(|(time, _)| *time)
    }
}

/// Adds up what rose in the same scrape.
fn sum_by_time(mut steps: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for (time, by) in steps {
        match sums.last_mut() {
            Some(last) if time - last.0 <= SAME_TIME => last.1 += by,
            _ => sums.push((time, by)),
        }
    }
    sums
}

impl Gap {
    /// Whether the step from one sample to the next crosses this gap.
    pub(super) fn covers(&self, from: f64, to: f64) -> bool {
        from < self.to - SAME_TIME && to > self.from + SAME_TIME
    }
}

/// Whether the target was scraped with success between two samples of a series, without the series.
fn absent_between(good: &[f64], from: f64, to: f64) -> bool {
    good.iter().any(|time| *time > from + SAME_TIME && *time < to - SAME_TIME)
}

/// The labels of a series that tell requests apart, without those that it lacks or that are empty.
pub fn key_of<'a>(wanted: impl IntoIterator<Item = &'a String>, labels: &Labels) -> Key {
    let told = |label: &String| {
        let value = labels.get(label).filter(|value| !value.is_empty())?;
        Some((label.clone(), value.clone()))
    };
    wanted.into_iter().filter_map(told).collect()
}

/// A series as people write it, without the target's own labels.
pub fn display_series(labels: &Labels, target: &Labels) -> String {
    let own: Vec<String> = labels
        .iter()
        .filter(|(name, value)| *name != "__name__" && target.get(*name) != Some(*value))
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{}{{{}}}", labels.get("__name__").map_or("", String::as_str), own.join(","))
}

/// Labels as people write them, some left out.
pub fn display_labels(labels: &Labels, without: &[&str]) -> String {
    let shown: Vec<String> = labels
        .iter()
        .filter(|(name, _)| !without.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{{{}}}", shown.join(","))
}

/// Adds up rises by key.
pub fn sum_by_key<'a>(rises: impl IntoIterator<Item = (Key, &'a Rise)>) -> BTreeMap<Key, f64> {
    let mut sums: BTreeMap<Key, f64> = BTreeMap::new();
    for (key, rise) in rises {
        *sums.entry(key).or_default() += rise.by;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(f64, f64)]) -> Vec<Sample> {
        values.iter().map(|(time, value)| Sample { time: *time, value: *value }).collect()
    }

    fn history(scrapes: &[f64], series: &[(&str, &[(f64, f64)])]) -> TargetHistory {
        TargetHistory {
            scrapes: scrapes.iter().map(|time| Sample { time: *time, value: 1.0 }).collect(),
            series: series
                .iter()
                .map(|(code, values)| Series {
                    labels: Labels::from([("code".into(), (*code).into())]),
                    samples: samples(values),
                })
                .collect(),
            known_before: true,
            ..TargetHistory::default()
        }
    }

    #[test]
    fn a_series_that_was_there_before_counts_from_its_value_and_another_from_0() {
        let history = history(
            &[1.0, 2.0, 3.0],
            &[("200", &[(1.0, 100.0), (2.0, 150.0), (3.0, 160.0)]), ("404", &[(2.0, 5.0), (3.0, 9.0)])],
        );
        let count = history.count(3.0);
        assert_eq!(count.rises.iter().map(|rise| rise.by).collect::<Vec<_>>(), [60.0, 9.0]);
        assert_eq!(count.last_rise(), Some(3.0));
        assert_eq!(count.steps, [(2.0, 55.0), (3.0, 14.0)]);
        assert!(count.restarts.is_empty());
    }

    #[test]
    fn only_what_was_scraped_until_the_instant_counts() {
        let history = history(&[1.0, 2.0, 3.0], &[("200", &[(1.0, 0.0), (2.0, 5.0), (3.0, 9.0)])]);
        assert_eq!(history.count(2.0).rises[0].by, 5.0);
    }

    #[test]
    fn a_fall_is_a_restart_for_every_series_of_the_target() {
        // 200 rose from 20 to 30 across the restart: its process began again from 0, so it counts 30.
        let history = history(
            &[1.0, 2.0, 3.0],
            &[
                ("200", &[(1.0, 0.0), (2.0, 20.0), (3.0, 30.0)]),
                ("500", &[(1.0, 0.0), (2.0, 8.0), (3.0, 1.0)]),
            ],
        );
        let count = history.count(3.0);
        assert_eq!(count.restarts, [Gap { from: 2.0, to: 3.0 }]);
        assert_eq!(count.rises.iter().map(|rise| rise.by).collect::<Vec<_>>(), [50.0, 9.0]);
    }

    #[test]
    fn a_restart_that_no_counter_shows_is_told_by_the_process_start() {
        let mut history = history(&[1.0, 2.0, 3.0], &[("200", &[(1.0, 5.0), (2.0, 5.0), (3.0, 12.0)])]);
        history.process_started = samples(&[(1.0, 100.0), (2.0, 100.0), (3.0, 400.0)]);
        let count = history.count(3.0);
        assert_eq!(count.restarts.len(), 1);
        assert_eq!(count.rises[0].by, 12.0);
        assert!(!history.ran_throughout(3.0) && history.ran_throughout(2.0));
    }

    #[test]
    fn a_series_that_goes_away_after_a_restart_has_not_ended() {
        let history = history(
            &[1.0, 2.0, 3.0],
            &[("200", &[(1.0, 5.0), (2.0, 9.0), (3.0, 1.0)]), ("404", &[(1.0, 3.0), (2.0, 4.0)])],
        );
        let count = history.count(3.0);
        assert!(count.rises.iter().all(|rise| rise.ended.is_none()));
        assert_eq!(count.rises[1].by, 1.0);
    }

    #[test]
    fn a_series_that_goes_away_while_others_go_on_has_ended() {
        let history = history(
            &[1.0, 2.0, 3.0],
            &[("200", &[(1.0, 5.0), (2.0, 9.0), (3.0, 9.0)]), ("404", &[(1.0, 3.0), (2.0, 4.0)])],
        );
        assert_eq!(history.count(3.0).rises[1].ended, Some(3.0));
    }

    #[test]
    fn a_series_that_was_away_in_a_good_scrape_began_again_from_0() {
        let history = history(
            &[1.0, 2.0, 3.0],
            &[("200", &[(1.0, 5.0), (3.0, 9.0)]), ("500", &[(1.0, 0.0), (2.0, 0.0), (3.0, 0.0)])],
        );
        assert_eq!(history.count(3.0).rises[0].by, 9.0);
    }

    #[test]
    fn a_series_that_came_back_no_lower_may_have_begun_again_or_not() {
        let values: &[(f64, f64)] = &[(1.0, 5.0), (3.0, 9.0)];
        assert_eq!(history(&[1.0, 2.0, 3.0], &[("200", values)]).count(3.0).rises[0].returned, Some(3.0));
        assert_eq!(history(&[1.0, 3.0], &[("200", values)]).count(3.0).rises[0].returned, None);
    }

    #[test]
    fn samples_with_times_of_their_own_are_missing_in_no_scrape() {
        let history =
            history(&[1.0, 2.0, 3.0, 4.0], &[("200", &[(1.0, 5.0), (1.7, 9.0), (2.7, 12.0), (3.7, 15.0)])]);
        let count = history.count(4.0);
        assert_eq!((count.rises[0].by, count.rises[0].ended), (10.0, None));
    }

    #[test]
    fn a_failed_scrape_hides_nothing() {
        let mut history = history(&[1.0, 3.0], &[("200", &[(1.0, 5.0), (3.0, 9.0)])]);
        history.scrapes.insert(1, Sample { time: 2.0, value: 0.0 });
        let count = history.count(3.0);
        assert_eq!((count.rises[0].by, count.failed_scrapes), (4.0, 1));
    }

    #[test]
    fn a_label_that_is_empty_is_none() {
        let labels = Labels::from([("code".into(), "200".into()), ("path".into(), String::new())]);
        let key = key_of(&["code".into(), "path".into(), "method".into()], &labels);
        assert_eq!(key, Key::from([("code".into(), "200".into())]));
    }
}
