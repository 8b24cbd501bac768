//! When an alert fired and resolved: pure, from what Prometheus has told until now.
//!
//! What has not been told yet is neither a pass nor a fail. A rule says that an alert fires by a sample of `ALERTS` at
//! each evaluation, and that it is over by a stale marker at the first evaluation without it: only the marker proves the
//! end. The absence of a sample proves nothing as long as an evaluation may still bring one, be it because the rule's
//! interval is long, its group looks back (`query_offset`), or Prometheus was away.

use std::collections::BTreeSet;

use super::rule::OF_THE_SERIES;
use crate::check::reconcile::display_labels;
use crate::observe::{Labels, Series};

/// What an alert had to do. Times are in seconds since 1970 on Prometheus' clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Labels that it must carry.
    pub labels: Labels,
    /// The instances that were disturbed; an alert that names another one is about something else. Any, if empty.
    pub instances: Vec<String>,
    /// The first fault, or the load's start.
    pub from: f64,
    /// It fires until then.
    pub fires_by: f64,
    /// The last fault's end, or the load's end.
    pub until: f64,
    /// It resolves until then.
    pub resolves_by: f64,
    /// From then on evaluations know of everything that was done: what is over then is over for good.
    pub known_by: f64,
}

/// What Prometheus has told of the alert until now.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The samples of `ALERTS` of its name, in both states.
    pub alerts: Vec<Series>,
    /// Instants, as multiples of `step`, at which one that is meant was pending or fired: what the newest sample before
    /// says, unless a stale marker or `lookback` ended it.
    pub active: BTreeSet<i64>,
    /// Instants at which one that is meant fired.
    pub firing: BTreeSet<i64>,
    /// Seconds between these instants.
    pub step: f64,
    /// For how long a sample speaks for a series that is not ended by a marker.
    pub lookback: f64,
    /// Seconds between evaluations of the rules that are meant; the longest.
    pub interval: f64,
    /// By how much their groups look back; the longest.
    pub offset: f64,
    /// Every evaluation that was due until then is over.
    pub evaluated_until: f64,
    /// When Prometheus started, each time that is known.
    pub starts: Vec<f64>,
    /// When it scraped nothing for longer than usual.
    pub gaps: Vec<(f64, f64)>,
}

/// What is known of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// It happened then: when it could be seen, at its evaluation.
    At(f64),
    /// It did not happen in its time.
    Not,
    /// It can't be known any more.
    Never(&'static str),
    /// It is not known yet.
    NotYet,
}

/// What an alert did.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// When it fired.
    pub fired: Known,
    /// When it was over.
    pub resolved: Known,
    /// Whether it fired, or was pending, before anything was done.
    pub before: Option<Before>,
    /// The labels of what fired although it had not to.
    pub strangers: Vec<Labels>,
    /// Whether all that fired until [`Expectation::known_by`] is known.
    pub complete: bool,
}

/// What an alert was before anything was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It fired.
    Fired,
    /// It was pending, and went on to fire.
    Pending,
}

/// Why it is not known whether it is over.
pub const LOST: &str = "No evaluation told that it was over after it was last seen to fire: Prometheus was away, or did \
                        not evaluate its rule.";
/// Why it is not known whether it would have fired.
pub const RESTARTED: &str = "Prometheus was started again while it had to fire: it has forgotten for how long the \
                             expression held.";
/// Why nothing can be known of its end.
const LOOKBACK: &str = "Its rule is evaluated less often than Prometheus looks back: between two evaluations nobody \
                        knows whether it fires.";

