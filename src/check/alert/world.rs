//! Whether any other alert fired, of what Prometheus has told until now: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::episode::{display, is_firing};
use super::rule::{self, can_make};
use crate::figures::duration;
use crate::observe::{AlertingRule, Labels, Series};

/// An alert that is pending is waited for so many seconds at the most.
const PENDING: f64 = 300.0;
/// An evaluation may be late by so many seconds.
const LATE: f64 = 10.0;

/// What is known of all rules until now.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    /// What fired.
    pub fired: Vec<Labels>,
    /// What is waited for: a later look may tell more.
    pub awaited: Option<String>,
    /// Why it can't be known any more whether another one fired.
    pub hidden: Vec<String>,
}

/// What Prometheus has told until now; times in seconds since 1970 on its clock.
#[derive(Debug, Clone)]
pub struct World {
    /// The rules that must not fire.
    pub rules: Vec<AlertingRule>,
    /// The samples of their `ALERTS`, in both states.
    pub alerts: Vec<Series>,
    /// The load's start.
    pub since: f64,
    /// From then on evaluations know of everything that was done.
    pub known_by: f64,
    /// By how much groups look back; the longest.
    pub offset: f64,
    /// When Prometheus started, each time that is known.
    pub starts: Vec<f64>,
    /// When it scraped nothing for longer than usual.
    pub gaps: Vec<(f64, f64)>,
    /// Instants, as multiples of `step`, at which each alert was pending: what its newest sample before says, unless a
    /// stale marker or `lookback` ended it.
    pub pending: BTreeMap<Labels, BTreeSet<i64>>,
    /// Seconds between these instants.
    pub step: f64,
    /// For how long a sample speaks for a series that is not ended by a marker.
    pub lookback: f64,
    /// When it was looked.
    pub now: f64,
    /// Whether the next run began then.
    pub past: bool,
}

/// When an alert was pending and fired.
#[derive(Default)]
struct Track {
    pending: Vec<f64>,
    firing: Vec<f64>,
}

impl World {
    /// What fired until each rule was evaluated once more after everything was known, and what was pending then and
    /// fired for it.
    pub fn judge(&self) -> Seen {
        let mut seen = Seen::default();
        for rule in &self.rules {
            self.judge_rule(rule, &mut seen);
        }
        let by = self.known_by + self.rules.iter().map(|rule| rule.interval).fold(0.0, f64::max);
        let counts = self.since..by + self.offset;
        let away = self.gaps.iter().any(|(gone, back)| (*gone..*back).contains(&counts.end));
        if away || self.starts.iter().any(|at| counts.contains(at)) {
            seen.hidden
                .push("Prometheus was away, or was started again: what was pending began anew.".into());
        }
        for (labels, track) in self.tracks() {
            self.judge_alert(labels, &track, &mut seen);
        }
        if self.past && seen.awaited.take().is_some() {
            seen.hidden.push("The next run began before every rule was evaluated after the load.".into());
        }
        seen
    }

    fn judge_rule(&self, rule: &AlertingRule, seen: &mut Seen) {
        let by = self.known_by + rule.interval + self.offset;
        // One that was just started is given its time, too.
        let started = self.starts.iter().copied().fold(by, f64::max);
        if rule.evaluated_until().min(self.now) >= by {
            if rule.health == "err" {
                seen.hidden.push(format!("{} cannot be evaluated: {}.", rule.name, rule.last_error));
            }
        } else if self.now > started + 2.0 * rule.interval + rule.group_took + LATE {
            seen.hidden.push(format!("{} is not evaluated any more.", rule::display(rule)));
        } else {
            seen.awaited = Some(format!(
                "waiting for the rule {} to be evaluated (every {})",
                rule.name,
                duration(rule.interval)
            ));
        }
    }

