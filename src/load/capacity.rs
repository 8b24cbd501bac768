//! The search for the highest rate that keeps a scenario's thresholds: doubled until one is broken, then halved.

use serde::Serialize;

use super::{Histograms, LoadSummary, judge};
use crate::check::{Kind, Verdict};
use crate::exit::Exit;
use crate::scenario::Scenario;

/// The search ends when the lowest rate that failed is this much higher than the highest that held.
const PRECISION: f64 = 1.05;

/// What one rate came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// Every threshold was kept.
    Kept,
    /// A threshold was broken.
    Broken,
    /// The generator could not send it: nothing is known of the service at this rate.
    Overloaded,
    /// A threshold speaks of what was not measured.
    NoData,
}

/// A point of the curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Requests a second that were asked for, at the highest.
    pub rate: f64,
    /// Requests that were sent.
    pub sent: u64,
    /// Median of the times since due, in milliseconds; `None` without an answer.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the times since due, in milliseconds; `None` without an answer.
    pub p99_ms: Option<f64>,
    /// Unexpected answers and requests without an answer, as a share of all; `None` without requests.
    pub error_rate: Option<f64>,
    /// Whether the thresholds were kept.
    pub held: Held,
    /// What was broken, or why nothing is known.
    pub why: Vec<String>,
}

impl Step {
    /// What a load at this rate came to.
    pub fn new(rate: f64, scenario: &Scenario, summary: &LoadSummary, histograms: &Histograms) -> Step {
        let outcomes = judge(scenario, summary, histograms);
        let fails = outcomes.iter().any(|outcome| outcome.verdict == Verdict::Fail);
        let told = |verdict| {
            let outcomes = outcomes.iter().filter(move |outcome| outcome.verdict == verdict);
            // That a service answered nothing at this rate is known where it broke a threshold.
            let outcomes = outcomes
                .filter(|outcome| outcome.kind != Kind::Answered || !fails || verdict == Verdict::Fail);
            outcomes.map(|outcome| format!("{}: {}", outcome.name, outcome.message)).collect::<Vec<_>>()
        };
        let (missing, broken) = (told(Verdict::NoData), told(Verdict::Fail));
        let (held, why) = match &summary.overload {
            _ if !missing.is_empty() => (Held::NoData, missing),
            Some(overload) => (Held::Overloaded, vec![overload.reason.clone()]),
            None if !broken.is_empty() => (Held::Broken, broken),
            None => (Held::Kept, Vec::new()),
        };
        let times = &summary.total.times.since_due;
        let known = |time| (times.count > 0).then_some(time);
        Step {
            rate,
            sent: summary.total.sent,
            p50_ms: known(times.p50),
            p99_ms: known(times.p99),
            error_rate: summary.total.error_rate(),
            held,
            why,
        }
    }
}

/// What ended the search from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Above the capacity a threshold is broken.
    Thresholds,
    /// The highest rate that was asked for was kept: the capacity is that at least.
    Highest,
    /// Above the last rate that was kept the generator could not send: the capacity is that at least.
    Generator,
    /// A step could not be judged.
    NoData,
}

/// A search that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    from: f64,
    to: f64,
    kept: Option<f64>,
    /// The lowest rate that was not kept, and what it came to.
    above: Option<(f64, Held)>,
    steps: Vec<Step>,
}

impl Search {
    /// Between two rates, in requests a second.
    pub fn new(from: f64, to: f64) -> Search {
        Search { from, to, kept: None, above: None, steps: Vec::new() }
    }

    /// The next rate to try; `None` at the end.
    pub fn next_rate(&self) -> Option<f64> {
        match (self.kept, self.above) {
            (_, Some((_, Held::NoData))) => None,
            (None, None) => Some(self.from),
            (None, Some(_)) => None,
            (Some(kept), None) => (kept < self.to).then_some((2.0 * kept).min(self.to)),
            (Some(kept), Some((above, _))) => {
                let middle = (kept + above) / 2.0;
                // Whole numbers are easier to say, where they are near enough.
                let middle = if middle > 100.0 { middle.round() } else { middle };
                (above > PRECISION * kept).then_some(middle)
            }
        }
    }