impl Expectation {
    /// Whether a firing alert is the one that is meant.
    pub fn is_meant(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name).map_or("", String::as_str) == value)
            && (self.instances.is_empty()
                || labels.get("instance").is_none_or(|instance| self.instances.contains(instance)))
    }

    /// What the alert did, as far as it is known.
    pub fn episode(&self, evidence: &Evidence) -> Episode {
        let times = Times::of(self, evidence);
        let fired = self.fired(evidence, &times);
        let resolved = match fired {
            Known::At(_) => self.resolved(evidence, &times),
            Known::Not | Known::Never(_) => Known::Not,
            Known::NotYet => Known::NotYet,
        };
        let complete = evidence.evaluated_until - evidence.offset >= self.known_until(evidence);
        Episode {
            fired,
            resolved,
            before: self.before(evidence, &times),
            strangers: self.strangers(evidence),
            complete,
        }
    }

    /// The first of the evaluations that know of everything comes until then, whatever their phase. A Prometheus that
    /// was just started tells nothing of alerts before its third.
    fn known_until(&self, evidence: &Evidence) -> f64 {
        let mut until = self.known_by + evidence.interval;
        let mut starts = evidence.starts.clone();
        starts.sort_by(f64::total_cmp);
        for start in starts.into_iter().filter(|start| *start > self.from) {
            if start <= until + evidence.offset {
                until = until.max(start + 4.0 * evidence.interval - evidence.offset);
            }
        }
        until
    }

    fn fired(&self, evidence: &Evidence, times: &Times) -> Known {
        match times.firing.first().map(|time| time + evidence.offset) {
            Some(seen) if seen <= self.fires_by => Known::At(seen),
            _ if evidence.evaluated_until < self.fires_by => Known::NotYet,
            _ if evidence.starts.iter().any(|at| self.from < *at && *at <= self.fires_by) => {
                Known::Never(RESTARTED)
            }
            _ => Known::Not,
        }
    }

    /// The end of the first time from which on all is known in which it neither fires nor is pending.
    fn resolved(&self, evidence: &Evidence, times: &Times) -> Known {
        if evidence.lookback <= 1.5 * evidence.interval {
            return Known::Never(LOOKBACK);
        }
        let known = self.known_until(evidence);
        let first = times.firing.first().copied().unwrap_or(known);
        let deadline = known.max(self.resolves_by - evidence.offset);
        let done = (evidence.evaluated_until - evidence.offset).min(deadline + evidence.step);
        let instants = |from: f64| evidence.instants(from, done);
        let Some(quiet) = instants(known.max(first)).find(|instant| !evidence.active.contains(instant))
        else {
            return if done < deadline + evidence.step {
                Known::NotYet
            } else {
                self.at_the_end(evidence, times, deadline)
            };
        };
        let quiet = quiet as f64 * evidence.step;
        if evidence.gaps.iter().any(|(gone, back)| (*gone..*back).contains(&(quiet + evidence.offset))) {
            return Known::Never(LOST);
        }
        let last = times.firing.iter().copied().rfind(|time| *time < quiet).unwrap_or(first);
        // When it was first said not to fire: a while before, where it was pending again since.
        let ended = instants(last).find(|instant| !evidence.firing.contains(instant));
        let ended = ended.map_or(quiet, |instant| instant as f64 * evidence.step);
        if ended - last >= evidence.lookback - 2.0 * evidence.step {
            return Known::Never(LOST);
        }
        // The marker stands at an evaluation after the last instant that showed it still.
        let late = ((ended - evidence.step - last) / evidence.interval).floor().max(0.0);
        let seen = last + (late + 1.0) * evidence.interval + evidence.offset;
        if seen <= self.resolves_by { Known::At(seen) } else { Known::Not }
    }

    /// It was active all along: by samples, or only because nobody said that it was over?
    fn at_the_end(&self, evidence: &Evidence, times: &Times, deadline: f64) -> Known {
        let near =
            |time: &f64| *time > deadline - 2.5 * evidence.interval && *time <= deadline + evidence.step;
        if times.active.iter().any(near) { Known::Not } else { Known::Never(LOST) }
    }

    fn before(&self, evidence: &Evidence, times: &Times) -> Option<Before> {
        if times.fired_before {
            return Some(Before::Fired);
        }
        // From one that was pending then to the first that fires, evaluation by evaluation.
        let first = times.firing.first().filter(|first| **first + evidence.offset <= self.fires_by)?;
        let mut until = *first;
        for time in times.active.iter().rev().filter(|time| *time < first) {
            if until - time > 1.5 * evidence.interval {
                return None;
            }
            until = *time;
        }
        (until < self.from).then_some(Before::Pending)
    }

    fn strangers(&self, evidence: &Evidence) -> Vec<Labels> {
        let during = |time: f64| time >= self.from && time <= self.known_until(evidence);
        let strange = |series: &&Series| {
            is_firing(series)
                && !self.is_meant(&series.labels)
                && series.samples.iter().any(|sample| during(sample.time))
        };
        evidence.alerts.iter().filter(strange).map(|series| series.labels.clone()).collect()
    }
}

impl Evidence {
    fn instants(&self, from: f64, to: f64) -> std::ops::RangeInclusive<i64> {
        // A time is exact to the millisecond; an instant that it falls on is after it.
        let first = (from / self.step + 1e-6).ceil() as i64;
        first..=((to / self.step - 1e-6).floor() as i64)
    }
}

/// When those that are meant were active, oldest first.
struct Times {
    /// They fired, since something was done.
    firing: Vec<f64>,
    /// They were pending or fired, at any time.
    active: Vec<f64>,
    fired_before: bool,
}

impl Times {
    fn of(expectation: &Expectation, evidence: &Evidence) -> Times {
        let meant = || evidence.alerts.iter().filter(|series| expectation.is_meant(&series.labels));
        let sorted = |series: Vec<&Series>| {
            let mut times: Vec<f64> =
                series.iter().flat_map(|series| &series.samples).map(|sample| sample.time).collect();
            times.sort_by(f64::total_cmp);
            times.dedup();
            times
        };
        let mut firing = sorted(meant().filter(|series| is_firing(series)).collect());
        let fired_before = firing.first().is_some_and(|first| *first < expectation.from);
        firing.retain(|time| *time >= expectation.from);
        Times { firing, active: sorted(meant().collect()), fired_before }
    }
}

/// Whether a series of `ALERTS` is that of an alert that fires, not of one that is pending.
pub fn is_firing(series: &Series) -> bool {
    series.labels.get("alertstate").is_none_or(|state| state == "firing")
}

/// The labels of an alert, as people read them.
pub fn display(labels: &Labels) -> String {
    display_labels(labels, &OF_THE_SERIES)
}