    fn judge_alert(&self, labels: Labels, track: &Track, seen: &mut Seen) {
        let by = self.counts_until(&labels);
        if track.firing.iter().any(|time| *time <= by) {
            return seen.fired.push(labels);
        }
        // What was pending at the last evaluation that counts fires for it, unless an evaluation says that it is over.
        let Some(last) = self.pending_at_the_end(&labels, track) else { return };
        let shown = self.pending.get(&labels).cloned().unwrap_or_default();
        let (until, done) = (self.followed_until(&labels), self.done(&labels));
        let instants = (by / self.step).ceil() as i64..=(done.min(until) / self.step - 1e-6).floor() as i64;
        let over = instants.into_iter().find(|instant| !shown.contains(instant));
        let over_at = over.map_or(done, |instant| instant as f64 * self.step);
        if track.firing.iter().any(|time| *time > by && *time <= over_at) {
            return seen.fired.push(labels);
        }
        let told = || format!("{}{}", name(&labels), display(&labels));
        let started = self.starts.iter().copied().fold(by, f64::max);
        let last = track.pending.iter().copied().filter(|time| *time <= over_at).fold(last, f64::max);
        if over.is_some() && over_at - last < self.lookback - 2.0 * self.step {
            // A stale marker ended it.
        } else if over.is_some() || done >= until {
            let why = "no evaluation told that this was over: Prometheus was away.";
            seen.hidden.push(format!("{} was pending, and {why}", told()));
        } else if self.now
            > started + self.offset + self.lasts(&labels).min(PENDING) + self.apart(&labels) + LATE
        {
            let lasts = duration(self.lasts(&labels));
            let why = format!("fires when that has lasted {lasts}: that was not yet to be seen.");
            seen.hidden.push(format!("{} is pending, and {why}", told()));
        } else {
            seen.awaited = Some(format!("waiting for {}, which is pending", name(&labels)));
        }
    }

    /// When an alert was pending for the last time of the evaluations that count, if none said that this was over.
    fn pending_at_the_end(&self, labels: &Labels, track: &Track) -> Option<f64> {
        let by = self.counts_until(labels);
        let last = track.pending.iter().copied().filter(|time| *time <= by).reduce(f64::max)?;
        let instant = (by / self.step).floor() as i64;
        let shown = |instant| self.pending.get(labels).is_some_and(|shown| shown.contains(&instant));
        (last > instant as f64 * self.step || shown(instant)).then_some(last)
    }

    /// From when until when it is asked what is pending; `None` where nothing is.
    pub fn asked(&self) -> Option<(f64, f64)> {
        let tracks = self.tracks();
        let pending = tracks.iter().filter(|(_, track)| !track.pending.is_empty());
        let spans = pending.map(|(labels, _)| {
            let by = self.counts_until(labels);
            (by - 2.0 * self.step, self.done(labels).min(self.followed_until(labels)))
        });
        spans.filter(|(from, to)| from <= to).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// What is pending is followed until then: if it is neither over nor fires, evaluations have failed.
    fn followed_until(&self, labels: &Labels) -> f64 {
        self.counts_until(labels) + self.lasts(labels) + self.lookback + 2.0 * self.apart(labels)
    }

    /// The rules that an alert can come from.
    fn rules_of(&self, labels: &Labels) -> Vec<&AlertingRule> {
        let able: Vec<&AlertingRule> = self.rules.iter().filter(|rule| can_make(rule, labels)).collect();
        // A rule whose labels were changed since is still one of that name.
        let of_name = || self.rules.iter().filter(|rule| name(labels) == rule.name).collect();
        if able.is_empty() { of_name() } else { able }
    }

    fn longest(&self, labels: &Labels, of: fn(&AlertingRule) -> f64) -> f64 {
        self.rules_of(labels).into_iter().map(of).fold(0.0, f64::max)
    }

    /// The evaluations until then count for an alert.
    fn counts_until(&self, labels: &Labels) -> f64 {
        self.known_by + self.longest(labels, |rule| rule.interval)
    }

    /// What is further apart is not the same time of being pending.
    fn apart(&self, labels: &Labels) -> f64 {
        2.5 * self.longest(labels, |rule| rule.interval)
    }

    /// For how long it is pending before it fires.
    fn lasts(&self, labels: &Labels) -> f64 {
        self.longest(labels, |rule| rule.duration)
    }

    /// All samples of an alert until then are there.
    fn done(&self, labels: &Labels) -> f64 {
        let until = self.rules_of(labels).into_iter().map(AlertingRule::evaluated_until);
        until.fold(self.now, f64::min) - self.offset
    }

    /// Each alert's times, in both states.
    fn tracks(&self) -> BTreeMap<Labels, Track> {
        let mut tracks: BTreeMap<Labels, Track> = BTreeMap::new();
        for series in &self.alerts {
            let track = tracks.entry(without_state(series.labels.clone())).or_default();
            let times = series.samples.iter().map(|sample| sample.time);
            if is_firing(series) { track.firing.extend(times) } else { track.pending.extend(times) }
        }
        tracks
    }
}

/// The labels of an alert, whichever state its series tells of.
pub fn without_state(mut labels: Labels) -> Labels {
    labels.remove("alertstate");
    labels
}

/// Its name.
pub fn name(labels: &Labels) -> &str {
    labels.get("alertname").map_or("", String::as_str)
}