    /// What the rate came to that was tried last.
    pub fn record(&mut self, step: Step) {
        match step.held {
            Held::Kept => self.kept = Some(step.rate),
            held => self.above = Some((step.rate, held)),
        }
        self.steps.push(step);
    }

    /// What it found.
    pub fn found(mut self) -> Capacity {
        self.steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let limit = match self.above.map(|(_, held)| held) {
            None | Some(Held::Kept) => Limit::Highest,
            Some(Held::Broken) => Limit::Thresholds,
            Some(Held::Overloaded) => Limit::Generator,
            Some(Held::NoData) => Limit::NoData,
        };
        Capacity { schema: "sre.capacity/v1", capacity: self.kept, limit, steps: self.steps }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// `sre.capacity/v1`.
    pub schema: &'static str,
    /// The highest rate that kept every threshold, in requests a second; `None` where not even the lowest did.
    pub capacity: Option<f64>,
    /// What ended the search from above.
    pub limit: Limit,
    /// The curve, by rate.
    pub steps: Vec<Step>,
}

impl Capacity {
    /// What the search ends with.
    pub fn exit(&self) -> Exit {
        match (self.limit, self.capacity) {
            (Limit::NoData, _) => Exit::NoData,
            (Limit::Generator, _) => Exit::Overloaded,
            (Limit::Thresholds, None) => Exit::CheckFailed,
            (Limit::Thresholds | Limit::Highest, _) => Exit::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(from: f64, to: f64, came_to: impl Fn(f64) -> Held) -> Capacity {
        let mut search = Search::new(from, to);
        while let Some(rate) = search.next_rate() {
            assert!(search.steps.len() < 60, "{search:?}");
            let held = came_to(rate);
            let step =
                Step { rate, sent: 0, p50_ms: None, p99_ms: None, error_rate: None, held, why: Vec::new() };
            search.record(step);
        }
        search.found()
    }

    proptest! {
        #[test]
        fn the_capacity_is_found_and_never_told_too_high(true_one in 1.0..50_000.0f64) {
            let found = search(1.0, 100_000.0, |rate| if rate <= true_one { Held::Kept } else { Held::Broken });
            let capacity = found.capacity.expect("1/s is kept");
            prop_assert!(capacity <= true_one && capacity * 1.06 >= true_one, "{capacity} of {true_one}");
            prop_assert_eq!((found.limit, found.exit()), (Limit::Thresholds, Exit::Pass));
            prop_assert!(found.steps.is_sorted_by_key(|step| step.rate));
        }
    }

    #[test]
    fn each_end_has_its_exit_code() {
        let ends = |came_to: fn(f64) -> Held| {
            let found = search(100.0, 1_000.0, came_to);
            (found.capacity.map(|rate| rate as u64), found.limit, found.exit())
        };
        assert_eq!(ends(|_| Held::Broken), (None, Limit::Thresholds, Exit::CheckFailed));
        assert_eq!(ends(|_| Held::Kept), (Some(1_000), Limit::Highest, Exit::Pass));
        assert_eq!(ends(|_| Held::NoData), (None, Limit::NoData, Exit::NoData));
        assert_eq!(ends(|_| Held::Overloaded), (None, Limit::Generator, Exit::Overloaded));
        // Overloaded from 800 on, but broken from 600 on: what the service does is known.
        let service_first = |rate| match rate {
            rate if rate >= 800.0 => Held::Overloaded,
            rate if rate >= 600.0 => Held::Broken,
            _ => Held::Kept,
        };
        let (capacity, limit, exit) = ends(service_first);
        assert!(capacity.is_some_and(|rate| (570..600).contains(&rate)), "{capacity:?}");
        assert_eq!((limit, exit), (Limit::Thresholds, Exit::Pass));
        let generator_first = |rate| if rate > 700.0 { Held::Overloaded } else { Held::Kept };
        let (capacity, limit, exit) = ends(generator_first);
        assert!(capacity.is_some_and(|rate| (660..=700).contains(&rate)), "{capacity:?}");
        assert_eq!((limit, exit), (Limit::Generator, Exit::Overloaded));
    }
}
